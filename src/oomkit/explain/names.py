"""Names that people know a cgroup by: its unit, its pod, its container."""

import re

import msgspec

ID_CHARS = 12
"""Of a container's id people use so many digits."""
_UNIT = re.compile(r"[^/]+\.(?:service|scope|slice|socket|mount)\Z")
_UID = r"[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}"
POD = re.compile(rf"(?:^|[-_])pod_?({_UID}|(?<=pod)-\d+)(?:\.slice)?\Z")
"""A pod's part of a path; its name, or the token that redaction put there."""
CONTAINER = re.compile(
    r"(?:^|^(?:docker|cri-containerd|containerd|crio|libpod)[-:])"
    r"([0-9a-f]{64}|container-\d+)(?:\.scope)?\Z"
)
"""A container's part of a path."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Who a cgroup belongs to.

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


def place_text(path: str | None) -> str:
    """``pod 1234…, container 0a1b…`` of a path; empty where it has no such names."""
    found = place(path)
    parts = []
    if found.pod:
        parts.append(f"pod {found.pod}")
    if found.container:
        parts.append(f"container {found.container}")
    if found.unit and not parts:
        parts.append(f"unit {found.unit}")
    return ", ".join(parts)
