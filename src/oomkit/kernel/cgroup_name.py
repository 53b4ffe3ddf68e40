"""Names that people know a cgroup by: its unit, its pod, its container."""

import re
from functools import lru_cache

import msgspec

ID_CHARS = 12
"""Of a container's id people use so many digits."""
_POD_CHARS = 8
_UNIT = re.compile(r"[^/]+\.(?:service|scope|slice|socket|mount|swap)\Z")
_UID = r"[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}"
POD = re.compile(rf"(?:^|[-_])pod_?({_UID}|(?<=pod)-\d+)(?:\.slice)?\Z")
"""A pod's part of a path; its name, or the token that redaction put there."""
CONTAINER = re.compile(
    r"(?:^|^(?:docker|cri-containerd|containerd|crio|libpod)[-:])"
    r"([0-9a-f]{64}|container-\d+)(?:\.scope)?\Z"
)
"""A container's part of a path."""
_LXC = "lxc.payload."


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a cgroup belongs to.

    Attributes:
        unit: the systemd unit (service or scope), else the slice.
        pod: the Kubernetes pod's uid.
        container: the container's id, its first 12 digits.
    """

    unit: str | None = None
    pod: str | None = None
    container: str | None = None


def _is_slice(unit: str | None) -> bool:
    return unit is None or unit.endswith(".slice")


@lru_cache(maxsize=4096)
def place(path: str | None) -> Place:
    """Read the names off a cgroup's path."""
    unit = pod = container = None
    for part in (path or "").split("/"):
        found_pod, found_container = POD.search(part), CONTAINER.search(part)
        if found_pod:
            pod = found_pod[1].replace("_", "-").removeprefix("-")
        elif found_container:
            container = found_container[1][:ID_CHARS]
        elif _UNIT.match(part) and (_is_slice(unit) or not _is_slice(part)):
            unit = part
    return Place(unit=unit, pod=pod, container=container)


def qos_of(path: str) -> str:
    """The quality-of-service class that a pod's path names: guaranteed pods have no level of it."""
    for part in path.split("/"):
        for qos in ("burstable", "besteffort"):
            if part == qos or part.startswith(f"kubepods-{qos}"):
                return qos
    return "guaranteed"


def short_name(path: str) -> str:
    """A cgroup's path as a table shows it: unit, pod and container shortened; else the path."""
    found = place(path)
    parts = []
    if found.pod:
        parts.append(f"pod {found.pod[:_POD_CHARS]}")
    if found.container:
        parts.append(f"container {found.container}")
    if parts:
        return ", ".join(parts)
    last = path.rsplit("/", 1)[-1]
    if last.startswith(_LXC):
        return f"lxc {last.removeprefix(_LXC)}"
    if found.unit and not _is_slice(found.unit):
        return found.unit + path.rpartition(f"/{found.unit}")[2]
    return path


def label(path: str) -> str:
    """A cgroup in a sentence: pods and containers by their short names, others by path."""
    found = place(path)
    return short_name(path) if found.pod or found.container else path
