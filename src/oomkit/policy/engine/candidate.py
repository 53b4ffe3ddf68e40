"""A process that could be chosen."""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence


class Candidate:
    """One process. What costs a read of its own is None until it was looked up.

    Attributes:
        pid: process id.
        start_time: when it started, clock ticks after boot (``starttime``); with the pid it
            names the process for good.
        ppid: its parent.
        comm: its name, at most 15 bytes.
        anon_kb: resident anonymous memory (RssAnon).
        shmem_kb: resident shared memory it maps (RssShmem).
        file_kb: resident file pages (RssFile).
        swap_kb: VmSwap.
        pgtables_kb: VmPTE.
        shmem_sole_kb: of ``shmem_kb``, what no other process maps and no file keeps.
        oom_score_adj: -1000..1000.
        oom_score: the kernel's ``/proc/PID/oom_score``; None: not read.
        cpu_s: CPU seconds it used.
        age_s: seconds since it started.
        growth_kb: how much it grew since the shortage began (:class:`.growth.Growth`); None:
            unknown.
        tmpfs_growth_kb: how much it wrote to tmpfs since the shortage began, as far as is known:
            that is not given back, but the death stops it; None: unknown.
        uid: user id; None: not looked up.
        user: user name; None: not looked up, or the id has none.
        exe: path of its program; None: not looked up.
        cmdline: its arguments, joined by spaces; None: not looked up.
        cgroup: path of its memory cgroup; None: not looked up.
        unit: unit of the system's manager; one inside of it, as of a user's own manager, follows
            after a slash: ``user@1000.service/sshd.service``. None: not looked up, or none.
        container: container id or name, one inside of a user's session after its unit and a
            slash; None: not looked up, or none.
        mm_id: processes with the same one share an address space; None: it has its own.
        init_of: the pid namespace whose first process it is, so that all in there die with it;
            None: none, or the one that the reader is in.
        namespaces: the pid namespaces that it is in, below the reader's; empty: not needed.
        tid: a thread of it that has its memory: the leading one, whose number is the process's,
            unless that has exited before the others.
        above: pids of the processes above it, its parent first; empty: not looked up.
        leads: its parent is init or in another cgroup; None: not looked up.
        unknown: fields that could not be read: what they hold can't be ruled out.
        kthread: a kernel thread.
        dying: it has been signalled or is exiting.
    """

    __slots__ = (
        "above", "age_s", "anon_kb", "cgroup", "cmdline", "comm", "container", "cpu_s", "dying",
        "exe", "file_kb", "growth_kb", "init_of", "kthread", "leads", "mm_id", "namespaces",
        "oom_score", "oom_score_adj", "pgtables_kb", "pid", "ppid", "shmem_kb", "shmem_sole_kb",
        "start_time", "swap_kb", "tid", "tmpfs_growth_kb", "uid", "unit", "unknown", "user",
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        start_time: int,
        ppid: int,
        comm: str,
        *,
        anon_kb: float = 0.0,
        shmem_kb: float = 0.0,
        file_kb: float = 0.0,
        swap_kb: float = 0.0,
        pgtables_kb: float = 0.0,
        shmem_sole_kb: float = 0.0,
        oom_score_adj: int = 0,
        oom_score: int | None = None,
        cpu_s: float = 0.0,
        age_s: float = 0.0,
        growth_kb: float | None = None,
        tmpfs_growth_kb: float | None = None,
        uid: int | None = None,
        user: str | None = None,
        exe: str | None = None,
        cmdline: str | None = None,
        cgroup: str | None = None,
        unit: str | None = None,
        container: str | None = None,
        mm_id: int | None = None,
        init_of: int | None = None,
        namespaces: tuple[int, ...] = (),
        above: tuple[int, ...] = (),
        leads: bool | None = None,
        unknown: tuple[str, ...] = (),
        kthread: bool = False,
        dying: bool = False,
    ) -> None:
        self.pid = self.tid = pid
        self.start_time = start_time
        self.ppid = ppid
        self.comm = comm
        self.anon_kb = anon_kb
        self.shmem_kb = shmem_kb
        self.file_kb = file_kb
        self.swap_kb = swap_kb
        self.pgtables_kb = pgtables_kb
        self.shmem_sole_kb = shmem_sole_kb
        self.oom_score_adj = oom_score_adj
        self.oom_score = oom_score
        self.cpu_s = cpu_s
        self.age_s = age_s
        self.growth_kb = growth_kb
        self.tmpfs_growth_kb = tmpfs_growth_kb
        self.uid = uid
        self.user = user
        self.exe = exe
        self.cmdline = cmdline
        self.cgroup = cgroup
        self.unit = unit
        self.container = container
        self.mm_id = mm_id
        self.init_of = init_of
        self.namespaces = namespaces
        self.above = above
        self.leads = leads
        self.unknown = unknown
        self.kthread = kthread
        self.dying = dying

    def rss_kb(self) -> float:
        """Resident memory (VmRSS)."""
        return self.anon_kb + self.shmem_kb + self.file_kb

    def grown_kb(self) -> float:
        """How much it took since the shortage began, of its own and in tmpfs; 0 where unknown."""
        return (self.growth_kb or 0.0) + (self.tmpfs_growth_kb or 0.0)

    def freed_kb(self) -> float:
        """What its death gives back: anonymous memory, swap, page tables, shared memory of its own.

        File pages are reclaimable without it, and shared memory stays with its other sharers.
        """
        return self.anon_kb + self.swap_kb + self.pgtables_kb + self.shmem_sole_kb


class Growth:
    """Remembers sizes, and returns how much was gained over them.

    Two generations of sizes are kept, so growth is measured over one to two windows; a process
    that is younger than the sizes has grown from nothing.

    Args:
        window_s: how old sizes have to be before newer ones replace them.
    """

    __slots__ = ("_left_kb", "_newer", "_newer_t_s", "_older", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._older: dict[tuple[int, int], float] | None = None
        self._newer: dict[tuple[int, int], float] | None = None
        self._newer_t_s = 0.0
        self._left_kb = 0.0

    @property
    def is_known(self) -> bool:
        """Sizes were noted in this shortage."""
        return self._newer is not None

    def note(self, t_s: float, left_kb: float, sizes: dict[tuple[int, int], float]) -> None:
        """Take notice of all processes' sizes.

        Args:
            t_s: when they were read.
            left_kb: available memory and free swap then.
            sizes: (pid, start time) to kB; the dictionary is kept.
        """
        self._older = self._newer if self._newer is not None else sizes
        self._newer, self._newer_t_s, self._left_kb = sizes, t_s, left_kb

    def due(self, t_s: float, left_kb: float, step_kb: float) -> bool:
        """Whether sizes should be noted: none are, or they are old and memory has fallen since.

        Args:
            t_s: now.
            left_kb: available memory and free swap now.
            step_kb: a smaller fall than this is not counted as growth.
        """
        if self._newer is None:
            return True
        return t_s - self._newer_t_s >= self.window_s and self._left_kb - left_kb >= step_kb

    def of(self, pid: int, start_time: int, size_kb: float) -> float | None:
        """How much a process of this size gained, kB; None: no sizes are known yet."""
        if self._older is None:
            return None
        return max(size_kb - self._older.get((pid, start_time), 0.0), 0.0)

    def forget(self) -> None:
        """The shortage is over."""
        self._older = self._newer = None


class Start:
    """What the starts of one service took.

    Attributes:
        name: its unit, or its cgroup.
        times: how many starts were seen.
        wall_s: when the last one was, seconds since the epoch.
        costs_s: CPU seconds of the newest, the oldest first.
    """

    __slots__ = ("costs_s", "name", "times", "wall_s")

    def __init__(self, name: str, times: int, wall_s: float, costs_s: tuple[float, ...]) -> None:
        self.name = name
        self.times = times
        self.wall_s = wall_s
        self.costs_s = costs_s

    def cost_s(self) -> float:
        """The median: one start that was disturbed says nothing of the next."""
        ordered = sorted(self.costs_s)
        return ordered[len(ordered) // 2]


class Ranked:
    """One choice: a process, or one with all that would die with it.

    Attributes:
        candidate: the process it is about.
        members: all that are killed: it, first, and its kill scope.
        weighed: those of them whose sizes make the score; what is killed with the init of a pid
            namespace is no reason to choose it.
        level: ``process``, ``namesakes``, ``tree``, ``cgroup``, ``address space`` (what shares its
            memory) or ``pid namespace`` (whose init it is): how far it really reaches.
        factors: what the score was made of, in order: names and values.
        cgroup: the cgroup that dies as a whole; None: none does.
        place: the cgroup that it was chosen as, whether or not all in there die; None: none.
        last: dies after all that are not, whatever tiers and scores.
        tier: dies before all of a lower one, whatever the scores.
        score: higher dies earlier.
        equal_kb: among equal scores the larger goes first.
        freed_kb: what their deaths give back.
        gain_kb: the same with what they would have gone on to take; 0 where that is not weighed.
        verdict: why it can't be chosen; empty where it can.
        note: why it reaches less far than the policy asks; empty otherwise.
        starts: what was learnt of the services that it takes, and counts as work lost.
    """

    __slots__ = (
        "candidate",
        "cgroup",
        "equal_kb",
        "factors",
        "freed_kb",
        "gain_kb",
        "last",
        "level",
        "members",
        "note",
        "place",
        "score",
        "starts",
        "tier",
        "verdict",
        "weighed",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.members: tuple[Candidate, ...] = (candidate,)
        self.weighed: tuple[Candidate, ...] = (candidate,)
        self.level = "process"
        self.factors: tuple[tuple[str, float], ...] = ()
        self.cgroup: str | None = None
        self.place: str | None = None
        self.last = False
        self.tier: tuple[float, ...] = ()
        self.score = 0.0
        self.freed_kb = 0.0
        self.equal_kb = 0.0
        self.gain_kb = 0.0
        self.verdict = ""
        self.note = ""
        self.starts: tuple[Start, ...] = ()


def memories(members: "Sequence[Candidate]") -> "Sequence[Candidate]":
    """Those of the members whose memory counts: of several that share an address space, one."""
    if len(members) == 1 or all(one.mm_id is None for one in members):
        return members
    counted, seen = [], set()
    for one in members:
        if one.mm_id is None or one.mm_id not in seen:
            seen.add(one.mm_id)
            counted.append(one)
    return counted


def leads(one: "Candidate", by_pid: "dict[int, Candidate]") -> bool:
    """Whether it is the first process of its cgroup: its parent is init, or in another one."""
    if one.leads is not None:
        return one.leads
    if one.ppid <= 1:
        return True
    parent = by_pid.get(one.ppid)
    if parent is None or parent.cgroup is None or one.cgroup is None:
        return False
    return parent.cgroup != one.cgroup
