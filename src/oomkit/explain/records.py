"""An explained report, as records that text, JSON and HTML are made of."""

from typing import Literal

from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.records import Record

Level = Literal["cause", "odd", "note"]
"""``cause``: likely why it happened; ``odd``: worth a look; ``note``: good to know."""

Killer = Literal[
    "kernel",
    "systemd-oomd",
    "earlyoom",
    "nohang",
    "oomd",
    "lmkd",
    "talos",
    "lowmemorykiller",
    "kubelet",
    "slurm",
    "pbs",
    "lsf",
    "yarn",
    "ray",
    "heroku",
    "unknown",
    "nobody",
]


class Share(Record, frozen=True, kw_only=True):
    """One use of memory.

    Attributes:
        key: a stable word for it.
        label: the word a person reads.
        kb: how much.
    """

    key: str
    label: str
    kb: int


class Breakdown(Record, frozen=True, kw_only=True):
    """Where memory was.

    Attributes:
        of: the machine, or a memory cgroup.
        total_kb: what the shares add up to: managed RAM, or what is charged to the cgroup.
        shares: the uses, in a fixed order, those of nothing left out.
        limit_kb: the cgroup's limit.
        swap_total_kb: swap that may be used; None where the report does not say.
        swap_used_kb: swap in use.
        complete: the total was printed; else it is the sum of what is known.
    """

    of: Literal["machine", "memcg"]
    total_kb: int
    shares: tuple[Share, ...]
    limit_kb: int | None = None
    swap_total_kb: int | None = None
    swap_used_kb: int | None = None
    complete: bool = True

    def kb(self, key: str) -> int:
        """Size of one use; 0 where there is none."""
        return sum(share.kb for share in self.shares if share.key == key)


class Shortage(Record, frozen=True, kw_only=True):
    """What ran out.

    Attributes:
        kind: a stable word.
        what: what ran out, in a few words.
        owner: whose memory cgroup it was (unit, pod, container); empty for none of these.
        details: the numbers, one sentence each.
        zone: the zone that failed, where it is one.
        order: the block asked for, where its size is what failed.
    """

    kind: Literal[
        "machine",
        "memcg",
        "cpuset",
        "mempolicy",
        "zone",
        "fragmentation",
        "page_fault",
        "sysrq",
        "unknown",
    ]
    what: str
    owner: str = ""
    details: tuple[str, ...] = ()
    zone: str | None = None
    order: int | None = None


class Finding(Record, frozen=True, kw_only=True):
    """Something that looks wrong, or that explains much.

    Attributes:
        kind: a stable word.
        level: how much it matters.
        text: one sentence with its numbers.
    """

    kind: str
    level: Level
    text: str


class Candidate(Record, frozen=True, kw_only=True):
    """One row of the ranking.

    Attributes:
        rank: 1 for the first to be chosen; None: can't be chosen.
        pid: the process.
        comm: its name.
        rss_kb: its resident memory.
        swap_kb: its swap; None where the table has no such column.
        pgtables_kb: its page tables; None where the table has no such column.
        total_vm_kb: its address space.
        adj: its ``oom_score_adj`` (``oom_adj`` by the classic rules).
        badness: what the rules give it; None where it can't be chosen, or where its adjustment
            counts by a total that is not in the log.
        killed: it died.
    """

    rank: int | None
    pid: int
    comm: str
    rss_kb: int
    swap_kb: int | None
    pgtables_kb: int | None
    total_vm_kb: int
    adj: int | None
    badness: int | None
    killed: bool = False


class Change(Record, frozen=True, kw_only=True):
    """The smallest single change of its kind that would have altered the outcome.

    Attributes:
        kind: what would be changed.
        text: the change and its consequence.
        knob: the field, file or sysctl.
        now: its value in the report; None where the report does not show it.
        needed: the value from which on the outcome alters; None where any will do.
        unit: unit of ``now`` and ``needed``.
        pid: the process it is about; None for knobs.
        then: what would be killed instead; None: nothing, or unknown.
    """

    kind: Literal["oom_score_adj", "memory", "sysctl", "oom_group", "limit", "swap"]
    text: str
    knob: str
    now: int | None = None
    needed: int | None = None
    unit: Literal["", "pages", "kb"] = ""
    pid: int | None = None
    then: int | None = None


class Advice(Record, frozen=True, kw_only=True):
    """What to look at next.

    Attributes:
        kind: a stable word.
        text: one sentence, with its command where there is one.
    """

    kind: Literal["leak", "qos", "pod_name", "container_name", "tmpfs"]
    text: str


class Choice(Record, frozen=True, kw_only=True):
    """Why this process.

    Attributes:
        rows: the head of the ranking, and the victim wherever it stands.
        candidates: how many could be chosen.
        tasks: how many the table lists.
        total_pages: what badness is measured against; None where the rules have no such term, or
            where the log does not show it.
        total_bounds: between which sizes, in pages, the kill line's score puts that total: more
            than the first, no more than the second; None without a score.
        ranked: the rows are in the kernel's order; else by resident memory.
        complete: the table is whole; else there may be others that could be chosen.
        terms: the chosen process's own sum, in one sentence; empty without it.
        runner_up: the distance to the next, in one sentence; empty without one.
        difference: why the kernel's choice is not the first of its table, or what else is to
            say of it; empty where it is.
        changes: what would have altered it.
    """

    rows: tuple[Candidate, ...]
    candidates: int
    tasks: int
    total_pages: int | None = None
    total_bounds: tuple[int, int] | None = None
    ranked: bool = True
    complete: bool = True
    terms: str = ""
    runner_up: str = ""
    difference: str = ""
    changes: tuple[Change, ...] = ()


class Verdict(Record, frozen=True, kw_only=True):
    """The killer, and what shows it.

    Attributes:
        by: the killer.
        text: one sentence.
        evidence: the lines that show it.
    """

    by: Killer
    text: str
    evidence: tuple["Proof", ...] = ()


class Proof(Record, frozen=True, kw_only=True):
    """A line that shows something.

    Attributes:
        file: its file.
        line: its number.
        text: what it says.
    """

    file: str
    line: int
    text: str


class Explanation(Record, frozen=True, kw_only=True):
    """One report with its meaning.

    Attributes:
        report: the report.
        headline: the victim and the cause, in one line.
        shortage: what ran out.
        where: where memory was; None where the report does not show it.
        findings: what looks wrong, the most important first.
        choice: why this process; None without a task table.
        changes: what would have altered the outcome; a limit that was hit comes first.
        advice: what to look at next, where a memory cgroup was at its limit.
        killer: the killer.
        related: what others say of it: runtimes' notices, units that failed.
    """

    report: Report
    headline: str
    shortage: Shortage
    where: Breakdown | None
    findings: tuple[Finding, ...]
    choice: Choice | None
    killer: Verdict
    changes: tuple[Change, ...] = ()
    advice: tuple[Advice, ...] = ()
    related: tuple[Evidence, ...] = ()
