"""The rows the charts are drawn from: samples thinned out, tasks grouped by name."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from oomkit.printable import printable
from oomkit.render.quantities import mb, seconds
from oomkit.scenario import Kill, Run, Scenario
from oomkit.scenario.read import walk_tasks
from oomkit.views.kill_reasons import badness_text, reason_lines
from oomkit.views.run_curves import Curve, curves, uses

Rows = list[dict[str, Any]]

MAX_POINTS = 400
"""Points of a curve; more than a picture's columns can't be seen."""

MAX_CURVES = 60
"""Tasks drawn one by one, largest first."""

MAX_NAMES = 7
"""Names that get a colour of their own."""

OTHERS = "others"

USE_COLOURS = {
    "kernel": "#8a7fb5",
    "tasks": "#e69f00",
    "page cache, shmem": "#56b4e9",
    "free": "rgba(125, 165, 140, 0.22)",
}
TASK_COLOURS = (
    "#e69f00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#7f6fc4",
    "#8c6d31",
    "#17a2b8",
    "#888888",
)
PRESSURE_COLOURS = {"PSI some": "#e69f00", "PSI full": "#e0457b", "CPU busy": "#7a8794"}

USES = ("kernel", "tasks", "page cache, shmem", "free")
"""From the bottom of the stack to its top."""


def shown_indices(run: Run, most: int = MAX_POINTS) -> list[int]:
    """Choose the samples to draw: evenly spaced ones, and those beside each event."""
    t_s = run.samples.t_s
    count = len(t_s)
    if count <= most:
        return list(range(count))
    chosen = {round(i * (count - 1) / (most - 1)) for i in range(most)}
    edges = [kill.t_s for kill in run.kills[:most]]
    edges += [t for freeze in run.frozen[:most] for t in (freeze.from_s, freeze.to_s)]
    edges.sort()
    i = 0
    for edge in edges:
        while i < count and t_s[i] < edge:
            i += 1
        chosen.update(j for j in (i - 1, i) if 0 <= j < count)
    return sorted(chosen)


def memory_rows(run: Run, scenario: Scenario | None) -> Rows:
    """One row a sample: MB of each use."""
    use = uses(run, scenario)
    parts = (use.kernel_mb, use.tasks_mb, use.cache_mb, use.free_mb)
    rows = []
    for i in shown_indices(run):
        if i >= len(use.t_s):
            break
        row = {"t": _t(use.t_s[i])}
        row |= {name: _r(part[i]) for name, part in zip(USES, parts, strict=True)}
        if use.swap_total_mb > 0:
            row["swap used"] = _r(use.swap_used_mb[i])
        rows.append(row)
    return rows


def pressure_rows(run: Run) -> Rows:
    """One row a sample: PSI averages and the CPUs' busy share, in percent."""
    s = run.samples
    columns = zip(s.t_s, s.psi_some_avg10, s.psi_full_avg10, s.cpu_busy, strict=False)
    whole = list(columns)
    return [
        {"t": _t(t), "PSI some": _r(some), "PSI full": _r(full), "CPU busy": _r(busy * 100)}
        for t, some, full, busy in (whole[i] for i in shown_indices(run) if i < len(whole))
    ]


def task_names(run: Run, found: Sequence[Curve] | None = None) -> list[str]:
    """The names that get a colour: those of the largest tasks, then what is left over.

    ``found``, here and below, are the run's curves, where they are known.
    """
    peaks: dict[str, float] = {}
    for curve in curves(run) if found is None else found:
        name = printable(curve.name)
        peaks[name] = max(peaks.get(name, 0.0), curve.peak_mb)
    ordered = sorted(peaks, key=lambda name: -peaks[name])
    if len(ordered) <= MAX_NAMES + 1:
        return ordered
    return [*ordered[:MAX_NAMES], OTHERS]


def task_rows(run: Run) -> tuple[Rows, int]:
    """Rows of the largest tasks' curves, and how many tasks are not drawn."""
    names = set(task_names(run))
    found = sorted(curves(run), key=lambda curve: -curve.peak_mb)
    drawn, left_out = found[:MAX_CURVES], len(found[MAX_CURVES:])
    indices = shown_indices(run, max(60, MAX_POINTS * 20 // max(len(drawn), 20)))
    rows: Rows = []
    for curve in drawn:
        name = printable(curve.name)
        name = name if name in names else OTHERS
        rows += _curve_rows(curve, run.samples.t_s, indices, name)
    return rows, left_out


def _curve_rows(curve: Curve, t_s: list[float], indices: list[int], name: str) -> Rows:
    rows: Rows = []
    key = printable(curve.key)
    for i in indices:
        if curve.first <= i <= min(curve.last, len(curve.rss_mb) - 1, len(curve.swap_mb) - 1):
            row = {"t": _t(t_s[i]), "task": key, "name": name}
            row |= {"rss": _r(curve.rss_mb[i]), "swap": _r(curve.swap_mb[i])}
            rows.append(row)
    return rows


def cgroup_rows(
    run: Run, scenario: Scenario | None, found: Sequence[Curve] | None = None
) -> tuple[Rows, Rows]:
    """Resident memory of each limited cgroup's tasks by time, and the limits.

    Tasks are identified by name, so a name that stands in several cgroups counts for the last.
    """
    if scenario is None:
        return [], []
    limits = {
        group.name: group.max_bytes / 2**20
        for group in scenario.cgroups
        if group.max_bytes is not None
    }
    owner = {task.name: task.cgroup for _, task in walk_tasks(scenario.tasks) if task.cgroup}
    t_s = run.samples.t_s
    sums: dict[str, list[float]] = {}
    for curve in curves(run) if found is None else found:
        path = owner.get(curve.name, "")
        for name in limits:
            if path == name or path.startswith(f"{name}/"):
                total = sums.setdefault(name, [0.0] * len(t_s))
                for i, rss in enumerate(curve.rss_mb[: len(t_s)]):
                    total[i] += rss
    rows = [
        {"t": _t(t_s[i]), "cgroup": printable(name), "rss": _r(total[i])}
        for name, total in list(sums.items())[:MAX_NAMES]
        for i in shown_indices(run)
    ]
    lines = [
        {"cgroup": printable(name), "max": _r(limits[name]), "label": f"max of {printable(name)}"}
        for name in list(sums)[:MAX_NAMES]
    ]
    return rows, lines


def kill_rows(run: Run, found: Sequence[Curve] | None = None) -> Rows:
    """One row a kill: where its mark stands and what is said of it."""
    known = curves(run) if found is None else found
    before = {(curve.name, curve.instance): curve for curve in known}
    together: dict[float, list[int]] = {}
    for index, kill in enumerate(run.kills):
        together.setdefault(kill.t_s, []).append(index)
    rows = []
    for index, kill in enumerate(run.kills):
        curve = before.get((kill.task, kill.instance))
        rows.append(
            {
                "t": _t(kill.t_s),
                "kill": index,
                "together": together[kill.t_s],
                "victim": f"{printable(kill.task)}/{kill.instance}",
                "what": _what(kill),
                "at": seconds(kill.t_s),
                "rss": _r(_last_rss(curve, run.samples.t_s, kill.t_s)) if curve else 0.0,
                "badness": badness_text(kill.badness, run.kernel).removeprefix("badness "),
                "frees": mb(kill.freed_mb),
                "why": reason_lines(kill, run.kernel)[0],
            }
        )
    return rows


def _last_rss(curve: Curve, t_s: Sequence[float], until_s: float) -> float:
    """The resident memory a task had last until a time."""
    for i in range(min(bisect_right(t_s, until_s), len(curve.rss_mb)) - 1, -1, -1):
        if curve.rss_mb[i] > 0:
            return curve.rss_mb[i]
    return 0.0


def _what(kill: Kill) -> str:
    said = "would have killed" if kill.would_have else "killed"
    return said if kill.by == "kernel" else f"{said} by {printable(kill.by)}"


def freeze_rows(run: Run) -> Rows:
    """One row a freeze: from when to when."""
    return [
        {
            "t": _t(f.from_s),
            "until": _t(f.to_s),
            "lasted": seconds(max(f.to_s - f.from_s, 0.0)),
        }
        for f in run.frozen
    ]


def _t(t_s: float) -> float:
    """A time as the record has it: two samples that fell together would be stacked."""
    return round(t_s, 6)


def _r(value: float) -> float:
    return round(value, 2)
