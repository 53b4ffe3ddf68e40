"""Memory cgroups as JSON: the table of all, and what fills one of them."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from oomkit.posture.anatomy import Anatomy
from oomkit.posture.anatomy_findings import Finding
from oomkit.posture.cgroup_table import GroupRow

NameOf = Callable[[str], dict[str, Any]]
"""From a cgroup's path to the names it is known by."""


def _figures(found: Anatomy) -> dict[str, Any]:
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
        "pressure": None if stat is None else msgspec.to_builtins(stat.pressure),
        "victim": None if row.victim is None else {"pid": row.victim.pid, "comm": row.victim.comm},
        "victims": row.victims,
        "freed_bytes": row.freed_bytes,
        "growth_bytes_s": None if rate is None else round(rate.growth_bytes_s, 1),
        "to_limit_s": None if row.to_limit_s is None else round(row.to_limit_s, 1),
    }
    made["figures"] = None if row.found is None else _figures(row.found)
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
    made["rows"] = msgspec.to_builtins(row.found.rows)
    made["tmpfs"] = None if row.stat is None else msgspec.to_builtins(row.stat.tmpfs)
    made["findings"] = msgspec.to_builtins(findings)
    made["missing"] = list(missing)
    return made
