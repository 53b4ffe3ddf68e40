"""``oomkit cgroup``: which memory cgroups there are, and what fills one of them."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from oomkit.cli import complete
from oomkit.cli.common import fail, rules_or_fail, snapshot_from, with_names, without_self
from oomkit.cli.streams import say
from oomkit.cli.watch import looking, refuse_file, watch_options
from oomkit.kernel.cgroup_name import place, row_name
from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.names import Names
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Memcg, Snapshot
from oomkit.posture.anatomy_findings import Rates, findings, rates
from oomkit.posture.cgroup_table import GroupRow, table_rows, worst_first
from oomkit.printable import printable

if TYPE_CHECKING:
    from oomkit.host.memcg_stat import Slab
    from oomkit.host.scan import Scanner
    from oomkit.views.cgroup import NameOf, Namer

_EXAMPLE = """\b
Examples:
  oomkit cgroup
  oomkit cgroup mysql.service
  oomkit cgroup 3f2a9c41b7d0 --watch
  oomkit cgroup /system.slice/db.service --from db1.json
"""
_DEFAULT_TOP = 20
_RATE_OVER_S = 0.5
"""A table that is printed once reads usage twice, so far apart, for the time to the limit."""


@click.command(epilog=_EXAMPLE)
@click.argument("given", type=complete.CGROUP, metavar="[PATH|UNIT|CONTAINER|POD]", required=False)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of cgroups to show; 0 for all.  [default: 20]",
)
@watch_options
def command(
    given: str | None,
    top: int | None,
    *,
    watch: bool,
    interval: float,
    source: str | None,
    as_json: bool,
) -> None:
    """Show what fills memory cgroups: all of them in a table, or one in detail.

    Without an argument, list the cgroups, those nearest their limit first, with the process that
    is killed first if they run out. With an argument, show what the memory of that cgroup is, what
    reclaim can take, what a kill would free, and what stands out.
    """
    refuse_file(source, watch=watch)
    if source is not None:
        snapshot = snapshot_from(source)
        _Screen(given, top, as_json=as_json, live=False, compact=False).show(snapshot, {})
        return
    screen = _Screen(given, top, as_json=as_json, live=True, compact=watch)
    with looking(watch=watch):
        _live(screen, interval if watch else None)


def _live(screen: "_Screen", interval: float | None) -> None:
    from oomkit.host.memcg_stat import read_memcg_stats
    from oomkit.host.names import NameBook
    from oomkit.host.scan import Scanner

    clear = interval is not None and sys.stdout.isatty() and not screen.as_json
    book = NameBook()
    with Scanner() as scanner:
        hierarchy = scanner.hierarchy
        if hierarchy is None:
            fail("no memory cgroups here: the memory controller is not mounted, or not enabled")
        before: dict[str, MemcgStat] = {}
        while True:
            snapshot = with_names(without_self(scanner.snapshot()), book)
            paths = screen.paths(snapshot)
            stats = {stat.path: stat for stat in read_memcg_stats(hierarchy, paths)}
            if interval is None:
                time.sleep(_RATE_OVER_S)
                before = stats
                stats = {stat.path: stat for stat in read_memcg_stats(hierarchy, paths)}
            if screen.given is not None:
                stats = _with_tmpfs(snapshot, stats, scanner.proc_root)
            change = {}
            for path, stat in stats.items():
                rate = rates(before[path], stat) if path in before else None
                if rate is not None:
                    change[path] = rate
            if clear:
                click.clear()
            anatomy = tuple(stats.values())
            screen.show(msgspec.structs.replace(snapshot, anatomy=anatomy), change, scanner)
            if interval is None:
                return
            sys.stdout.flush()
            before = stats
            time.sleep(interval)


def _with_tmpfs(snapshot: Snapshot, stats: dict[str, MemcgStat], proc: str) -> dict[str, MemcgStat]:
    """Add which file systems in memory the groups' processes see."""
    from oomkit.host.memcg_stat import tmpfs_of

    return {
        path: msgspec.structs.replace(
            stat,
            tmpfs=tmpfs_of(
                proc,
                (t.pid for t in snapshot.tasks if t.has_mm and in_memcg(t.cgroup, path)),
            ),
        )
        for path, stat in stats.items()
    }


class _Screen:
    """What was asked for, to be shown of one snapshot after another.

    Attributes:
        given: the cgroup as the user named it; None: all of them.
        as_json: print JSON.
    """

    def __init__(
        self, given: str | None, top: int | None, *, as_json: bool, live: bool, compact: bool
    ) -> None:
        self.given = given
        self.as_json = as_json
        self._top = _DEFAULT_TOP if top is None and not as_json else top or 0
        self._live = live
        self._compact = compact
        self._before: dict[str, int] | None = None

    def paths(self, snapshot: Snapshot) -> list[str]:
        """The groups to be looked at."""
        if self.given is not None:
            return [self._path(snapshot)]
        return [memcg.path for memcg in self._groups(snapshot)]

    def _path(self, snapshot: Snapshot) -> str:
        from oomkit.kernel.cgroup_name import MemcgPathError, find_memcg_path

        try:
            return find_memcg_path(snapshot, self.given or "/")
        except MemcgPathError as error:
            fail(printable(str(error)))

    def _groups(self, snapshot: Snapshot) -> list[Memcg]:
        groups = worst_first(snapshot)
        return groups[: self._top] if self._top else groups

    def show(
        self, snapshot: Snapshot, change: dict[str, Rates], scanner: "Scanner | None" = None
    ) -> None:
        """Print what was asked for.

        Args:
            snapshot: the machine, with the anatomy of the groups to be shown.
            change: how groups change, by path.
            scanner: what looks at this machine; None: the snapshot came from a file.
        """
        rules = rules_or_fail(snapshot.kernel)
        if self.given is None:
            groups = self._groups(snapshot)
            left_out = max(0, len(snapshot.memcgs) - 1) - len(groups)
            self._show_table(snapshot, table_rows(snapshot, groups, rules, change), left_out)
        else:
            path = self._path(snapshot)
            memcg = next((m for m in snapshot.memcgs if m.path == path), Memcg(path=path))
            row = table_rows(snapshot, [memcg], rules, change)[0]
            if row.found is None:
                fail(printable(_no_anatomy(path, live=self._live)))
            self._show_one(snapshot, row, scanner)
        for note in snapshot.missing:
            say(printable(f"oomkit: {note}"))

    def _show_table(self, snapshot: Snapshot, rows: list[GroupRow], left_out: int) -> None:
        size = snapshot.page_size
        if self.as_json:
            from oomkit.views.cgroup import table_object

            self._write(table_object(rows, left_out, size, snapshot.missing, _names(snapshot)))
            return
        from oomkit.render.document import Document
        from oomkit.render.terminal import show
        from oomkit.views.cgroup import groups_table

        page = Document()
        page.add(groups_table(rows, size, _namer(snapshot)))
        if left_out:
            page.line(f"({left_out} more; --top 0 shows all)")
        show(page)
        if rows and not snapshot.anatomy:
            say("oomkit: this snapshot was made without anatomy: what fills the groups is unknown")

    def _show_one(self, snapshot: Snapshot, row: GroupRow, scanner: "Scanner | None") -> None:
        assert row.found is not None
        assert row.stat is not None
        found = findings(snapshot, row.stat, row.found, row.rate)
        slabs = None if scanner is None else _slabs(scanner, row)
        if self.as_json:
            from oomkit.views.cgroup import anatomy_object

            made = anatomy_object(
                row, found, snapshot.page_size, snapshot.missing, _names(snapshot)
            )
            made["slabs"] = None if slabs is None else msgspec.to_builtins(slabs)
            self._write(made)
        else:
            from oomkit.render.terminal import show
            from oomkit.views.cgroup import anatomy_report

            name = _namer(snapshot)
            show(anatomy_report(row, found, name, before=self._before, slabs=slabs or ()))
        self._before = {part.name: part.bytes for part in row.found.rows}

    def _write(self, made: dict[str, Any]) -> None:
        text = msgspec.json.encode(made)
        if not self._compact:
            text = msgspec.json.format(text, indent=1)
        sys.stdout.buffer.write(text + b"\n")


def _slabs(scanner: "Scanner", row: GroupRow) -> "list[Slab] | None":
    from oomkit.host.memcg_stat import read_slabs

    assert scanner.hierarchy is not None
    return read_slabs(scanner.hierarchy, row.memcg.path, scanner.proc_root, scanner.page_size)


def _namer(snapshot: Snapshot) -> "Namer":
    return lambda path: row_name(snapshot, path)


def _names(snapshot: Snapshot) -> "NameOf":
    def of(path: str) -> dict[str, Any]:
        found = place(path)
        ids = {"unit": found.unit, "pod_uid": found.pod, "container_id": found.container}
        known: dict[str, Any] = msgspec.to_builtins(snapshot.names.get(path, Names()))
        return ids | known

    return of


def _no_anatomy(path: str, *, live: bool) -> str:
    if live:
        return f"{path}: its memory.stat cannot be read: gone, or not for this user"
    return f"{path}: this snapshot holds no anatomy of it; one of a newer oomkit snapshot does"
