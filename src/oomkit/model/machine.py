"""The machine of a run: its memory, what uses it, and its knobs."""

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from oomkit.errors import ModelError
from oomkit.kernel.state import Sysctl
from oomkit.kernel.versions import is_from, rules_for
from oomkit.kernel.watermarks import BOOST_FACTOR, watermarks_for
from oomkit.model.boot import (
    UPTIME_AT_START_S,
    groups_of,
    kernel_pages,
    mem_total_pages,
    page_cost_s,
    rootfs_pages,
)
from oomkit.model.compressed_swap import CompressedSwap
from oomkit.model.pools import Group, Mm, Pool
from oomkit.model.tasks import HUGE_PAGE, PAGE, PROCESS_PAGES, Proc
from oomkit.records import field_names
from oomkit.scenario.definitions import probe_of
from oomkit.scenario.format import Scenario

if TYPE_CHECKING:
    from oomkit.kernel.rules import RuleSet

_FEW_PAGES: Final = 32.0
"""A batch of reclaim."""

_RECENT_S: Final = 10.0
"""A task that took memory within this time before memory ran low counts as growing."""


class Machine:
    """Memory, what is in it, and the run's clock; amounts are pages.

    Attributes:
        now: seconds since the start of the scenario.
        low_since_s: since when memory is low, of the machine or of a cgroup; None: it is not.
        change_count: number of changes so far that can make an OOM, or a policy's selection, end
            differently; see :meth:`mark_changed`.
        total: MemTotal.
        free: MemFree.
        kernel: kernel memory in use besides page tables and processes.
        rootfs: page cache of the initramfs, which can't be dropped.
        swap_total: SwapTotal.
        compressed: the part of swap in compressed memory, used first.
        hugetlb_total: pages set aside as huge ones.
        hugetlb_reserved: of these, pages that are mapped.
        kswapd_awake: free memory fell to the low watermarks, and has not been above the high ones
            since.
        boost: by how many pages the watermarks are boosted.
        swap_full: swap ran full and no batch of slots has come free since.
        spares: what :meth:`spares_used` found; None: not known for the present working sets.
        cpus: number of CPUs.
        cpus_worth: how many CPUs' work they do together.
        disk_pages_s: the disk's bandwidth, pages a second.
        fault_pages_s: how fast one CPU faults memory in, pages a second.
        share_s: CPU seconds that a page of shared memory takes to be faulted in.
        map_s: that a page of a mapped file takes to be read and mapped.
        first_read_s: that a page of a file takes to be read from disk and copied.
        read_s: that one takes to be copied that is in memory.
        swap_out_s: that a page takes to be swapped out.
        swap_in_s: that a page takes to be swapped in.
        thp: there are transparent huge pages.
        procs: the processes, in the order in which they were created.
        files: page cache by file name.
        tmpfs: tmpfs pages by the cgroup they are charged to.
        groups: memory cgroups by path.
        limits_io: one of them has an ``io.max``.
        limits_swap_out: that holds for what is swapped out, too.
        unmovable_pages: free pages in page blocks that are not for user memory.
        programs: page cache of the system's own programs; None: the machine has none.
        probe: the program by which it is judged usable or frozen.
        committed: Committed_AS.
        reserves_shared: a task reserved shared memory.
        frees_lazily: a task gave memory back with ``MADV_FREE``.
        stale: a pool was added or removed since :meth:`pools` last listed them.

    Processes come and go by :meth:`add_process` and :meth:`remove_process`.
    """

    def __init__(self, scenario: Scenario) -> None:
        spec = scenario.machine
        self.spec = spec
        self.now = 0.0
        self.low_since_s: float | None = None
        self.change_count = 0
        self.rules: RuleSet = rules_for(spec.kernel)
        self.total = mem_total_pages(spec)
        if self.total == 0:
            raise ModelError("machine.reserved: the kernel reserves all of the RAM")
        self.kernel = float(kernel_pages(spec))
        self.rootfs = float(rootfs_pages(self.total))
        self.swap_total = (spec.swap_bytes + spec.zram_bytes) // PAGE
        self.kswapd_awake = self.swap_full = False
        self.boost = 0.0
        self.spares: bool | None = None
        self.cpus = spec.cpus
        worth = spec.cpus_worth
        self.cpus_worth = float(spec.cpus) if worth is None else min(worth, float(spec.cpus))
        self.disk_pages_s = spec.disk_bytes_s / PAGE
        self.fault_pages_s = spec.fault_bytes_s / PAGE
        self.share_s = page_cost_s(spec, "share_bytes_s")
        self.map_s = page_cost_s(spec, "map_bytes_s")
        self.first_read_s = page_cost_s(spec, "first_read_bytes_s")
        self.read_s = page_cost_s(spec, "read_bytes_s")
        self.swap_out_s = page_cost_s(spec, "swap_out_bytes_s")
        self.swap_in_s = page_cost_s(spec, "swap_in_bytes_s")
        self.compressed = CompressedSwap(spec, self.total, self.fault_pages_s)
        self.thp = spec.thp != "never"
        self.unmovable_pages = spec.unmovable_bytes / PAGE
        self.procs: list[Proc] = []
        self._by_pid: dict[int, Proc] = {}
        self._children: dict[int, dict[int, Proc]] = {}
        self._mms: list[Mm] | None = None
        self.files: dict[str, Pool] = {}
        self.tmpfs: dict[Group | None, Pool] = {}
        self.groups = groups_of(scenario.cgroups)
        self._swap_io_waits = not is_from(spec.kernel, "6.12")
        self.note_io_limits()
        self.knobs: dict[str, int] = {}
        self.committed = 0.0
        self._pools: list[Pool] = []
        self._cow_pools: list[Pool] = []
        self._shared_pools: list[Pool] = []
        self.stale = True
        self.set_knobs({"oom_dump_tasks": self.rules.oom_dump_tasks, **scenario.vm})
        self.free = float(self.total) - self.kernel - self.rootfs
        self.hugetlb_total = self.hugetlb_reserved = 0.0
        self.resize_hugetlb()
        self.probe = probe_of(spec.programs_bytes)
        self.reserves_shared = self.frees_lazily = False
        self.programs = self._cache_programs(self.probe.text_bytes / PAGE)
        if self.free <= self.watermarks.goal_pages:
            raise ModelError(
                f"machine.ram: no memory is left for tasks: {self.total} pages of memory, "
                f"{self.total - int(self.free)} in use before the first one starts, "
                f"{self.watermarks.goal_pages} kept free (vm.min_free_kbytes)"
            )

    def _cache_programs(self, pages: float) -> Pool | None:
        """Have in memory what the probe needs of the system's programs; nothing needs the rest."""
        if pages <= 0:
            return None
        pool = self.file("(system)", None)
        pool.size = pages
        pool.resident = max(min(pages, self.free - self.watermarks.goal_pages), 0.0)
        pool.peak_resident = pages  # while the machine booted
        self.free -= pool.resident
        return pool

    def note_io_limits(self) -> None:
        """Note whether a cgroup has an ``io.max``, and whether swapping out waits for it."""
        self.limits_io = any(group.limits_io for group in self.groups.values())
        self.limits_swap_out = self.limits_io and self._swap_io_waits

    def set_knobs(self, values: dict[str, int]) -> None:
        """Set ``/proc/sys/vm`` knobs and what follows from them."""
        self.knobs.update(values)
        if values.get("overcommit_kbytes"):
            self.knobs["overcommit_ratio"] = 0
        elif "overcommit_ratio" in values:
            self.knobs["overcommit_kbytes"] = 0
        known = field_names(Sysctl)
        boot_free_kb = max(self.total - int(self.kernel), 0) * 4
        defaults = {
            "admin_reserve_kbytes": min(boot_free_kb // 32, 8192),
            "user_reserve_kbytes": min(boot_free_kb // 32, 131072),
        }
        chosen = {key: value for key, value in self.knobs.items() if key in known}
        self.watermarks = watermarks_for(
            self.total,
            self.rules,
            min_free_kbytes=chosen.get("min_free_kbytes", 0),
            scale_factor=chosen.get("watermark_scale_factor", 10),
            thp=self.spec.thp != "never",
            boost_factor=self.knobs.get("watermark_boost_factor", BOOST_FACTOR),
        )
        chosen["min_free_kbytes"] = self.watermarks.min_free_kbytes
        self.sysctl = Sysctl(**{**defaults, **chosen})

    def resize_hugetlb(self) -> None:
        """Set aside as many huge pages as ``nr_hugepages`` asks for and memory is free for.

        ``set_max_huge_pages()``: those that are mapped stay.
        """
        wanted = float(self.knobs.get("nr_hugepages", 0) * HUGE_PAGE)
        above = max(self.free - self.watermarks.goal_pages - HUGE_PAGE, 0.0)
        spare = above // HUGE_PAGE * HUGE_PAGE
        wanted = max(min(wanted, self.hugetlb_total + spare), self.hugetlb_reserved)
        self.free -= wanted - self.hugetlb_total
        self.hugetlb_total = wanted

    def file(self, name: str, group: Group | None) -> Pool:
        """The page cache of a file, charged to the cgroup of the first task that opens it."""
        pool = self.files.get(name)
        if pool is None:
            pool = self.files[name] = Pool("file", group, name)
            self.stale = True
        return pool

    def cow_pool(self, group: Group | None) -> Pool:
        """A new pool for pages that several address spaces share since a fork."""
        pool = Pool("anon", group, "(cow)", is_cow=True)
        self._cow_pools.append(pool)
        self.stale = True
        return pool

    def share(self, pool: Pool) -> None:
        """Keep shared memory that several address spaces map, until the last of them is gone."""
        self._shared_pools.append(pool)
        self.stale = True

    def shrink_cow_pools(self) -> None:
        """Free the pages of copy-on-write pools that no address space sees any more."""
        seen: dict[Pool, float] = {}
        for mm in self.mms():
            for pool, view in mm.cow_views:
                seen[pool] = max(seen.get(pool, 0.0), view)
        for pool in self._cow_pools:
            pages = pool.resident + pool.swapped
            wanted = seen.get(pool, 0.0)
            if pages > wanted:
                remaining = wanted / pages
                self.free += pool.resident * (1.0 - remaining)
                pool.resident *= remaining
                pool.swapped *= remaining
                pool.huge *= remaining
                self.stale = self.stale or wanted == 0.0

    def tmpfs_of(self, group: Group | None) -> Pool:
        """The tmpfs pages charged to a cgroup."""
        pool = self.tmpfs.get(group)
        if pool is None:
            pool = self.tmpfs[group] = Pool("shmem", group, "(tmpfs)")
            self.stale = True
        return pool

    def mms(self) -> list[Mm]:
        """Every address space in use, once."""
        if self._mms is None:
            self._mms = list({proc.mm.mm_id: proc.mm for proc in self.procs}.values())
        return self._mms

    def pools(self) -> list[Pool]:
        """Every pool that can hold pages."""
        if self.stale:
            self._cow_pools = [p for p in self._cow_pools if p.resident + p.swapped > 0]
            self._shared_pools = [p for p in self._shared_pools if p.mappers]
            pools = [*self.files.values(), *self.tmpfs.values(), *self._cow_pools]
            pools += self._shared_pools
            for mm in self.mms():
                pools += (mm.anon, mm.shmem)
            if self.frees_lazily:
                pools += [mm.lazy for mm in self.mms() if mm.lazy is not None]
            self._pools = pools
            self.stale = False
        return self._pools

    @property
    def swap_batch(self) -> float:
        """Swap slots that have to be free before full swap is used again.

        The kernel hands slots out by clusters of 256; on large swap more, so that the number of
        events does not grow with its size.
        """
        return max(256.0, self.swap_total / 128.0)

    def swap_used(self) -> float:
        """Swap in use."""
        used = 0.0
        if self.swap_total:
            for pool in self.pools():
                used += pool.swapped
        return used

    def swap_left(self) -> float:
        """Free swap."""
        return self.swap_total - self.swap_used()

    def settle_zram(self) -> None:
        """Bring compressed memory up to date with what is in swap."""
        if self.compressed.total:
            self.free += self.compressed.settle(self.swap_used())

    def swap_yield(self, anon_share: float) -> float:
        """What a reclaimed page frees, where such a share of them is swapped out."""
        return 1.0 - anon_share * self.compressed.cost if self.compressed.has_room else 1.0

    def reclaim_mark(self) -> float:
        """Free memory up to which kswapd reclaims; while it sleeps, at which it is woken."""
        if self.kswapd_awake:
            return self.watermarks.goal_pages + self.boost
        return float(self.watermarks.wake_pages)

    def spares_used(self) -> bool:
        """Whether pages in no use can be reclaimed, so that those in use stay.

        Of pools as :func:`~oomkit.model.working_sets.mark_working_sets` left them.
        """
        known = self.spares
        if known is None:
            swaps = self.sysctl.swappiness > 0 and not self.swap_full and self.swap_left() >= 1.0
            unused = 0.0
            for pool in self.pools():
                if (pool.is_file or swaps) and pool.resident > pool.hot:
                    unused += pool.resident - pool.hot
            known = self.spares = unused > _FEW_PAGES
        return known

    def uptime_s(self) -> float:
        """Seconds since the machine was booted."""
        return UPTIME_AT_START_S + self.now

    def mark_changed(self) -> None:
        """Note that an OOM without a victim, or a policy without a candidate, may find one now."""
        self.change_count += 1

    def by_pid(self, pid: int) -> Proc | None:
        """The living process of that id."""
        return self._by_pid.get(pid)

    def was_growing(self, proc: Proc) -> bool:
        """Whether a process took memory in the seconds before memory ran low, or since."""
        if proc.is_growing:
            return True
        since = self.low_since_s if self.low_since_s is not None else self.now
        return proc.last_growth_s is not None and proc.last_growth_s >= since - _RECENT_S

    def exit_pending(self, group: Group | None) -> bool:
        """Whether a process in a cgroup (None: anywhere) is exiting and will free memory."""
        for proc in self.procs:
            if proc.state == "exiting":
                own = proc.mm.group
                if group is None or (own is not None and group in own.ancestry):
                    return True
        return False

    def add_process(self, proc: Proc) -> None:
        """Add a new process, with its kernel memory and first page tables."""
        self.procs.append(proc)
        self._by_pid[proc.pid] = proc
        if proc.ppid != 1:
            self._children.setdefault(proc.ppid, {})[proc.pid] = proc
        self._mms = None
        self.free -= PROCESS_PAGES
        if proc.mm.users == 1:
            self.free -= proc.mm.tables
        self.stale = True

    def remove_process(self, proc: Proc) -> None:
        """Remove a process that is gone; init becomes the parent of its children."""
        # Ids only grow, so the list is in their order.
        del self.procs[bisect_left(self.procs, proc.pid, key=attrgetter("pid"))]
        del self._by_pid[proc.pid]
        if proc.ppid != 1:
            del self._children[proc.ppid][proc.pid]
        for child in self._children.pop(proc.pid, {}).values():
            child.ppid = 1
        self._mms = None
        self.stale = True
