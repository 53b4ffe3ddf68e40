"""``oomkit explain``: why that process, last night."""

import os
import sys
from typing import TYPE_CHECKING

import click

from oomkit.cli import complete, explain_begin
from oomkit.cli.common import fail
from oomkit.cli.read_logs import pool_for, read_logs, searchers_for
from oomkit.cli.streams import say
from oomkit.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.explain.explanation import Case
    from oomkit.explain.files import ReadLog
    from oomkit.klog.evidence import Evidence
    from oomkit.klog.records import Report

_EXAMPLE = """\b
Examples:
  oomkit explain
  oomkit explain /var/log/kern.log /var/log/kern.log.1.gz
  journalctl -k -b -1 -o json | oomkit explain -
  zstd -dc kern.log.zst | oomkit explain --summary -
  oomkit explain --redact --html oom.html /var/log/messages
  oomkit explain --follow --json
"""
_DEFAULT_LAST = 5


@click.command(epilog=_EXAMPLE)
@click.argument("files", type=complete.FILE, metavar="[FILE...|-]", nargs=-1)
@click.option(
    "--last",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of reports to show in full, the newest; 0 for all.  [default: 5; all with --json "
    "and --html]",
)
@click.option(
    "--summary", is_flag=True, help="Show only incidents and what recurs, and no report in full."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON Lines, one object for each report."
)
@click.option(
    "--html",
    "page",
    type=complete.FILE,
    metavar="FILE",
    help="Write an HTML page, for instance for a ticket; - for standard output.",
)
@click.option("--follow", is_flag=True, help="Wait for further reports until interrupted.")
@click.option(
    "--redact", is_flag=True, help="Replace names of hosts, users, cgroups and commands by tokens."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Read with this many processes: several files at a time, or parts of one large file.  "
    "[default: 1; as many as CPUs from 64 MB on]",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Read on a Dask cluster that has access to the files, such as tcp://10.0.0.5:8786.",
)
def command(
    files: tuple[str, ...],
    last: int | None,
    page: str | None,
    workers: int | None,
    cluster: str | None,
    *,
    summary: bool,
    as_json: bool,
    follow: bool,
    redact: bool,
) -> None:
    """Explain the OOM reports of kernel logs: the victim, the shortage, the choice, the killer.

    Reads dmesg, syslog and journal text, journalctl -o json and -o export, container and
    serial-console logs, plain or compressed (gz, xz, zst); - is standard input. Without FILE it
    reads the log of the running kernel. The exit status is 0 if no process was killed for lack of
    memory, 1 if one was or the machine panicked, 2 if a file could not be read.
    """
    for other, given in (("--summary", summary), ("--html", page is not None)):
        if follow and given:
            fail(f"{other} needs a log's end; it can't be used with --follow")
    if follow and len(files) > 1:
        fail("--follow takes one FILE")
    if as_json and page is not None:
        fail("--json and --html are two answers; ask for one")
    if follow and (workers is not None or cluster is not None):
        fail(f"{'--workers' if cluster is None else '--cluster'} and --follow don't go together")
    names: tuple[str | None, ...] = files or (None,)
    if follow:
        sys.exit(_follow(names[0], redact=redact, as_json=as_json))
    pool = pool_for(names, workers, cluster, redact=redact)
    searchers = searchers_for(names, workers)
    begun = explain_begin.begun(names, searchers if pool is None else 1)
    if begun is not None:
        _load_views(as_json=as_json)
    from oomkit.explain.redact import Redactor

    # Of many logs here only what is shown in full is held in full: it is read again.
    again = pool is not None and cluster is None and not as_json and page is None and last != 0
    again = again and all(name is not None and os.path.isfile(name) for name in names)
    logs = read_logs(
        names,
        Redactor() if redact else None,
        pool,
        searchers=searchers,
        begun=begun,
        outlines=summary or again,
    )
    if page is not None:
        status = _write_page(logs, page, last)
    elif as_json:
        status = _print_json(logs, last, summary=summary)
    else:
        status = _print_text(logs, last, summary=summary, again=again)
    sys.exit(_complain(logs) or status)


def _load_views(*, as_json: bool) -> None:
    """Load what shows reports while others search, and not when they have nothing left to do."""
    if as_json:
        pass
    else:
        pass


def _shown(count: int, last: int | None, default: int) -> range:
    wanted = default if last is None else last
    return range(count) if wanted == 0 else range(max(count - wanted, 0), count)


def _print_json(logs: "Sequence[ReadLog]", last: int | None, *, summary: bool) -> int:
    import msgspec

    from oomkit.explain.explanation import Case
    from oomkit.views.explain_json import objects, summary_object

    found = Case(logs)
    out = sys.stdout.buffer
    if summary:
        answer = summary_object(
            found.reports, found.evidence, found.incidents, found.tables, found.no_kill
        )
        out.write(msgspec.json.format(msgspec.json.encode(answer), indent=1) + b"\n")
        return int(found.is_bad_news)
    for item in objects(found, _shown(len(found.reports), last, 0)):
        out.write(msgspec.json.encode(item) + b"\n")
    return int(found.is_bad_news)


def _print_text(logs: "Sequence[ReadLog]", last: int | None, *, summary: bool, again: bool) -> int:
    from oomkit.explain.explanation import Case
    from oomkit.render.document import Text
    from oomkit.render.quantities import count_of
    from oomkit.render.terminal import show
    from oomkit.views.explain_report import explanation_report, reported, summary_of

    found = Case(logs)
    if not found.incidents:
        if not all(log.error for log in logs):
            names = ", ".join("standard input" if t.name == "-" else t.name for t in logs)
            click.echo(printable(found.no_kill or f"no OOM report in {names}"))
        return int(found.is_bad_news)
    shown = _shown(len(found.reports), last, _DEFAULT_LAST)
    if summary or len(found.reports) != 1 or len(found.incidents) > 1:
        show(summary_of(found.reports, found.evidence, found.incidents, found.tables))
    if summary:
        return int(found.is_bad_news)
    if again:
        _read_again(found, shown)
    show(reported(found.reported_by_others()[-_DEFAULT_LAST:], found.evidence))
    for index in shown:
        show(explanation_report(found.explain(index), index + 1))
    if len(shown) < len(found.reports):
        left = len(found.reports) - len(shown)
        show([Text(f"({count_of(left, 'earlier report')} not shown in full; --last 0 shows all)")])
    return int(found.is_bad_news)


def _read_again(found: "Case", shown: range) -> None:
    """Read the logs again that hold what is shown in full."""
    from oomkit.explain.files import read_file
    from oomkit.klog.lines.sources import LogError

    try:
        found.restore(shown, read_file)
    except LogError as error:
        fail(str(error))


def _write_page(logs: "Sequence[ReadLog]", page: str, last: int | None) -> int:
    from oomkit.explain.explanation import Case
    from oomkit.files.safely import open_output
    from oomkit.views.explain_page import page_text

    found = Case(logs)
    items = [found.explain(i) for i in _shown(len(found.reports), last, 0)]
    text = page_text(
        items, found.reports, found.evidence, found.incidents, found.tables, found.no_kill
    )
    if page == "-":
        sys.stdout.buffer.write(text.encode())
        return int(found.is_bad_news)
    try:
        with open_output(page) as file:
            file.write(text.encode())
    except OSError as error:
        fail(f"--html: {page}: {error.strerror}")
    return int(found.is_bad_news)


def _follow(name: str | None, *, redact: bool, as_json: bool) -> int:
    from oomkit.explain.evidence_text import is_for_memory
    from oomkit.explain.follow import follow
    from oomkit.explain.redact import Redactor
    from oomkit.klog.lines.sources import LogError
    from oomkit.klog.records import Report

    status = number = 0
    if sys.stderr.isatty():
        log = {None: "the running kernel's log", "-": "standard input"}.get(name, name)
        text = f"oomkit: reading {printable(log or '')}, then waiting for more; Ctrl-C ends it"
        click.echo(text, err=True)
    try:
        for record in follow(name, Redactor() if redact else None):
            if isinstance(record, Report):
                number += 1
                _print_one(record, number, as_json=as_json)
                status = 1
                continue
            _print_evidence(record, as_json=as_json)
            status = status or int(is_for_memory(record))
    except LogError as error:
        fail(str(error))
    except KeyboardInterrupt:
        pass
    return status


def _print_one(report: "Report", number: int, *, as_json: bool) -> None:
    from oomkit.explain.explanation import explain

    item = explain(report)
    if as_json:
        import msgspec

        from oomkit.views.explain_json import report_object

        sys.stdout.buffer.write(msgspec.json.encode(report_object(item)) + b"\n")
        sys.stdout.buffer.flush()
        return
    from oomkit.render.terminal import show
    from oomkit.views.explain_report import explanation_report

    show(explanation_report(item, number))
    sys.stdout.flush()


def _print_evidence(item: "Evidence", *, as_json: bool) -> None:
    """Print a line of another program as it arrives."""
    if as_json:
        import msgspec

        from oomkit.views.explain_json import evidence_object

        sys.stdout.buffer.write(msgspec.json.encode(evidence_object(item)) + b"\n")
        sys.stdout.buffer.flush()
        return
    from oomkit.explain.killer import death

    click.echo(printable(f"{item.time or ''} {death(item).text}".strip()))
    sys.stdout.flush()


def _complain(logs: "Sequence[ReadLog]") -> int:
    """Report the logs that could not be read; return 2 if there are any."""
    for log in logs:
        if log.error is not None:
            say(f"oomkit: {printable(log.error)}")
    return 2 if any(log.error is not None for log in logs) else 0
