"""Which line belongs to which report: by order, stamp, caller and pid, each bound to both sides."""

import io
from typing import TYPE_CHECKING, Any

import pytest

from oomkit.klog import read_bytes
from oomkit.klog.reader import scan_records
from oomkit.klog.records import KernelName, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "{} invoked oom-killer: gfp_mask=0x1(X), order=0, oom_score_adj=0"
TABLE = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
ROW = "[{0:7}]     0 {0:5}     9000      400     4096        0             0 {1}"
CHOICE = "Out of memory: Kill process {} ({}) score 9 or sacrifice child"
SUMMARY = (
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/,task={1},pid={0},uid=0"
)
KILL = (
    "Out of memory: Killed process {} ({}) total-vm:36000kB, anon-rss:4kB, file-rss:0kB, "
    "shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0"
)
OLD_KILL = "Killed process {} ({}) total-vm:36000kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
OTHER = "usb 1-1: new device"


def log(*lines: str | tuple[float, str]) -> bytes:
    """Lines, with the kernel's stamp where one is given."""
    texts = (line if isinstance(line, str) else f"[{line[0]:12.6f}] {line[1]}" for line in lines)
    return "".join(f"{text}\n" for text in texts).encode()


def at(second: float, *texts: str) -> list[tuple[float, str]]:
    return [(second + i / 1000, text) for i, text in enumerate(texts)]


def read(*lines: Any) -> list[Report]:
    return list(read_bytes(log(*lines), "x.log"))


def whole(pid: int, comm: str) -> tuple[str, ...]:
    rows = (ROW.format(5, "other"), ROW.format(pid, comm))
    return (HEAD.format(comm), TABLE, *rows, SUMMARY.format(pid, comm), KILL.format(pid, comm))


def killed(reports: list[Report]) -> list[list[int]]:
    return [[victim.pid for victim in report.killed] for report in reports]


def kinds(report: Report) -> list[str]:
    return [problem.kind for problem in report.problems]


# -- when a report is over -----------------------------------------------------------------------


@pytest.mark.parametrize(("later", "joined"), [(300.0, True), (300.9, False)])
def test_silence_ends_a_report(later: float, joined: bool) -> None:
    """After 300 s of the kernel's clock its end is of another."""
    head, *rest = whole(7, "db")[:4]
    first = [(10.0, head), *((10.0, text) for text in rest)]
    found = read(*first, (10.0 + later, KILL.format(7, "db")))
    assert killed(found) == ([[7]] if joined else [[], [7]])


@pytest.mark.parametrize(("lines", "joined"), [(1950, True), (2100, False)])
def test_lines_of_other_matters_end_a_report(lines: int, joined: bool) -> None:
    start = whole(7, "db")[:4]
    found = read(*start, *[OTHER] * lines, KILL.format(7, "db"))
    assert killed(found) == ([[7]] if joined else [[], [7]])


def test_eight_reports_may_be_open() -> None:
    def unended(count: int) -> list[Report]:
        lines: list[Any] = []
        for n in range(count):
            lines += [(1.0 + n / 100, HEAD.format(f"t{n}")), (1.0 + n / 100, TABLE),
                      (1.0 + n / 100, ROW.format(100 + n, f"t{n}"))]  # fmt: skip
        # The oldest's kill line comes last; it is found by the choice that the report holds.
        lines.insert(3, (1.0, CHOICE.format(100, "t0")))
        return read(*lines, (1.5, OLD_KILL.format(100, "t0")))

    for count, joined in ((8, True), (9, False)):
        found = unended(count)
        first = next(report for report in found if report.invoker == "t0")
        assert bool([v for v in first.killed if v.told_by == "kill_line"]) == joined


# -- who asked, who was chosen -------------------------------------------------------------------


def test_callers_are_separated() -> None:
    def by(caller: str, texts: tuple[str, ...]) -> list[str]:
        return [f"[   10.00000{i}][ {caller}] {text}" for i, text in enumerate(texts)]

    first, second = by("T77", whole(7, "db")), by("T88", whole(8, "web"))
    mixed = [line for pair in zip(first, second, strict=True) for line in pair]
    found = read(*mixed)
    assert killed(found) == [[7], [8]]
    assert [[row.tgid for row in report.tasks] for report in found] == [[5, 7], [5, 8]]
    assert [report.invoker for report in found] == ["db", "web"]
    assert all("interleaved" not in kinds(report) for report in found)


def test_a_report_that_begins_inside_another_is_noted() -> None:
    first, second = whole(7, "db"), whole(8, "web")
    found = read(*first[:2], *second, *first[4:])
    assert [report.invoker for report in found] == ["db", "web"]
    assert killed(found) == [[7], [8]]
    note = next(p for p in found[0].problems if p.kind == "interleaved")
    assert (note.text, note.line) == ("another report begins before this one ends", 3)
    apart = read(*first, *second)
    assert all("interleaved" not in kinds(report) for report in apart)


def test_rows_carry_on_a_table_that_another_report_interrupted() -> None:
    first, second = whole(7, "db"), whole(8, "web")
    late = ROW.format(9, "late")
    found = read(*first[:4], *second, late, *first[4:])
    assert [[row.pid for row in report.tasks] for report in found] == [[5, 7, 9], [5, 8]]
    mixed = [[p for p in report.problems if p.kind == "mixed"] for report in found]
    assert [[p.text for p in part] for part in mixed] == [
        ["two task tables are mixed; rows may stand in the wrong one"]
    ] * 2
    assert [[p.line for p in part] for part in mixed] == [[2], [6]]
    # A row with a smaller pid than the table's last does not carry it on.
    lower = read(*first[:4], *second, ROW.format(6, "low"), *first[4:])
    assert [row.pid for row in lower[0].tasks] == [5, 7]


def test_a_kill_line_is_of_the_report_that_chose() -> None:
    lines = [HEAD.format("db"), CHOICE.format(7, "db"), HEAD.format("web"), CHOICE.format(8, "web"),
             OLD_KILL.format(7, "db"), OLD_KILL.format(8, "web")]  # fmt: skip
    found = read(*lines)
    assert [(r.invoker, [v.pid for v in r.killed]) for r in found] == [("db", [7]), ("web", [8])]


def test_a_kill_line_of_another_than_the_summary_names() -> None:
    start = whole(7, "db")[:5]
    # Process 9 is not in the table of the report that names 7: another report's end.
    assert killed(read(*start, KILL.format(9, "x"))) == [[], [9]]
    # Process 5 is: it may be one of those that share memory.
    assert killed(read(*start, KILL.format(5, "other"))) == [[5]]
    by_asker = KILL.format(9, "x").replace(
        "Out of memory", "Out of memory (oom_kill_allocating_task)"
    )
    assert killed(read(*start, by_asker)) == [[9]]


@pytest.mark.parametrize(("apart", "joined"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_kill_line_that_came_before_the_line_of_its_choice(apart: float, joined: bool) -> None:
    lines = [(10.0, OLD_KILL.format(7, "db")), (10.0 + apart, CHOICE.format(7, "db"))]
    found = read(*lines)
    assert len(found) == (1 if joined else 2)
    by_summary = [(10.0, KILL.format(7, "db")), (10.0 + apart, SUMMARY.format(7, "db"))]
    assert len(read(*by_summary)) == (1 if joined else 2)
    other = [(10.0, OLD_KILL.format(7, "db")), (10.0, CHOICE.format(8, "web"))]
    assert len(read(*other)) == 2


# -- groups --------------------------------------------------------------------------------------

GROUP = "Tasks in /a are going to be killed due to memory.oom.group set"
MEMBER = KILL.format(8, "web")


def test_a_group_dies_with_its_line() -> None:
    found = read(*at(10.0, *whole(7, "db"), GROUP, KILL.format(7, "db"), MEMBER))
    assert killed(found) == [[7, 8]]
    assert [v.killed_as for v in found[0].killed] == ["selected", "oom_group"]
    assert found[0].oom_group == "/a"
    assert "lines_repeated" not in kinds(found[0])
    twice = read(*at(10.0, *whole(7, "db"), GROUP, GROUP, MEMBER))
    assert "lines_repeated" in kinds(twice[0])


@pytest.mark.parametrize(
    ("second", "text", "together"),
    [
        (10.0, MEMBER, True),
        (10.9, MEMBER, True),
        (11.0, MEMBER, True),
        (11.1, MEMBER, False),
        (9.9, MEMBER, False),
        (10.9, MEMBER.replace("Out of memory", "Memory cgroup out of memory"), False),
        (10.9, OLD_KILL.format(8, "web"), False),
    ],
)
def test_a_groups_member_without_that_line(second: float, text: str, together: bool) -> None:
    """A kill line without a choice of its own, at the same moment, is of the same group."""
    lines = [(10.0, line) for line in whole(7, "db")]
    found = read(*lines, (second, text))
    assert killed(found) == ([[7, 8]] if together else [[7], [8]])


def test_lines_with_and_without_a_stamp_are_of_no_moment() -> None:
    assert killed(read(*whole(7, "db"), (10.0, MEMBER))) == [[7], [8]]
    assert killed(read(*at(10.0, *whole(7, "db")), MEMBER)) == [[7], [8]]


def test_a_member_is_not_of_a_report_without_a_choice_or_of_an_older_form() -> None:
    head, table, row, other, _, kill = whole(7, "db")
    lines = [(10.0, text) for text in (head, table, row, other, kill)]
    assert killed(read(*lines, (10.1, MEMBER))) == [[7], [8]]
    old = [(10.0, text) for text in (head, CHOICE.format(7, "db"),
           "Killed process 7 (db) total-vm:36000kB, anon-rss:4kB, file-rss:0kB")]  # fmt: skip
    late = "Killed process 8 (web) total-vm:36000kB, anon-rss:4kB, file-rss:0kB"
    assert killed(read(*old, (10.1, late))) == [[7], [8]]


def test_the_chosen_one_killed_again_takes_in_the_members_before() -> None:
    lines = [(10.0, text) for text in whole(7, "db")]
    found = read(*lines, (10.0, MEMBER), (10.1, KILL.format(7, "db")))
    assert killed(found) == [[7, 8]]


@pytest.mark.parametrize(("count", "span", "grouped"), [(9, 1.0, True), (10, 5.0, False)])
def test_kill_lines_after_ten_heads_are_the_rate_limits(
    count: int, span: float, grouped: bool
) -> None:
    """The kernel prints ten heads in five seconds, and every kill line."""
    lines: list[Any] = []
    for n in range(count):
        second = 10.0 + span * n / 10
        lines += [(second, text) for text in whole(100 + n, f"t{n}")]
    last = 10.0 + span * (count - 1) / 10
    found = read(*lines, (last + 0.1, KILL.format(999, "x")))
    assert (killed(found)[-1] == [999]) != grouped


# -- what comes after the end --------------------------------------------------------------------

REAPED = "oom_reaper: reaped process {} ({}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"


def test_oom_reapers_lines() -> None:
    found = read(*whole(7, "db"), REAPED.format(7, "db"))
    assert [r.pid for r in found[0].reaped] == [7]
    # Of a process that no kill line names, it is the youngest report's that has ended.
    assert len(read(*whole(7, "db"), REAPED.format(70, "db"))) == 1
    # Without any, it stands for the kill line.
    (alone,) = read((10.0, REAPED.format(7, "db")))
    assert [(v.pid, v.told_by) for v in alone.killed] == [(7, "reaper")]
    (begun,) = read(*whole(7, "db")[:5], REAPED.format(7, "db"))
    assert [(v.pid, v.told_by, v.killed_as) for v in begun.killed] == [(7, "reaper", "selected")]
    # Long after, its victim is known: nothing new.
    late = read(*[(10.0, text) for text in whole(7, "db")], (1000.0, REAPED.format(7, "db")))
    assert killed(late) == [[7]]


def test_other_lines_about_victims() -> None:
    sharer = "Kill process 8 (web) sharing same memory"
    found = read(HEAD.format("db"), CHOICE.format(7, "db"), OLD_KILL.format(7, "db"), sharer)
    assert [(v.pid, v.killed_as) for v in found[0].killed] == [(7, "selected"), (8, "mm_sharer")]
    assert read(sharer) == []
    exiting = "Out of memory: OOM victim 7 (db) is already exiting. Skip killing the task"
    (gone,) = read(*whole(7, "db")[:4], exiting)
    assert (gone.already_exiting, gone.killed, gone.kill_text) == (True, (), "Out of memory")
    assert gone.summary is not None
    assert (gone.summary.pid, gone.summary.comm) == (7, "db")
    (both,) = read(*whole(7, "db")[:5], exiting.replace("7 (db)", "5 (other)"))
    assert both.summary is not None
    assert both.summary.pid == 7


def test_nobody_and_panics() -> None:
    nobody = "Out of memory and no killable processes..."
    panic = "Kernel panic - not syncing: System is deadlocked on memory"
    (found,) = read(*whole(7, "db")[:4], nobody, panic)
    assert (found.no_killable, found.panic) == (True, "System is deadlocked on memory")
    end = "---[ end Kernel panic - not syncing: System is deadlocked on memory ]---"
    assert len(read(*whole(7, "db")[:4], nobody, panic, end)) == 1
    (lone,) = read(end)
    assert lone.panic == "System is deadlocked on memory"
    two = read(*whole(7, "db"), panic)
    assert [(r.panic, len(r.killed)) for r in two] == [(None, 1), (
        "System is deadlocked on memory", 0)]  # fmt: skip
    again = read(*whole(7, "db")[:4], panic, panic)
    assert [r.panic for r in again] == ["System is deadlocked on memory"] * 2
    old = "Kernel panic - not syncing: Out of memory and no killable processes..."
    (classic,) = read(old)
    assert classic.panic == "Out of memory and no killable processes..."
    caller = "CPU: 1 PID: 7 Comm: db Not tainted 6.1.0-18 #1"
    (named,) = read(panic, caller)
    assert named.kernel == "6.1.0-18"


@pytest.mark.parametrize(("pid", "comm"), [(7, "db"), (8, "web"), (9, "app")])
def test_a_panic_is_that_of_the_task_named_below(pid: int, comm: str) -> None:
    """Several CPUs' reports are open: which of them panicked is told by the line below."""

    def by(pid: int, comm: str) -> tuple[str, str]:
        named = f"CPU: {pid - 7} PID: {pid} Comm: {comm} Not tainted 6.1.0-18 #1"
        return HEAD.format(comm), named

    panic = "Kernel panic - not syncing: System is deadlocked on memory"
    lines = [*by(7, "db"), *by(8, "web"), *by(9, "app"), panic, by(pid, comm)[1]]
    found = read(*at(10.0, *lines))
    assert [report.invoker for report in found if report.panic] == [comm]


# -- requests by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize(("between", "scope"), [(0, "sysrq"), (3, "sysrq"), (4, "global")])
def test_sysrqs_own_line(between: int, scope: str) -> None:
    """A report that begins no more than four lines below it was asked for."""
    lines = [(10.0, "sysrq: Manual OOM execution"), *[(10.0, OTHER)] * between]
    (found,) = read(*lines, *[(10.0, text) for text in whole(7, "db")])
    assert found.scope == scope


# -- lines that are lost, left out, doubled ------------------------------------------------------


@pytest.mark.parametrize(
    ("at_", "text", "kind", "words"),
    [
        (1, "printk messages dropped", "lines_lost", "the log lost lines here"),
        (3, "** 7 printk messages dropped **", "table_truncated", "the log lost lines here"),
        (4, "Missed 7 kernel messages", "table_truncated", "the log lost lines here"),
        (5, "Missed 7 kernel messages", "lines_lost", "the log lost lines here"),
        (1, "[...]", "lines_lost", "lines were left out here"),
        (3, "[...]", "table_truncated", "lines were left out here"),
        (2, "[...]", "lines_lost", "lines were left out here"),
        (5, "[...]", "lines_lost", "lines were left out here"),
    ],
)
def test_lines_that_are_not_there(at_: int, text: str, kind: str, words: str) -> None:
    lines = list(whole(7, "db"))
    lines.insert(at_, text)
    (found,) = read(*lines)
    assert (kind, words, at_ + 1) in [(p.kind, p.text, p.line) for p in found.problems]
    after = read(*whole(7, "db"), text)
    assert not {"lines_lost", "table_truncated"} & set(kinds(after[0]))


def test_heads_that_the_rate_limit_left_out() -> None:
    text = "oom_kill_process: 7 callbacks suppressed"
    (found,) = read(*whole(7, "db"), text)
    note = next(p for p in found.problems if p.kind == "limited")
    assert note.line == 7
    assert note.text == (
        "heads and tables before this line were left out by the kernel's rate limit"
    )
    assert read(text) == []


def test_screens_that_overlap_are_read_once() -> None:
    lines = [(10.0 + i / 10, text) for i, text in enumerate(whole(7, "db"))]
    (found,) = read(*lines[:4], *lines[2:])
    assert [row.pid for row in found.tasks] == [5, 7]
    notes = [(p.text, p.line) for p in found.problems if p.kind == "lines_repeated"]
    assert notes == [("lines stand in the log twice", 5), ("lines stand in the log twice", 6)]
    (plain,) = read(*lines)
    assert "lines_repeated" not in kinds(plain)
    # The same text with the same stamp may come twice in a row.
    twice = read(*lines[:2], (10.2, ROW.format(5, "other")), (10.2, ROW.format(6, "other")),
                 *lines[3:])  # fmt: skip
    assert [row.pid for row in twice[0].tasks] == [5, 6, 7]


# -- heads that are missing ----------------------------------------------------------------------

CALLER = "CPU: 1 PID: 7 Comm: db Not tainted 6.1.0-18 #1"
FRAMES = ("dump_header+0x1/0x2", "oom_kill_process+0x1/0x2", "out_of_memory+0x1/0x2")


@pytest.mark.parametrize(("between", "named"), [(0, True), (22, True), (24, False)])
def test_a_report_that_begins_in_its_trace(between: int, named: bool) -> None:
    lines = [CALLER, *["unknown+0x1/0x2"] * between, *FRAMES, KILL.format(7, "db")]
    found = read(*lines)
    report = found[-1]
    assert (report.invoker, report.kernel) == (("db", "6.1.0-18") if named else (None, None))
    assert [v.pid for v in report.killed] == [7]
    assert set(report.call_trace) >= {"dump_header", "oom_kill_process", "out_of_memory"}


def test_a_memory_part_alone_is_no_report() -> None:
    counters = ("Mem-Info:", "active_anon:1 inactive_anon:2", "39 pages RAM")
    assert read(*counters) == []
    (found,) = read(*counters, *whole(7, "db")[1:])
    assert found.memory is not None
    assert found.memory.ram_pages == 39
    failure = "db: page allocation failure: order:3, mode:0x1(X)"
    after = read(failure, *counters, OTHER, *whole(7, "db"))
    assert killed(after) == [[7]]
    assert after[0].memory is None


def test_a_second_memory_part_of_a_cgroup_is_another_report() -> None:
    usage = "memory: usage {}kB, limit 100kB, failcnt 7"
    head = HEAD.format("db")
    same = read(head, usage.format(80), usage.format(80), KILL.format(7, "db"))
    assert len(same) == 1
    two = read(head, usage.format(80), "swap: usage 1kB, limit 2kB, failcnt 0", usage.format(90),
               "swap: usage 1kB, limit 2kB, failcnt 0", KILL.format(7, "db"))  # fmt: skip
    assert [r.memcg.memory.usage_kb for r in two if r.memcg and r.memcg.memory] == [80, 90]


# -- kernels -------------------------------------------------------------------------------------


def kernels(*lines: Any) -> list[tuple[int, str, str | None]]:
    records: Iterator[Any] = scan_records(io.BytesIO(log(*lines)), "x", evidence=False)
    return [(r.line, r.release, r.host) for r in records if isinstance(r, KernelName)]


def test_lines_that_name_the_kernel() -> None:
    boot = "Nov 24 03:00:00 web kernel: Linux version 6.1.0-18 (gcc) #1 SMP"
    assert kernels(boot) == [(1, "6.1.0-18", "web")]
    assert kernels("Linux web 6.1.0-18 #1 SMP") == [(1, "6.1.0-18", None)]
    assert kernels("$ uname -r", "6.1.0-18") == [(2, "6.1.0-18", None)]
    assert kernels("$ uname -r", "words", "6.1.0-18") == []
    assert kernels("6.1.0-18") == []
    assert kernels("Kernel: Linux 6.1.0-18") == [(1, "6.1.0-18", None)]
    failure = "db: page allocation failure: order:3, mode:0x1(X)"
    assert kernels(failure, CALLER) == [(2, "6.1.0-18", None)]
    (report,) = read("Linux version 6.1.0-18 (gcc) #1 SMP", *whole(7, "db"))
    assert report.kernel == "6.1.0-18"
    (own,) = read("Linux version 5.4.0 (gcc) #1 SMP", HEAD.format("db"), CALLER,
                  *whole(7, "db")[1:])  # fmt: skip
    assert own.kernel == "6.1.0-18"


def test_what_is_quoted_is_no_line_of_the_kernels() -> None:
    quoted = "OOMKilling: " + KILL.format(7, "db")
    assert read((10.0, quoted)) == []
    assert read((10.0, "kernel-monitor: " + CHOICE.format(7, "db"))) == []
    tagged = f"Nov 24 03:00:00 web app[7]: {KILL.format(7, 'db')}"
    assert read(tagged) == []


def test_wrapped_and_cut_lines_are_noted() -> None:
    long = KILL.format(7, "db")
    (wrapped,) = read(*whole(7, "db")[:5], long[:60], long[60:])
    assert "line_wrapped" in kinds(wrapped)
    (cut,) = read((1.0, HEAD.format("db")), (1.0, f"{SUMMARY.format(7, 'db')[:80]}>"),
                  (1.0, long))  # fmt: skip
    assert ("line_damaged", "the end of a line is cut") in [(p.kind, p.text) for p in cut.problems]
    (nameless,) = read((1.0, HEAD.format("db")), (1.0, "Out of memory: Killed process 7"))
    assert ("line_damaged", "the line that names the victim is cut") in [
        (p.kind, p.text) for p in nameless.problems
    ]
