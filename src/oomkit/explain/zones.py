"""Zones: which ones a request could use, what was left in them, and how they caused a shortage."""

import re
from collections.abc import Iterator

from oomkit.explain.records import Finding, Shortage
from oomkit.klog.memory_records import Zone
from oomkit.klog.records import Report
from oomkit.records import Record
from oomkit.render.quantities import kb, share

_DMA, _HIGHMEM, _DMA32, _MOVABLE = 0x1, 0x2, 0x4, 0x8
_ORDER = ("DMA", "DMA32", "Normal", "HighMem", "Movable")


class Request(Record, frozen=True, kw_only=True):
    """What the flags of a request say of the zones it can use.

    Attributes:
        highest: name of the highest zone.
        movable: its pages can be moved, so it may use CMA.
        high: it can use high memory.
    """

    highest: str
    movable: bool
    high: bool


def request_of(report: Report) -> Request | None:
    """Read the zone modifiers of ``gfp_mask``; None where it is not printed or is empty.

    The four lowest bits are __GFP_DMA, __GFP_HIGHMEM, __GFP_DMA32 and __GFP_MOVABLE since
    2.6.23 (include/linux/gfp.h); before, the fourth was not in use.
    """
    number = re.match(r"0x([0-9a-f]+)", report.gfp_mask or "")
    if number is None or int(number[1], 16) == 0:
        return None
    bits = int(number[1], 16)
    if bits & _DMA:
        highest = "DMA"
    elif bits & _HIGHMEM:
        highest = "Movable" if bits & _MOVABLE else "HighMem"
    elif bits & _DMA32:
        highest = "DMA32"
    else:
        highest = "Normal"
    return Request(highest=highest, movable=bool(bits & _MOVABLE), high=bool(bits & _HIGHMEM))


def usable(zones: tuple[Zone, ...], request: Request) -> list[Zone]:
    """The zones a request could use."""
    limit = _ORDER.index(request.highest)
    return [z for z in zones if z.name in _ORDER and _ORDER.index(z.name) <= limit]


def free_for(zone: Zone, request: Request) -> int:
    """Free memory of a zone that a request may take, in kB: without CMA unless movable."""
    free = zone.free_kb or 0
    return free if request.movable else free - min(zone.counters_kb.get("free_cma", 0), free)


def reserve_kb(zone: Zone, report: Report, request: Request) -> int:
    """What a zone keeps back from a request for a higher one (lowmem_reserve), in kB."""
    zones = [z.name for z in (report.memory.zones if report.memory else ()) if z.node == zone.node]
    if request.highest not in zones:
        # The kernel's list has an entry for each zone type it is built with.
        higher = zone.lowmem_reserve_pages[1:] if zone.name != request.highest else ()
        pages = max(higher, default=0) if request.high else next(iter(higher), 0)
        return pages * report.page_kb if _ORDER.index(zone.name) < _of(request) else 0
    index = zones.index(request.highest)
    reserves = zone.lowmem_reserve_pages
    return reserves[index] * report.page_kb if index < len(reserves) else 0


def _of(request: Request) -> int:
    return _ORDER.index(request.highest)


def hides_usable(report: Report, request: Request | None) -> bool:
    """Whether the log leaves out zones that the request could have used.

    What a zone keeps back for higher ones (lowmem_reserve) shows that there are any.
    """
    zones = report.memory.zones if report.memory else ()
    for node in {zone.node for zone in zones}:
        shown = [z for z in zones if z.node == node and z.name in _ORDER]
        if not shown:
            continue
        last = max(shown, key=lambda zone: _ORDER.index(zone.name))
        reach = len(_ORDER) if request is None else _of(request)
        if max(last.lowmem_reserve_pages, default=0) > 0 and _ORDER.index(last.name) < reach:
            return True
    return False


_RATIO = 256
"""Pages of higher zones for each page that a zone keeps back, by default."""
_MAX_LOW_KB = 1 << 20


def hidden_low_kb(report: Report, request: Request) -> int | None:
    """Size of the zone after DMA where it can only be a 32-bit kernel's low memory; else None."""
    if request.high or not hides_usable(report, request):
        return None
    dma = next((z for z in (report.memory.zones if report.memory else ()) if z.name == "DMA"), None)
    reserve = dma.lowmem_reserve_pages if dma is not None else ()
    if len(reserve) < 3 or reserve[2] <= reserve[1]:
        return None
    size = reserve[1] * _RATIO * report.page_kb
    # On 64 bits the zone after DMA reaches up to 4 GiB before there is one above it.
    return size if 0 < size < _MAX_LOW_KB else None


def has_block(zone: Zone, order: int) -> bool | None:
    """Whether a free block of that order or more exists; None where the log does not show."""
    return any(zone.free_blocks[order:]) if zone.free_blocks else None


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
