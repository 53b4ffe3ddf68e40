"""A node and its pods as a scenario: cgroups, adjustments, and a guess of what containers use."""

from collections.abc import Sequence
from typing import Literal

from oomkit.errors import OomkitError
from oomkit.kubernetes import rules
from oomkit.kubernetes.rules import CRITICAL, Container, Kubelet, MemoryVolume, Pod
from oomkit.model.boot import mem_total_pages
from oomkit.model.tasks import PAGE
from oomkit.records import Record
from oomkit.render.quantities import kb
from oomkit.scenario.format import Cgroup, Machine, Scenario, Step, Task

Usage = Literal["grow", "request", "limit"]

MIB = 2**20
PODS = "kubepods"

USUAL_BYTES = 64 * MIB
"""Use of a container that requests nothing, where no option says more."""
NEAR_LIMIT = 0.97
"""Of its limit: the rest is page tables, stacks and kernel memory, which are charged as well."""
INIT_S, READY_S, GROW_AT_S, AFTER_S = 5.0, 10.0, 60.0, 120.0
"""How long an init container runs, how fast requests are filled, when growth begins, and how much
longer the scenario goes on."""
BACK_OFF_S = 10.0
"""Delay until a container is started again: the kubelet's first (``MaxContainerBackOff`` apart)."""

_DAEMONS = (("kubelet", 100, rules.DAEMON_ADJ), ("containerd", 80, rules.DAEMON_ADJ),
            ("node-system", 120, 0))  # fmt: skip
"""What runs beside pods on a small node: name, MiB, adjustment."""


class NodeError(OomkitError, ValueError):
    """The node and its pods don't go together; the message says how."""


class Node(Record, frozen=True, kw_only=True):
    """A node, and what is assumed of the containers on it.

    Attributes:
        machine: its RAM, swap, kernel.
        kubelet: how its kubelet is set.
        usage: ``grow``: containers fill their request, then grow to their limit; ``request``,
            ``limit``: they fill that.
        use: bytes that a container grows to, by ``POD/CONTAINER`` or ``CONTAINER``.
        grow_s: how long growing takes.
    """

    machine: Machine
    kubelet: Kubelet = Kubelet()
    usage: Usage = "grow"
    use: dict[str, int] = {}
    grow_s: float = 300.0


class Made(Record, frozen=True, kw_only=True):
    """A scenario, and sentences on what it rests on."""

    scenario: Scenario
    notes: tuple[str, ...]


def scenario_of(node: Node, pods: Sequence[Pod], *, name: str) -> Made:
    """The scenario of a node with these pods.

    Raises:
        NodeError: nothing is left for pods, or sizes are given for containers that do not exist.
    """
    capacity = mem_total_pages(node.machine) * PAGE
    allocatable = capacity - node.kubelet.reserved_bytes
    if allocatable <= 0:
        raise NodeError(
            f"{_size(node.kubelet.reserved_bytes)} are reserved of {_size(capacity)} of memory; "
            "nothing is left for pods"
        )
    placed = tuple(pods[: node.kubelet.max_pods])
    unknown = set(node.use) - {key for pod in placed for key in _keys(pod)}
    if unknown:
        raise NodeError(f"--use {min(unknown)}: expected the name of a container")
    maker = _Maker(node, capacity, allocatable)
    for pod in placed:
        maker.add(pod)
    scenario = Scenario(
        name=name,
        about=f"a Kubernetes node with {len(placed)} pod{'s' * (len(placed) != 1)}",
        duration_s=GROW_AT_S + node.grow_s + AFTER_S,
        machine=node.machine,
        tasks=(*_daemons(), *maker.tasks),
        cgroups=(*maker.above(placed), *maker.cgroups),
    )
    notes = [*_head(node, capacity, allocatable), *maker.notes]
    requested = sum(pod.request_bytes for pod in placed)
    schedulable = allocatable - _hard_bytes(node.kubelet, capacity)
    if requested > schedulable:
        notes.append(
            f"requests add up to {_size(requested)}, more than the {_size(schedulable)} that the "
            "scheduler would give away on this node"
        )
    if len(placed) < len(pods):
        notes.append(f"{len(pods) - len(placed)} pods left out: maxPods is {node.kubelet.max_pods}")
    return Made(scenario=scenario, notes=tuple(notes))


def _head(node: Node, capacity: int, allocatable: int) -> list[str]:
    kubelet = node.kubelet
    said = {
        "grow": f"fills its request, and from {GROW_AT_S:g} s on grows to its limit",
        "request": "fills its request",
        "limit": "fills its limit",
    }
    return [
        (
            f"Kubernetes {kubelet.version[0]}.{kubelet.version[1]}, cgroup version "
            f"{kubelet.cgroup_version}: MemTotal {_size(capacity)}, for pods {_size(allocatable)}"
        ),
        (
            f"each container is one process that {said[node.usage]} (by --usage); without a "
            f"request {_size(USUAL_BYTES)}; it stays just below the limit, unless --use says more"
        ),
    ]


def _hard_bytes(kubelet: Kubelet, capacity: int) -> int:
    return 0 if kubelet.hard is None else kubelet.hard.of(capacity)


def _daemons() -> list[Task]:
    return [
        Task(
            name=name, uid=0, oom_score_adj=adj, role="protected",
            steps=(Step(verb="touch", size_bytes=mib * MIB, over_s=1.0), Step(verb="hold")),
        )
        for name, mib, adj in _DAEMONS
    ]  # fmt: skip


class _Maker:
    """Makes tasks and cgroups of pods."""

    def __init__(self, node: Node, capacity: int, allocatable: int) -> None:
        self.node = node
        self.kubelet = node.kubelet
        self.capacity = capacity
        self.allocatable = allocatable
        self.tasks: list[Task] = []
        self.cgroups: list[Cgroup] = []
        self.notes: list[str] = []
        self._names: set[str] = set()
        self._paths: set[str] = set()

    def above(self, pods: Sequence[Pod]) -> list[Cgroup]:
        """The cgroups of all pods, and of the classes below it.

        pkg/kubelet/cm: node_container_manager_linux.go and qos_container_manager_linux.go.
        """
        version: Literal[1, 2] = 1 if self.kubelet.cgroup_version == 1 else 2
        by_class = {
            qos: sum(pod.request_bytes for pod in pods if pod.qos == qos)
            for qos in ("Guaranteed", "Burstable")
        }
        kept = [rules.memory_protection(by_class[qos], qos, self.kubelet) for qos in by_class]
        return [
            Cgroup(
                name=PODS,
                version=version,
                max_bytes=self.allocatable if self.kubelet.enforces_pods else None,
                min_bytes=kept[0][0] + kept[1][0],
                low_bytes=kept[0][1] + kept[1][1],
            ),
            Cgroup(
                name=f"{PODS}/burstable", version=version, min_bytes=kept[1][0],
                low_bytes=kept[1][1],
            ),
            Cgroup(name=f"{PODS}/besteffort", version=version),
        ]  # fmt: skip

    def add(self, pod: Pod) -> None:
        """Add a pod."""
        qos = pod.qos
        level = "" if qos == "Guaranteed" else f"/{qos.lower()}"
        path = self._free(f"{PODS}{level}/pod{pod.namespace}_{pod.name}", self._paths)
        least, low = rules.memory_protection(pod.request_bytes, qos, self.kubelet)
        self.cgroups.append(
            Cgroup(
                name=path,
                version=1 if self.kubelet.cgroup_version == 1 else 2,
                max_bytes=pod.limit_bytes,
                min_bytes=least,
                low_bytes=low,
                request_bytes=pod.request_bytes,
                priority=CRITICAL if pod.static else pod.priority,
            )
        )
        start = 0.0
        for container in pod.containers:
            self._container(pod, container, path, start)
            start += INIT_S if container.kind == "init" else 0.0

    def _container(self, pod: Pod, container: Container, pod_path: str, start_s: float) -> None:
        path = f"{pod_path}/{_word(container.name)}"
        least, low = rules.memory_protection(container.resources.memory, pod.qos, self.kubelet)
        first_version = self.kubelet.cgroup_version == 1
        limit = pod.limit_of(container)
        swaps = self.node.machine.swap_bytes > 0
        self.cgroups.append(
            Cgroup(
                name=path,
                version=1 if first_version else 2,
                max_bytes=limit,
                high_bytes=rules.memory_high(container, self.kubelet, self.allocatable),
                min_bytes=least,
                low_bytes=low,
                memsw_bytes=limit if swaps and first_version else None,
                swap_max_bytes=None
                if first_version or not swaps
                else rules.swap_max(
                    pod, container, self.kubelet, self.capacity, self.node.machine.swap_bytes
                ),
                oom_group=self.kubelet.kills_groups,
            )
        )
        self.tasks.append(
            Task(
                name=self._free(f"{_word(pod.name)}:{_word(container.name)}", self._names),
                cgroup=path,
                start_s=start_s,
                oom_score_adj=rules.oom_score_adj(
                    pod, container, self.capacity, self.kubelet.version
                ),
                restart_s=None
                if container.kind == "init" or pod.restarts == "Never"
                else BACK_OFF_S,
                steps=tuple(self._steps(pod, container, start_s)),
            )
        )

    def _steps(self, pod: Pod, container: Container, start_s: float) -> list[Step]:
        first, then = self._sizes(pod, container)
        if container.kind == "init":
            first = then if _is_given(self.node.use, pod, container) else first
            return [
                Step(verb="touch", size_bytes=first, over_s=INIT_S - 1.0),
                Step(verb="hold", seconds=1.0),
            ]
        steps = [Step(verb="touch", size_bytes=first, over_s=READY_S)] if first else []
        grows = then - first
        if grows > 0:
            steps.append(Step(verb="hold", seconds=max(GROW_AT_S - READY_S - start_s, 1.0)))
            for volume in self._volumes(pod, container):
                part = min(volume.limit_bytes or 0, grows)
                if part:
                    over = self.node.grow_s * part / (then - first)
                    steps.append(Step(verb="tmpfs", size_bytes=part, over_s=over))
                    grows -= part
            if grows:
                over = self.node.grow_s * grows / (then - first)
                steps.append(Step(verb="touch", size_bytes=grows, over_s=over))
        return [*steps, Step(verb="hold")]

    def _sizes(self, pod: Pod, container: Container) -> tuple[int, int]:
        """What a container fills at first, and what it grows to."""
        limit = pod.limit_of(container)
        most = int(limit * NEAR_LIMIT) if limit else None
        first = container.resources.memory or min(USUAL_BYTES, most or USUAL_BYTES)
        first = first if most is None else min(first, most)
        if _is_given(self.node.use, pod, container):
            given = [self.node.use[key] for key in _keys_of(pod, container) if key in self.node.use]
            return min(first, given[0]), given[0]
        if self.node.usage == "limit" and most is not None:
            return most, most
        if self.node.usage == "grow":
            volumes = self._volumes(pod, container)
            files = sum(volume.limit_bytes or 0 for volume in volumes)
            return first, most if most is not None else first + files
        return first, first

    def _volumes(self, pod: Pod, container: Container) -> list[MemoryVolume]:
        """The volumes in memory that it fills: the first container that mounts one does."""
        own = []
        for volume in pod.volumes:
            writers = [
                one for one in pod.containers if volume.name in one.mounts and one.kind != "init"
            ]
            if writers and writers[0].name == container.name:
                own.append(volume)
                if volume.limit_bytes is None:
                    self._note(
                        f"pod {pod.namespace}/{pod.name}: emptyDir {volume.name} in memory has no "
                        "sizeLimit; it stays empty here"
                    )
        return own

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _free(self, name: str, taken: set[str]) -> str:
        """The name, or with a number what is not taken yet."""
        found, number = name, 1
        while found in taken or len(found.rpartition("/")[2]) > _MAX_NAME:
            number += 1
            tail = f"-{number}"
            found = name[: len(name.rpartition("/")[0]) + _MAX_NAME - len(tail)] + tail
        taken.add(found)
        return found


_MAX_NAME = 64


def _word(name: str) -> str:
    """A name as tasks and cgroups may have it."""
    return "".join("-" if c in " .=[]\"'/" else c for c in name)


def _keys_of(pod: Pod, container: Container) -> tuple[str, str]:
    return f"{pod.name}/{container.name}", container.name


def _is_given(use: dict[str, int], pod: Pod, container: Container) -> bool:
    return any(key in use for key in _keys_of(pod, container))


def _keys(pod: Pod) -> list[str]:
    return [key for container in pod.containers for key in _keys_of(pod, container)]


def _size(size_bytes: int) -> str:
    return kb(size_bytes / 1024)
