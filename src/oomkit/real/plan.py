"""From a scenario to the plan the workload agent plays: every process, every step, in numbers."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from oomkit.scenario.draws import Drawn, draw
from oomkit.scenario.format import At, Scenario, Step, Task
from oomkit.scenario.read import walk_tasks

Plan = dict[str, Any]

SAMPLE_S = 0.1


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where a world keeps what a run needs.

    Attributes:
        files: directory of the files tasks read and write.
        tmpfs: a directory in tmpfs.
        cgroup_procs: cgroup's name (``""``: no cgroup named) to the files that take a pid in.
    """

    files: str
    tmpfs: str
    cgroup_procs: dict[str, tuple[str, ...]]


class Planner:
    """Draws what a scenario declares as random, and counts slots of the progress table."""

    def __init__(self, scenario: Scenario, places: Places, seed: int) -> None:
        self.scenario = scenario
        self.places = places
        self.rng = random.Random(seed)
        self.slots = 0

    def tasks(self) -> list[Plan]:
        """One entry for each process that the watcher starts; children are inside."""
        return [
            entry
            for task in self.scenario.tasks
            for entry in self._entries(task, draw(task, self.rng))
        ]

    def _entries(self, task: Task, drawn: tuple[Drawn, ...]) -> list[Plan]:
        return [self._entry(task, i, one) for i, one in enumerate(drawn)]

    def _entry(self, task: Task, i: int, drawn: Drawn) -> Plan:
        start = task.start_s + i * task.every_s + drawn.late_s
        slot = self.slots
        self.slots += 1
        return {
            "name": task.name,
            "instance": i,
            "slot": slot,
            "start": start,
            "delay": 0.0,
            "cgroup_procs": list(self.places.cgroup_procs[task.cgroup or ""]),
            "oom_score_adj": effective_adj(task),
            "nice": task.nice,
            "lock": any(step.verb == "lock" for step in task.steps),
            "uid": task.uid,
            "gid": task.uid,
            "threads": task.threads,
            "thp": _huge_pages(self.scenario, task),
            "loops": task.loops,
            "restart": task.restart_s,
            "program": f"program-{task.name}" if task.program_bytes else None,
            "program_size": task.program_bytes,
            "steps": [
                self._step(task, i, step, scale)
                for step, scale in zip(task.steps, drawn.scales, strict=True)
            ],
            "children": [
                {**child, "delay": child["start"]}
                for entry, its in zip(task.children, drawn.children, strict=True)
                for child in self._entries(entry, its)
            ],
        }

    def _step(self, task: Task, i: int, step: Step, scale: float) -> Plan:
        size = None if step.size_bytes is None else round(step.size_bytes * scale)
        rate = step.rate_bytes_s
        if step.over_s is not None and size:
            rate = size / step.over_s
        return {
            "verb": step.verb,
            "size": size,
            "rate": rate,
            "stride": step.stride_bytes,
            "scatter": step.scatter,
            "hugetlb": step.hugetlb,
            "shared": step.shared,
            "lazy": step.lazy,
            "seconds": None if step.seconds is None else step.seconds * scale,
            "file": file_name(task, i, step),
            "set": step.set_bytes,
            "count": step.count,
            "code": step.code,
        }


def _huge_pages(scenario: Scenario, task: Task) -> int:
    """What a task says of huge pages for its mappings: 0 none, 1 nothing, 2 it asks for them."""
    if scenario.machine.thp == "never" or task.thp == "never":
        return 0
    return 2 if task.thp == "madvise" else 1


def effective_adj(task: Task) -> int:
    """``oom_score_adj`` of a task, from ``oom_adj`` as kernels since 2.6.36 translate it."""
    if task.oom_adj is None:
        return task.oom_score_adj
    if task.oom_adj == 15:
        return 1000
    return int(task.oom_adj * 1000 / 17)


def file_name(task: Task, i: int, step: Step) -> str | None:
    """The file a step goes through; one of the process's own unless the scenario names it."""
    if step.verb not in ("read", "write", "work"):
        return None
    if step.file is not None:
        return f"shared-{step.file}"
    return None if step.verb == "work" else f"own-{task.name}-{i}"


def files_of(plans: list[Plan]) -> dict[str, int]:
    """Files that have to exist before the run, with the size the longest read asks for."""
    sizes: dict[str, int] = {}
    for plan in plans:
        if plan["program"] is not None:
            sizes[plan["program"]] = plan["program_size"]
        for step in plan["steps"]:
            if step["file"] is not None and step["verb"] in ("read", "work"):
                # A file that is only read over has the size that another task reads; see below.
                size = step["size"] or 4096
                sizes[step["file"]] = max(sizes.get(step["file"], 0), size)
        for name, size in files_of(plan["children"]).items():
            sizes[name] = max(sizes.get(name, 0), size)
    return sizes


def written(scenario: Scenario) -> int:
    """Bytes that all ``write`` steps put into files at most, for the size of a disk."""
    return sum(
        (step.size_bytes or 0) * task.count
        for _, task in walk_tasks(scenario.tasks)
        for step in task.steps
        if step.verb == "write"
    )


def changes(scenario: Scenario, writes: Callable[[At], list[tuple[str, str]]]) -> list[Plan]:
    """The ``[[at]]`` events: new values for tasks, and writes to files.

    Args:
        scenario: whose events.
        writes: path and new value of every knob an event changes in this world.
    """
    return [
        {
            "t": event.t_s,
            "writes": writes(event),
            "tasks": [(name, _task_change(fields)) for name, fields in event.tasks.items()],
        }
        for event in scenario.at
    ]


def _task_change(fields: dict[str, Any]) -> dict[str, Any]:
    change = {"oom_score_adj": fields.get("oom_score_adj"), "nice": fields.get("nice")}
    if fields.get("oom_adj") is not None:
        raw = Task(name="", oom_adj=fields["oom_adj"])
        change["oom_score_adj"] = effective_adj(raw)
    return change
