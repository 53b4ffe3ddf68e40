"""Kill lines that people quote, cut, or put together; summaries, rows and heads at their edges."""

from typing import Any

import pytest

from oomkit.klog.lines.learned import LearnedPrefixes
from oomkit.klog.report import kill
from oomkit.klog.report.header import parse_caller, parse_header
from oomkit.klog.report.tasks import (
    FORMS,
    guess_columns,
    parse_row,
    parse_table_header,
    table_form,
)

KILL = "Out of memory: Killed process 7 (db)"


# -- a person's sentence -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        (KILL, False),
        (f"{KILL} total-vm:9kB", False),
        ("Out of memory: Kill process 7 (db) score 9 or sacrifice child", False),
        ("Killed process 7 (db) vsz:9kB", False),
        (f"{KILL} and then it was gone", True),
        (f"we then saw {KILL}", True),
        (f"saw {KILL}", False),
        (f"{KILL} then", False),
        (f"we saw {KILL} total-vm:9kB", False),
        (f"if you see {KILL} total-vm:9kB", True),
        (f"what we saw: {KILL}", False),
        (f"the log says] {KILL}", False),
        (f"the log says> {KILL}", False),
        (f'the log says: "{KILL}', False),
        (f"the log says \N{FULLWIDTH COLON}{KILL}", False),
        (f"\u5185\u5b58\u4e0d\u8db3 {KILL}", True),
        (f"{KILL} \u5185\u5b58", True),
        ("Kill process 7 (db) sharing same memory", False),
        ("Killed process 7 (db) or a child", False),
        ("Would have killed process 7 (db). But continuing instead, if you want", False),
        ("Kernel panic - not syncing: System is deadlocked on memory", False),
        ("Kernel panic - not syncing: System is deadlocked on memory is what it said", True),
        ("Out of memory and no killable processes...", False),
        ("Out of memory and no killable processes... is what it said then", True),
        ("Out of memory: system-wide panic_on_oom is enabled", False),
        ("words of a person", False),
    ],
)
def test_a_sentence_that_names_a_kill(text: str, prose: bool) -> None:
    """Two words or more around it, unless a colon or the like ends those before."""
    assert kill.is_prose(text) is prose


# -- the summary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=db,pid=7,uid=5",
         {"constraint": "CONSTRAINT_NONE", "nodemask": None, "cpuset": "/", "mems_allowed": "0",
          "global_oom": True, "task_memcg": "/", "comm": "db", "pid": 7, "uid": 5}),
        ("CONSTRAINT_MEMCG,nodemask=0-1,cpuset=b,oom_memcg=/m,task_memcg=/m/t,task=a,pid=x,pid=9",
         {"nodemask": "0-1", "oom_memcg": "/m", "task_memcg": "/m/t", "comm": "a,pid=x",
          "pid": 9, "uid": None, "global_oom": False}),
        ("CONSTRAINT_NONE,task=,pid=7", {"comm": "", "pid": 7}),
        ("CONSTRAINT_NONE,task=db", {"comm": "db", "pid": None}),
        ("CONSTRAINT_NONE", {"constraint": "CONSTRAINT_NONE", "comm": None, "pid": None}),
        ("CONSTRAINT_NONE x", {"constraint": "CONSTRAINT_NONE"}),
        ("(null),nodemask=0", {"constraint": "(null)", "nodemask": "0"}),
        (",nodemask=0", {"constraint": None}),
        ("CONSTRAINT_NONE,cpuset=a,cpuset=b", {"cpuset": "a"}),
        ("CONSTRAINT_NONE,pid=12345678901", {"pid": None}),
        ("CONSTRAINT_NONE,uid=1234567890", {"uid": 1_234_567_890}),
    ],
)  # fmt: skip
def test_a_summary(rest: str, expected: dict[str, Any]) -> None:
    found = kill.parse_summary(f"oom-kill:constraint={rest}", 5)
    assert found is not None
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.line == 5


@pytest.mark.parametrize(
    "pid", ["<pid>", "{pid}", "$PID", "%d", "...", "\u2026", "N", "XXX", "PID"]
)
def test_a_pattern_of_the_summary_is_none(pid: str) -> None:
    assert (
        kill.parse_summary(f"oom-kill:constraint=CONSTRAINT_NONE,task=x,pid={pid},uid=0", 5) is None
    )


def test_a_name_that_looks_like_a_pattern_is_a_name() -> None:
    """Only what the field of the number holds shows one."""
    found = kill.parse_summary("oom-kill:constraint=CONSTRAINT_NONE,task=XPID,pid=7,uid=0", 5)
    assert found is not None
    assert (found.comm, found.pid) == ("XPID", 7)


# -- names that a cut line lacks -----------------------------------------------------------------


def test_where_its_end_is_missing_a_kill_line_is_of_any_later_version() -> None:
    def form(rest: str, *, cut: bool = False) -> str | None:
        found = kill.parse_killed(
            f"Out of memory: Killed process 7 (db) {rest}".rstrip(), 5, cut=cut
        )
        assert found is not None
        return found.form

    sizes = "total-vm:9kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB"
    assert (form(sizes), form(sizes, cut=True), form(f"{sizes},")) == (
        "5.1", "5.1 or later", "5.1 or later")  # fmt: skip
    assert form(f"{sizes}, UID:0") == "5.4"
    assert form(f"{sizes}, UID:0 pgtables:4kB oom_score_adj:0", cut=True) == "5.4"
    assert form("total-vm:9kB") == "5.1 or later"
    assert form("vsz:9kB, anon-rss:1kB, file-rss:0kB") == "2.6.33"


# -- rows ----------------------------------------------------------------------------------------

COLUMNS = FORMS["6.8"]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("[    7]     0     7     9000      400  300  50  50  4096  0  0 db", True),
        ("[    7]     0     7     9000      400  300  50  50  4096  0  1000 db", True),
        ("[    7]     0     7     9000      400  300  50  50  4096  0  -1000 db", True),
        ("[    7]     0     7     9000      400  300  50  50  4096  0  1001 db", False),
        ("[    7]     0     7     9000      400  300  50  50  4096  0  -1001 db", False),
        ("[    7]     0     7     -1      400  300  50  50  4096  0  0 db", False),
        ("[    7]     0     -7     9000      400  300  50  50  4096  0  0 db", False),
        ("[    7]     0     7     9000      400  300  50  50  4096  0 db", False),
        ("[    7]     0     7     9000      400  300  50  50  4096  x  0 db", False),
        ("[    x]     0     7     9000      400  300  50  50  4096  0  0 db", False),
        ("     7      0     7     9000      400  300  50  50  4096  0  0 db", False),
        (f"[    7]  0  7  9000  400  300  50  50  4096  0  0 {'n' * 64}", True),
        (f"[    7]  0  7  9000  400  300  50  50  4096  0  0 {'n' * 65}", False),
        (f"[    7]  0  7  {(1 << 64) - 1}  400  300  50  50  4096  0  0 db", True),
        (f"[    7]  0  7  {1 << 64}  400  300  50  50  4096  0  0 db", False),
        (f"[{(1 << 64) - 1}]  0  7  9000  400  300  50  50  4096  0  0 db", True),
        (f"[{1 << 64}]  0  7  9000  400  300  50  50  4096  0  0 db", False),
    ],
)
def test_a_row_with_values_that_can_be(text: str, known: bool) -> None:
    assert (parse_row(text, COLUMNS, 5) is not None) == known


def test_a_name_has_blanks() -> None:
    row = parse_row("[ 7] 0 7 9000 400 300 50 50 4096 0 0 tmux: server 1", COLUMNS, 5)
    assert row is not None
    assert (row.comm, row.line, row.pid, row.tgid) == ("tmux: server 1", 5, 7, 7)


def test_columns_of_a_head_up_to_the_name() -> None:
    for columns in FORMS.values():
        text = "[ pid ]   uid  tgid " + " ".join(columns[2:]) + " name"
        assert parse_table_header(text) == columns
        assert parse_table_header(f"{text} rss") == columns
    assert parse_table_header("[ pid ]   uid  tgid total_vm rss words oom_adj") == FORMS["6.8"][:4]
    assert parse_table_header("words") is None
    assert table_form(FORMS["4.15"], wide=True) == "4.19"
    assert table_form(FORMS["4.15"], wide=False) == "4.15"
    assert table_form(FORMS["3.6"], wide=True) == "3.6"
    assert table_form(("uid",), wide=False) is None


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        (["[ 7] 0 7 9 4 4096 0 0 db"], "4.15"),
        (["[ 7] 0 7 9 4 2048 0 0 db"], "4.15"),
        (["[ 7] 0 7 9 4 2047 0 0 db"], "2.6.36"),
        (["[ 7] 0 7 9 4 0 0 0 db"], "2.6.36"),
        (["[ 7] 0 7 9 4 0 0 0 db", "[ 8] 0 8 9 4 4096 0 0 x"], "4.15"),
        (["[ 7] 0 7 9 4 5 0 500 db"], "3.6"),
        (["[ 7] 0 7 9 4 5 15 500 db"], "2.6.36"),
        (["[ 7] 0 7 9 4 5 16 500 db"], "3.6"),
        (["[ 7] 0 7 9 4 5 -17 -1000 db"], "2.6.36"),
        (["[ 7] 0 7 9 4 5 -18 -1000 db"], "3.6"),
        (["[ 7] 0 7 9 4 5 15 0 db"], "3.6"),
        (["[ 7] 0 7 9 4 4096 0 0 db"] * 2 + ["[ 8] 0 8 9"], "4.15"),
        (["[ 7] 0 7"], None),
        ([], None),
    ],
)
def test_columns_by_the_values_in_them(rows: list[str], form: str | None) -> None:
    assert guess_columns(rows) == (None if form is None else FORMS[form])


# -- heads ---------------------------------------------------------------------------------------


def test_a_head_needs_its_mask() -> None:
    assert parse_header("db invoked oom-killer: gfp_mask=x, order=0") is None
    assert parse_header("words") is None
    (cut,) = [parse_header("db invoked oom-killer")]
    assert cut is not None
    assert (cut.comm, cut.gfp_mask, cut.form) == ("db", None, None)
    assert parse_header("oom-killer:") is None


def test_the_taint_of_a_kernel() -> None:
    line = "CPU: 1 PID: 7 Comm: db {} 6.1.0-18 #1"
    for printed, tainted in (("Not tainted", None), ("Tainted: G        W", "G        W"),
                             ("Tainted: P", "P")):  # fmt: skip
        found = parse_caller(line.format(printed))
        assert found is not None
        assert (found.tainted, found.release) == (tainted, "6.1.0-18")
    old = parse_caller("Pid: 7, comm: db 2.6.32 #1")
    assert old is not None
    assert (old.tainted, old.release, old.pid, old.comm) == (None, "2.6.32", 7, "db")


# -- prefixes that are learnt --------------------------------------------------------------------


def learn(learned: LearnedPrefixes, text: str, head: str = "") -> tuple[str, str]:
    return learned.strip(text, head)


def test_what_a_known_logger_wrote_is_followed_by_nothing_once_a_line_showed_it() -> None:
    learned = LearnedPrefixes()
    assert learn(learned, "Mem-Info:", "Jan  4 web kernel: ") == ("", "Mem-Info:")
    # Nothing is looked for until another stretch begins, and behind that head not even then.
    assert learn(learned, "a| Mem-Info:") == ("", "a| Mem-Info:")
    learned.look_again()
    assert learn(learned, "a| Mem-Info:", "Jan  4 web kernel: ") == ("", "a| Mem-Info:")
    assert learn(learned, "a| Mem-Info:") == ("a| ", "Mem-Info:")
    assert learn(learned, "a| x") == ("a| ", "x")


def test_what_was_seen_behind_or_before_a_text_goes_on_being_looked_for() -> None:
    learned = LearnedPrefixes()
    assert learn(learned, "a| Mem-Info:") == ("a| ", "Mem-Info:")
    assert learn(learned, "Mem-Info:") == ("", "Mem-Info:")
    assert learn(learned, "a| x") == ("a| ", "x")
    ends = LearnedPrefixes()
    assert learn(ends, 'Mem-Info:",') == ("", "Mem-Info:")
    assert ends.has_end
    assert learn(ends, "Mem-Info:") == ("", "Mem-Info:")
    assert learn(ends, 'x",') == ("", "x")


def test_a_row_loses_no_prefix() -> None:
    """The number in its brackets may look like one."""
    learned = LearnedPrefixes()
    assert learn(learned, "[5] Mem-Info:") == ("[5] ", "Mem-Info:")
    assert learn(learned, "[7] x") == ("[7] ", "x")
    row = "[    7]     0     7     9000      400  4096  0  0 db"
    assert learn(learned, row) == ("", row)


def test_the_longest_shape_is_tried_first() -> None:
    learned = LearnedPrefixes()
    learn(learned, "a| Mem-Info:")
    learn(learned, "a| b| Mem-Info:")
    assert learn(learned, "a| b| x") == ("a| b| ", "x")
    assert learn(learned, "a| c| x") == ("a| ", "c| x")
