"""Zones as a cause: low memory, CMA, and reserves that are too large."""

from collections.abc import Iterator

from oomkit.explain.records import Finding, Shortage
from oomkit.explain.zones import (
    Request,
    free_for,
    hidden_low_kb,
    request_of,
    reserve_kb,
    usable,
)
from oomkit.klog.memory_records import Zone
from oomkit.klog.records import Report
from oomkit.render.quantities import kb, share

_LARGE = 0.1
"""The kernel by itself keeps back far less of what it manages, but for the smallest machines."""


def zone_findings(report: Report, short: Shortage) -> Iterator[Finding]:
    """What zones and reserves have to do with a shortage of the machine."""
    request, memory = request_of(report), report.memory
    if request is None or memory is None or report.scope not in ("global", None):
        return
    yield from _hidden_low_memory(report, request)
    mine = usable(memory.zones, request)
    if short.kind == "zone" and not request.high and any(z.name == "HighMem" for z in memory.zones):
        yield from _low_memory(mine, memory.zones)
    cma = sum((zone.free_kb or 0) - free_for(zone, request) for zone in mine)
    taken = sum(free_for(zone, request) for zone in mine)
    if cma > max(taken, 4096):
        text = f"of {kb(cma + taken)} free, {kb(cma)} is CMA, which only movable pages may use"
        text += ": a smaller CMA area (cma= on the kernel's command line, or the device tree)"
        yield Finding(kind="cma", level="cause", text=text)
    yield from _reserve(report, request, mine)


def _low_memory(mine: list[Zone], zones: tuple[Zone, ...]) -> Iterator[Finding]:
    size = sum(zone.managed_kb or zone.present_kb or 0 for zone in mine)
    high = sum(zone.free_kb or 0 for zone in zones if zone.name == "HighMem")
    of = f" ({kb(size)})" if size else ""
    text = (
        f"low memory{of} ran out, with {kb(high)} free in high memory: a 32-bit kernel keeps its "
        "own data (slab, page tables, stacks, buffers) in low memory; a 64-bit kernel has no such "
        "border"
    )
    yield Finding(kind="low_memory", level="cause", text=text)


def _hidden_low_memory(report: Report, request: Request) -> Iterator[Finding]:
    size_kb = hidden_low_kb(report, request)
    free = report.memory.counters_pages.get("free") if report.memory else None
    if size_kb is None or not free or free * report.page_kb < 2 * size_kb:
        return
    text = (
        f"{kb(free * report.page_kb)} were free, while this request (no __GFP_HIGHMEM) may use "
        f"low memory only, about {kb(size_kb)} by lowmem_reserve: it points to low memory of a "
        "32-bit kernel, whose zone is not in the log"
    )
    yield Finding(kind="low_memory", level="odd", text=text)


def _reserve(report: Report, request: Request, mine: list[Zone]) -> Iterator[Finding]:
    """Memory was free, all of it kept back."""
    known = [zone for zone in mine if zone.min_kb is not None and zone.free_kb is not None]
    total = sum(zone.managed_kb or zone.present_kb or 0 for zone in known)
    if not known or not total or len(known) < len(mine):
        return
    least = sum(zone.min_kb or 0 for zone in known)
    lowmem = sum(reserve_kb(zone, report, request) for zone in known)
    free = sum(free_for(zone, request) for zone in known)
    below = all(
        free_for(zone, request) <= (zone.min_kb or 0) + reserve_kb(zone, report, request) + 1024
        for zone in known
    )
    if not below or free < total * _LARGE or least + lowmem < total * _LARGE:
        return
    knob = "vm.min_free_kbytes" if least >= lowmem else "vm.lowmem_reserve_ratio"
    text = (
        f"{kb(free)} ({share(free, total)}) were free, and all of it kept back: min watermarks "
        f"of {kb(least)} and {kb(lowmem)} of lowmem_reserve, {share(least + lowmem, total)} of the "
        f"zones that the request may use; {knob} is set too high"
    )
    yield Finding(kind="reserve", level="cause", text=text)
