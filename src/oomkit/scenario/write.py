"""A scenario as the TOML file that reads back as the same scenario."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from oomkit.records import Record, field_names
from oomkit.scenario.format import At, Cgroup, Machine, Scenario, Step, Task

_KEYS = {
    "ram_bytes": "ram", "swap_bytes": "swap", "zram_bytes": "zram", "disk_bytes_s": "disk",
    "fault_bytes_s": "fault_rate", "share_bytes_s": "share_rate", "map_bytes_s": "map_rate",
    "first_read_bytes_s": "first_read_rate", "read_bytes_s": "read_rate",
    "swap_out_bytes_s": "swap_out_rate", "swap_in_bytes_s": "swap_in_rate",
    "reserved_bytes": "reserved", "kernel_bytes": "kernel_memory",
    "unmovable_bytes": "unmovable_free",
    "programs_bytes": "programs", "program_bytes": "program", "start_s": "start",
    "every_s": "every", "jitter_s": "jitter", "sigterm_exit_s": "sigterm_exit",
    "restart_s": "restart", "max_bytes": "max", "high_bytes": "high", "low_bytes": "low",
    "min_bytes": "min", "request_bytes": "request",
    "swap_max_bytes": "swap_max", "memsw_bytes": "memsw_max",
    "io_read_bytes_s": "io_max.rbps", "io_write_bytes_s": "io_max.wbps",
}  # fmt: skip
"""Fields whose key in the file is another word."""
_UNITS = (("G", 2**30), ("M", 2**20), ("K", 2**10))


def key_of(field: str) -> str:
    """The key in the file of a field of a scenario's record."""
    return _KEYS.get(field, field)


def scenario_text(scenario: Scenario, comments: Iterable[str] = ()) -> str:
    """Return the file.

    Args:
        scenario: what to write.
        comments: lines for its head.
    """
    lines = [f"# {comment}".rstrip() for comment in comments]
    lines += [f"name = {_text(scenario.name)}"]
    if scenario.about:
        lines.append(f"about = {_text(scenario.about)}")
    lines += [f"duration = {_seconds(scenario.duration_s)}", "", "[machine]"]
    lines += _fields(scenario.machine, Machine(ram_bytes=-1))
    if scenario.vm:
        lines += ["", "[vm]", *(f"{_key(knob)} = {value}" for knob, value in scenario.vm.items())]
    for cgroup in scenario.cgroups:
        lines += ["", "[[cgroup]]", *_fields(cgroup, Cgroup(name=""))]
    for task in scenario.tasks:
        lines += ["", *_task(task, "task")]
    for event in scenario.at:
        lines += ["", *_event(event)]
    return "\n".join(lines) + "\n"


def _fields(record: Record, usual: Record) -> Iterator[str]:
    """The fields that differ from what they are where a file leaves them out."""
    for name in field_names(record):
        value = getattr(record, name)
        if value != getattr(usual, name) and name not in ("steps", "children"):
            yield f"{key_of(name)} = {_value(name, value)}"


def _task(task: Task, path: str, inherited: str | None = None) -> Iterator[str]:
    yield f"[[{path}]]"
    yield from _fields(task, Task(name=""))
    if task.cgroup is None and inherited is not None:
        yield 'cgroup = "/"'
    yield "steps = ["
    for step in task.steps:
        yield f"  {_step(step)},"
    yield "]"
    for child in task.children:
        yield ""
        yield from _task(child, f"{path}.children", task.cgroup)


def _step(step: Step) -> str:
    amount: Any = _size(step.size_bytes) if step.size_bytes is not None else '"all"'
    if step.verb in ("work", "hold"):
        amount = '"forever"' if step.seconds is None else _seconds(step.seconds)
    elif step.verb == "fork":
        amount = step.count
    elif step.verb == "exit":
        amount = step.code
    parts = [f"{step.verb} = {amount}"]
    if step.rate_bytes_s is not None:
        parts.append(f"rate = {_rate(step.rate_bytes_s)}")
    if step.over_s is not None:
        parts.append(f"over = {_seconds(step.over_s)}")
    if step.stride_bytes is not None:
        parts.append(f"stride = {_size(step.stride_bytes)}")
    if step.scatter:
        parts.append(f"scatter = {step.scatter}")
    parts += [f"{name} = true" for name in ("hugetlb", "shared", "lazy") if getattr(step, name)]
    if step.set_bytes is not None:
        parts.append(f"set = {_size(step.set_bytes)}")
    if step.file is not None:
        parts.append(f"file = {_text(step.file)}")
    return f"{{ {', '.join(parts)} }}"


def _event(event: At) -> Iterator[str]:
    yield "[[at]]"
    yield f"t = {_seconds(event.t_s)}"
    for knob, number in event.vm.items():
        yield f"vm.{_key(knob)} = {number}"
    for kind, changes in (("task", event.tasks), ("cgroup", event.cgroups)):
        for name, fields in changes.items():
            for field, value in fields.items():
                yield f"{kind}.{_key(name)}.{key_of(field)} = {_value(field, value)}"
    if event.swap_bytes is not None:
        yield f"machine.swap = {_size(event.swap_bytes)}"


def _value(name: str, value: Any) -> str:
    if name == "loops" and value is None:
        return '"forever"'
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith("_bytes_s"):
        return _rate(value)
    if name.endswith("_bytes"):
        return _size(value)
    if name.endswith("_s"):
        return _seconds(value)
    return _text(value) if isinstance(value, str) else repr(value)


def _size(size: int) -> str:
    for letter, unit in _UNITS:
        if size and size % unit == 0:
            return f'"{size // unit}{letter}"'
    return f'"{size}B"'


def _rate(rate: float) -> str:
    return f'"{_size(round(rate)).strip(chr(34))}/s"'


def _seconds(seconds: float) -> str:
    exact = repr(float(seconds)).removesuffix(".0")
    return f'"{exact}s"' if "e" not in exact else f'"{seconds:.9f}s"'


def _key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else _text(name)


def _text(text: str) -> str:
    """A basic string; JSON's escapes are TOML's, save for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
