"""Memory cgroups, as text and as JSON: the table of all, and what fills one of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oomkit.host.memcg_stat import Slab
from oomkit.posture.anatomy import Anatomy, Row
from oomkit.posture.anatomy_findings import Finding, Rates
from oomkit.posture.cgroup_table import GroupRow
from oomkit.printable import printable
from oomkit.records import to_builtins
from oomkit.render.document import Document, Gauge, Part, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import human_bytes, label, seconds, share, time_share

Namer = Callable[[str], str]
"""From a cgroup's path to what people call it."""

_MAX_SLABS = 5
_RECLAIM = {"": "?", "partly": "in part", "written first": "once written"}
_KILL = {"": "?", "partly": "in part"}
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")


def groups_table(rows: Sequence[GroupRow], page_size: int, name: Namer) -> Part:
    """The groups, one a row.

    Args:
        rows: the groups.
        page_size: bytes in a page.
        name: what groups are called.
    """
    if not rows:
        return Text("no memory cgroup to show")
    columns = [
        Column(
            heading="cgroup", cells=[printable(name(row.memcg.path)) for row in rows], folds=True
        ),
        _numbers("current", [human_bytes(row.memcg.usage_pages * page_size) for row in rows], 0),
        _numbers("limit", [_pages(row.memcg.limit_pages, page_size) for row in rows], 0),
        _numbers("used", [_used(row) for row in rows], 6),
        _numbers("not re-\nclaimable", [_share(row) for row in rows], 7, "not reclaimable"),
        _numbers("peak", [_peak(row) for row in rows], 3),
        _numbers("some\n10 s", [_pressure(row) for row in rows], 2, "pressure"),
        _numbers("to limit", [_to_limit(row) for row in rows], 5),
        _numbers("a kill\nfrees", [_freed(row) for row in rows], 4, "what a kill frees"),
    ]
    notes = [
        Column(heading="", cells=[f"dies first: {_victim(row)}" for row in rows]),
        Column(heading="", cells=[_events(row) for row in rows]),
    ]
    return Table(
        columns=columns,
        styles=[_style(row) for row in rows],
        notes=notes,
        elsewhere="a wider window or --json has them",
        note_style="",
    )


def _numbers(heading: str, cells: list[str], leaves: int, name: str = "") -> Column:
    return Column(heading=heading, cells=cells, right=True, leaves=leaves, name=name)


def _pages(pages: int | None, page_size: int) -> str:
    return "-" if pages is None else human_bytes(pages * page_size)


def _used(row: GroupRow) -> str:
    limit = row.memcg.limit_pages
    return "-" if not limit else share(row.memcg.usage_pages, limit)


def _share(row: GroupRow) -> str:
    if row.found is None:
        return "-"
    if row.memcg.limit_pages is None or not row.found.limit_bytes:
        return human_bytes(row.found.unreclaimable_bytes)
    return share(row.found.unreclaimable_bytes, row.found.limit_bytes)


def _peak(row: GroupRow) -> str:
    peak = None if row.stat is None else row.stat.peak_bytes
    return "-" if peak is None else human_bytes(peak)


def _pressure(row: GroupRow) -> str:
    if row.stat is None or row.stat.pressure is None:
        return "-"
    return time_share(row.stat.pressure.some_avg10 / 100)


def _to_limit(row: GroupRow) -> str:
    return "-" if row.to_limit_s is None else seconds(row.to_limit_s)


def _freed(row: GroupRow) -> str:
    return "-" if row.victim is None else human_bytes(row.freed_bytes)


def _victim(row: GroupRow) -> str:
    if row.victim is None:
        return "none can be chosen"
    more = f" and {row.victims - 1} more" if row.victims > 1 else ""
    return label(row.victim.comm, row.victim.pid) + more


def _events(row: GroupRow) -> str:
    events = {} if row.stat is None else row.stat.events
    return ", ".join(f"{name} {events[name]}" for name in _EVENTS if events.get(name))


def _style(row: GroupRow) -> str:
    if row.stat is not None and row.stat.events.get("oom_kill"):
        return "yellow"
    found = row.found
    near = found is not None and found.limit_bytes and row.memcg.limit_pages is not None
    if near and found is not None and found.unreclaimable_bytes >= 0.9 * (found.limit_bytes or 0):
        return "bold red"
    return ""


def anatomy_report(
    row: GroupRow,
    found: Sequence[Finding],
    name: Namer,
    *,
    before: Mapping[str, int] | None = None,
    about: Sequence[str] = (),
    slabs: Sequence[Slab] = (),
) -> Document:
    """What fills a group.

    Args:
        row: the group with its anatomy.
        found: what stands out.
        name: what groups are called.
        before: sizes of the rows at the last look, whose growth is then shown.
        about: what else is known of it, a line each.
        slabs: the largest slab caches.
    """
    anatomy, memcg = row.found, row.memcg
    assert anatomy is not None
    page = Document(Text(printable(name(memcg.path)), "bold"))
    if name(memcg.path) != memcg.path:
        page.text(printable(memcg.path), first="  ", rest="  ")
    for line in about:
        page.text(printable(line), first="  ", rest="  ")
    limit = anatomy.limit_bytes
    whole = limit or anatomy.usage_bytes
    of = "no limit" if limit is None else f"limit {human_bytes(limit)}"
    if limit is not None and anatomy.limit_of not in (None, memcg.path):
        of += f" of {printable(name(anatomy.limit_of or ''))}"
    if limit:
        used = f"{human_bytes(anatomy.usage_bytes)}, {of}"
        page.add(Gauge(share=anatomy.usage_bytes / limit, text=used, cells=30, least=8, room=50))
    else:
        page.line(f"{human_bytes(anatomy.usage_bytes)}, {of}")
    page.line()
    page.add(_rows_table(anatomy.rows, whole, before))
    page.line()
    for line in _figures(anatomy, row):
        page.text(line)
    if row.victim is not None:
        page.text(f"dies first       {_victim(row)}, which frees {human_bytes(row.freed_bytes)}")
    if _events(row):
        page.text(f"events           {_events(row)}")
    if found:
        page.line()
    for finding in found:
        page.text(printable(f"{finding.severity}: {finding.text}"), _STYLES[finding.severity])
    if slabs:
        page.text(printable(_slabs_line(slabs)))
    return page


def _rows_table(rows: Sequence[Row], whole: int, before: Mapping[str, int] | None) -> Part:
    if not rows:
        return Text("nothing is charged to it")
    columns = [
        Column(heading="what", cells=["  of it " + r.name if r.of else r.name for r in rows],
               folds=True),
        Column(heading="size", cells=[human_bytes(r.bytes) for r in rows], right=True),
        Column(heading="share", cells=[share(max(0, r.bytes), whole) for r in rows], right=True,
               leaves=2),
    ]  # fmt: skip
    if before is not None:
        grown = [_growth(row.bytes - before.get(row.name, 0)) for row in rows]
        columns.append(Column(heading="growth", cells=grown, right=True))
    columns += [
        Column(heading="reclaimable", cells=[_RECLAIM.get(r.reclaim, r.reclaim) for r in rows]),
        Column(heading="freed by a kill", cells=[_KILL.get(r.kill, r.kill) for r in rows]),
    ]
    note = Column(heading="", cells=[printable(row.note) for row in rows])
    return Table(
        columns=columns,
        styles=["dim" if row.of else "" for row in rows],
        notes=[note],
        indent=1,
        note_style="",
    )


def _slabs_line(slabs: Sequence[Slab]) -> str:
    largest = ", ".join(f"{slab.name} {human_bytes(slab.bytes)}" for slab in slabs[:_MAX_SLABS])
    return f"{'largest slabs':<16} {largest}"


def _growth(size: int) -> str:
    return "-" if size == 0 else f"{'+' if size > 0 else ''}{human_bytes(size)}"


def _figures(anatomy: Anatomy, row: GroupRow) -> list[str]:
    """The three figures that people mix up, each against the limit, and what else there is."""
    limit = anatomy.limit_bytes

    def line(heading: str, size: int, note: str) -> str:
        of = f", {share(size, limit)} of the limit" if limit else ""
        return f"{heading:<16} {human_bytes(size)}{of} ({note})"

    lines = [
        line("usage", anatomy.usage_bytes, "all that is charged, page cache included"),
        line("working set", anatomy.working_set_bytes,
             "usage without inactive file cache: what the kubelet counts"),
        line("not reclaimable", anatomy.unreclaimable_bytes,
             "what the kernel cannot take back: at the limit it kills"),
    ]  # fmt: skip
    if anatomy.swappable_bytes:
        lines.append(f"{'swappable':<16} {human_bytes(anatomy.swappable_bytes)} of the rest only "
                     "by swapping it out")  # fmt: skip
    if anatomy.swap_bytes:
        lines.append(f"{'in swap':<16} {human_bytes(anatomy.swap_bytes)}")
    if row.stat is not None and row.stat.peak_bytes is not None:
        lines.append(f"{'peak':<16} {human_bytes(row.stat.peak_bytes)}")
    if row.rate is not None and row.rate.growth_bytes_s:
        lines.append(f"{'grows by':<16} {_rate(row.rate)}{_meets(row)}")
    return lines


def _rate(rate: Rates) -> str:
    sign = "-" if rate.growth_bytes_s < 0 else ""
    return f"{sign}{human_bytes(abs(rate.growth_bytes_s))} a second"


def _meets(row: GroupRow) -> str:
    return "" if row.to_limit_s is None else f"; the limit is met in {seconds(row.to_limit_s)}"


NameOf = Callable[[str], dict[str, Any]]
"""From a cgroup's path to the names it is known by."""


def _figures_object(found: Anatomy) -> dict[str, Any]:
    return {
        "usage_bytes": found.usage_bytes,
        "limit_bytes": found.limit_bytes,
        "limit_of": found.limit_of,
        "high_bytes": found.high_bytes,
        "working_set_bytes": found.working_set_bytes,
        "unreclaimable_bytes": found.unreclaimable_bytes,
        "swappable_bytes": found.swappable_bytes,
        "swap_bytes": found.swap_bytes,
        "swap_left_bytes": found.swap_left_bytes,
        "rest_bytes": found.rest_bytes,
    }


def _group(row: GroupRow, page_size: int, names: NameOf) -> dict[str, Any]:
    memcg, stat, rate = row.memcg, row.stat, row.rate
    limit = memcg.limit_pages
    made: dict[str, Any] = {
        "path": memcg.path,
        "names": names(memcg.path),
        "version": memcg.version,
        "current_bytes": memcg.usage_pages * page_size,
        "own_limit_bytes": None if limit is None else limit * page_size,
        "peak_bytes": None if stat is None else stat.peak_bytes,
        "events": {} if stat is None else stat.events,
        "pressure": None if stat is None else to_builtins(stat.pressure),
        "victim": None if row.victim is None else {"pid": row.victim.pid, "comm": row.victim.comm},
        "victims": row.victims,
        "freed_bytes": row.freed_bytes,
        "growth_bytes_s": None if rate is None else round(rate.growth_bytes_s, 1),
        "to_limit_s": None if row.to_limit_s is None else round(row.to_limit_s, 1),
    }
    made["figures"] = None if row.found is None else _figures_object(row.found)
    return made


def table_object(
    rows: Sequence[GroupRow], left_out: int, page_size: int, missing: Sequence[str], names: NameOf
) -> dict[str, Any]:
    """The table as one object."""
    return {
        "cgroups": [_group(row, page_size, names) for row in rows],
        "left_out": left_out,
        "missing": list(missing),
    }


def anatomy_object(
    row: GroupRow,
    findings: Sequence[Finding],
    page_size: int,
    missing: Sequence[str],
    names: NameOf,
) -> dict[str, Any]:
    """One group's anatomy as an object."""
    assert row.found is not None
    made = _group(row, page_size, names)
    made["rows"] = to_builtins(row.found.rows)
    made["tmpfs"] = None if row.stat is None else to_builtins(row.stat.tmpfs)
    made["findings"] = to_builtins(findings)
    made["missing"] = list(missing)
    return made
