"""Swap in compressed memory: zram, or the pool of zswap before the disk's swap."""

from typing import Final

from oomkit.kernel.versions import is_from
from oomkit.model.tasks import PAGE
from oomkit.scenario.format import Machine

_ZRAM_OUT_COST: Final = 3.34
"""CPU time of swapping a page out to zram, in faults: found, unmapped, and compressed by lz4."""

_ZRAM_IN_COST: Final = 2.25
"""The same of swapping one in. Both measured as those of oomkit.scenario.format.COSTS were."""

_ZRAM_OVERHEAD: Final = 0.018
"""What a page takes beside what is left of it, in pages: lz4's tokens and zsmalloc's size classes.

Measured there with pages of which a third is random: ``mem_used_total`` was 0.348 of
``orig_data_size``.
"""

ZSWAP_OVERHEAD: Final = 0.032
"""The same with lzo, zswap's default on Debian: Zswap was 0.365 of Zswapped in such a guest."""

ZSWAP_WRITTEN: Final = 0.14
"""Pages that zswap's worker writes to disk for each that its full pool refuses.

A run of it ends after 16 pages that it may not write (``shrink_worker()``), which are all that it
comes by for the first time (``shrink_memcg_cb()``). Measured in that guest, where a leak swapped:
the pool stayed full for 3 s, then 3 MB/s of 15 left it.
"""

ZSWAP_ENTRY: Final = 0.0137
"""Of a page, what zswap knows about each that it holds: 56 bytes (``struct zswap_entry``, 6.12)."""

_ZSWAP_ACCEPTS: Final = 0.9
"""A pool that was full takes pages again below this share (``accept_threshold_percent``)."""


class CompressedSwap:
    """What zram or zswap holds of what is in swap.

    New pages go there first, as zram has the higher priority and zswap stands before the disk;
    those that leave swap are as often on disk as they are many there.

    Attributes:
        total: pages that it can hold.
        used: pages swapped out to it.
        held: pages of memory that they take, all uncharged but zswap's.
        on_disk: pages in swap that are not in it.
        cost: pages that one takes when compressed.
        is_zswap: it is zswap's pool: its pages have slots on the disk, to which they can go.
        full: zswap's pool ran full and takes nothing until some of it was written to disk.
        charged: what it takes is charged to cgroups.
        out_s: CPU time in which a page is swapped out to it.
        in_s: that in which one is swapped in from there.
    """

    __slots__ = (
        "charged", "cost", "full", "held", "in_s", "is_zswap", "on_disk", "out_s", "total", "used",
    )  # fmt: skip

    def __init__(self, spec: Machine, ram_pages: float, fault_pages_s: float) -> None:
        self.is_zswap = spec.zswap
        self.charged = spec.zswap and is_from(spec.kernel, "5.19")
        self.full = False
        self.cost = 1.0 / spec.compression + (ZSWAP_OVERHEAD if spec.zswap else _ZRAM_OVERHEAD)
        self.total = spec.zram_bytes // PAGE
        if spec.zswap:
            self.total = int(ram_pages * spec.zswap_max_pool_percent // 100 / self.cost)
            self.cost += ZSWAP_ENTRY
        self.used = self.held = self.on_disk = 0.0
        self.out_s = _ZRAM_OUT_COST / fault_pages_s
        self.in_s = _ZRAM_IN_COST / fault_pages_s

    def settle(self, swap_used: float) -> float:
        """Bring what it holds up to date with what is in swap.

        Zram's memory is the kernel's, charged to no cgroup (``zs_malloc()`` without
        ``__GFP_ACCOUNT``). Zswap's pages are charged
        (:func:`~oomkit.model.domains.count_usage`), and when its pool is full the rest goes to disk
        until a worker has made room (``zswap_check_limits()``, ``shrink_worker()``, 6.12).

        Returns:
            Pages of memory that become free; less than none are taken.
        """
        known = self.used + self.on_disk
        if swap_used >= known:
            if self.full:
                written = ZSWAP_WRITTEN * (swap_used - known)
                self.used = max(self.used - written, self.accepts())
            else:
                self.used += min(swap_used - known, self.total - self.used)
        else:
            self.used *= swap_used / known
        if self.is_zswap:
            if self.used > self.total - 1.0:
                self.full = True
            elif self.used <= self.accepts():
                self.full = False
        self.on_disk = max(swap_used - self.used, 0.0)
        before = self.held
        self.held = self.used * self.cost
        return before - self.held

    def part(self, change: float) -> float:
        """By how many pages it grows for each that what is in swap changes by."""
        if change < 0.0:
            return self.share
        return -ZSWAP_WRITTEN if self.full else float(self.has_room)

    def accepts(self) -> float:
        """Down to so many pages a full pool of zswap is written to disk."""
        return _ZSWAP_ACCEPTS * self.total

    @property
    def has_room(self) -> bool:
        """Whether what is swapped out goes to it."""
        return not self.full and self.total - self.used >= 1.0

    @property
    def share(self) -> float:
        """Share of what is in swap that is in it."""
        known = self.used + self.on_disk
        return self.used / known if known > 0.0 else float(self.total > 0)
