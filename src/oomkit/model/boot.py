"""From a scenario's words to a machine's pages: use at the start, costs, cgroups' limits."""

from typing import Final

from oomkit.model.pools import Group
from oomkit.model.tasks import PAGE
from oomkit.records import as_dict
from oomkit.scenario.format import COSTS, Cgroup, Machine

_IMAGE_BYTES: Final = 41344 * 1024
"""What a 6.x kernel for virtual machines reserves for its image and early tables."""

_KERNEL_BYTES: Final = 24064 * 1024
"""Slab, per-CPU and other kernel memory of a minimal system after boot."""

ROOTFS_PAGES: Final = 749
"""An initramfs' files: page cache that can't be dropped."""

UPTIME_AT_START_S: Final = 60
"""Seconds between the machine's boot and the start of the scenario."""


def rootfs_pages(total_pages: int) -> int:
    """Pages of the initramfs on a machine with that MemTotal."""
    return min(ROOTFS_PAGES, total_pages // 64)


def mem_total_pages(spec: Machine) -> int:
    """MemTotal of a machine: its RAM without what the kernel never hands out."""
    ram, reserved = spec.ram_bytes, spec.reserved_bytes
    if reserved is None:
        reserved = min(_IMAGE_BYTES, ram // 4) + ram // 64
    return (ram - min(reserved, ram)) // PAGE


def kernel_pages(spec: Machine) -> int:
    """Pages of kernel memory in use before the first task starts."""
    kernel = spec.kernel_bytes
    if kernel is None:
        kernel = min(_KERNEL_BYTES, spec.ram_bytes // 8) + spec.ram_bytes // 128
    return kernel // PAGE


def page_cost_s(spec: Machine, name: str) -> float:
    """CPU seconds of a page, from what one CPU does in a second or :data:`COSTS`."""
    rate: float | None = getattr(spec, name)
    return PAGE / rate if rate is not None else COSTS[name] * PAGE / spec.fault_bytes_s


def groups_of(specs: tuple[Cgroup, ...]) -> dict[str, Group]:
    """The cgroups by path; ancestors that the scenario leaves out are unlimited."""
    groups: dict[str, Group] = {}
    for spec in sorted(specs, key=lambda spec: spec.name.count("/")):
        parent = None
        parts = spec.name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            parent = groups.setdefault(path, Group(path, parent))
        set_limits(groups[spec.name], as_dict(spec))
    return groups


def set_limits(group: Group, values: dict[str, object]) -> None:
    """Set a cgroup's limits from fields of :class:`~oomkit.scenario.format.Cgroup`, by name."""
    for field, value in values.items():
        if field.endswith("_bytes"):
            pages = float("inf") if value is None else float(str(value)) // PAGE
            setattr(group, f"{field.removesuffix('_bytes')}_pages", pages)
        elif field.endswith("_bytes_s"):
            pages = float("inf") if value is None else float(str(value)) / PAGE
            setattr(group, f"{field.removesuffix('_bytes_s')}_pages_s", pages)
        elif field != "name":
            setattr(group, field, value)
