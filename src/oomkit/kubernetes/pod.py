"""Pods and their containers, as far as memory is concerned."""

from collections.abc import Callable, Iterable
from typing import Literal

from oomkit.records import Record

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
