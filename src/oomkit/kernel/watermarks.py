"""Zones, watermarks and reserves from the size of RAM (mm/page_alloc.c, mm/show_mem.c)."""

from math import isqrt

from oomkit.kernel.rules import RuleSet
from oomkit.records import Record

_DMA_PAGES = 3840
"""Usable pages of the 16 MB of ZONE_DMA on x86-64."""

_DMA32_PAGES = 2**20
"""Pages below 4 GB."""

_RESERVE_RATIO = 256
"""``lowmem_reserve_ratio`` of DMA and DMA32."""

_PAGEBLOCK = 512
"""Pages of a page block: of an order-9 huge page."""

BOOST_FACTOR = 15000
"""``watermark_boost_factor``: share of the high watermark by which all can rise, in 1/10000."""


class Watermarks(Record, frozen=True, kw_only=True):
    """Sums over the zones, in pages.

    Attributes:
        min_pages: what an ordinary allocation leaves free.
        low_pages: below it kswapd is woken.
        high_pages: kswapd's goal.
        floor_pages: what user allocations can't take: each zone's min watermark and what it
            reserves from requests which could use a higher zone (``lowmem_reserve``).
        wake_pages: free memory at which they wake kswapd: the same with the low watermarks.
        goal_pages: at which kswapd rests again: the same with the high watermarks.
        boost_pages: by how much all of them can be boosted (``boost_watermark()``); 0: not.
        totalreserve_pages: ``totalreserve_pages``.
        min_free_kbytes: the knob they follow from.
    """

    min_pages: int
    low_pages: int
    high_pages: int
    floor_pages: int
    wake_pages: int
    goal_pages: int
    boost_pages: int
    totalreserve_pages: int
    min_free_kbytes: int


def zones(total_pages: int) -> tuple[int, ...]:
    """Managed pages of DMA, DMA32 and NORMAL on x86-64, as far as there is memory for them."""
    dma = min(_DMA_PAGES, total_pages // 4)
    dma32 = min(_DMA32_PAGES - dma, total_pages - dma)
    normal = total_pages - dma - dma32
    return (dma, dma32, normal) if normal else (dma, dma32)


def default_min_free_kbytes(total_pages: int, rules: RuleSet, *, thp: bool) -> int:
    """Return ``min_free_kbytes`` as the kernel sets it at boot, in kB.

    ``calculate_min_free_kbytes()`` (mm/page_alloc.c); with THP khugepaged raises it
    (``set_recommended_min_free_kbytes()``, mm/khugepaged.c).
    """
    kbytes = min(max(isqrt(16 * total_pages * 4), 128), rules.min_free_cap_kb)
    if thp:
        raised = min(_PAGEBLOCK * len(zones(total_pages)) * 11, total_pages // 20) * 4
        kbytes = max(kbytes, raised)
    return kbytes


def watermarks_for(
    total_pages: int,
    rules: RuleSet,
    *,
    min_free_kbytes: int,
    scale_factor: int,
    thp: bool,
    boost_factor: int = BOOST_FACTOR,
) -> Watermarks:
    """The watermarks of a machine.

    Args:
        total_pages: MemTotal.
        rules: whether ``watermark_scale_factor`` exists.
        min_free_kbytes: the knob; 0: the kernel's default.
        scale_factor: ``watermark_scale_factor``.
        thp: whether transparent huge pages raise the default.
        boost_factor: ``watermark_boost_factor``.
    """
    kbytes = min_free_kbytes or default_min_free_kbytes(total_pages, rules, thp=thp)
    managed = zones(total_pages)
    mins = [kbytes // 4 * pages // total_pages for pages in managed]
    gaps = []
    for share, pages in zip(mins, managed, strict=True):
        scaled = pages * scale_factor // 10000 if rules.watermark_scale else 0
        gaps.append(max(share // 4, scaled))
    reserves = [sum(managed[i + 1 :]) // _RESERVE_RATIO for i in range(len(managed))]
    highs = [low + 2 * gap for low, gap in zip(mins, gaps, strict=True)]
    boost = 0
    if rules.watermark_boost and boost_factor:
        # Not in zones so small that it would run them out of memory at once; DMA is never mixed.
        above = zip(highs[1:], managed[1:], strict=True)
        boosted = [high for high, pages in above if pages >= 4 * _PAGEBLOCK]
        boost = sum(max(h * boost_factor // 10000, _PAGEBLOCK) for h in boosted)

    def not_for_users(gaps_above: int) -> int:
        marks = (low + gaps_above * gap for low, gap in zip(mins, gaps, strict=True))
        zoned = zip(marks, reserves, managed, strict=True)
        return min(sum(min(mark + reserve, n) for mark, reserve, n in zoned), total_pages // 2)

    total_min = min(sum(mins), total_pages // 2)
    return Watermarks(
        min_pages=total_min,
        low_pages=total_min + sum(gaps),
        high_pages=total_min + 2 * sum(gaps),
        floor_pages=not_for_users(0),
        wake_pages=not_for_users(1),
        goal_pages=not_for_users(2),
        boost_pages=boost,
        totalreserve_pages=sum(
            min(reserve + high, pages)
            for reserve, high, pages in zip(reserves, highs, managed, strict=True)
        ),
        min_free_kbytes=kbytes,
    )
