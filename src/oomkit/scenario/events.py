"""Reading ``[[at]]``: knobs that change in the middle of a run."""

from typing import Any

from oomkit.scenario.format import At
from oomkit.scenario.knobs import read_knobs
from oomkit.toml import units
from oomkit.toml.table import Table, flag, integer


def read_at(table: Table) -> At:
    """An event from its table."""
    machine = table.table("machine")
    event = At(
        t_s=table.require("t", units.duration, 0.0),
        vm=read_knobs(table.table("vm")),
        tasks=_by_name(table.table("task"), _task_fields),
        cgroups=_by_name(table.table("cgroup"), _cgroup_fields),
        swap_bytes=machine.take("swap", units.size, None),
    )
    machine.done()
    table.done()
    return event


def _by_name(table: Table, fields: Any) -> dict[str, dict[str, Any]]:
    return {key: fields(table.table(key)) for key in table.raw}


def _task_fields(table: Table) -> dict[str, Any]:
    values: dict[str, Any] = {
        "oom_score_adj": table.take("oom_score_adj", integer(-1000, 1000), None),
        "oom_adj": table.take("oom_adj", integer(-17, 15), None),
        "nice": table.take("nice", integer(-20, 19), None),
    }
    table.done()
    return {key: value for key, value in values.items() if value is not None}


def _cgroup_fields(table: Table) -> dict[str, Any]:
    values: dict[str, Any] = {
        "max_bytes": table.take("max", units.size, None),
        "high_bytes": table.take("high", units.size, None),
        "low_bytes": table.take("low", units.size, None),
        "min_bytes": table.take("min", units.size, None),
        "swap_max_bytes": table.take("swap_max", units.size, None),
        "oom_group": table.take("oom_group", flag, None),
        "oom_kill_disable": table.take("oom_kill_disable", flag, None),
    }
    table.done()
    return {key: value for key, value in values.items() if value is not None}
