"""What a report's cgroup is called."""

from oomkit.kernel.cgroup_name import CONTAINER, ID_CHARS, POD, Place, place

__all__ = ["CONTAINER", "ID_CHARS", "POD", "Place", "place", "place_text"]


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
