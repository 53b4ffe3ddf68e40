"""From a cgroup's path to pod, container and image, by what lies on this machine.

No daemon is asked. Read are the state and log folders of the kubelet, containerd, CRI-O, Docker,
Podman, Proxmox and machined; what each of them holds is said where it is read. What can't be read
or is not there leaves the id as it is.
"""

import os
import pwd
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from oomkit.host.procfs import read_or_none, text
from oomkit.kernel.cgroup_name import full_container_id, place
from oomkit.kernel.names import Names, cut, names_in_path

_MAX_BYTES = 4 << 20
_CONTAINERD = "run/containerd/io.containerd.runtime.v2.task"
_DRIVERS = ("overlay", "vfs", "btrfs", "zfs", "aufs")
"""Of github.com/containers/storage; each has a list of containers of its own."""
_STORAGES = ("var/lib/containers/storage", "run/containers/storage")
_DOCKER = ("var/lib/docker/containers", "var/lib/docker-engine/containers")
_PART = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")
"""What containerd allows as the name of a namespace and as an id (pkg/identifiers)."""
_USER = re.compile(r"/user@(\d+)\.service/")
_HOSTNAME = re.compile(rb"^(?:hostname|name):[ \t]*(\S+)", re.MULTILINE)


_NONE = Names()


class NameBook:
    """Looks names up, each file once.

    Attributes:
        root: what the folders are below; ``/`` but in tests.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self._known: dict[str, Names] = {}
        self._pods: dict[str, tuple[str, str]] | None = None
        self._logs: dict[str, tuple[str, str, str]] | None = None
        self._storage: dict[str, dict[str, dict[str, Any]]] = {}
        self._scopes: dict[str, str] | None = None
        self._namespaces: list[str] | None = None

    def of(self, path: str) -> Names:
        """The names of what a cgroup belongs to."""
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._look_up(path)
        return known

    def _look_up(self, path: str) -> Names:
        found = names_in_path(path)
        container, pod_uid = full_container_id(path), place(path).pod
        if container is not None:
            by_id = self._container(container, path)
            if by_id is not None:
                found = _merged(by_id, found)
        elif container is None and (task := self._containerd_task(path)) is not None:
            found = _merged(Names(container=task), found)
        if pod_uid is not None and found.pod is None:
            pod = self._pod(pod_uid)
            if pod is not None:
                found = msgspec.structs.replace(found, namespace=pod[0], pod=pod[1])
        if found.machine is None:
            machine = self._machine(path)
        else:
            machine = self._proxmox(path, found.machine)
        return msgspec.structs.replace(found, machine=machine)

    # -- containers --------------------------------------------------------------------------

    def _container(self, container: str, path: str) -> Names | None:
        for look in (self._containerd, self._docker):
            found = look(container)
            if found is not None:
                return found
        found = self._in_storage(container, path)
        if found is not None:
            return found
        logged = self._container_logs().get(container)
        if logged is None:
            return None
        return Names(pod=logged[0], namespace=logged[1], container=logged[2])

    def _containerd(self, container: str) -> Names | None:
        """The bundle's OCI configuration, with the annotations of containerd's CRI plugin.

        Their names: internal/cri/annotations/annotations.go of containerd; nerdctl's own are
        labels that it repeats there.
        """
        for namespace in self._containerd_namespaces():
            config = self._json(f"{_CONTAINERD}/{namespace}/{container}/config.json")
            notes = _dict(_dict(config).get("annotations"))
            cri = "io.kubernetes.cri."
            if notes.get(f"{cri}sandbox-name") is not None:
                sandbox = notes.get(f"{cri}container-type") == "sandbox"
                return Names(
                    namespace=cut(notes.get(f"{cri}sandbox-namespace")),
                    pod=cut(notes.get(f"{cri}sandbox-name")),
                    container="(sandbox)" if sandbox else cut(notes.get(f"{cri}container-name")),
                    image=cut(notes.get(f"{cri}image-name")),
                )
            if cut(notes.get("nerdctl/name")):
                return Names(container=cut(notes.get("nerdctl/name")))
        return None

    def _containerd_namespaces(self) -> list[str]:
        if self._namespaces is None:
            self._namespaces = [one for one in self._list(_CONTAINERD) if _PART.fullmatch(one)]
        return self._namespaces

    def _containerd_task(self, path: str) -> str | None:
        """A task of containerd whose id is no number but what somebody called it, as with ``ctr``.

        Its group is ``/NAMESPACE/ID`` unless it is told otherwise (``WithDefault...()`` in
        pkg/oci/spec.go); the bundle's configuration says whether it really is that one's.
        """
        namespace, _, rest = path[1:].partition("/")
        task = rest.partition("/")[0]
        if not _PART.fullmatch(task) or namespace not in self._containerd_namespaces():
            return None
        config = _dict(self._json(f"{_CONTAINERD}/{namespace}/{task}/config.json"))
        own = _dict(config.get("linux")).get("cgroupsPath") == f"/{namespace}/{task}"
        return task[:253] if own else None

    def _docker(self, container: str) -> Names | None:
        """Docker's record of a container (daemon/container/container.go of moby)."""
        for folder in _DOCKER:
            record = _dict(self._json(f"{folder}/{container}/config.v2.json"))
            if not record:
                continue
            config = _dict(record.get("Config"))
            labels = _dict(config.get("Labels"))
            name = record.get("Name")
            return Names(
                namespace=cut(labels.get("io.kubernetes.pod.namespace")),
                pod=cut(labels.get("io.kubernetes.pod.name")),
                container=cut(labels.get("io.kubernetes.container.name"))
                or cut(name.removeprefix("/") if isinstance(name, str) else None),
                image=cut(config.get("Image")),
            )
        return None

    def _in_storage(self, container: str, path: str) -> Names | None:
        """What CRI-O and Podman keep in the storage they share (github.com/containers/storage).

        CRI-O writes the OCI configuration with its annotations beside (pkg/annotations); Podman's
        names are in the list of containers. A user's own storage is below their home.
        """
        storages = list(_STORAGES)
        user = _USER.search(path)
        if user:
            home = self._home(int(user[1]))
            if home is not None:
                storages.append(f"{home}/.local/share/containers/storage")
        for folder in (
            f"{storage}/{driver}-containers" for storage in storages for driver in _DRIVERS
        ):
            config = self._json(f"{folder}/{container}/userdata/config.json")
            notes = _dict(_dict(config).get("annotations"))
            if cut(notes.get("io.kubernetes.pod.name")):
                sandbox = notes.get("io.kubernetes.cri-o.ContainerType") == "sandbox"
                return Names(
                    namespace=cut(notes.get("io.kubernetes.pod.namespace")),
                    pod=cut(notes.get("io.kubernetes.pod.name")),
                    container="(sandbox)"
                    if sandbox
                    else cut(notes.get("io.kubernetes.container.name")),
                    image=cut(notes.get("io.kubernetes.cri-o.ImageName")),
                )
            listed = self._containers_of(folder).get(container)
            if listed is not None:
                return _podman(listed)
        return None

    def _containers_of(self, folder: str) -> dict[str, dict[str, Any]]:
        known = self._storage.get(folder)
        if known is None:
            known = {}
            for name in ("containers.json", "volatile-containers.json"):
                rows = self._json(f"{folder}/{name}")
                for row in rows if isinstance(rows, list) else ():
                    identity = _dict(row).get("id")
                    if isinstance(identity, str):
                        known[identity] = row
            self._storage[folder] = known
        return known

    def _home(self, uid: int) -> str | None:
        for line in (self._read("etc/passwd") or b"").splitlines():
            fields = line.split(b":")
            if len(fields) >= 6 and fields[2] == b"%d" % uid:
                return text(fields[5]).strip("/")
        if self.root:
            return None
        try:
            return pwd.getpwuid(uid).pw_dir.strip("/")
        except KeyError:
            return None

    def _container_logs(self) -> dict[str, tuple[str, str, str]]:
        """The kubelet's links ``/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log``.

        ``legacyLogSymlink()`` in pkg/kubelet/kuberuntime/legacy.go; they stay until the
        container is removed.
        """
        if self._logs is None:
            self._logs = {}
            for name in self._list("var/log/containers"):
                pod, _, rest = name.removesuffix(".log").partition("_")
                namespace, _, rest = rest.partition("_")
                container, dash, identity = rest.rpartition("-")
                if dash and pod and namespace and container:
                    self._logs[identity] = (pod[:253], namespace[:253], container[:253])
        return self._logs

    # -- pods --------------------------------------------------------------------------------

    def _pod(self, uid: str) -> tuple[str, str] | None:
        """The namespace and name of a pod's uid.

        By the kubelet's folders ``/var/log/pods/NAMESPACE_NAME_UID``
        (``BuildPodLogsDirectory()``, pkg/kubelet/kuberuntime/helpers.go), which outlive the pod.
        """
        if self._pods is None:
            self._pods = {}
            for name in self._list("var/log/pods"):
                namespace, _, rest = name.partition("_")
                pod, underscore, identity = rest.rpartition("_")
                if underscore and namespace and pod:
                    self._pods[identity.replace("-", "")] = (namespace[:253], pod[:253])
        return self._pods.get(uid.replace("-", ""))

    # -- machines ----------------------------------------------------------------------------

    def _machine(self, path: str) -> str | None:
        """The machine that machined registered for a unit (``/run/systemd/machines``)."""
        if self._scopes is None:
            self._scopes = {}
            for name in self._list("run/systemd/machines"):
                if name.startswith("unit:"):  # a link from the unit to the machine's file
                    continue
                for line in (self._read(f"run/systemd/machines/{name}") or b"").splitlines():
                    key, _, value = line.partition(b"=")
                    if key == b"SCOPE":
                        self._scopes[text(value.strip(b'"'))] = name[:253]
        if not self._scopes:
            return None
        return next((self._scopes[part] for part in path.split("/") if part in self._scopes), None)

    def _proxmox(self, path: str, machine: str) -> str:
        """A Proxmox id with the name from its configuration (``/etc/pve``)."""
        if not machine.isdigit():
            return machine
        folder = "qemu-server" if "qemu.slice/" in path else "lxc"
        config = self._read(f"etc/pve/{folder}/{machine}.conf") or b""
        found = _HOSTNAME.search(config.partition(b"\n[")[0])  # before its snapshots
        return machine if found is None else f"{machine} ({text(found[1])[:253]})"

    # -- files -------------------------------------------------------------------------------

    def _list(self, folder: str) -> list[str]:
        try:
            return [text(os.fsencode(name)) for name in sorted(os.listdir(f"{self.root}/{folder}"))]
        except OSError:
            return []

    def _read(self, name: str) -> bytes | None:
        path = f"{self.root}/{name}"
        try:
            if os.stat(path).st_size > _MAX_BYTES or not os.path.isfile(path):
                return None
        except OSError:
            return None
        return read_or_none(path)

    def _json(self, name: str) -> Any:
        data = self._read(name)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


def _podman(row: dict[str, Any]) -> Names:
    names = row.get("names")
    first = names[0] if isinstance(names, list) and names else None
    image = None
    metadata = row.get("metadata")
    if isinstance(metadata, str):
        try:
            image = _dict(msgspec.json.decode(metadata)).get("image-name")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            image = None
    return Names(container=cut(first), image=cut(image))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _merged(first: Names, second: Names) -> Names:
    """What the first knows, and of the second what it does not."""
    return Names(
        **{
            field: getattr(first, field) or getattr(second, field)
            for field in Names.__struct_fields__
        }
    )


def names_of(paths: Iterable[str], book: NameBook) -> dict[str, Names]:
    """The names of cgroups, by path; those of which nothing is known are left out."""
    found = {path: book.of(path) for path in paths}
    return {path: names for path, names in found.items() if names != _NONE}
