"""From documents to the pods that they put on a node."""

from collections.abc import Iterable
from typing import Any, Literal, cast

from oomkit.kubernetes.documents import Document, cpus, memory
from oomkit.kubernetes.rules import CRITICAL, NODE_CRITICAL, Container, MemoryVolume, Pod, Resources
from oomkit.printable import printable
from oomkit.records import Record, replace
from oomkit.toml.table import Fault, Table, integer, shown, text

MAX_PODS = 5000
"""Pods that are made of one file at most."""

WORKLOADS = {
    "Pod": ((), None),
    "PodTemplate": (("template",), None),
    "Deployment": (("spec", "template"), "replicas"),
    "ReplicaSet": (("spec", "template"), "replicas"),
    "ReplicationController": (("spec", "template"), "replicas"),
    "StatefulSet": (("spec", "template"), "replicas"),
    "DaemonSet": (("spec", "template"), None),
    "Job": (("spec", "template"), "parallelism"),
    "CronJob": (("spec", "jobTemplate", "spec", "template"), "parallelism"),
}  # fmt: skip
"""Where a kind has its pod's template, and which field beside it says how many."""

WITHOUT_PODS = frozenset((
    "APIService", "CSIDriver", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
    "ConfigMap", "ControllerRevision", "CustomResourceDefinition", "EndpointSlice", "Endpoints",
    "Event", "FlowSchema", "HorizontalPodAutoscaler", "Ingress", "IngressClass", "Lease",
    "MutatingWebhookConfiguration", "Namespace", "NetworkPolicy", "Node", "PersistentVolume",
    "PersistentVolumeClaim", "PodDisruptionBudget", "PriorityLevelConfiguration", "ResourceQuota",
    "Role", "RoleBinding", "RuntimeClass", "Secret", "Service", "ServiceAccount", "StorageClass",
    "ValidatingWebhookConfiguration", "VolumeAttachment",
))  # fmt: skip
"""Kubernetes' own kinds that start no pod and change nothing here."""

_MIN_LIMIT = 2**20


class Manifests(Record, frozen=True, kw_only=True):
    """What files say.

    Attributes:
        pods: the pods, in their order.
        faults: what is wrong, a line each; what it is about is left out.
        notes: what deserves to be known, a line each.
    """

    pods: tuple[Pod, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_manifests(documents: Iterable[Document], *, most_replicas: int | None = None) -> Manifests:
    """Read the pods of documents.

    Args:
        documents: of all files; priority classes and limit ranges among them count for all.
        most_replicas: maximum number of pods of each workload; None: all.
    """
    return _Reader(list(documents), most_replicas).read()


class _Reader:
    """Reads documents into pods, faults and notes."""

    def __init__(self, documents: list[Document], most_replicas: int | None) -> None:
        self._documents = documents
        self._most_replicas = most_replicas
        self._faults: list[str] = []
        self._notes: list[str] = []
        self._pods: list[Pod] = []
        self._classes = {"system-cluster-critical": CRITICAL, "system-node-critical": NODE_CRITICAL}
        self._usual_priority = 0
        self._ranges: dict[str, dict[str, Any]] = {}

    def read(self) -> Manifests:
        for document in self._documents:
            kind = document.raw.get("kind")
            if kind == "PriorityClass":
                self._priority_class(document)
            elif kind == "LimitRange":
                self._limit_range(document)
        for document in self._documents:
            self._document(document)
        return Manifests(
            pods=tuple(self._pods), faults=tuple(self._faults), notes=tuple(self._notes)
        )

    def _document(self, document: Document) -> None:
        raw = document.raw
        if document.fault:
            self._faults.append(f"{document.place}: {document.fault}")
            return
        kind = raw.get("kind")
        if not isinstance(kind, str):
            self._faults.append(f"{document.place}: kind: expected a kind such as Deployment")
        elif kind in WORKLOADS:
            self._workload(document, kind)
        elif kind not in WITHOUT_PODS and kind not in ("PriorityClass", "LimitRange"):
            known = ", ".join(name for name in WORKLOADS if name != "PodTemplate")
            self._notes.append(
                f"{document.place}: kind: left out, as only {known} and List start pods here"
            )

    def _priority_class(self, document: Document) -> None:
        faults: list[Fault] = []
        table = Table(document.raw, "", faults)
        value = table.require("value", integer(-(2**31), 2**31 - 1), 0)
        name = table.table("metadata").require("name", text, "")
        if self._reported(document, faults):
            return
        self._classes[name] = value
        if document.raw.get("globalDefault") is True:
            self._usual_priority = value

    def _limit_range(self, document: Document) -> None:
        metadata, spec = document.raw.get("metadata"), document.raw.get("spec")
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        limits = spec.get("limits") if isinstance(spec, dict) else None
        if not isinstance(limits, list):
            self._faults.append(f"{document.place}: spec.limits: expected a list")
            return
        for one in limits:
            if isinstance(one, dict) and one.get("type") == "Container":
                self._ranges[str(namespace or "default")] = one

    def _reported(self, document: Document, faults: list[Fault]) -> bool:
        """Report the faults of a document; returns whether there are any."""
        for fault in faults:
            line = ": ".join(filter(None, (document.place, fault.path, fault.expected)))
            self._faults.append(printable(line))
        return bool(faults)

    def _workload(self, document: Document, kind: str) -> None:
        faults: list[Fault] = []
        top = Table(document.raw, "", faults)
        metadata = top.table("metadata")
        name = metadata.take("name", text, None) or metadata.take("generateName", text, None)
        if name is None:
            metadata.fault("name", "is missing; expected a name")
        namespace = metadata.take("namespace", text, "default")
        where, counted = WORKLOADS[kind]
        table, count = top, 1
        for key in where:
            if key not in table.raw:
                table.fault(key, "is missing")
                break
            if key == "template" and counted:
                count = table.take(counted, integer(0, 2**31 - 1), 1)
            table = table.table(key)
        if faults:
            self._reported(document, faults)
            return
        pod = self._pod(table, str(name).rstrip("-"), namespace, faults, document)
        if self._reported(document, faults):
            return
        self._add(pod, count, document)

    def _add(self, pod: Pod, count: int, document: Document) -> None:
        if self._most_replicas is not None:
            count = min(count, self._most_replicas)
        if len(self._pods) + count > MAX_PODS:
            self._faults.append(f"{document.place}: expected at most {MAX_PODS} pods in all")
            return
        for i in range(count):
            name = pod.name if count == 1 else f"{pod.name}-{i}"
            self._pods.append(replace(pod, name=name))

    def _pod(
        self, table: Table, name: str, namespace: str, faults: list[Fault], document: Document
    ) -> Pod:
        if "spec" not in table.raw:
            table.fault("spec", "is missing")
            return Pod(name=name)
        spec = table.table("spec")
        volumes = tuple(filter(None, map(_volume, spec.tables("volumes"))))
        in_memory = {volume.name for volume in volumes}
        defaults = self._ranges.get(namespace)
        init = [
            _container(t, in_memory, defaults, init=True) for t in spec.tables("initContainers")
        ]
        main = [_container(t, in_memory, defaults, init=False) for t in spec.tables("containers")]
        if not main and not faults:
            spec.fault("containers", "expected at least one container")
        _unique(spec, [one.name for one in (*init, *main)])
        overhead = spec.table("overhead")
        annotations = table.table("metadata").table("annotations").raw
        pod = Pod(
            name=name,
            namespace=namespace,
            containers=(*init, *main),
            resources=_resources(spec.table("resources"), None),
            priority=self._priority(spec, document),
            overhead_bytes=overhead.take("memory", memory, 0),
            restarts=cast(
                Literal["Always", "OnFailure", "Never"],
                spec.take("restartPolicy", _restart_policy, "Always"),
            ),
            volumes=volumes,
            static="kubernetes.io/config.mirror" in annotations,
        )
        if not faults:
            self._advise(pod, document)
        return pod

    def _priority(self, spec: Table, document: Document) -> int:
        value = spec.take("priority", integer(-(2**31), 2**31 - 1), None)
        name = spec.take("priorityClassName", text, None)
        if value is not None or name is None:
            return self._usual_priority if value is None else value
        if name not in self._classes:
            self._notes.append(
                f"{document.place}: {spec.at('priorityClassName')}: no PriorityClass {name} is "
                "given; its pods get priority 0"
            )
            return 0
        return self._classes[name]

    def _advise(self, pod: Pod, document: Document) -> None:
        """Note what is allowed and probably not meant."""
        for one in pod.containers:
            for what, size in (
                ("limit", one.resources.limit_bytes), ("request", one.resources.request_bytes),
            ):  # fmt: skip
                if size and size < _MIN_LIMIT:
                    self._notes.append(
                        f"{document.place}: container {one.name}: its memory {what} is {size} "
                        'bytes; "m" means thousandths, "Mi" mebibytes'
                    )
        without = [one.name for one in pod.containers if not pod.limit_of(one)]
        if without:
            self._notes.append(
                f"{document.place}: no memory limit: container{'s' * (len(without) > 1)} "
                f"{printable(', '.join(without))}"
            )


def _restart_policy(value: Any) -> str:
    if value not in ("Always", "OnFailure", "Never"):
        raise ValueError("Always, OnFailure or Never")
    return str(value)


def _unique(spec: Table, names: list[str]) -> None:
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        spec.fault("containers", f"expected each name once, not {name!r} again")


def _volume(table: Table) -> MemoryVolume | None:
    """A volume, if it is in memory."""
    name = table.require("name", text, "")
    if not isinstance(table.raw.get("emptyDir"), dict):
        return None
    empty = table.table("emptyDir")
    limit = empty.take("sizeLimit", memory, None)
    if empty.raw.get("medium") != "Memory":
        return None
    return MemoryVolume(name=name, limit_bytes=limit)


def _container(
    table: Table, in_memory: set[str], defaults: dict[str, Any] | None, *, init: bool
) -> Container:
    name = table.require("name", text, "?")
    policy = table.take("restartPolicy", _restart_policy, None) if init else None
    mounts = tuple(
        str(mount.raw.get("name"))
        for mount in table.tables("volumeMounts")
        if mount.raw.get("readOnly") is not True and mount.raw.get("name") in in_memory
    )
    return Container(
        name=name,
        resources=_resources(table.table("resources"), defaults),
        kind="main" if not init else "sidecar" if policy == "Always" else "init",
        mounts=mounts,
    )


def _resources(table: Table, defaults: dict[str, Any] | None) -> Resources:
    """Requests and limits, with what a LimitRange and the API server add where they are missing."""
    limits, requests = table.table("limits"), table.table("requests")
    found: dict[str, tuple[int | None, int | None]] = {}
    for what, parse in (("memory", memory), ("cpu", cpus)):
        limit = limits.take(what, parse, None)
        request = requests.take(what, parse, None)
        wrong = (what in limits.raw and limit is None) or (
            what in requests.raw and request is None
        )  # fmt: skip
        if defaults and not wrong:
            limit = _usual(defaults, "default", what, parse) if limit is None else limit
            if request is None and what not in limits.raw:
                request = _usual(defaults, "defaultRequest", what, parse)
        if request is None:
            request = limit
        if limit is not None and request is not None and request > limit and not wrong:
            given = requests.raw.get(what, request)
            requests.fault(what, f"expected at most the limit {limits.raw.get(what, limit)}, "
                           f"not {shown(given)}")  # fmt: skip
        found[what] = request, limit
    return Resources(
        request_bytes=found["memory"][0],
        limit_bytes=found["memory"][1],
        request_mcpu=found["cpu"][0],
        limit_mcpu=found["cpu"][1],
    )


def _usual(defaults: dict[str, Any], key: str, what: str, parse: Any) -> int | None:
    values = defaults.get(key)
    try:
        return int(parse(values[what])) if isinstance(values, dict) and what in values else None
    except ValueError:
        return None
