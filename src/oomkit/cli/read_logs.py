"""How ``oomkit explain`` reads logs: here, by several processes, or on a cluster."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.cli.common import fail
from oomkit.cli.explain_begin import MUCH_BYTES
from oomkit.printable import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from oomkit.batch import Pool
    from oomkit.explain.files import Counter, ReadLog
    from oomkit.explain.redact import Redactor
    from oomkit.klog.lines.ahead import Ahead

_OBJECTS = 50_000
"""So many are made before cycles are looked for."""
_BAR_CELLS = 20


def read_logs(
    names: Sequence[str | None],
    redactor: "Redactor | None",
    workers: "AbstractContextManager[Pool] | None",
    *,
    searchers: int = 1,
    begun: "Ahead | None" = None,
    outlines: bool = False,
) -> "list[ReadLog]":
    """Read logs; the running kernel's reports get the names that this machine knows now."""
    from oomkit.cli.progress import progress
    from oomkit.explain.files import Counter, read_files

    # Records hold no cycles; to look for some after every 700 took 6 % of the time.
    gc.freeze()
    gc.set_threshold(_OBJECTS)
    counter = Counter()
    with progress(lambda: _progress_text(counter, len(names))):
        if workers is not None:
            return _read_by(workers, names, counter, outlines=outlines)
        found = list(
            read_files(names, counter=counter, redactor=redactor, searchers=searchers, begun=begun)
        )
    if redactor is not None:
        return found
    return [
        _with_owners(log) if name is None else log for name, log in zip(names, found, strict=True)
    ]


def _progress_text(counter: "Counter", total: int) -> str:
    """How far the reading is: of many logs how many, of one what was found in it."""
    from oomkit.render.quantities import count_of

    found = f"{count_of(counter.reports, 'OOM report')} so far"
    if total < 2:
        return f"{printable(counter.log)}: {found}"
    from oomkit.render.bars import bar

    unicode = (sys.stderr.encoding or "").lower().startswith("utf")
    share = bar(counter.logs / total, _BAR_CELLS, unicode=unicode)
    return f"[{share}] {counter.logs:,} of {total:,} logs, {found}"


def _with_owners(log: "ReadLog") -> "ReadLog":
    """Say what people call the cgroups of this machine's own log."""
    import msgspec

    from oomkit.host.names import NameBook

    book = NameBook()
    reports = tuple(
        msgspec.structs.replace(report, owner=book.of(report.cgroup).text() or None)
        if report.cgroup
        else report
        for report in log.reports
    )
    return msgspec.structs.replace(log, reports=reports)


def _read_by(
    workers: "AbstractContextManager[Pool]",
    names: Sequence[str | None],
    counter: "Counter",
    *,
    outlines: bool,
) -> "list[ReadLog]":
    from oomkit.batch import PoolError
    from oomkit.explain.files import read_files

    try:
        with workers as pool:
            if pool.elsewhere:
                names = [os.path.abspath(name) for name in names if name]
            return list(read_files(names, pool, counter=counter, outlines=outlines))
    except PoolError as error:
        fail(str(error))


def pool_for(
    names: Sequence[str | None], workers: int | None, cluster: str | None, *, redact: bool
) -> "AbstractContextManager[Pool] | None":
    """The pool that reads: if asked for, or if there is much to read; else None."""
    if workers is not None and cluster is not None:
        fail("--workers and --cluster don't go together")
    asked = "--workers" if workers is not None else "--cluster" if cluster is not None else None
    only_files = all(name not in (None, "-") for name in names)
    if asked is not None and not only_files:
        fail(f"{asked} needs files; standard input and the kernel's log are read here")
    if asked is not None and redact and (len(names) > 1 or cluster is not None):
        fail(f"{asked} and --redact don't go together: names' tokens must agree across files")
    if asked is None and (redact or not only_files or not _much(names)):
        return None
    if len(names) == 1 and cluster is None:
        return None
    from oomkit.batch import cluster_pool, local_pool
    from oomkit.explain.files import PRELOAD

    if cluster is not None:
        return cluster_pool(cluster)
    return local_pool(workers, preload=PRELOAD)


def searchers_for(names: Sequence[str | None], workers: int | None) -> int:
    """How many processes search one file, where files are read one after the other."""
    if workers is not None:
        return workers
    return len(os.sched_getaffinity(0)) if _sizes(names) >= MUCH_BYTES else 1


def _much(names: Sequence[str | None]) -> bool:
    """Whether starting workers pays."""
    return len(names) > 1 and len(os.sched_getaffinity(0)) > 1 and _sizes(names) >= MUCH_BYTES


def _sizes(names: Sequence[str | None]) -> int:
    return sum(os.path.getsize(name) for name in names if name and os.path.isfile(name))
