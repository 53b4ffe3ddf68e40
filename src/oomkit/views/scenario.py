"""What a scenario set: the machine, the knobs, the tasks, the memory cgroups, in words."""

from typing import Any

import msgspec

from oomkit.kernel.state import Sysctl
from oomkit.printable import printable
from oomkit.render.quantities import human_bytes, seconds
from oomkit.scenario import Cgroup, Machine, Scenario, Step, Task

_ALWAYS = (
    "overcommit_memory",
    "overcommit_ratio",
    "panic_on_oom",
    "oom_kill_allocating_task",
    "oom_killer_disabled",
    "would_have_oomkilled",
    "swappiness",
)
"""Sysctls shown even with their default values."""


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """The machine, field by field; without what the model sizes itself."""
    return [
        (_label(field), amount(field, value))
        for field, value in msgspec.structs.asdict(machine).items()
        if value is not None and value is not False
    ]


def vm_rows(scenario: Scenario) -> list[tuple[str, str, bool]]:
    """Knobs of ``/proc/sys/vm``: name, value, and whether the scenario sets it."""
    defaults = msgspec.structs.asdict(Sysctl())
    rows = [(name, str(value), True) for name, value in scenario.vm.items()]
    rows += [(name, str(defaults[name]), False) for name in _ALWAYS if name not in scenario.vm]
    return sorted(rows)


def task_rows(tasks: tuple[Task, ...], depth: int = 0) -> list[tuple[str, str, list[str]]]:
    """Each task, children after their parent: its name, what it differs in, and its steps."""
    rows = []
    for task in tasks:
        name = printable(task.name) + (f" ({task.count} of them)" if task.count != 1 else "")
        skipped = ("name", "count", "children", "steps")
        steps = [step_text(step) for step in task.steps]
        rows.append(("- " * depth + name, _set_fields(task, skipped), steps))
        rows += task_rows(task.children, depth + 1)
    return rows


def cgroup_rows(cgroups: tuple[Cgroup, ...]) -> list[tuple[str, str]]:
    """Each memory cgroup: its name and what it sets."""
    return [(printable(one.name), _set_fields(one, ("name",))) for one in cgroups]


def step_text(step: Step) -> str:
    """A step in words: ``touch 400 MiB at 50.0 MiB/s``."""
    if step.verb in ("work", "hold"):
        words = [step.verb, "for ever" if step.seconds is None else seconds(step.seconds)]
    elif step.verb == "fork":
        words = [f"fork {step.count}"]
    elif step.verb == "exit":
        words = [f"exit {step.code}"]
    else:
        words = [step.verb, "all" if step.size_bytes is None else human_bytes(step.size_bytes)]
    if step.rate_bytes_s is not None:
        words.append(f"at {human_bytes(step.rate_bytes_s)}/s")
    if step.over_s is not None:
        words.append(f"over {seconds(step.over_s)}")
    if step.stride_bytes is not None:
        words.append(f"every {human_bytes(step.stride_bytes)}")
    if step.set_bytes is not None:
        words.append(f"over {human_bytes(step.set_bytes)} of memory")
    if step.file is not None:
        words.append(f"file {printable(step.file)}")
    return " ".join(words)


def amount(field: str, value: Any) -> str:
    """A field's value with the unit that its name carries."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if field.endswith("_bytes_s"):
            return f"{human_bytes(value)}/s"
        if field.endswith("_bytes"):
            return human_bytes(value)
        if field.endswith("_s"):
            return seconds(value)
    return printable(str(value))


def _label(field: str) -> str:
    for unit in ("_bytes_s", "_bytes", "_s"):
        if field.endswith(unit):
            return field.removesuffix(unit)
    return field


def _set_fields(record: msgspec.Struct, skipped: tuple[str, ...]) -> str:
    parts = []
    for info in msgspec.structs.fields(record):
        value = getattr(record, info.name)
        if info.name not in skipped and value != info.default:
            parts.append(f"{_label(info.name)} {amount(info.name, value)}")
    return ", ".join(parts)
