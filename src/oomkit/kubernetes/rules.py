"""Pods as far as memory is concerned, and what the kubelet makes of their requests and limits.

Facts of the kubelet's source, 1.22 to 1.37; each function names its file.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from oomkit.records import Record, replace

Qos = Literal["Guaranteed", "Burstable", "BestEffort"]

CRITICAL = 2_000_000_000
"""Pods of at least this priority are never evicted (``IsCriticalPod()``, pkg/kubelet/types)."""
NODE_CRITICAL = CRITICAL + 1000
"""``system-node-critical``; pods of at least this priority get the adjustment of guaranteed ones
(``IsNodeCriticalPod()``)."""


class Resources(Record, frozen=True, kw_only=True):
    """Requests and limits; None: not set, which the API server fills in with the limit."""

    request_bytes: int | None = None
    limit_bytes: int | None = None
    request_mcpu: int | None = None
    limit_mcpu: int | None = None

    @property
    def memory(self) -> int:
        """Requested bytes; 0: none."""
        return self.request_bytes or 0

    @property
    def is_set(self) -> bool:
        """Something of it is more than nothing."""
        return any(
            (self.request_bytes, self.limit_bytes, self.request_mcpu, self.limit_mcpu)
        )  # fmt: skip


class Container(Record, frozen=True, kw_only=True):
    """A container.

    Attributes:
        name: its name.
        resources: its own.
        kind: ``init`` runs to its end before the next one starts; ``sidecar`` is an init container
            with ``restartPolicy: Always``, which stays.
        mounts: names of the volumes that it mounts for writing.
    """

    name: str
    resources: Resources = Resources()
    kind: Literal["main", "init", "sidecar"] = "main"
    mounts: tuple[str, ...] = ()


class MemoryVolume(Record, frozen=True, kw_only=True):
    """An ``emptyDir`` in memory: a tmpfs whose pages are charged to the writer.

    Attributes:
        name: the volume's.
        limit_bytes: ``sizeLimit``; None: none.
    """

    name: str
    limit_bytes: int | None = None


class Pod(Record, frozen=True, kw_only=True):
    """A pod.

    Attributes:
        name, namespace: its own.
        containers: init containers and sidecars in their order, then the others.
        resources: of the pod as a whole (``spec.resources``).
        priority: its own, or its class's.
        overhead_bytes: memory of its runtime class (``spec.overhead``).
        restarts: whether containers that end are started again: Always, OnFailure, Never.
        volumes: volumes in memory.
        static: the kubelet's own, from a file of the node; never evicted.
    """

    name: str
    namespace: str = "default"
    containers: tuple[Container, ...] = ()
    resources: Resources = Resources()
    priority: int = 0
    overhead_bytes: int = 0
    restarts: Literal["Always", "OnFailure", "Never"] = "Always"
    volumes: tuple[MemoryVolume, ...] = ()
    static: bool = False

    @property
    def qos(self) -> Qos:
        """Its class (``ComputePodQOS()``, pkg/apis/core/v1/helper/qos/qos.go)."""
        if self.resources.is_set:
            return _class([self.resources])
        return _class([one.resources for one in self.containers])

    @property
    def request_bytes(self) -> int:
        """What it requests in all (``PodRequests()``, component-helpers/resource/helpers.go)."""
        own = self.resources.request_bytes
        whole = own if own is not None else _whole(self.containers, _requested)
        return whole + self.overhead_bytes

    @property
    def limit_bytes(self) -> int | None:
        """What its cgroup is limited to (``ResourceConfigForPod()``, pkg/kubelet/cm); None: not.

        Only where every container that counts has a limit of its own, or the pod has one.
        """
        if self.resources.limit_bytes:
            return self.resources.limit_bytes + self.overhead_bytes
        if not self.containers or any(not one.resources.limit_bytes for one in self.containers):
            return None
        return _whole(self.containers, _limited) + self.overhead_bytes

    def limit_of(self, container: Container) -> int | None:
        """What a container's cgroup is limited to: its own limit, or else the pod's."""
        return container.resources.limit_bytes or self.resources.limit_bytes or None


def _requested(one: Container) -> int:
    return one.resources.memory


def _limited(one: Container) -> int:
    return one.resources.limit_bytes or 0


def _whole(containers: Iterable[Container], of: Callable[[Container], int]) -> int:
    """The sum of those that run together, or what an init container needs, if that is more."""
    together = most = sidecars = 0
    for one in containers:
        if one.kind == "init":
            most = max(most, of(one) + sidecars)
        else:
            together += of(one)
            sidecars += of(one) if one.kind == "sidecar" else 0
            most = max(most, sidecars)
    return max(together, most)


def _class(found: list[Resources]) -> Qos:
    if not any(one.is_set for one in found):
        return "BestEffort"
    guaranteed = all(one.limit_bytes and one.limit_mcpu for one in found)
    for request, limit in (
        ([one.request_bytes or 0 for one in found], [one.limit_bytes or 0 for one in found]),
        ([one.request_mcpu or 0 for one in found], [one.limit_mcpu or 0 for one in found]),
    ):
        guaranteed = guaranteed and sum(request) == sum(limit)
    return "Guaranteed" if guaranteed else "Burstable"


OLDEST, NEWEST = (1, 22), (1, 37)
"""Versions whose source was read."""

GUARANTEED_ADJ = -997
BEST_EFFORT_ADJ = 1000
DAEMON_ADJ = -999
"""Of the kubelet, kube-proxy and the container runtime."""

PAGE = 4096
_THROTTLING_FACTOR = 0.9


class Threshold(Record, frozen=True, kw_only=True):
    """Of eviction: an amount of memory, or a share of it.

    Attributes:
        size_bytes: the amount; 0 where a share counts.
        share: of the memory that there is; None: the amount counts.
    """

    size_bytes: int = 0
    share: float | None = None

    def of(self, capacity_bytes: int) -> int:
        """In bytes."""
        return self.size_bytes if self.share is None else int(self.share * capacity_bytes)


class Kubelet(Record, frozen=True, kw_only=True):
    """How a node's kubelet is set (``KubeletConfiguration``).

    Attributes:
        version: major and minor.
        cgroup_version: 1 or 2.
        system_reserved_bytes, kube_reserved_bytes: what is kept from pods.
        enforces_pods: the cgroup of all pods is limited to what is left.
        single_process_oom_kill: ``singleProcessOOMKill``; None: not set.
        memory_qos: the feature gate ``MemoryQoS``.
        throttling_factor: ``memoryThrottlingFactor``; None: not set.
        tiered_reservation: ``memoryReservationPolicy: TieredReservation`` (1.36 and later).
        limited_swap: ``memorySwap.swapBehavior: LimitedSwap``.
        max_pods: ``maxPods``.
        hard: threshold of hard eviction by ``memory.available``; None: none.
        soft: of soft eviction; None: none.
        soft_grace_s: how long the soft one has to be met.
        max_pod_grace_s: the longest a pod that is evicted softly has to end.
    """

    version: tuple[int, int] = (1, 34)
    cgroup_version: int = 2
    system_reserved_bytes: int = 0
    kube_reserved_bytes: int = 0
    enforces_pods: bool = True
    single_process_oom_kill: bool | None = None
    memory_qos: bool = False
    throttling_factor: float | None = None
    tiered_reservation: bool = False
    limited_swap: bool = False
    max_pods: int = 110
    hard: Threshold | None = Threshold(size_bytes=100 * 2**20)
    soft: Threshold | None = None
    soft_grace_s: float = 0.0
    max_pod_grace_s: float = 0.0

    @property
    def reserved_bytes(self) -> int:
        """What is kept from pods."""
        return self.system_reserved_bytes + self.kube_reserved_bytes

    @property
    def kills_groups(self) -> bool:
        """Whether containers get ``memory.oom.group`` (pkg/kubelet/kuberuntime/
        kuberuntime_container_linux.go): with cgroup version 2 from 1.28 on, unless
        ``singleProcessOOMKill``, which came with 1.32, says otherwise.
        """  # fmt: skip
        if self.cgroup_version == 1 or self.version < (1, 28):
            return False
        return self.version < (1, 32) or not self.single_process_oom_kill

    @property
    def factor(self) -> float | None:
        """The throttling factor in force: 1.37 has no default for it any more."""
        if self.throttling_factor is None and self.version < (1, 37):
            return _THROTTLING_FACTOR
        return self.throttling_factor


def oom_score_adj(
    pod: Pod, container: Container, capacity_bytes: int, version: tuple[int, int] = NEWEST
) -> int:
    """A container's ``oom_score_adj``.

    ``GetContainerOOMScoreAdjust()``, pkg/kubelet/qos/policy.go.

    Args:
        pod: its pod.
        container: it.
        capacity_bytes: MemTotal.
        version: sidecars count like the least of the others from 1.32 on (pull request 128029),
            requests of the pod as a whole from 1.34.
    """
    if pod.priority >= NODE_CRITICAL or pod.qos == "Guaranteed":
        return GUARANTEED_ADJ
    if pod.qos == "BestEffort":
        return BEST_EFFORT_ADJ
    request = container.resources.memory
    spare = _spare(pod) if version >= (1, 34) else 0
    adj = 1000 - 1000 * (request + spare) // capacity_bytes
    if container.kind == "sidecar" and version >= (1, 32):
        main = [one.resources.memory for one in pod.containers if one.kind == "main"]
        adj = min(adj, 1000 - 1000 * (min(main, default=0) + spare) // capacity_bytes)
    return min(max(adj, 1000 + GUARANTEED_ADJ), BEST_EFFORT_ADJ - 1)


def _spare(pod: Pod) -> int:
    """What the pod requests as a whole beyond its containers, for each of them."""
    whole = pod.resources.request_bytes
    if not whole or not pod.containers:
        return 0
    plain = replace(pod, resources=Resources(), overhead_bytes=0)
    # Go divides towards zero.
    return int((whole - plain.request_bytes) / len(pod.containers))


def memory_high(container: Container, kubelet: Kubelet, allocatable_bytes: int) -> int | None:
    """``memory.high`` of a container under MemoryQoS; None: not set.

    ``generateLinuxContainerResources()``, pkg/kubelet/kuberuntime/kuberuntime_container_linux.go:
    request + factor x (limit or allocatable memory - request), in whole pages, 1.27 and later.
    """
    factor = kubelet.factor
    if not kubelet.memory_qos or kubelet.cgroup_version == 1 or factor is None:
        return None
    request, limit = container.resources.memory, container.resources.limit_bytes or 0
    if request == limit:
        return None
    high = int((request + ((limit or allocatable_bytes) - request) * factor) / PAGE) * PAGE
    return high if high > request else None


def memory_protection(request_bytes: int, qos: str, kubelet: Kubelet) -> tuple[int, int]:
    """``memory.min`` and ``memory.low`` of a container's or a pod's cgroup under MemoryQoS.

    Up to 1.35 requests are ``memory.min``; from 1.36 on nothing is set unless
    ``memoryReservationPolicy`` is ``TieredReservation``: ``memory.min`` of guaranteed pods,
    ``memory.low`` of burstable ones.
    """
    if not kubelet.memory_qos or kubelet.cgroup_version == 1:
        return 0, 0
    if kubelet.version < (1, 36):
        return request_bytes, 0
    if not kubelet.tiered_reservation:
        return 0, 0
    return (request_bytes, 0) if qos == "Guaranteed" else (0, request_bytes)


def swap_max(
    pod: Pod, container: Container, kubelet: Kubelet, capacity_bytes: int, swap_bytes: int
) -> int:
    """``memory.swap.max`` of a container, bytes.

    ``ConfigureLimitedSwap()``, same file: burstable containers whose request is not their limit
    get swap in proportion to it; all others, and all without ``LimitedSwap``, none.
    """
    resources = container.resources
    request, limit = resources.memory, resources.limit_bytes or 0
    if not kubelet.limited_swap or kubelet.cgroup_version == 1 or pod.qos != "Burstable":
        return 0
    if is_critical(pod) or not (request or limit) or request == limit:
        return 0
    return int(request / capacity_bytes * swap_bytes)


def is_critical(pod: Pod) -> bool:
    """Whether it is never evicted (``IsCriticalPod()``, pkg/kubelet/types/pod_update.go)."""
    return pod.static or pod.priority >= CRITICAL
