"""What a log says about the kernel running out of memory, as records.

All quantities carry their unit; ``None`` means that the log does not say. Text has no control
characters: what a log carried of them stands as U+FFFD.
"""

from typing import Literal

from oomkit.kernel.decision import Scope
from oomkit.klog.memory_records import Memcg, Memory, Protection
from oomkit.records import Record

KilledAs = Literal["selected", "child", "allocating_task", "mm_sharer", "oom_group"]


class Source(Record, frozen=True, kw_only=True):
    """Where a report stands.

    Attributes:
        file: the file as it was named; ``-`` for standard input, ``/dev/kmsg`` for the running
            kernel's log.
        line: number of the report's first line, from 1.
        end_line: number of its last line.
    """

    file: str
    line: int
    end_line: int


MAX_PROBLEMS = 50
"""Maximum number of problems of a kind that a report keeps."""


Damage = Literal[
    "no_header",
    "no_table",
    "table_header_missing",
    "table_truncated",
    "table_excerpt",
    "row_damaged",
    "row_missing",
    "no_kill_line",
    "no_memory",
    "lines_lost",
    "line_wrapped",
    "line_damaged",
    "lines_joined",
    "lines_repeated",
    "interleaved",
    "limited",
    "mixed",
]
"""What may be missing or damaged in a report."""


class Problem(Record, frozen=True, kw_only=True):
    """Something missing or damaged in a report.

    Attributes:
        kind: what sort of damage; a stable word to select by.
        text: one sentence.
        line: number of the line it is about; None where it is about the report as a whole.
    """

    kind: Damage
    text: str
    line: int | None = None


class TaskRow(Record, frozen=True, kw_only=True, gc=False):
    """One row of the task table, under the kernel's column names.

    Attributes:
        pid: id of the thread that stood for its process.
        tgid: id of the process (thread group); what a kill line names.
        uid: user id in the initial user namespace.
        comm: the task's name.
        total_vm_pages: address space.
        rss_pages: resident pages, all kinds.
        rss_anon_pages: the anonymous part (6.8 and later).
        rss_file_pages: the part that maps files (6.8 and later).
        rss_shmem_pages: the shared part (6.8 and later).
        nr_ptes: lowest-level page tables (3.6-4.14).
        nr_pmds: middle-level page tables (4.0-4.14).
        pgtables_bytes: page tables of all levels (4.15 and later).
        swapents: swap entries (3.6 and later).
        cpu: the CPU it last ran on (2.6.25-3.5).
        oom_adj: -17..15 (2.6.25-3.5).
        oom_score_adj: -1000..1000 (2.6.36 and later).
        line: number of its line.
    """

    pid: int
    tgid: int
    uid: int
    comm: str
    total_vm_pages: int
    rss_pages: int
    rss_anon_pages: int | None = None
    rss_file_pages: int | None = None
    rss_shmem_pages: int | None = None
    nr_ptes: int | None = None
    nr_pmds: int | None = None
    pgtables_bytes: int | None = None
    swapents: int | None = None
    cpu: int | None = None
    oom_adj: int | None = None
    oom_score_adj: int | None = None
    line: int = 0


class Killed(Record, frozen=True, kw_only=True):
    """One process that the kernel says it killed.

    Attributes:
        pid: its process id.
        comm: its name.
        uid: its user id (5.4 and later, el6).
        total_vm_kb: its address space.
        anon_rss_kb: its resident anonymous memory.
        file_rss_kb: its resident memory that maps files.
        shmem_rss_kb: its resident shared memory (4.5 and later).
        pgtables_kb: its page tables (5.4 and later).
        oom_score_adj: its adjustment (5.4 and later).
        rss_kb: its resident memory, where the line gives only the sum (OpenVZ).
        swap_kb: its swap (OpenVZ).
        killed_as: how it came to die, where the log says so.
        told_by: which line says so: its kill line; where that is missing, the line of the kernel's
            choice (it or a child of it died) or of oom_reaper, which reaps only victims.
        time: when, like ``Report.time``.
        line: number of its line.
    """

    pid: int
    comm: str
    uid: int | None = None
    total_vm_kb: int | None = None
    anon_rss_kb: int | None = None
    file_rss_kb: int | None = None
    shmem_rss_kb: int | None = None
    pgtables_kb: int | None = None
    oom_score_adj: int | None = None
    rss_kb: int | None = None
    swap_kb: int | None = None
    killed_as: KilledAs | None = None
    told_by: Literal["kill_line", "choice", "reaper"] = "kill_line"
    time: str | None = None
    line: int = 0


class Selected(Record, frozen=True, kw_only=True):
    """The line that names the chosen process, before its children were looked at (until 5.0).

    Attributes:
        pid: the chosen process.
        comm: its name.
        score: what the line prints: raw badness until 3.4, thousandths from 3.5 on.
        tgid: the process whose thread ``pid`` is; None where it is no thread of another, or where
            that is unknown.
        line: number of its line.
    """

    pid: int
    comm: str
    score: int | None = None
    tgid: int | None = None
    line: int = 0


class KernelName(Record, frozen=True, kw_only=True):
    """A line outside of reports that names the kernel: its boot, ``uname``, a form about a bug.

    Attributes:
        line: number of the line.
        release: the release.
        host: the host's name.
    """

    line: int
    release: str
    host: str | None = None


class Reaped(Record, frozen=True, kw_only=True):
    """A line of ``oom_reaper`` (4.6 and later).

    Attributes:
        pid: the process it was about.
        comm: its name.
        reaped: the memory was freed; false for "unable to reap".
        anon_rss_kb: what was left of the anonymous memory.
        file_rss_kb: what was left of mapped files.
        shmem_rss_kb: what was left of shared memory.
        line: number of its line.
    """

    pid: int
    comm: str
    reaped: bool = True
    anon_rss_kb: int | None = None
    file_rss_kb: int | None = None
    shmem_rss_kb: int | None = None
    line: int = 0


class Summary(Record, frozen=True, kw_only=True):
    """The ``oom-kill:`` line (5.0 and later, and vendor kernels before).

    Attributes:
        constraint: the kernel's word for what ran out; always ``CONSTRAINT_NONE`` in 5.0-5.1.
        nodemask: nodes of the request; None for ``(null)``.
        owner: what people call that cgroup, where it was looked up on the machine whose log it is;
            None: it was not, or its path is all that is known.
        cpuset: name of the invoker's cpuset.
        mems_allowed: nodes that cpuset allows.
        global_oom: the machine ran out, not a memory cgroup.
        oom_memcg: the memory cgroup that ran out.
        task_memcg: the victim's memory cgroup.
        comm: the victim's name.
        pid: the victim.
        uid: its user id.
        line: number of its line.
    """

    constraint: str | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    global_oom: bool = False
    oom_memcg: str | None = None
    task_memcg: str | None = None
    comm: str | None = None
    pid: int | None = None
    uid: int | None = None
    line: int = 0


class Stall(Record, frozen=True, kw_only=True, gc=False):
    """The warning of an allocation that waits for memory.

    Attributes:
        comm: the task that waited.
        waited_s: for how long, when it was printed.
        order: 2**order contiguous pages were asked for.
        time: when, like ``Report.time``.
        uptime_s: seconds since boot, where the line has the kernel's stamp.
        line: number of its line.
    """

    comm: str
    waited_s: float
    order: int
    time: str | None = None
    uptime_s: float | None = None
    line: int = 0


class Predicted(Record, frozen=True, kw_only=True, gc=False):
    """A task's place in the ranking that the rules give for the report's table.

    Attributes:
        pid: the process.
        comm: its name.
        badness: what the rule set gives it; None for one that can't be chosen.
    """

    pid: int
    comm: str
    badness: int | None


Bound = Literal["least", "most"]
"""Which end of its range an amount takes that the report does not give."""


class Assumed(Record, frozen=True, kw_only=True):
    """What a replay takes for granted where the report is silent.

    Attributes:
        bound: which end of its range an unknown amount takes (swap in a memory cgroup's report,
            RAM where its lines are lost).
        root_has_caps: processes of uid 0 hold CAP_SYS_ADMIN.
        dying: processes in the table that earlier reports of the log killed: they can't be
            chosen again.
    """

    bound: Bound = "least"
    root_has_caps: bool = True
    dying: tuple[int, ...] = ()


_PLAIN = Assumed()


class Report(Record, frozen=True, kw_only=True):
    """One run of the OOM killer as a log shows it, whole or in part.

    Attributes:
        source: file and lines.
        time: when: ISO 8601 where the log has a date (no offset: the log had none), else None.
        uptime_s: the kernel's own time stamp, seconds since boot.
        host: the host's name, where the prefix has it.
        kernel: release as the report (or the log above it) prints it.
        kernel_range: first and last version whose formats the text follows; the same kernel may
            be newer where a vendor keeps old texts.
        rules: name of the rule set the decision was replayed with; None where it was not.
        scope: what ran out; None where nothing in the report says.
        constraint: the kernel's word for it, where the report or its parts say.
        cgroup: path of the memory cgroup that ran out; None for other scopes.
        cpuset: name of the invoker's cpuset.
        mems_allowed: nodes that cpuset allows.
        invoker: name of the task whose request could not be met.
        invoker_pid: its thread id.
        invoker_oom_score_adj: its adjustment.
        invoker_oom_adj: its ``oom_adj`` (2.6.19-3.6).
        gfp_mask: the request's flags as printed, with their names where the kernel prints them.
        nodemask: nodes of the request, where printed.
        order: 2**order contiguous pages were asked for; -1 for SysRq-f from 4.3 on.
        tainted: the kernel's taint flags; None where it was not tainted or nothing is said.
        call_trace: the functions of the call trace, innermost first.
        memory: the machine's memory.
        page_kb: size of a page: as printed, else by the victim's sizes, else 4.
        memcg: the memory cgroup's part.
        protection: memory that reclaim had to leave alone; None before 6.19 and on cgroup v1.
        stalls: warnings of allocations that waited, before the report (4.10-4.14, 7.2 and later).
        tasks: the task table.
        table_complete: the table begins with its header and nothing inside it is damaged or
            known to be missing.
        selected: the chosen process, before its children were looked at (until 5.0).
        summary: the ``oom-kill:`` line.
        killed: the processes that were killed, in the order of the lines.
        kill_text: what opens the kill line: ``Out of memory``, ``Memory cgroup out of memory``,
            ``Out of memory (oom_kill_allocating_task)``...
        oom_group: path of the cgroup that ``memory.oom.group`` killed as one.
        reaped: lines of oom_reaper.
        panic: text of the panic; None without one.
        no_killable: the kernel found no process to kill.
        already_exiting: the chosen process was exiting, so that the kernel killed none.
        would_have: ``would_have_oomkilled`` was set: the victim was named and spared.
        predicted: the ranking that the rules give for the table, worst first.
        agrees: the ranking's first is the kernel's choice; None where that is unknown.
        assumed: what the ranking takes for granted that the report does not show.
        why: what explains a difference, or why that is unknown; empty where it agrees
            without more to say.
        problems: what is missing or damaged.
    """

    source: Source
    time: str | None = None
    uptime_s: float | None = None
    host: str | None = None
    kernel: str | None = None
    kernel_range: tuple[str, str] | None = None
    rules: str | None = None
    scope: Scope | None = None
    constraint: str | None = None
    cgroup: str | None = None
    owner: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    invoker: str | None = None
    invoker_pid: int | None = None
    invoker_oom_score_adj: int | None = None
    invoker_oom_adj: int | None = None
    gfp_mask: str | None = None
    nodemask: str | None = None
    order: int | None = None
    tainted: str | None = None
    call_trace: tuple[str, ...] = ()
    memory: Memory | None = None
    page_kb: int = 4
    memcg: Memcg | None = None
    protection: Protection | None = None
    stalls: tuple[Stall, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    table_complete: bool = False
    selected: Selected | None = None
    summary: Summary | None = None
    killed: tuple[Killed, ...] = ()
    kill_text: str | None = None
    oom_group: str | None = None
    reaped: tuple[Reaped, ...] = ()
    panic: str | None = None
    no_killable: bool = False
    already_exiting: bool = False
    would_have: bool = False
    predicted: tuple[Predicted, ...] = ()
    agrees: bool | None = None
    assumed: Assumed = _PLAIN
    why: str = ""
    problems: tuple[Problem, ...] = ()
