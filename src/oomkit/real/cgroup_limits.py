"""What a memory cgroup or a booted kernel can't show of a scenario, and why."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from oomkit.real.errors import RealError
from oomkit.real.plan import effective_adj
from oomkit.scenario.format import At, Cgroup, Scenario, Task
from oomkit.scenario.read import walk_tasks


class NotHereError(RealError):
    """The scenario can't be played in this world; ``reasons`` say why."""

    def __init__(self, world: str, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"can't be played {world}: {'; '.join(self.reasons)}")


_HOST_WIDE = {
    "panic_on_oom": "a panic would take this host down",
    "overcommit_memory": "overcommit is decided for the whole host",
    "overcommit_ratio": "overcommit is decided for the whole host",
    "overcommit_kbytes": "overcommit is decided for the whole host",
    "admin_reserve_kbytes": "overcommit is decided for the whole host",
    "user_reserve_kbytes": "overcommit is decided for the whole host",
    "oom_kill_allocating_task": "a cgroup's OOM killer does not look at it",
    "min_free_kbytes": "a cgroup has no watermarks",
    "watermark_scale_factor": "a cgroup has no watermarks",
    "oom_dump_tasks": "it is set for the whole host",
    "dirty_ratio": "it is set for the whole host",
    "dirty_background_ratio": "it is set for the whole host",
    "page_cluster": "it is set for the whole host",
    "nr_hugepages": "it is set for the whole host",
    "oom_killer_disabled": "mainline has no such file",
    "would_have_oomkilled": "mainline has no such file",
}


def common(scenario: Scenario) -> list[str]:
    """What no real kernel can show."""
    reasons = []
    for _, task in walk_tasks(scenario.tasks):
        if task.on_sigterm != "exit" or task.sigterm_exit_s:
            reasons.append(f"task {task.name}: on_sigterm and sigterm_exit: the workload agent "
                           "ends at once")  # fmt: skip
        if task.shares_mm_with is not None:
            reasons.append(f"task {task.name}: shares_mm_with needs one address space for two "
                           "programs, which the workload agent can't run")  # fmt: skip
    if any(event.swap_bytes is not None for event in scenario.at):
        reasons.append("the size of the swap can't change in the middle of a run")
    return reasons


def knobs(scenario: Scenario) -> Iterable[str]:
    """Names of the vm knobs a scenario sets to something else than 0, then or later."""
    for values in (scenario.vm, *(event.vm for event in scenario.at)):
        yield from (name for name, value in values.items() if value)


def for_guest(scenario: Scenario) -> list[str]:
    """What a booted kernel can't show."""
    reasons = common(scenario)
    reasons += [
        f"vm.{name}: mainline has no such file"
        for name in dict.fromkeys(knobs(scenario))
        if name in ("oom_killer_disabled", "would_have_oomkilled")
    ]
    return reasons


def for_cgroup(
    scenario: Scenario,
    *,
    lowest_adj: int,
    host_swap_bytes: int,
    lockable_bytes: float = float("inf"),
    thp: str = "never",
) -> list[str]:
    """What a memory cgroup of this host can't show.

    Args:
        scenario: what is to be played.
        lowest_adj: lowest ``oom_score_adj`` this process may give.
        host_swap_bytes: free swap of this host.
        lockable_bytes: what an ordinary user's task may lock here.
        thp: what this host does with huge pages.
    """
    reasons = common(scenario)
    reasons += [
        f"vm.{name}: {_HOST_WIDE[name]}"
        for name in dict.fromkeys(knobs(scenario))
        if name in _HOST_WIDE
    ]
    if scenario.machine.zram_bytes:
        reasons.append("it has swap in compressed memory, which a cgroup has not of its own")
    if scenario.machine.zswap:
        reasons.append("it has zswap, whose pool is the whole machine's")
    if scenario.machine.swap_bytes > host_swap_bytes:
        reasons.append(f"it has {scenario.machine.swap_bytes >> 20} MB of swap, this host "
                       f"{host_swap_bytes >> 20} MB free")  # fmt: skip
    if scenario.machine.thp not in ("never", thp):
        reasons.append(f"thp is {scenario.machine.thp} for the whole machine, and {thp} here")
    reasons += [
        f"cgroup {group.name}: io_max limits a disk, and this host's is not the scenario's"
        for group in scenario.cgroups
        if limits_io(scenario, group)
    ]
    for _, task in walk_tasks(scenario.tasks):
        locked = sum(step.size_bytes or 0 for step in task.steps if step.verb == "lock")
        if task.uid and locked > lockable_bytes:
            reasons.append(f"task {task.name}: locking {locked >> 20} MB as uid {task.uid} needs "
                           "CAP_SYS_RESOURCE here, to raise RLIMIT_MEMLOCK")  # fmt: skip
        lowest = min([effective_adj(task), *_later(scenario, task.name)])
        if lowest < lowest_adj:
            reasons.append(f"task {task.name}: oom_score_adj {lowest} needs CAP_SYS_RESOURCE; "
                           f"{lowest_adj} is the lowest allowed here")  # fmt: skip
    return reasons


_IO_MAX = {"io_read_bytes_s": "rbps", "io_write_bytes_s": "wbps"}
"""Fields of :class:`Cgroup` that are keys of ``io.max``."""


def limits_io(scenario: Scenario, group: Cgroup) -> bool:
    """Whether a cgroup has an ``io.max``, then or later."""
    changes = [event.cgroups.get(group.name, {}) for event in scenario.at]
    return any(
        getattr(group, field) is not None or any(field in change for change in changes)
        for field in _IO_MAX
    )


def _later(scenario: Scenario, name: str) -> Iterable[int]:
    for event in scenario.at:
        if "oom_score_adj" in (fields := event.tasks.get(name, {})):
            yield int(fields["oom_score_adj"])


LEAF = "tasks"
"""Name of the leaf for tasks of a group that has groups below it."""


class GroupTree:
    """Lays a scenario's cgroups out below a directory.

    Args:
        root: directory below which they are made.
        version: interface that is mounted there.
        groups: the scenario's cgroups.
        controllers: those that groups below others need.

    Attributes:
        disks: devices that ``io.max`` limits, by name; the agent writes their numbers.
    """

    def __init__(
        self,
        root: str,
        version: Literal[1, 2],
        groups: tuple[Cgroup, ...],
        controllers: str = "+memory",
    ) -> None:
        self.root = root
        self.version = version
        self.groups = groups
        self.controllers = controllers
        self.disks: tuple[str, ...] = ()

    def path(self, name: str) -> str:
        """Directory of a cgroup."""
        return f"{self.root}/{name}"

    def procs(self, name: str) -> tuple[str, ...]:
        """The files to which a task of this group writes itself.

        Under v2 a group with groups below it can't hold tasks; they go into a leaf of their own.
        """
        leaf = f"/{LEAF}" if self.version == 2 and name in self._above_others() else ""
        return (f"{self.path(name)}{leaf}/cgroup.procs",)

    def _above_others(self) -> set[str]:
        """Groups that others lie in."""
        return {above for group in self.groups for above in _ancestors(group.name)}

    def plan(self) -> list[dict[str, Any]]:
        """What to make, parents first, with what to write into each."""
        named = {group.name: group for group in self.groups}
        above_others = self._above_others()
        for above in above_others:
            named.setdefault(above, Cgroup(name=above, version=self.version))
        plans: list[dict[str, Any]] = []
        for name in sorted(named, key=lambda path: (path.count("/"), path)):
            files = self.files(named[name])
            leaves = self.version == 2 and name in above_others
            if leaves:
                files.insert(0, ("cgroup.subtree_control", self.controllers))
            plans.append({"path": self.path(name), "files": files})
            if leaves:
                plans.append({"path": f"{self.path(name)}/{LEAF}", "files": []})
        return plans

    def files(self, group: Cgroup) -> list[tuple[str, str]]:
        """File and value for everything a cgroup sets.

        Raises:
            ValueError: this interface has no such knob.
        """
        fields = {
            name: getattr(group, name)
            for name in (
                "max_bytes", "high_bytes", "swap_max_bytes", "memsw_bytes", "swappiness", *_IO_MAX,
            )
            if getattr(group, name) is not None
        }  # fmt: skip
        for name in ("low_bytes", "min_bytes", "oom_group", "oom_kill_disable"):
            if getattr(group, name):
                fields[name] = getattr(group, name)
        return self.values(fields)

    def values(self, fields: dict[str, Any]) -> list[tuple[str, str]]:
        """File and value for fields of :class:`Cgroup`.

        Raises:
            ValueError: this interface has no such knob.
        """
        names = _V1 if self.version == 1 else _V2
        pairs = []
        for field, value in fields.items():
            if field in _IO_MAX and self.version == 2:
                limit = f"{_IO_MAX[field]}={int(value)}"
                pairs += [("io.max", f"{disk} {limit}") for disk in self.disks]
                continue
            if field not in names:
                name = "io_max" if field in _IO_MAX else field.removesuffix("_bytes")
                raise ValueError(f"cgroup v{self.version} has no {name}")
            pairs.append((names[field], str(int(value))))
        return pairs

    def changes(self, event: At) -> list[tuple[str, str]]:
        """Path and value of every cgroup knob an event changes."""
        return [
            (f"{self.path(name)}/{file}", value)
            for name, fields in event.cgroups.items()
            for file, value in self.values(fields)
        ]


def missing_knobs(
    groups: tuple[Cgroup, ...], at: tuple[At, ...], version: Literal[1, 2]
) -> list[str]:
    """What these groups, and the changes to them, need that this interface does not have."""
    tree = GroupTree("", version, groups)
    names = {group.name for group in groups}
    found = []
    for group in groups:
        found += _refused(tree, msgspec.structs.replace(group, version=version))
    for event in at:
        for name, fields in event.cgroups.items():
            if name in names:
                found += _refused(tree, fields)
    return list(dict.fromkeys(found))


def _refused(tree: GroupTree, what: Cgroup | dict[str, Any]) -> list[str]:
    try:
        if isinstance(what, Cgroup):
            tree.files(what)
        else:
            tree.values(what)
    except ValueError as error:
        return [str(error)]
    return []


def _ancestors(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


_V1 = {
    "max_bytes": "memory.limit_in_bytes",
    "memsw_bytes": "memory.memsw.limit_in_bytes",
    "swappiness": "memory.swappiness",
    "oom_kill_disable": "memory.oom_control",
}

_V2 = {
    "max_bytes": "memory.max",
    "high_bytes": "memory.high",
    "low_bytes": "memory.low",
    "min_bytes": "memory.min",
    "swap_max_bytes": "memory.swap.max",
    "oom_group": "memory.oom.group",
}


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
