"""The records of a scenario: a machine, its knobs, its tasks, and what changes on the way.

Sizes are bytes, durations seconds, rates bytes a second; the TOML file writes them with units
(``"300M"``, ``"5m"``, ``"100M/s"``).
"""

from typing import Any, Literal

from oomkit.records import Record

Verb = Literal[
    "reserve", "touch", "peek", "share", "tmpfs", "lock", "read", "write", "work", "hold", "free",
    "fork", "exit",
]  # fmt: skip

Role = Literal["innocent", "culprit", "protected"]

Thp = Literal["always", "madvise", "never"]
"""Values of ``/sys/kernel/mm/transparent_hugepage/enabled``."""


class Step(Record, frozen=True, kw_only=True):
    """One thing a task does before it goes on to the next.

    Attributes:
        verb: ``reserve`` maps anonymous memory without touching it; ``touch`` writes to
            anonymous memory (reserved before, else mapped now), ``peek`` only reads it, which maps
            the zero page; ``share`` writes to shared memory (likewise), ``tmpfs`` to a file in
            tmpfs, which outlives the task; ``lock`` touches
            and locks; ``read`` and ``write`` go through the page cache; ``work`` burns CPU time
            over the working set; ``hold`` sleeps; ``free`` gives anonymous memory back;
            ``fork`` makes copy-on-write children that go on with the next step; ``exit`` ends
            the task.
        size_bytes: how much; None with ``free``: all of it.
        rate_bytes_s: how fast at most; None: as fast as the machine can. With ``work``: how
            fast it goes over its working set.
        over_s: how long it takes unhindered, instead of a rate.
        stride_bytes: with ``touch`` and ``peek``: distance between the pages; None: every page.
        hugetlb: with ``touch``: huge pages that ``vm.nr_hugepages`` set aside.
        shared: with ``reserve``: memory that forked children share.
        lazy: with ``free``: by MADV_FREE, so that pages stay until memory is short.
        scatter: with ``touch`` and ``share``: threads that share the work, each on a CPU of
            its own, and stay, so that what each CPU has counted is not added up; 0: one does it.
        seconds: with ``work``: CPU seconds of each thread; with ``hold``: duration; None: for
            ever.
        file: with ``read``, ``write`` and ``work``: name of the file; tasks that name the same
            file share its page cache.
        set_bytes: with ``work``: how much of the task's memory it goes over; None: all of it.
        count: with ``fork``: number of children.
        code: with ``exit``: exit status.
    """

    verb: Verb
    size_bytes: int | None = None
    rate_bytes_s: float | None = None
    over_s: float | None = None
    stride_bytes: int | None = None
    scatter: int = 0
    hugetlb: bool = False
    shared: bool = False
    lazy: bool = False
    seconds: float | None = None
    file: str | None = None
    set_bytes: int | None = None
    count: int = 0
    code: int = 0


class Task(Record, frozen=True, kw_only=True):
    """A process, or ``count`` of them.

    Attributes:
        name: its comm.
        count: how many instances.
        start_s: when the first one starts.
        every_s: how much later each further instance starts.
        jitter_s: maximum further delay of each start, at random.
        spread: sizes and durations of an instance's steps differ by up to this share, at random.
        oom_score_adj: -1000..1000.
        oom_adj: -17..15, for kernels that have it; None: follows ``oom_score_adj``.
        uid: user id; 0 has every capability.
        nice: -20..19.
        threads: how many CPUs ``work`` can keep busy.
        program_bytes: text and libraries it executes, page cache shared by its instances.
        cgroup: name of its memory cgroup; None: the root. Where a file names none, a child is in
            its parent's.
        children: tasks it forks when it starts; times count from then.
        shares_mm_with: name of a task whose address space it uses.
        role: what its death means; None: judged by whether it was growing.
        thp: it asks for huge pages (``madvise``), or wants ``never`` any; None: as the machine has
            it.
        loops: how often the steps are gone through; None: without end.
        on_sigterm: ``exit`` follows SIGTERM, ``ignore`` goes on until SIGKILL.
        sigterm_exit_s: how long it goes on after SIGTERM before it exits.
        restart_s: delay between its end and the start of a new instance; None: never.
        steps: what it does; at the end it exits.
    """

    name: str
    count: int = 1
    start_s: float = 0.0
    every_s: float = 0.0
    jitter_s: float = 0.0
    spread: float = 0.0
    oom_score_adj: int = 0
    oom_adj: int | None = None
    uid: int = 1000
    nice: int = 0
    threads: int = 1
    program_bytes: int = 0
    cgroup: str | None = None
    children: tuple["Task", ...] = ()
    shares_mm_with: str | None = None
    role: Role | None = None
    thp: Literal["madvise", "never"] | None = None
    loops: int | None = 1
    on_sigterm: Literal["exit", "ignore"] = "exit"
    sigterm_exit_s: float = 0.0
    restart_s: float | None = None
    steps: tuple[Step, ...] = ()


COSTS: dict[str, float] = {
    "share_bytes_s": 1.8,
    "map_bytes_s": 0.9,
    "first_read_bytes_s": 1.57,
    "read_bytes_s": 0.61,
    "swap_out_bytes_s": 1.6,
    "swap_in_bytes_s": 1.2,
}
"""CPU time of a page, as a multiple of what a page of anonymous memory takes to be faulted in.

Measured by counted instructions in a guest of 448 MB with one CPU, Debian's 6.12 and a virtio disk,
started as players start theirs: 14.8 us a fault, 26.5 us of shared memory, 13.0 us of a mapped file
that is read for it, 23.7 us swapped out. Swapping in is 0.74 of swapping out, as with the defences
against speculation on (48.7 and 36 us). Reading was measured in one of 256 MB: 14.5 us a fault,
22.8 us for a page that is read from disk and copied, 8.8 us for one that is in memory.
"""


class Machine(Record, frozen=True, kw_only=True):
    """What the scenario runs on.

    Attributes:
        ram_bytes: memory built in.
        swap_bytes: swap on the disk.
        zram_bytes: swap in compressed memory (zram), used before the disk's.
        zswap: a pool of compressed pages (zswap) takes what is swapped out before the disk does.
        zswap_max_pool_percent: of MemTotal, how large that pool may be.
        compression: what tasks write becomes so many times smaller in zram or zswap.
        cpus: number of CPUs.
        cpus_worth: how many CPUs' work all of them do together, as where a virtual machine's take
            turns; None: that many.
        kernel: release, version or rule set.
        disk_bytes_s: bandwidth of the disk that holds files and swap.
        fault_bytes_s: anonymous memory one CPU can fault in and clear in a second.
        share_bytes_s: shared memory, likewise; None: by :data:`COSTS`, as the next five.
        map_bytes_s: what one CPU can read and map of a mapped file in a second.
        first_read_bytes_s: what one CPU can read of a file that is not in memory, the disk aside.
        read_bytes_s: what one CPU can read of a file that is.
        swap_out_bytes_s: what one CPU can reclaim by swapping it out.
        swap_in_bytes_s: what one CPU can fault in from swap.
        reserved_bytes: what the kernel never hands to the allocator (image, page structures);
            None: usual for the size.
        kernel_bytes: slab and other kernel memory in use before the first task starts; None:
            usual for the size.
        unmovable_bytes: free memory at the start in page blocks that are not for user memory (types
            other than Movable in ``/proc/pagetypeinfo``).
        programs_bytes: text and libraries the system itself needs to react (shell, login,
            daemons): page cache in constant use.
        thp: transparent huge pages: for all, for tasks that ask, or none. The first two raise
            ``min_free_kbytes``.
        hz: ``CONFIG_HZ``.
    """

    ram_bytes: int
    swap_bytes: int = 0
    zram_bytes: int = 0
    zswap: bool = False
    zswap_max_pool_percent: int = 20
    compression: float = 3.0
    cpus: int = 2
    cpus_worth: float | None = None
    kernel: str = "6.12"
    disk_bytes_s: float = 100 * 2**20
    fault_bytes_s: float = 2**30
    share_bytes_s: float | None = None
    map_bytes_s: float | None = None
    first_read_bytes_s: float | None = None
    read_bytes_s: float | None = None
    swap_out_bytes_s: float | None = None
    swap_in_bytes_s: float | None = None
    reserved_bytes: int | None = None
    kernel_bytes: int | None = None
    unmovable_bytes: int = 14 * 2**20
    programs_bytes: int = 0
    thp: Thp = "never"
    hz: int = 250


class Cgroup(Record, frozen=True, kw_only=True):
    """A memory cgroup.

    Attributes:
        name: its path without the leading slash; ``a/b`` lies in ``a``.
        version: interface, 1 or 2.
        max_bytes: ``memory.max`` (v1 ``limit_in_bytes``); None: unlimited.
        high_bytes: ``memory.high``.
        low_bytes: ``memory.low``.
        min_bytes: ``memory.min``.
        request_bytes: what Kubernetes was asked to keep for it (``resources.requests``); no file of
            the kernel holds it, policies rank by it.
        priority: of the pod whose cgroup it is; policies rank by it.
        swap_max_bytes: ``memory.swap.max``.
        memsw_bytes: v1 limit of memory and swap together.
        swappiness: v1 ``memory.swappiness``.
        oom_group: ``memory.oom.group``.
        oom_kill_disable: v1 ``memory.oom_control``.
        io_read_bytes_s: ``rbps`` of ``io.max``: what its tasks read at most of the disk of files,
            and of that of swap; None: unlimited.
        io_write_bytes_s: ``wbps``: what is written at most of the files they wrote to, and to swap
            of the memory they are charged for.
    """

    name: str
    version: Literal[1, 2] = 2
    max_bytes: int | None = None
    high_bytes: int | None = None
    low_bytes: int = 0
    min_bytes: int = 0
    request_bytes: int = 0
    priority: int = 0
    swap_max_bytes: int | None = None
    memsw_bytes: int | None = None
    swappiness: int | None = None
    oom_group: bool = False
    oom_kill_disable: bool = False
    io_read_bytes_s: float | None = None
    io_write_bytes_s: float | None = None


class At(Record, frozen=True, kw_only=True):
    """Knobs that change in the middle of a run.

    Attributes:
        t_s: when.
        vm: names of ``/proc/sys/vm`` and their new values.
        tasks: task name to fields of :class:`Task` and their new values.
        cgroups: cgroup name to fields of :class:`Cgroup` and their new values.
        swap_bytes: new size of the swap; None: unchanged.
    """

    t_s: float
    vm: dict[str, int] = {}
    tasks: dict[str, dict[str, Any]] = {}
    cgroups: dict[str, dict[str, Any]] = {}
    swap_bytes: int | None = None


class Scenario(Record, frozen=True, kw_only=True):
    """A machine and what happens on it.

    Attributes:
        name: for the reader.
        about: what it shows, for the reader.
        duration_s: a run ends then at the latest.
        machine: the machine.
        vm: ``/proc/sys/vm`` knobs that differ from their defaults.
        tasks: the tasks, in the order they are created.
        cgroups: the memory cgroups.
        at: changes on the way, in order of time.
    """

    name: str
    about: str = ""
    duration_s: float = 600.0
    machine: Machine
    vm: dict[str, int] = {}
    tasks: tuple[Task, ...] = ()
    cgroups: tuple[Cgroup, ...] = ()
    at: tuple[At, ...] = ()
