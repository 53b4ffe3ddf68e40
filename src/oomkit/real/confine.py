"""A scenario as it stands when its machine is a memory cgroup of a larger one.

Both the model and the real cgroup play the outcome, so that they are asked the same thing.
"""

from typing import Any, Literal

import msgspec

from oomkit.scenario.format import Cgroup, Scenario, Task

OUTER = "oomkit"
"""Name of the cgroup that stands for the machine."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine around the cgroup.

    Attributes:
        release: its kernel.
        version: interface of its memory cgroups.
        ram_bytes: MemTotal.
        swap_bytes: SwapTotal.
        cpus: its CPUs.
    """

    release: str
    version: Literal[1, 2]
    ram_bytes: int
    swap_bytes: int
    cpus: int


def confine(scenario: Scenario, host: Host) -> Scenario:
    """Put every task into a cgroup whose limits are the scenario's RAM and swap."""
    machine = scenario.machine
    outer = Cgroup(
        name=OUTER,
        version=host.version,
        max_bytes=machine.ram_bytes,
        swap_max_bytes=machine.swap_bytes if host.version == 2 else None,
        memsw_bytes=machine.ram_bytes + machine.swap_bytes
        if host.version == 1 and host.swap_bytes
        else None,
        swappiness=scenario.vm.get("swappiness") if host.version == 1 else None,
    )
    inner = tuple(
        msgspec.structs.replace(group, name=_inside(group.name), version=host.version)
        for group in scenario.cgroups
    )
    return msgspec.structs.replace(
        scenario,
        machine=msgspec.structs.replace(
            machine,
            ram_bytes=host.ram_bytes,
            swap_bytes=host.swap_bytes,
            cpus=min(machine.cpus, host.cpus),
            kernel=host.release,
            reserved_bytes=0,
        ),
        vm={name: value for name, value in scenario.vm.items() if name != "swappiness"},
        tasks=tuple(_task(task) for task in scenario.tasks),
        cgroups=(outer, *inner),
        at=tuple(
            msgspec.structs.replace(event, cgroups=_renamed(event.cgroups)) for event in scenario.at
        ),
    )


def _inside(name: str) -> str:
    return f"{OUTER}/{name}"


def _renamed(changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {_inside(name): fields for name, fields in changes.items()}


def _task(task: Task) -> Task:
    return msgspec.structs.replace(
        task,
        cgroup=_inside(task.cgroup) if task.cgroup else OUTER,
        children=tuple(_task(child) for child in task.children),
    )
