"""A run as one page that needs nothing else: no network, no other file."""

from typing import Any

import msgspec

from oomkit.kernel.state import Sysctl
from oomkit.printable import printable
from oomkit.render.quantities import FIELDS, human_bytes, mb, outcome_of, percent, seconds
from oomkit.scenario import Cgroup, Machine, Run, Scenario, Step, Task
from oomkit.views.chart_page import chart_page, placed
from oomkit.views.run_charts import panels
from oomkit.views.run_curves import PING, PROBE, answers, curves
from oomkit.views.run_events import ending, log_clock, nested
from oomkit.views.run_text import objective_rows

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
    words += [
        word
        for word, said in (
            ("in huge pages", step.hugetlb),
            ("shared", step.shared),
            ("lazily", step.lazy),
        )
        if said
    ]
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


MAX_TASKS = 200
"""Tasks listed, largest first."""

MAX_LOG_LINES = 20_000

BAD_FIELDS = (FIELDS["innocents_killed"], FIELDS["protected_killed"])
"""Objectives that are bad unless they are 0."""


def html_page(run: Run, scenario: Scenario | None = None, *, command: str = "") -> str:
    """Make the page.

    Args:
        run: the record.
        scenario: what was played; adds the knobs, the tasks' steps, the memory's size.
        command: what plays it again.

    Raises:
        MissingExtraError: altair, jinja2 or vl-convert-python is not installed.
    """
    charts = panels(run, scenario)
    return chart_page(
        run.scenario,
        "run.html",
        charts=bool(charts),
        run=run,
        scenario=scenario,
        drawings=[
            placed(one.chart, one.key, one.height, title=one.title, note=one.note) for one in charts
        ],
        label=_chart_label(run),
        command=command,
        ended=seconds(run.ended_s),
        outcome=outcome_of(run.outcome),
        good=run.outcome == "completed" and not run.objectives.protected_killed,
        bad_fields=BAD_FIELDS,
        end=ending(run, curves(run)),
        answered=_answered(run),
        objectives=objective_rows(run),
        found=nested(run, scenario),
        tasks=_tasks(run),
        knobs={
            "vm_rows": vm_rows,
            "machine_rows": machine_rows,
            "cgroup_rows": cgroup_rows,
            "task_rows": task_rows,
        },
        log=[printable(line.expandtabs()) for line in run.log[:MAX_LOG_LINES]],
        log_clock=log_clock(run),
        log_left_out=max(len(run.log) - MAX_LOG_LINES, 0),
    )


def _chart_label(run: Run) -> str:
    least = min(run.samples.available_mb, default=0.0)
    return (
        f"Curves over {seconds(run.ended_s)}; at minimum {mb(max(least, 0.0))} were available; "
        f"{run.objectives.kills} kills. The list below has the same in words."
    )


def _answered(run: Run) -> list[tuple[str, int, str]]:
    found = []
    for key, label in ((PROBE, "probe"), (PING, "ping")):
        answered = answers(run, key)
        if answered is not None:
            found.append((label, answered[0], seconds(answered[1])))
    return found


def _tasks(run: Run) -> dict[str, Any]:
    found = sorted(curves(run), key=lambda curve: -curve.peak_mb)
    index = {(k.task, k.instance): i for i, k in enumerate(run.kills) if not k.would_have}
    rows = []
    for curve in found[:MAX_TASKS]:
        killed = index.get((curve.name, curve.instance))
        if curve.kill is not None:
            fate = f"killed at {seconds(curve.kill.t_s)}"
        elif curve.end_s is not None:
            fate = f"ended at {seconds(curve.end_s)}"
        else:
            fate = "there at the end"
        done = max(curve.progress[: curve.last + 1], default=0.0)
        rows.append(
            {
                "key": curve.key,
                "start": seconds(curve.start_s),
                "fate": fate,
                "kill": killed,
                "rss": mb(max(curve.rss_mb)),
                "swap": mb(max(curve.swap_mb)),
                "done": percent(done) if done <= 1.0 else f"{done:.1f} loops",
            }
        )
    return {"rows": rows, "left_out": max(len(found) - MAX_TASKS, 0)}
