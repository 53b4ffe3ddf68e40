"""What a guest has to play: a scenario as the plan for the agent in it."""

from typing import Any

import msgspec

from oomkit.real.cgroup_limits import GroupTree, limits_io
from oomkit.real.companion import Companion
from oomkit.real.disks import Disks
from oomkit.real.plan import SAMPLE_S, Places, Plan, Planner, changes, files_of
from oomkit.real.run_record import LOW_SHARE
from oomkit.scenario.definitions import lines_of, probe_of
from oomkit.scenario.format import At, Scenario
from oomkit.scenario.read import walk_tasks

CLOCK_S = 0.05
"""How often a guest whose clock is its own reports the time."""

_MEASURED, _MEASURED_BYTES = "(measured)", 32 << 20
_V2, _V1 = "/sys/fs/cgroup", "/cgroup/memory"


def plan_of(
    scenario: Scenario,
    drives: Disks,
    seed: int,
    companion: Companion | None,
    *,
    beats: bool,
    own_clock: bool,
    measured: bool = False,
) -> Plan:
    """What the agent of a guest has to do; the drives learn which files they hold.

    Args:
        scenario: what is to be played.
        drives: the guest's disks.
        seed: moves only what the scenario declares as random.
        companion: what is to run in the guest beside the scenario.
        beats: measure reactions.
        own_clock: the guest's clock is not the host's, by which its disks go.
        measured: measure what faults, reads and swapping cost, before the start.
    """
    io = any(limits_io(scenario, group) for group in scenario.cgroups)
    controllers = "+memory +io" if io else "+memory"
    trees = {
        2: GroupTree(_V2, 2, groups_of(scenario, 2), controllers),
        1: GroupTree(_V1, 1, groups_of(scenario, 1)),
    }
    where = {group.name: trees[group.version] for group in scenario.cgroups}
    procs = {name: tree.procs(name) for name, tree in where.items()}
    # A child begins in its parent's cgroup and may have to leave it.
    under_systemd = companion is not None and bool(companion.process_1)
    procs[""] = tuple(
        f"{tree.root}/cgroup.procs"
        for version, tree in trees.items()
        if tree.groups or (under_systemd and version == 2)
    )
    places = Places(files="/disk", tmpfs="/tmp", cgroup_procs=procs)
    planner = Planner(scenario, places, seed)

    def writes(event: At) -> list[tuple[str, str]]:
        pairs = [(f"/proc/sys/vm/{name}", str(value)) for name, value in event.vm.items()]
        for name in event.cgroups:
            one = msgspec.structs.replace(event, cgroups={name: event.cgroups[name]})
            pairs += where[name].changes(one)
        return pairs

    tasks = planner.tasks()
    files = files_of(tasks)
    if scenario.machine.programs_bytes:
        files["(programs)"] = scenario.machine.programs_bytes
    if measured:
        files[_MEASURED] = _MEASURED_BYTES
    drives.plan(files, _uses_disk(scenario) or bool(files))
    trees[2].disks = drives.devices()
    made = trees[2].plan() + trees[1].plan()
    units = companion.units if companion is not None else frozenset()
    for group in made:
        if group["path"].removeprefix(f"{_V2}/") in units:
            group["made"] = True
    at = changes(scenario, writes)
    return {
        "tasks": tasks,
        "slots": planner.slots,
        "groups": made,
        "at": at,
        "at_end": max((event.t_s for event in scenario.at), default=0.0),
        "duration": scenario.duration_s,
        "sample_s": SAMPLE_S,
        "files": "/disk",
        "tmpfs": "/tmp",
        "sysctl": _sysctl(scenario),
        "kmsg": False,
        "mark": True,
        "probe": _probe(scenario),
        "clock": CLOCK_S if own_clock and drives.order else None,
        "incompressible": (
            1.0 / scenario.machine.compression
            if scenario.machine.zram_bytes or scenario.machine.zswap
            else 0.0
        ),
        "programs": "/disk/(programs)" if scenario.machine.programs_bytes else "",
        "measure": _costs(scenario) if measured else None,
        "sources": {
            "cgroup": None,
            "files": {
                "meminfo": "/proc/meminfo",
                "pressure": "/proc/pressure/memory",
                "cpu": "/proc/stat",
            },
            "lines": list(lines_of(scenario.machine)),
            "swap": bool(scenario.machine.swap_bytes or scenario.machine.zram_bytes),
        },
        "guest": {
            "cgroup": controllers if trees[2].groups else "",
            "cgroup1": bool(trees[1].groups),
            "disk": drives.device("disk"),
            "files": list(files.items()),
            "swap": drives.device("swap"),
            "zram": scenario.machine.zram_bytes,
            "beats": beats,
            "low_share": LOW_SHARE,
            **_beside(companion),
        },
    }


def _probe(scenario: Scenario) -> dict[str, Any]:
    probe = probe_of(scenario.machine.programs_bytes)
    return {
        "every": probe.every_s,
        "cpu": probe.cpu_s,
        "text": probe.text_bytes,
        "scratch": probe.scratch_bytes,
    }


def _costs(scenario: Scenario) -> dict[str, Any]:
    """What the agent measures: with a file of its own, and half of the swap."""
    return {"file": f"/disk/{_MEASURED}", "swap": scenario.machine.swap_bytes // 2}


def _beside(companion: Companion | None) -> dict[str, Any]:
    if companion is None:
        return {"command": [], "ready": "", "settle": 0.0}
    return {
        "command": list(companion.command),
        "ready": companion.ready,
        "settle": companion.settle_s,
    }


def groups_of(scenario: Scenario, version: int) -> tuple[Any, ...]:
    """Its cgroups of one version."""
    return tuple(group for group in scenario.cgroups if group.version == version)


def _uses_disk(scenario: Scenario) -> bool:
    return any(
        step.verb in ("read", "write") or step.file is not None
        for _, task in walk_tasks(scenario.tasks)
        for step in task.steps
    )


def needs_disk(scenario: Scenario) -> bool:
    """Whether it needs any block device."""
    machine = scenario.machine
    swaps = machine.swap_bytes or machine.zram_bytes
    return bool(swaps or machine.programs_bytes or _uses_disk(scenario))


def _sysctl(scenario: Scenario) -> list[tuple[str, str]]:
    """Files and values; below 512 MB ``hugepage_init()`` ignores the parameter for huge pages."""
    thp = scenario.machine.thp
    huge_pages = [("/sys/kernel/mm/transparent_hugepage/enabled", thp)] if thp != "never" else []
    return huge_pages + [
        (f"/proc/sys/vm/{name}", str(value))
        for name, value in scenario.vm.items()
        if name not in ("oom_killer_disabled", "would_have_oomkilled")
    ]
