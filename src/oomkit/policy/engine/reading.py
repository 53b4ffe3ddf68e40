"""One moment of a machine, as a policy sees it, and how fast it changes."""

INFINITY = float("inf")


class CgroupReading:
    """One watched memory cgroup at that moment.

    Attributes:
        path: its path, ``/`` the root.
        usage_kb: ``memory.current`` (v1 ``usage_in_bytes``).
        limit_kb: its own limit or its nearest ancestor's; None: unlimited.
        swap_kb: swap charged to it.
        psi_some_us: stall time ``some`` since boot, µs; None: no PSI.
        psi_full_us: stall time ``full``, µs; None: no PSI.
        pgscan_pages: pages scanned by its reclaim since boot; None: unknown.
        oom_group: ``memory.oom.group``.
        working_set_kb: its usage without inactive file cache; None: not asked for, or unknown.
        request_kb: what it was promised (Kubernetes requests); only its manager knows that.
        priority: of the pod whose cgroup it is; the same.
    """

    __slots__ = (
        "limit_kb", "oom_group", "path", "pgscan_pages", "priority", "psi_full_us", "psi_some_us",
        "request_kb", "swap_kb", "usage_kb", "working_set_kb",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        usage_kb: float,
        limit_kb: float | None = None,
        swap_kb: float = 0.0,
        psi_some_us: float | None = None,
        psi_full_us: float | None = None,
        pgscan_pages: float | None = None,
        *,
        oom_group: bool = False,
        working_set_kb: float | None = None,
        request_kb: float = 0.0,
        priority: int = 0,
    ) -> None:
        self.path = path
        self.usage_kb = usage_kb
        self.limit_kb = limit_kb
        self.swap_kb = swap_kb
        self.psi_some_us = psi_some_us
        self.psi_full_us = psi_full_us
        self.pgscan_pages = pgscan_pages
        self.oom_group = oom_group
        self.working_set_kb = working_set_kb
        self.request_kb = request_kb
        self.priority = priority


class Reading:
    """One moment of a machine. Totals count from boot; only their differences matter.

    Attributes:
        t_s: when, on a clock that never goes back.
        mem_total_kb: MemTotal.
        available_kb: MemAvailable.
        swap_total_kb: SwapTotal, 0 without swap.
        swap_free_kb: SwapFree.
        anon_kb: anonymous memory (AnonPages).
        zram_kb: RAM that zram devices occupy.
        arc_kb: what the ZFS cache could give back and MemAvailable does not count.
        psi_some_us: memory stall time ``some``, µs; None: the kernel has no PSI.
        psi_full_us: memory stall time ``full``, µs; None: the kernel has no PSI.
        refault_pages: refaulted pages (``workingset_refault_*``); None: unknown.
        swap_in_pages: ``pswpin``; None: unknown.
        pgscan_pages: pages scanned by reclaim (``pgscan_kswapd`` and ``pgscan_direct``); None:
            unknown.
        cgroups: the watched cgroups.
        working_set_kb: anonymous memory and file cache without the inactive part of that, which
            the kubelet counts as used; None: not asked for.
    """

    __slots__ = (
        "anon_kb", "arc_kb", "available_kb", "cgroups", "mem_total_kb", "pgscan_pages",
        "psi_full_us", "psi_some_us", "refault_pages", "swap_free_kb", "swap_in_pages",
        "swap_total_kb", "t_s", "working_set_kb", "zram_kb",
    )  # fmt: skip

    def __init__(
        self,
        t_s: float,
        mem_total_kb: float,
        available_kb: float,
        swap_total_kb: float = 0.0,
        swap_free_kb: float = 0.0,
        anon_kb: float = 0.0,
        zram_kb: float = 0.0,
        arc_kb: float = 0.0,
        psi_some_us: float | None = None,
        psi_full_us: float | None = None,
        refault_pages: float | None = None,
        swap_in_pages: float | None = None,
        pgscan_pages: float | None = None,
        cgroups: tuple[CgroupReading, ...] = (),
        working_set_kb: float | None = None,
    ) -> None:
        self.t_s = t_s
        self.mem_total_kb = mem_total_kb
        self.available_kb = available_kb
        self.swap_total_kb = swap_total_kb
        self.swap_free_kb = swap_free_kb
        self.anon_kb = anon_kb
        self.zram_kb = zram_kb
        self.arc_kb = arc_kb
        self.psi_some_us = psi_some_us
        self.psi_full_us = psi_full_us
        self.refault_pages = refault_pages
        self.swap_in_pages = swap_in_pages
        self.pgscan_pages = pgscan_pages
        self.cgroups = cgroups
        self.working_set_kb = working_set_kb


class Pace:
    """How fast things change, for when to look again. As made: nothing can be known.

    Attributes:
        available_kb_s: how fast MemAvailable falls.
        swap_kb_s: how fast free swap falls.
        zram_kb_s: how fast zram grows.
        limit_kb_s: how fast a cgroup comes nearer to its limit.
        working_set_kb_s: how fast a working set grows.
        gains: what counters gain a second from now on, in a reading of the machine and, for what
            is a cgroup's own, one of that; None: anything.
        pressure_begins: pressure that is not there yet may begin unnoticed.
        in_turn: memory falls first, and swap after it.
        groups: the same by cgroup, where it is known.
    """

    __slots__ = (
        "available_kb_s", "gains", "groups", "in_turn", "limit_kb_s", "pressure_begins",
        "swap_kb_s", "working_set_kb_s", "zram_kb_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.available_kb_s = self.swap_kb_s = self.zram_kb_s = self.limit_kb_s = INFINITY
        self.working_set_kb_s = INFINITY
        self.gains: tuple[Reading, CgroupReading | None] | None = None
        self.pressure_begins = True
        self.in_turn = True
        self.groups: dict[str, Pace] = {}

    def of(self, group: CgroupReading | None) -> "Pace":
        """The pace of a cgroup."""
        return self.groups.get(group.path, self) if group is not None else self


def available_kb(reading: Reading) -> float:
    """MemAvailable, and what the ZFS cache would give back."""
    return reading.available_kb + reading.arc_kb


def left_kb(reading: Reading) -> float:
    """Memory that can still be had: available memory and free swap."""
    return available_kb(reading) + reading.swap_free_kb
