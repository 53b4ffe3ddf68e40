"""The records of a policy file: when to look, when to act, which victim to choose, and how.

Sizes are kB, durations seconds, rates kB a second; the TOML file writes them with units.
"""

from typing import Literal

from oomkit.records import Record

Level = Literal["warn", "ease", "soft", "hard"]

By = Literal[
    "freed", "oom_score", "rss", "swap", "reclaim", "reclaim_rate", "growth", "over_request"
]  # fmt: skip

Takes = Literal["children", "session"]

Reach = Literal["process", "tree", "cgroup"]

Field = Literal["comm", "exe", "cmdline", "user", "cgroup", "unit", "container"]


class Condition(Record, frozen=True, kw_only=True):
    """One thing that has to be so.

    Attributes:
        kind: what is measured: a name in :data:`oomkit.policy.engine.conditions.KINDS`.
        threshold: a share (0..1), kB, kB a second, or seconds.
        share: a threshold for memory is a share of MemTotal, SwapTotal or the cgroup's limit.
    """

    kind: str
    threshold: float
    share: bool = False


class Amount(Record, frozen=True, kw_only=True):
    """An amount of memory.

    Attributes:
        value: a share (0..1), or kB.
        share: it is a share.
    """

    value: float
    share: bool = False


class Rule(Record, frozen=True, kw_only=True):
    """Conditions that call for a level when all of them hold at once.

    Attributes:
        level: ``warn`` only logs, ``ease`` does one of the softer acts that :class:`How` allows,
            ``soft`` sends SIGTERM, ``hard`` sends SIGKILL.
        conditions: all of them have to hold.
        over_s: the time over which pressure and rates are measured.
        decaying: of pressure that is the time constant of a decaying average, as of ``avg10`` in
            ``/proc/pressure`` (kernel/sched/psi.c, ``calc_avgs()``), and not a window.
        for_s: how long they have to hold.
        cgroup: pattern of the cgroups it is about; None: the machine.
        by: another way of ranking for this rule; None: the policy's.
        among: patterns of cgroups: only what is in one of them, or below, can be chosen.
        least: minimum that a choice must have more of than this, where ``swap`` ranks; None: none.
        spare: patterns of cgroups that are never chosen by this rule.
        last: patterns of cgroups that are chosen by this rule after all others.
        whole: the cgroup that the rule is about dies as a whole, with all below.
        pause_s: between the last victim and one by this rule; None: as the policy says.
    """

    level: Level
    conditions: tuple[Condition, ...]
    over_s: float = 2.0
    for_s: float = 0.0
    cgroup: str | None = None
    by: By | None = None
    among: tuple[str, ...] = ()
    least: Amount | None = None
    spare: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    whole: bool = False
    pause_s: float | None = None
    decaying: bool = False


class Match(Record, frozen=True, kw_only=True):
    """Which processes: every field that is given has to match.

    Attributes:
        patterns: fields and patterns, each a glob, or a regular expression after ``re:`` (which
            has to match the whole) or ``search:`` (which may match anywhere in it); several of a
            field are alternatives.
    """

    patterns: tuple[tuple[Field, tuple[str, ...]], ...]


class Preference(Record, frozen=True, kw_only=True):
    """Processes that should die earlier, or later.

    Attributes:
        match: which.
        factor: what their score is multiplied by: above 1 earlier, below 1 later.
        points: what is added to it instead where ``oom_score`` ranks.
        size_kb: what is added to it instead where ``rss`` ranks; None: the factor counts.
        unless_lowered: not for a process whose ``oom_score_adj`` is below 0.
    """

    match: Match
    factor: float
    points: float
    size_kb: float | None = None
    unless_lowered: bool = False


class Supervisor(Record, frozen=True, kw_only=True):
    """Processes on which others depend: those go first, and their own start is a cost.

    Attributes:
        match: which.
        leads: only the first process of a unit, session or container: its parent is in another
            cgroup.
        takes: what depends on it: ``children``, all that is below it, or ``session``, all that is
            in the slice of its user.
        restart_s: what its start takes, counted as CPU time that would be lost.
        factor: it goes behind what depends on it by no more than that.
        because: why it is one.
    """

    match: Match
    leads: bool = False
    takes: Takes = "children"
    restart_s: float = 0.0
    factor: float = 10.0
    because: str


class Instead(Record, frozen=True, kw_only=True):
    """A command that is run instead of SIGTERM.

    Attributes:
        match: for which processes.
        command: program and arguments; ``{pid}``, ``{comm}``, ``{unit}`` and ``{cgroup}`` are
            replaced.
    """

    match: Match
    command: tuple[str, ...]


class Polling(Record, frozen=True, kw_only=True):
    """How often to read the machine.

    Attributes:
        min_interval_s: shortest time between two readings.
        max_interval_s: longest one.
        fill_kb_s: how fast memory can fill at most; what is left decides when to look again.
        fill_cpu_kb_s: how fast one CPU can fill it; counts instead where the number of CPUs is
            known; None: only ``fill_kb_s`` counts.
        swap_fill_kb_s: how fast swap can.
        warm: share of MemTotal; with less than that available the ranking is kept at hand.
    """

    min_interval_s: float = 0.05
    max_interval_s: float = 10.0
    fill_kb_s: float = 2.0 * 2**20
    fill_cpu_kb_s: float | None = None
    swap_fill_kb_s: float = 500.0 * 2**10
    warm: float = 0.25


class Whom(Record, frozen=True, kw_only=True):
    """Which victim to choose: the table ``[whom]``.

    Attributes:
        by: what ranks: ``freed`` (what death gives back, weighed), ``oom_score`` (the kernel's,
            then rss), ``rss``, ``swap``, ``reclaim`` (of its cgroup, since that was made),
            ``reclaim_rate`` (of its cgroup in the last second, then its usage), ``growth`` or
            ``over_request`` (cgroups above their request first, then those of low priority, then
            by how much the working set is above the request).
        level: how far a kill reaches: the process, its tree, or its cgroup.
        most_processes: maximum number killed at once; a kill that would reach further takes
            one process.
        oom_group: cgroups with ``memory.oom.group`` die as a whole.
        least_kb: minimum that a victim has to give back.
        least_score: minimum that ranks; None: above 0.
        raised_adj: where ``oom_score`` ranks: how much of a raised ``oom_score_adj`` is taken off.
        growth: weight of growth since the shortage began, 0..1.
        growth_over_s: over how long growth is measured.
        work: weight of CPU time that would be lost, 0..1.
        adj: how much more ``oom_score_adj`` 1000 counts than 0; a lowered one spares in
            proportion.
        lasts_s: as many growing processes of the victim's name go with it as it takes for memory
            to last so long against the growth of the others; 0: no other is killed with it.
        cgroup: pattern of the cgroups that are chosen as a whole, with all below; a process in
            none of them is not chosen; None: each cgroup is one by itself.
        spared_priority: cgroups of at least this priority are never chosen; None: all may be.
        never: processes that are never chosen.
        prefer: processes to be chosen earlier or later.
        supervisors: processes on which others depend, the first that matches counts.
    """

    by: By = "freed"
    level: Reach = "process"
    most_processes: int = 50
    oom_group: bool = True
    least_kb: float = 1024.0
    least_score: float | None = None
    raised_adj: float = 0.0
    growth: float = 0.0
    growth_over_s: float = 10.0
    work: float = 0.0
    adj: float = 0.5
    lasts_s: float = 0.0
    cgroup: str | None = None
    spared_priority: int | None = None
    never: tuple[Match, ...] = ()
    prefer: tuple[Preference, ...] = ()
    supervisors: tuple[Supervisor, ...] = ()


class Easement(Record, frozen=True, kw_only=True):
    """A softer act than a signal.

    Attributes:
        kind: ``reclaim``: part of the memory of the cgroup that holds what would die first is
            reclaimed; ``throttle``: what is in that cgroup is slowed down as it grows;
            ``freeze``: what would die first stands still.
        amount: how much is reclaimed, or the ``memory.high`` of a throttle, as a share of what
            the cgroup uses, or kB.
        lasts_s: a throttle or freeze is taken back after that.
        wait_s: the next act follows so much later at the soonest.
    """

    kind: Literal["reclaim", "throttle", "freeze"]
    amount: Amount = Amount(value=0.0)
    lasts_s: float = 0.0
    wait_s: float = 1.0


class How(Record, frozen=True, kw_only=True):
    """How to act.

    Attributes:
        term: ``soft`` sends SIGTERM first.
        term_least_s: minimum time from SIGTERM to SIGKILL at level hard.
        term_wait_s: time from SIGTERM to SIGKILL if memory is still low.
        give_up_s: how long after SIGKILL a victim's exit is waited for.
        pause_s: between two victims at least.
        hard_pause_s: the same when it is hard.
        together: when it is hard with the memory that is being freed counted in, another one is
            chosen without waiting for the first.
        most_a_minute: bound on kills in a minute.
        dry_run_pause_s: pause between two acts of a dry run.
        notify: send a desktop notification.
        insist: SIGKILL follows SIGTERM after ``term_wait`` even if memory has recovered.
        evict: what is killed is not started again, and its files in memory are removed: for what
            manages its victims.
        before: command to run before the signal.
        after: command to run when the victim is gone.
        instead: commands instead of SIGTERM.
        reclaim: allowed where a rule of the level ``ease`` holds, and done first; None: not.
        throttle: allowed likewise, and done next.
        freeze: allowed likewise, and done last.
    """

    term: bool = True
    term_least_s: float = 0.5
    term_wait_s: float = 5.0
    give_up_s: float = 10.0
    pause_s: float = 1.0
    hard_pause_s: float = 0.2
    together: bool = True
    most_a_minute: int = 30
    dry_run_pause_s: float = 60.0
    notify: bool = False
    insist: bool = False
    evict: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    instead: tuple[Instead, ...] = ()
    reclaim: Easement | None = None
    throttle: Easement | None = None
    freeze: Easement | None = None

    def easements(self) -> tuple[Easement, ...]:
        """The softer acts that are allowed, the least harmful first."""
        return tuple(one for one in (self.reclaim, self.throttle, self.freeze) if one is not None)


class Origin(Record, frozen=True, kw_only=True):
    """Whose configuration a policy was read from, and what of it the policy can't say.

    Attributes:
        daemon: whose.
        version: whose rules are followed.
        files: what was read, in the order in which it counts.
        left_out: what has no counterpart: file, line, key and why, a line each.
        traps: what the configuration does that may not be meant, a line each.
    """

    daemon: str
    version: str = ""
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()


class Policy(Record, frozen=True, kw_only=True):
    """When to act before the kernel does, on which process, and how.

    Attributes:
        name: what its kills are recorded as.
        about: what it is for, for the reader.
        look: how often to read the machine.
        when: the rules.
        whom: which victim to choose.
        how: how to act.
        origin: the daemon's configuration that it was read from; None: a policy file.
    """

    name: str
    about: str = ""
    look: Polling = Polling()
    when: tuple[Rule, ...] = ()
    whom: Whom = Whom()
    how: How = How()
    origin: Origin | None = None
