"""Reads the steps of a task, and what happens to the machine at a time."""

from typing import Any, get_args

from oomkit.scenario.format import At, Step, Verb
from oomkit.scenario.knobs import read_knobs
from oomkit.toml import units
from oomkit.toml.table import Table, flag, integer, name

VERBS: tuple[Verb, ...] = get_args(Verb)

_PACED = ("touch", "peek", "share", "tmpfs", "lock", "read", "write")
_MODIFIERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_PACED, ("rate", "over")),
    "reserve": ("shared",),
    "touch": ("rate", "over", "stride", "scatter", "hugetlb"),
    "peek": ("rate", "over", "stride"),
    "share": ("rate", "over", "scatter"),
    "read": ("rate", "over", "file"),
    "write": ("rate", "over", "file"),
    "work": ("rate", "set", "file"),
    "free": ("lazy",),
}

MAX_FORKS = 1000

MAX_STEPS = 10_000

MAX_SCATTER = 256

MIN_IO_RATE = 4096


def read_steps(table: Table, key: str) -> tuple[Step, ...]:
    """The steps of an array, with ``{ repeat = N, steps = [...] }`` written out."""
    steps: list[Step] = []
    for entry in table.tables(key):
        if "repeat" in entry.raw:
            count = entry.take("repeat", integer(1, MAX_STEPS), 1)
            inner = read_steps(entry, "steps")
            entry.done()
            if len(steps) + count * len(inner) > MAX_STEPS:
                entry.fault("repeat", f"expected at most {MAX_STEPS} steps in all")
                continue
            steps.extend(inner * count)
        else:
            step = read_step(entry)
            steps.extend([step] if step is not None else [])
    return tuple(steps)


def read_step(table: Table) -> Step | None:
    """A step from its inline table; None where it has no verb or several."""
    verbs = [key for key in table.raw if key in VERBS]
    if len(verbs) != 1:
        table.fault("", f"expected exactly one of {', '.join(VERBS)}")
        return None
    verb = verbs[0]
    fields: dict[str, Any] = _subject(table, verb)
    for key in _MODIFIERS.get(verb, ()):
        _modifier(table, key, fields)
    if fields.get("rate_bytes_s") is not None and fields.get("over_s") is not None:
        table.fault("over", "expected a rate or over, not both")
    if fields.get("scatter") and len(fields) > 2 + sum(not v for v in fields.values()):
        table.fault("scatter", "expected neither rate, over, stride nor hugetlb beside it")
    if fields.get("hugetlb") and fields.get("stride_bytes") is not None:
        table.fault("hugetlb", "expected no stride beside it")
    table.done()
    return Step(verb=verb, **fields)


def _subject(table: Table, verb: str) -> dict[str, Any]:
    if verb in ("work", "hold"):
        return {"seconds": table.take(verb, _seconds, 0.0)}
    if verb == "fork":
        return {"count": table.take(verb, integer(1, MAX_FORKS), 1)}
    if verb == "exit":
        return {"code": table.take(verb, integer(0, 255), 0)}
    if verb == "free":
        return {"size_bytes": table.take(verb, _size_or_all, None)}
    return {"size_bytes": table.take(verb, units.size, 0)}


def _modifier(table: Table, key: str, fields: dict[str, Any]) -> None:
    if key == "rate":
        fields["rate_bytes_s"] = table.take(key, units.rate, None)
    elif key == "over":
        fields["over_s"] = table.take(key, _positive, None)
    elif key == "stride":
        fields["stride_bytes"] = table.take(key, _stride, None)
    elif key == "scatter":
        fields["scatter"] = table.take(key, integer(1, MAX_SCATTER), 0)
    elif key in ("shared", "lazy", "hugetlb"):
        fields[key] = table.flag(key)
    elif key == "set":
        fields["set_bytes"] = table.take(key, units.size, None)
    else:
        fields["file"] = table.take(key, name, None)


def _seconds(value: Any) -> float | None:
    if value == "forever":
        return None
    try:
        return units.duration(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "forever"') from None


def _positive(value: Any) -> float:
    seconds = units.duration(value)
    if seconds <= 0:
        raise ValueError(f"{units.DURATION}, above 0")
    return seconds


def _stride(value: Any) -> int:
    stride = units.size(value)
    if stride < 4096:
        raise ValueError('a size from "4K" on')
    return stride


def _size_or_all(value: Any) -> int | None:
    if value == "all":
        return None
    try:
        return units.size(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "all"') from None


def read_io_max(table: Table) -> dict[str, float | None]:
    """Fields of :class:`~oomkit.scenario.format.Cgroup` from ``io_max = { rbps, wbps }``."""
    limits = table.table("io_max")
    found = {
        "io_read_bytes_s": limits.take("rbps", _io_rate, None),
        "io_write_bytes_s": limits.take("wbps", _io_rate, None),
    }
    limits.done()
    return found


def _io_rate(value: Any) -> float:
    """The kernel takes no 0, and nothing is read or written in less than pages."""
    rate = units.rate(value)
    if rate < MIN_IO_RATE:
        raise ValueError('a rate from "4K/s" on')
    return rate


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
        **read_io_max(table),
    }
    table.done()
    return {key: value for key, value in values.items() if value is not None}
