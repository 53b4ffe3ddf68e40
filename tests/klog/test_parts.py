"""The parts of a report by themselves: lines of each version with every value that they hold.

The texts are those of mm/oom_kill.c and mm/memcontrol.c by version.
"""

from typing import Any

import pytest

from oomkit.klog.lines.line import Line
from oomkit.klog.memory_records import Counter, HugePages, Memory, Protection, Slab
from oomkit.klog.records import (
    Killed,
    KilledAs,
    Report,
    Selected,
    Source,
    Stall,
    Summary,
    TaskRow,
)
from oomkit.klog.report import kill, tasks
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.finish import note_missing
from oomkit.klog.report.header import (
    asks_release,
    nodes_in,
    parse_bare_release,
    parse_caller,
    parse_cpuset,
    parse_frame,
    parse_header,
    parse_uname,
    parse_version,
)
from oomkit.klog.report.line_records import KillLine
from oomkit.klog.report.memcg import MemcgPart
from oomkit.klog.report.meminfo import MemoryPart, page_kb
from oomkit.klog.report.scope import beancounter, has_stack, what_ran_out
from oomkit.klog.report.stall import Stalls, parse_stall
from oomkit.klog.version_texts import NEWEST, version_range
from oomkit.klog.writeparts import node_list
from oomkit.records import replace

# -- kill lines ----------------------------------------------------------------------------------

VM = {"total_vm_kb": 9, "anon_rss_kb": 4}
FILES = {**VM, "file_rss_kb": 1}
SHMEM = {**FILES, "shmem_rss_kb": 2}
SIZES = "total-vm:9kB, anon-rss:4kB"
WITH_FILES = f"{SIZES}, file-rss:1kB"
WITH_SHMEM = f"{WITH_FILES}, shmem-rss:2kB"
OOM = "Out of memory"


@pytest.mark.parametrize(
    ("text", "opening", "form", "values"),
    [
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM}, UID:5 pgtables:6kB oom_score_adj:-3", OOM,
         "5.4", {**SHMEM, "uid": 5, "pgtables_kb": 6, "oom_score_adj": -3}),
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM}, UID:5", OOM, "5.4", {**SHMEM, "uid": 5}),
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM}, pgtables:6kB", OOM, "5.4",
         {**SHMEM, "pgtables_kb": 6}),
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM}", OOM, "5.1", SHMEM),
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM},", OOM, "5.1 or later", SHMEM),
        (f"{OOM}: Killed process 7 (db) {WITH_FILES}", OOM, "5.1 or later", FILES),
        (f"Memory cgroup out of memory: Killed process 7 (db) {WITH_SHMEM}",
         "Memory cgroup out of memory", "5.1", SHMEM),
        (f"x: {OOM}: Killed process 7 (db) {SIZES}", OOM, "5.1 or later", VM),
        (f"Killed process 7 (db) {WITH_SHMEM}", None, "4.5", SHMEM),
        (f"Killed process 7 (db) {WITH_FILES}", None, "2.6.36", FILES),
        (f"Killed process 7 (db) {WITH_FILES},", None, "2.6.36 or later", FILES),
        (f"Killed process 7 (db) {SIZES}", None, "2.6.36 or later", VM),
        ("Killed process 7 (db) vsz:9kB, anon-rss:4kB, file-rss:1kB", None, "2.6.33", FILES),
        (f"Killed process 7, UID 48, (db) {WITH_FILES}", None, "el6", {**FILES, "uid": 48}),
        (f"Killed process 7 (db), UID 48, {WITH_SHMEM}", None, "el7", {**SHMEM, "uid": 48}),
        (f"Killed process 7 (db), UID 48, {WITH_FILES}", None, None, {**FILES, "uid": 48}),
        ("Out of Memory: Killed process 7 (db).", "Out of Memory", "2.6.11", {}),
        (f"{OOM}: Killed process 7 (db).", OOM, "2.6.16", {}),
        (f"{OOM}: Killed process 7 (db)", OOM, None, {}),
        ("Killed process 7 (db)", None, None, {}),
        ("OOM killed process 7 (db) vm:9kB, rss:4kB, swap:1kB", None, "openvz",
         {"total_vm_kb": 9, "rss_kb": 4, "swap_kb": 1}),
        (f"{OOM} in UB 101: OOM killed process 7 (db) vm:9kB", f"{OOM} in UB 101", "openvz",
         {"total_vm_kb": 9}),
        (f"{OOM}: Killed process 7 (a) b) {SIZES}", OOM, "5.1 or later", {**VM, "comm": "a) b"}),
        ("Killed process 7 (d", None, None, {"comm": "d"}),
        (f"{OOM}: Killed process 7", OOM, None, {"comm": ""}),
    ],
)  # fmt: skip
def test_a_kill_line_of_each_version(
    text: str, opening: str | None, form: str | None, values: dict[str, Any]
) -> None:
    found = kill.parse_killed(text, 3)
    assert found is not None
    assert found == KillLine(
        text=opening, form=form, killed=Killed(**{"pid": 7, "comm": "db", "line": 3, **values})
    )


@pytest.mark.parametrize(
    "text",
    [
        "Killed process 7",
        "Somebody: Killed process 7 (db) total-vm:9kB",
        "it has killed processes",
        "",
    ],
)
def test_what_is_no_kill_line(text: str) -> None:
    assert kill.parse_killed(text, 3) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (f"{OOM}: Killed process 7 (db) {WITH_SHMEM}", "5.1 or later"),
        (f"{OOM}: Killed process 7 (db).", None),
        (f"Killed process 7 (db) {WITH_FILES}", "2.6.36 or later"),
    ],
)
def test_a_line_whose_end_is_cut_may_be_of_a_later_version(text: str, form: str | None) -> None:
    found = kill.parse_killed(text, 3, cut=True)
    assert found is not None
    assert found.form == form


@pytest.mark.parametrize(
    "text",
    [
        "Would have killed process 7 (db). But continuing instead.",
        "oom_kill_process: would have killed process 7 (db), but continuing instead...",
    ],
)
def test_a_spared_victim(text: str) -> None:
    assert kill.parse_killed(text, 3) == KillLine(
        text=None, killed=Killed(pid=7, comm="db", line=3), would_have=True
    )


def test_the_choice_in_each_form() -> None:
    for text, opening, score in (
        ("Out of memory: Kill process 7 (db) score 90 or sacrifice child", OOM, 90),
        ("Out of memory: kill process 7 (db) score -5 or a child", OOM, -5),
        ("Out of Memory: Kill process 7 (db) score 1 and children.", "Out of Memory", 1),
        ("Out of memory: Kill process 7 (db)", OOM, None),
        ("Memory cgroup out of memory: Kill process 7 (db) score 0 or sacrifice child",
         "Memory cgroup out of memory", 0),
        ("x: Out of memory: Kill process 7 (db) score 90", OOM, 90),
    ):  # fmt: skip
        found = kill.parse_selected(text, 3)
        assert found == (opening, Selected(pid=7, comm="db", score=score, line=3))
    assert kill.parse_selected("Kill process 7 (db) sharing same memory", 3) is None
    assert kill.parse_selected("I kill process 7 (db) score 9", 3) is None


def test_other_lines_of_the_end() -> None:
    found = kill.parse_exiting("Out of memory: OOM victim 7 (db) is already exiting. Skip", 3)
    assert found is not None
    assert (found[0], found[1].pid, found[1].comm, found[1].line) == (OOM, 7, "db", 3)
    assert kill.parse_exiting("x: OOM victim 7 (db) is already exiting", 3) is None
    assert kill.parse_exiting("OOM victim", 3) is None
    assert kill.parse_sharer("Kill process 8 (db) sharing same memory", 3) == Killed(
        pid=8, comm="db", killed_as="mm_sharer", line=3
    )
    assert kill.parse_sharer("Kill process 8 (db)", 3) is None
    path = "Tasks in /a b are going to be killed due to memory.oom.group set"
    assert kill.parse_group(path) == "/a b"
    assert kill.parse_group("Tasks in /a") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oom_reaper: reaped process 7 (db), now anon-rss:4kB, file-rss:5kB, shmem-rss:6kB",
         (7, "db", True, 4, 5, 6)),
        ("oom_reaper: reaped process 7 (db), now anon-rss:4kB, file-rss:5kB",
         (7, "db", True, 4, 5, None)),
        ("oom_reaper: reaped process 7 (db) anon-rss:4kB", (7, "db", True, 4, None, None)),
        ("oom_reaper: reaped process 7 (db)", (7, "db", True, None, None, None)),
        ("oom_reaper: unable to reap pid:7 (db)", (7, "db", False, None, None, None)),
        ("oom_reaper: hello", None),
    ],
)  # fmt: skip
def test_lines_of_oom_reaper(text: str, expected: tuple[Any, ...] | None) -> None:
    found = kill.parse_reaped(text, 3)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.line == 3
    assert expected == (found.pid, found.comm, found.reaped, found.anon_rss_kb, found.file_rss_kb,
                        found.shmem_rss_kb)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/c,mems_allowed=0-1,"
         "oom_memcg=/a,task_memcg=/a/b,task=d,b,pid=7,uid=5"),
         {"constraint": "CONSTRAINT_MEMCG", "cpuset": "/c", "mems_allowed": "0-1",
          "oom_memcg": "/a", "task_memcg": "/a/b", "comm": "d,b", "pid": 7, "uid": 5}),
        (("oom-kill: constraint=CONSTRAINT_NONE,nodemask=0-3,cpuset=c,mems_allowed=0,global_oom,"
         "task_memcg=/,task=db,pid=7"),
         {"constraint": "CONSTRAINT_NONE", "nodemask": "0-3", "cpuset": "c", "mems_allowed": "0",
          "global_oom": True, "task_memcg": "/", "comm": "db", "pid": 7}),
        ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)", {"constraint": "CONSTRAINT_NONE"}),
        ("oom-kill:constraint=X,task=db", {"constraint": "X", "comm": "db"}),
        ("oom-kill:constraint=X,pid=7,uid=5", {"constraint": "X", "pid": 7, "uid": 5}),
        ("oom-kill:constraint=X,pid=12345678901,uid=a", {"constraint": "X"}),
        ("oom-kill:constraint=X,pid=1234567890", {"constraint": "X", "pid": 1234567890}),
        ("oom-kill:constraint=", {}),
        ("oom-kill:constraint=X,cpuset=a,cpuset=b", {"constraint": "X", "cpuset": "a"}),
    ],
)  # fmt: skip
def test_the_summary_line(text: str, expected: dict[str, Any]) -> None:
    assert kill.parse_summary(text, 3) == Summary(line=3, **expected)
    assert kill.parse_summary("oom-kill", 3) is None


def test_panics() -> None:
    for text, expected in (
        ("Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled",
         ("Out of memory: system-wide panic_on_oom is enabled", False)),
        ("Kernel panic - not syncing: System is deadlocked on memory",
         ("System is deadlocked on memory", False)),
        ("---[ end Kernel panic - not syncing: System is deadlocked on memory ]---",
         ("System is deadlocked on memory", True)),
        ("Kernel panic - not syncing: VFS: no root", None),
    ):  # fmt: skip
        assert kill.parse_panic(text) == expected


# -- heads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "values"),
    [
        ("oom-killer: gfp_mask=0x1", "2.6.11", {}),
        ("oom-killer: gfp_mask=0x1, order=2", "2.6.13", {"order": 2}),
        ("oom-killer: gfp_mask=0x1(GFP_X), order=2", None, {"gfp_mask": "0x1(GFP_X)", "order": 2}),
        ("db invoked oom-killer: gfp_mask=0x1, order=0, oomkilladj=-17", "2.6.19",
         {"comm": "db", "order": 0, "oom_adj": -17}),
        ("db invoked oom-killer: gfp_mask=0x1, order=0, oom_adj=3", "2.6.32",
         {"comm": "db", "order": 0, "oom_adj": 3}),
        ("db invoked oom-killer: gfp_mask=0x1, order=0, oom_adj=3, oom_score_adj=200", "2.6.36",
         {"comm": "db", "order": 0, "oom_adj": 3, "oom_score_adj": 200}),
        ("db invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=-200", "3.7",
         {"comm": "db", "order": 0, "oom_score_adj": -200}),
        ("db invoked oom-killer: gfp_mask=0x1(GFP_X), order=-1, oom_score_adj=0", "4.6",
         {"comm": "db", "gfp_mask": "0x1(GFP_X)", "order": -1, "oom_score_adj": 0}),
        ("db invoked oom-killer: gfp_mask=0x1(GFP_X), nodemask=0-2, order=0, oom_score_adj=0",
         "4.9", {"comm": "db", "gfp_mask": "0x1(GFP_X)", "nodemask": "0-2", "order": 0,
                 "oom_score_adj": 0}),
        ("db invoked oom-killer: gfp_mask=0x1(X), nodemask=(null),  order=0, oom_score_adj=0",
         "4.11", {"comm": "db", "gfp_mask": "0x1(X)", "nodemask": "(null)", "order": 0,
                  "oom_score_adj": 0}),
        ("db invoked oom-killer: gfp_mask=0x1(X), nodemask=(null), order=0, oom_score_adj=0",
         "4.15", {"comm": "db", "gfp_mask": "0x1(X)", "nodemask": "(null)", "order": 0,
                  "oom_score_adj": 0}),
        ("db invoked oom-killer: gfp_mask=0x1, order=0", None, {"comm": "db", "order": 0}),
        ("77 (db) invoked glob oom-killer: gfp 0x1 order 0 oomkilladj=0", "openvz",
         {"comm": "db", "pid": 77, "order": 0, "oom_adj": 0}),
        ("db invoked oom-killer:", None, {"comm": "db", "gfp_mask": None}),
        ("a name of 15 by invoked oom-killer", None, {"comm": "a name of 15 by", "gfp_mask": None}),
    ],
)  # fmt: skip
def test_a_head_of_each_version(text: str, form: str | None, values: dict[str, Any]) -> None:
    found = parse_header(text)
    assert found is not None
    names = ("comm", "pid", "order", "nodemask", "oom_adj", "oom_score_adj")
    assert found.form == form
    assert found.gfp_mask == values.pop("gfp_mask", "0x1")
    assert {name: getattr(found, name) for name in names if getattr(found, name) is not None} == (
        values
    )


def test_what_is_no_head() -> None:
    assert parse_header("db invoked oom-killer: gfp_mask=abc") is None
    assert parse_header("the oom-killer") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CPU: 1 PID: 7 Comm: a b Not tainted 6.1.0-18 #1", (7, "a b", None, "6.1.0-18")),
        ("CPU: 1 UID: 0 PID: 7 Comm: db Kdump: loaded Tainted: G        W 6.12.1 #1",
         (7, "db", "G        W", "6.12.1")),
        ("Pid: 7, comm: db Not tainted 2.6.32 #1", (7, "db", None, "2.6.32")),
        ("Pid: 7, comm: db Tainted: P   2.6.32 #1", (7, "db", "P", "2.6.32")),
        ("Pid: 7, comm: db (2.6.18 #1)", (7, "db", None, "2.6.18")),
        ("PID: 7", None),
    ],
)  # fmt: skip
def test_the_caller(text: str, expected: tuple[int, str, str | None, str] | None) -> None:
    found = parse_caller(text)
    assert expected == (
        None if found is None else (found.pid, found.comm, found.tainted, found.release)
    )


def test_small_lines_of_the_head() -> None:
    assert parse_cpuset("db cpuset=/ mems_allowed=0-3,5") == ("db", "/", "0-3,5")
    assert parse_cpuset("db cpuset=/") is None
    assert parse_version("x Linux version 6.1.0-18 (gcc)") == "6.1.0-18"
    assert parse_version("Linux version x") is None
    assert parse_uname("Linux web 6.1.0-18 #1 SMP") == "6.1.0-18"
    assert parse_uname("Kernel: Linux 6.1.0-18") == "6.1.0-18"
    assert parse_uname("the Kernel: Linux 6.1.0-18") is None
    assert parse_bare_release("6.1.0-18-amd64") == "6.1.0-18-amd64"
    assert parse_bare_release("6.1.0 is it") is None
    assert asks_release("me@web:~$ uname -r")
    assert not asks_release("uname -a")
    assert not asks_release("$ ls -r")
    assert parse_frame("dump_header+0x1/0x2") == ("dump_header", False)
    assert parse_frame("? dump_header.isra.7+0x1/0x2") == ("dump_header", True)
    assert parse_frame("[<ffffffff81000000>] ? x+0x1/0x2 [mod]") == ("x", True)
    assert parse_frame("dump_header from oom_kill_process+0x1/0x2") == ("dump_header", False)
    assert parse_frame("out_of_memory mm/oom_kill.c:77") == ("out_of_memory", False)
    assert parse_frame("words") is None


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        (None, set()),
        ("", set()),
        ("0", {0}),
        ("0-2,5", {0, 1, 2, 5}),
        ("3-3", {3}),
        ("x,1", {1}),
        ("1-x", set()),
        ("x-1", set()),
        ("4095-9999", {4095, 4096}),
    ],
)
def test_nodes_of_a_list(text: str | None, nodes: set[int]) -> None:
    assert nodes_in(text) == nodes


@pytest.mark.parametrize(
    ("nodes", "text"),
    [((), ""), ((0,), "0"), ((0, 1, 2, 5), "0-2,5"), ((7, 3, 4, 0), "0,3-4,7"), ((1, 3), "1,3")],
)
def test_nodes_as_the_kernel_prints_them(nodes: tuple[int, ...], text: str) -> None:
    assert node_list(nodes) == text


# -- tables --------------------------------------------------------------------------------------

FIELDS = ("uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj")


def test_the_head_of_a_table() -> None:
    text = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    assert tasks.parse_table_header(text) == FIELDS
    assert tasks.parse_table_header("[ pid ]   uid  tgid total_vm      rss") == FIELDS[:4]
    cut = "[ pid ]   uid  tgid total_vm      rss nr_ptes junk swapents"
    assert tasks.parse_table_header(cut) == (*FIELDS[:4], "nr_ptes")
    named = "[ pid ]   uid  tgid total_vm      rss name swapents"
    assert tasks.parse_table_header(named) == FIELDS[:4]
    assert tasks.parse_table_header("[ pid ] uid") is None
    assert tasks.table_form(FIELDS, wide=True) == "4.19"
    assert tasks.table_form(FIELDS, wide=False) == "4.15"
    assert tasks.table_form(FIELDS[:4], wide=True) is None
    assert tasks.table_form(tasks.FORMS["6.8"], wide=True) == "6.8"


ROW = "[      7]  1000     7     9000      400    65536       10          -300 a name"


def test_a_row_of_a_table() -> None:
    expected = TaskRow(
        pid=7, tgid=7, uid=1000, comm="a name", total_vm_pages=9000, rss_pages=400,
        pgtables_bytes=65_536, swapents=10, oom_score_adj=-300, line=3,
    )  # fmt: skip
    assert tasks.parse_row(ROW, FIELDS, 3) == expected
    found = tasks.parse_row(ROW.replace("-300", "-1000"), FIELDS, 3)
    assert found is not None
    assert found.oom_score_adj == -1000
    assert tasks.parse_row(ROW.replace("-300", "1000"), FIELDS, 3) is not None
    longest = ROW.replace("a name", "n" * 64)
    assert tasks.parse_row(longest, FIELDS, 3) is not None


@pytest.mark.parametrize(
    "text",
    [
        ROW.replace("-300", "-1001"),
        ROW.replace("-300", "1001"),
        ROW.replace("a name", "n" * 65),
        ROW.replace("a name", ""),
        ROW.replace("[      7]", "[     -7]"),
        ROW.replace("[      7]", f"[{1 << 64}]"),
        ROW.replace("9000", "-9"),
        ROW.replace("     7     9000", "    -7     9000"),
        ROW.replace("   400 ", "   4x0 "),
        ROW.replace("9000", str(1 << 64)),
        ROW.replace("65536", "-2000"),
        ROW.replace("]", " "),
        "",
    ],
)
def test_a_row_that_is_damaged(text: str) -> None:
    assert tasks.parse_row(text, FIELDS, 3) is None


def test_columns_by_rows_alone() -> None:
    def rows(*texts: str) -> list[str]:
        return [f"[ {i}]  0  {i}  {text} name" for i, text in enumerate(texts, 2)]

    forms = tasks.FORMS
    assert tasks.guess_columns([]) is None
    assert tasks.guess_columns(rows("90 80 1 2")) == forms["2.6.25"]
    assert tasks.guess_columns(rows("90 80 1 2 3 4")) == forms["4.0"]
    assert tasks.guess_columns(rows("90 80 1")) is None
    assert tasks.guess_columns(rows("90 80 9 9 4096 0 0 0")) == forms["6.8"]
    # Seven numbers are of three versions: page tables in bytes, CPU and oom_adj, or counts.
    assert tasks.guess_columns(rows("90 80 4096 5 0", "90 80 2048 0 0")) == forms["4.15"]
    assert tasks.guess_columns(rows("90 80 0 5 0", "90 80 0 0 0")) == forms["3.6"]
    assert tasks.guess_columns(rows("90 80 1 -17 -1000", "90 80 0 0 0")) == forms["2.6.36"]
    assert tasks.guess_columns(rows("90 80 1 15 1000")) == forms["2.6.36"]
    assert tasks.guess_columns(rows("90 80 1 16 1000")) == forms["3.6"]
    assert tasks.guess_columns(rows("90 80 1 -18 -1000")) == forms["3.6"]
    assert tasks.guess_columns(rows("90 80 1 5 0")) == forms["3.6"]
    assert tasks.guess_columns(rows("90 80 1 0 5")) == forms["3.6"]
    # Most rows count.
    assert tasks.guess_columns(rows("90 80 1 2", "90 80 1 2 3 4", "9 8 1 2 3 5")) == forms["4.0"]
    assert tasks.leading_numbers("[ 7]  0  7  90 -8 name 5") == 4
    assert tasks.leading_numbers("words") == 0


def test_a_row_that_can_be_nothing_else() -> None:
    assert tasks.is_whole_row("[    7]     0     7     9000      400  0  0 name")
    assert not tasks.is_whole_row("[    7]     0     8     9000      400  0  0 name")
    assert not tasks.is_whole_row("[    7]     0     7     9000      400  0 name")


# -- memory --------------------------------------------------------------------------------------


def test_a_memory_cgroups_part() -> None:
    part = MemcgPart()
    assert part.build(None, None) is None
    for line in (
        "Task in /a/b killed as a result of limit of /a",
        "memory: usage 80kB, limit 100kB, failcnt 7",
        "memory+swap: usage 90kB, limit 9007199254740988kB, failcnt 0",
        "kmem: usage 5kB, limit 4503599627370495kB, failcnt 14+",
        "swap: usage 1kB, limit 4503599627370496kB",
        "Memory cgroup stats for /a: cache:4KB rss:8KB pgfault:9",
        "Memory cgroup stats for /a/b: cache:2KB",
    ):
        assert part.parse_line(line)
    assert not part.parse_line("words")
    found = part.build("/summary", "/task")
    assert found is not None
    assert (found.path, found.task_path) == ("/a", "/a/b")
    assert found.memory == Counter(usage_kb=80, limit_kb=100, failcnt=7)
    assert found.memsw == Counter(usage_kb=90, limit_kb=None, failcnt=0)
    assert found.kmem == Counter(
        usage_kb=5, limit_kb=4_503_599_627_370_495, failcnt=14, failcnt_cut=True
    )
    assert found.swap == Counter(usage_kb=1, limit_kb=None)
    assert found.stats == {
        "/a": {"cache": 4096, "rss": 8192, "pgfault": 9}, "/a/b": {"cache": 2048},
    }  # fmt: skip
    assert part.counted
    assert not part.empty


def test_statistics_of_cgroup_v2() -> None:
    part = MemcgPart()
    assert not part.parse_line("anon 4096")
    assert part.parse_line("Memory cgroup stats for /a:")
    assert part.in_stats
    for line in ("anon 4096", "file 0", "anon 7", "slab 5 kernel_stack 6"):
        assert part.parse_line(line)
    assert not part.parse_line("words and more")
    assert part.parse_line("Memory cgroup min protection 5kB -- low protection 6kB")
    assert part.protection == Protection(min_kb=5, low_kb=6)
    found = part.build("/summary", "/task")
    assert found is not None
    assert found.stats == {"/a": {"anon": 4096, "file": 0, "slab": 5, "kernel_stack": 6}}
    assert (found.path, found.task_path) == ("/summary", "/task")
    alone = part.build(None, None)
    assert alone is not None
    assert alone.path == "/a"
    part.parse_line("Memory cgroup stats for /b:")
    both = part.build(None, None)
    assert both is not None
    assert both.path is None
    bare = MemcgPart()
    bare.parse_line("Memory cgroup stats:")
    nameless = bare.build(None, None)
    assert nameless is not None
    assert nameless.path is None


def test_a_cgroups_part_that_begins_anew() -> None:
    part = MemcgPart()
    line = "memory: usage 80kB, limit 100kB, failcnt 7"
    assert not part.restarts(line)
    part.parse_line(line)
    assert not part.counted
    assert not part.restarts(line)
    assert part.restarts(line.replace("80", "81"))
    assert part.restarts(line.replace("failcnt 7", "failcnt 8"))
    assert not part.restarts("swap: usage")
    reached = MemcgPart()
    assert reached.parse_line("Memory limit reached of cgroup /x")
    assert reached.path == "/x"


MEM_INFO = """\
Mem-Info:
active_anon:1 inactive_anon:2 isolated_anon:3
 active_file:4 inactive_file:5 isolated_file:6
 free:7 free_pcp:8 free_cma:9
Node 0 active_anon:10kB inactive_anon:11kB all_unreclaimable? yes
Node 1 active_anon:12kB gpu_active:13kB all_unreclaimable? no
Node 0 DMA free:14kB min:15kB low:16kB high:17kB present:18kB managed:19kB
lowmem_reserve[]: 0 20 21
DMA: 22*4kB (U) 23*8kB = 272kB
Node 1 Normal free:24kB min:25kB low:26kB high:27kB present:28kB managed:29kB mlocked:30kB
lowmem_reserve[]: 0 0 31
Node 0 DMA32: 1*4kB 0*8kB = 4kB
Node 0 hugepages_total=32 hugepages_free=33 hugepages_surp=34 hugepages_size=2048kB
35 total pagecache pages
36 pages in swap cache
Swap cache stats: add 1, delete 2, find 3/4
Free swap  = 37kB
Total swap = 38kB
39 pages RAM
40 pages HighMem/MovableOnly
41 pages reserved
42 pages cma reserved
43 pages hwpoisoned
Unreclaimable slab info:
Name                      Used          Total
dentry                   44KB         45KB
""".splitlines()


def test_every_value_of_mem_info() -> None:
    part = MemoryPart()
    assert part.build() is None
    for line in MEM_INFO:
        assert part.parse_line(line.strip()), line
    assert not part.parse_line("words")
    assert part.begun
    found = part.build()
    assert found is not None
    assert found.page_kb == 4
    assert found.counters_pages == {
        "active_anon": 1, "inactive_anon": 2, "isolated_anon": 3, "active_file": 4,
        "inactive_file": 5, "isolated_file": 6, "free": 7, "free_pcp": 8, "free_cma": 9,
    }  # fmt: skip
    assert [(n.node, n.counters_kb, n.all_unreclaimable) for n in found.nodes] == [
        (0, {"active_anon": 10, "inactive_anon": 11}, True),
        (1, {"active_anon": 12, "gpu_active": 13}, False),
    ]
    dma, normal, dma32 = found.zones
    assert (dma.node, dma.name, dma.free_kb, dma.min_kb, dma.low_kb, dma.high_kb) == (
        0, "DMA", 14, 15, 16, 17,
    )  # fmt: skip
    assert (dma.present_kb, dma.managed_kb, dma.lowmem_reserve_pages) == (18, 19, (0, 20, 21))
    assert (normal.node, normal.counters_kb["mlocked"], normal.lowmem_reserve_pages) == (
        1, 30, (0, 0, 31),
    )  # fmt: skip
    assert (dma.free_blocks, normal.free_blocks) == ((22, 23), ())
    assert (dma32.node, dma32.name, dma32.free_kb, dma32.free_blocks) == (0, "DMA32", None, (1, 0))
    assert found.hugepages == (HugePages(node=0, size_kb=2048, total=32, free=33, surplus=34),)
    assert (found.pagecache_pages, found.swapcache_pages) == (35, 36)
    assert (found.free_swap_kb, found.total_swap_kb) == (37, 38)
    assert (found.ram_pages, found.highmem_pages, found.reserved_pages) == (39, 40, 41)
    assert (found.cma_pages, found.hwpoisoned_pages) == (42, 43)
    assert found.unreclaimable_slab == (Slab(name="dentry", used_kb=44, total_kb=45),)
    assert part.versions == ("7.1", NEWEST)


def test_the_size_of_a_page() -> None:
    rows = (TaskRow(pid=70, tgid=7, uid=0, comm="db", total_vm_pages=10, rss_pages=1),)
    for vm_kb, size in ((40, 4), (80, 8), (160, 16), (320, 32), (640, 64), (50, 4), (1280, 4)):
        victim = Killed(pid=7, comm="db", total_vm_kb=vm_kb)
        assert page_kb(None, [victim], rows) == size
        assert page_kb(None, [replace(victim, pid=70)], rows) == size
        assert page_kb(None, [replace(victim, pid=9)], rows) == 4
    large = Killed(pid=7, comm="db", total_vm_kb=640)
    assert page_kb(Memory(page_kb=16), [large], rows) == 16
    assert page_kb(Memory(), [large], rows) == 64
    assert page_kb(None, [Killed(pid=7, comm="db"), large], rows) == 64
    assert page_kb(None, [large], (replace(rows[0], total_vm_pages=0),)) == 4


# -- what ran out --------------------------------------------------------------------------------


def built(*texts: str, **fields: Any) -> Builder:
    """A builder whose trace, head and parts are given."""
    report = Builder(Line(number=1, text=""))
    for name, value in fields.items():
        setattr(report, name, value)
    for text in texts:
        assert report.memcg.parse_line(text) or report.memory.parse_line(text)
    return report


GLOBAL = "db invoked oom-killer: gfp_mask=0x1(X), order=0, oom_score_adj=0"
BY_SYSRQ = "db invoked oom-killer: gfp_mask=0x1(X), order=-1, oom_score_adj=0"
NODES = "db invoked oom-killer: gfp_mask=0x1(X), nodemask={}, order=0, oom_score_adj=0"
MEMCG, NONE = ("CONSTRAINT_MEMCG", "memcg"), ("CONSTRAINT_NONE", "global")
CHARGE = ["oom_kill_process", "mem_cgroup_do_charge"]


def summed(constraint: str | None = None, **fields: Any) -> Any:
    return Summary(constraint=constraint, **fields)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (built(), (None, None)),
        (built(asked=True), ("CONSTRAINT_NONE", "sysrq")),
        (built(asked=True, summary=summed("CONSTRAINT_X")), ("CONSTRAINT_X", "sysrq")),
        (built(header=parse_header(BY_SYSRQ)), ("CONSTRAINT_NONE", "sysrq")),
        (built(trace=["moom_callback"]), ("CONSTRAINT_NONE", "sysrq")),
        (built(summary=summed("CONSTRAINT_MEMCG")), MEMCG),
        (built("memory: usage 1kB, limit 1kB"), MEMCG),
        (built(summary=summed("CONSTRAINT_NONE", oom_memcg="/a")), MEMCG),
        (built(summary=summed("CONSTRAINT_NONE")), NONE),
        (built(summary=summed(global_oom=True)), NONE),
        (built(summary=summed()), (None, None)),
        (built(kill_text="Memory cgroup out of memory"), MEMCG),
        (built(kill_text="Out of memory in UB 5"), MEMCG),
        (built(trace=["mem_cgroup_out_of_memory"]), MEMCG),
        (built(trace=["mem_cgroup_oom_synchronize"]), MEMCG),
        (built(guesses={"mem_cgroup_oom_synchronize"}), MEMCG),
        (built(trace=CHARGE), MEMCG),
        (built(trace=[CHARGE[0], "__mem_cgroup_try_charge"]), MEMCG),
        (built(trace=CHARGE[1:]), (None, None)),
        (built(trace=[*CHARGE, "out_of_memory"]), (None, "global")),
        (built(guesses={"out_of_memory", "mem_cgroup_out_of_memory"}), (None, None)),
        (built(guesses={"mem_cgroup_out_of_memory"}, trace=["oom_kill_process"]), (None, None)),
        (built(guesses={"mem_cgroup_out_of_memory"}, trace=["out_of_memory"]), (None, "global")),
        (built(summary=summed("CONSTRAINT_CPUSET")), ("CONSTRAINT_CPUSET", "cpuset")),
        (built(kill_text="No available memory in cpuset"), ("CONSTRAINT_CPUSET", "cpuset")),
        (built(summary=summed("CONSTRAINT_MEMORY_POLICY")),
         ("CONSTRAINT_MEMORY_POLICY", "mempolicy")),
        (built(kill_text="No available memory (MPOL_BIND)"),
         ("CONSTRAINT_MEMORY_POLICY", "mempolicy")),
        (built(header=parse_header(NODES.format("0-1")), mems_allowed="0-3"),
         ("CONSTRAINT_MEMORY_POLICY", "mempolicy")),
        (built(header=parse_header(NODES.format("0-3")), mems_allowed="0-3"), (None, None)),
        (built(header=parse_header(NODES.format("0-1"))), (None, None)),
        (built(header=parse_header(NODES.format("(null)")), mems_allowed="0"), (None, None)),
        (built(panic="Out of memory"), (None, "global")),
        (built(kill_text="Out of memory"), (None, "global")),
        (built("active_anon:1"), (None, "global")),
        (built(trace=["out_of_memory"]), (None, "global")),
        (built(guesses={"out_of_memory"}), (None, "global")),
        (built(header=parse_header(GLOBAL), columns=FIELDS), (None, "global")),
        (built(header=parse_header(GLOBAL)), (None, None)),
        (built(columns=FIELDS), (None, None)),
    ],
)  # fmt: skip
def test_what_ran_out(report: Builder, expected: tuple[str | None, str | None]) -> None:
    assert what_ran_out(report) == expected


def test_the_beancounter_of_openvz() -> None:
    assert beancounter(built(kill_text="Out of memory in UB 101")) == "UB 101"
    assert beancounter(built(kill_text="Out of memory")) is None
    assert beancounter(built()) is None


CALLER = parse_caller("CPU: 1 PID: 7 Comm: db Not tainted 6.1.0 #1")


@pytest.mark.parametrize(
    ("report", "found"),
    [
        (built(), False),
        (built(trace=["dump_header"]), False),
        (built(trace=["dump_header", "oom_kill_process"]), True),
        (built(trace=["dump_header"], guesses={"out_of_memory"}), True),
        (built(trace=["oom_kill_process", "out_of_memory"]), False),
        (built("active_anon:1", trace=["out_of_memory"]), True),
        (built("memory: usage 1kB, limit 1kB", trace=["out_of_memory"]), True),
        (built("active_anon:1", trace=["schedule"]), False),
        (built(trace=["oom_kill_process"], caller=CALLER), True),
        (built(trace=["out_of_memory"], caller=CALLER), False),
        (built(guesses={"oom_kill_process"}, caller=CALLER), False),
    ],
)
def test_the_call_trace_of_a_report(report: Builder, found: bool) -> None:
    assert has_stack(report) == found


# -- which versions ------------------------------------------------------------------------------


def head(text: str) -> Any:
    return parse_header(text)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"header": head(GLOBAL)}, ("4.6", NEWEST)),
        ({"header": head("db invoked oom-killer:")}, None),
        ({"columns": FIELDS}, ("4.15", "5.4")),
        ({"columns": FIELDS, "wide_pid": True}, ("4.19", "6.7")),
        ({"columns_guessed": FIELDS}, ("4.15", "6.7")),
        ({"columns": FIELDS[:4]}, None),
        ({"header": head(GLOBAL), "columns": FIELDS}, ("4.15", "5.4")),
        ({"summary": summed("X")}, ("5.0", NEWEST)),
        ({"summary": summed()}, None),
        ({"reaped": [1]}, ("4.6", NEWEST)),
        ({"kill_form": "5.1"}, ("5.1", "5.3")),
        ({"kill_form": "5.1", "would_have": True}, None),
        # A kill line that contradicts the rest is left out, parts that do leave nothing.
        ({"kill_form": "5.1", "columns": tasks.FORMS["6.8"]}, ("6.8", NEWEST)),
        ({"columns": tasks.FORMS["3.6"], "summary": summed("X")}, None),
        ({"columns": tasks.FORMS["3.6"], "kill_form": "5.4"}, ("3.6", "3.19")),
    ],
)
def test_the_versions_that_print_so(
    fields: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert version_range(built(**fields)) == expected


def test_protection_is_of_the_newest() -> None:
    part = built("Memory cgroup min protection 5kB -- low protection 6kB")
    assert version_range(part) == ("6.19", NEWEST)
    atomic = "Node 0 DMA free:1kB min:1kB reserved_highatomic:0kB free_highatomic:0kB"
    assert version_range(built(atomic)) == ("7.3", NEWEST)


# -- what is missing -----------------------------------------------------------------------------


def row(pid: int, comm: str = "x", **more: Any) -> TaskRow:
    made = {"tgid": pid, "uid": 0, "total_vm_pages": 9, "rss_pages": 1, **more}
    return TaskRow(pid=pid, comm=comm, **made)


WHOLE: dict[str, Any] = {
    "header": head(GLOBAL), "columns": FIELDS, "tasks": [row(7), row(8)],
    "selected": Selected(pid=7, comm="db"), "killed": [Killed(pid=7, comm="db")],
}  # fmt: skip
UNNAMED = "no line names the victim"
CUT_HEAD = "the line that opens the report is cut"
NOT_THERE = "the chosen process 9 is not in the task table"
EXCERPT = "the task table is an excerpt: others must stand in it"


def missing(*texts: str, **fields: Any) -> list[tuple[str, str]]:
    report = built(*texts, **{**WHOLE, **fields})
    note_missing(report)
    return [(problem.kind, problem.text) for problem in report.problems]


COUNTED = "active_anon:1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"header": None}, [("no_header", "the line that opens the report is missing")]),
        ({"header": head("db invoked oom-killer:")}, [("line_damaged", CUT_HEAD)]),
        ({"header": head("db invoked oom-killer: gfp_mask=0x1, order=0")},
         [("line_damaged", CUT_HEAD)]),
        ({"header": head("oom-killer: gfp_mask=0x1, order=0")}, []),
        ({"header": head("oom-killer: gfp_mask=0x1")}, [("line_damaged", CUT_HEAD)]),
        ({"columns": None, "tasks": []}, [("no_table", "the task table is missing")]),
        ({"columns": None},
         [("table_header_missing", "the head of the task table is missing")]),
        ({"tasks": []}, [("table_truncated", "the task table has no rows")]),
        ({"tasks": [row(8)]}, [("row_missing", NOT_THERE.replace("9", "7"))]),
        ({"tasks": [row(8, tgid=7)]}, []),
        ({"selected": Selected(pid=9, comm="x")}, [("row_missing", NOT_THERE)]),
        ({"selected": Selected(pid=9, comm="x", tgid=4)}, []),
        ({"selected": Selected(pid=9, comm="x"), "kill_text": "(oom_kill_allocating_task)"}, []),
        ({"selected": None, "summary": summed(pid=9)}, [("row_missing", NOT_THERE)]),
        ({"selected": None, "summary": summed()}, []),
        ({"selected": None, "killed": [Killed(pid=9, comm="x")]}, [("row_missing", NOT_THERE)]),
        ({"killed": []},
         [("no_kill_line", ("the line that names the victim is missing; the chosen process or a "
           "child of it died"))]),
        ({"killed": [], "would_have": True}, []),
        ({"killed": [], "panic": "x"}, []),
        ({"killed": [], "selected": None},
         [("no_kill_line", UNNAMED), ("table_truncated", "the report ends inside its task table")]),
        ({"killed": [], "selected": None, "summary": summed(pid=7)}, [("no_kill_line", UNNAMED)]),
    ],
)  # fmt: skip
def test_what_a_report_lacks(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert missing(COUNTED, **fields) == expected


@pytest.mark.parametrize(
    ("texts", "fields", "excerpt"),
    [
        # Without a memory part, and without the asker in its table, rows were left out.
        ((), {}, True),
        ((COUNTED,), {}, False),
        (("memory: usage 1kB, limit 1kB",), {}, False),
        ((), {"header": None}, False),
        ((), {"tasks": [row(7), row(8, "db")]}, False),
        ((), {"tasks": [row(7), row(8, "b")]}, False),
        ((), {"caller": CALLER}, False),  # it names process 7
        ((), {"caller": parse_caller("CPU: 1 PID: 9 Comm: db Not tainted 6.1 #1")}, True),
        ((), {"header": head("8 (db) invoked oom-killer: gfp 0x1 order 0 oomkilladj=0")}, False),
    ],
)
def test_a_table_that_is_an_excerpt(
    texts: tuple[str, ...], fields: dict[str, Any], excerpt: bool
) -> None:
    assert (("table_excerpt", EXCERPT) in missing(*texts, **fields)) == excerpt


# -- a builder -----------------------------------------------------------------------------------


def test_what_shows_a_report() -> None:
    assert not built().strong
    assert not built("memory: usage 1kB, limit 1kB").strong
    assert built("memory: usage 1kB, limit 1kB", "kmem: usage 1kB, limit 1kB").strong
    for fields in (
        {"header": WHOLE["header"]}, {"columns": FIELDS}, {"selected": WHOLE["selected"]},
        {"summary": summed()}, {"killed": WHOLE["killed"]}, {"panic": "x"}, {"no_killable": True},
        {"table_due": True}, {"reaped": [1]},
    ):  # fmt: skip
        assert built(**fields).strong, fields
    alone = built()
    for number, strong in ((1, False), (2, True)):
        text = f"[    {number}]     0     {number}     9000      400  0  0 name"
        alone.add_row(Line(number=number, text=text))
        assert alone.strong == strong


def test_kill_lines_and_nothing_else() -> None:
    killed = {"killed": WHOLE["killed"]}
    assert built(**killed).only_kills
    assert not built().only_kills
    for name in ("header", "selected", "columns"):
        assert not built(**killed, **{name: WHOLE[name]}).only_kills
    for fields in ({"caller": CALLER}, {"summary": summed()}, {"panic": "x"}, {"oom_group": "/"}):
        assert not built(**killed, **fields).only_kills
    assert not built(COUNTED, **killed).only_kills
    assert not built("memory: usage 1kB, limit 1kB", **killed).only_kills


def test_when_a_report_has_ended_and_what_it_holds() -> None:
    assert not built().ended
    for fields in ({"killed": WHOLE["killed"]}, {"panic": "x"}, {"no_killable": True},
                   {"exiting": True}):  # fmt: skip
        assert built(**fields).ended
    report = built()
    report.first, report.last = (Line(number=1, text="", uptime_s=s) for s in (5.0, 7.0))
    assert [report.holds(at) for at in (4.9, 5.0, 7.0, 7.1)] == [False, True, True, False]
    report.last = Line(number=2, text="")
    assert not report.holds(5.0)
    assert built(columns=FIELDS).has_table
    assert built(tasks=[row(7)]).has_table
    assert not built().has_table


def test_a_victim_counts_once() -> None:
    db, web = Killed(pid=7, comm="db", line=3), Killed(pid=8, comm="web", line=4)

    def after(*victims: Killed, **fields: Any) -> tuple[list[int], list[int | None]]:
        report = built(**fields)
        for victim in victims:
            report.add_killed(victim, 5.0)
        assert report.stamp_of(victims[0].pid) == 5.0
        assert report.stamp_of(99) is None
        assert report.has_victim(7)
        assert not report.has_victim(99)
        return [v.line for v in report.killed], [p.line for p in report.problems]

    again = replace(db, line=9)
    assert after(db, web) == ([3, 4], [])
    assert after(db, again) == ([3], [9])
    assert after(db, replace(db, comm="new", line=9)) == ([3, 9], [])
    # Of a group the first is killed, and its line printed, twice.
    assert after(db, again, grouped=True) == ([3], [])
    assert after(db, again, oom_group="/a") == ([3], [])
    assert after(db, again, replace(db, line=10), grouped=True) == ([3], [10])
    assert after(db, web, replace(web, line=9), grouped=True) == ([3, 4], [9])
    # A kill line that comes late takes the place of oom_reaper's.
    assert after(replace(db, told_by="reaper"), again) == ([9], [])


def test_frames_stand_before_memory_and_table() -> None:
    report = built()
    report.add_frames(["a", "b"])
    report.add_guesses(["c"])
    assert (report.trace, report.guesses) == (["a", "b"], {"c"})
    report.add_frames(["x"] * 100)
    assert len(report.trace) == 100
    for late in (built(COUNTED), built(columns=FIELDS)):
        late.add_frames(["a"])
        late.add_guesses(["b"])
        assert (late.trace, late.guesses) == ([], set())


def record(**fields: Any) -> Report:
    return built(COUNTED, **{**WHOLE, **fields}).build("x.log", note_missing)


def test_rows_that_stand_twice_count_once() -> None:
    found = record(tasks=[row(7, line=3), row(8, line=4), row(7, line=5)])
    assert [r.line for r in found.tasks] == [3, 4]
    assert [(p.kind, p.line) for p in found.problems] == [("lines_repeated", 5)]
    other = record(tasks=[row(7, line=3), row(7, "new", line=5)])
    assert [r.line for r in other.tasks] == [3, 5]


def test_a_row_with_characters_of_another_line_before_its_pid() -> None:
    report = built(columns=FIELDS)
    report.add_row(Line(number=3, text="[     17]  0     7     9000      400    0  0  0 x"))
    report.add_row(Line(number=4, text="[     78]  0     7     9000      400    0  0  0 x"))
    report.add_row(Line(number=5, text="[      7]  0    17     9000      400    0  0  0 x"))
    report.add_row(Line(number=6, text="[      7]  junk"))
    assert [(r.pid, r.tgid) for r in report.tasks] == [(7, 7), (78, 7), (7, 17)]
    assert [(p.kind, p.text, p.line) for p in report.problems] == [
        ("row_damaged", "a row of the task table is spliced", 3),
        ("row_damaged", "a row of the task table is damaged", 6),
    ]


def test_the_chosen_stands_for_a_victim_that_is_not_named() -> None:
    found = record(killed=[])
    assert [(v.pid, v.told_by, v.killed_as) for v in found.killed] == [(7, "choice", "selected")]
    assert record(killed=[], would_have=True).killed == ()
    assert record(killed=[], selected=None).killed == ()


@pytest.mark.parametrize(
    ("fields", "tgid", "killed_as"),
    [
        # The chosen is not in the table: it is a thread of the victim, which is older.
        ({}, 5, "selected"),
        ({"victim": 9}, None, None),  # a victim that is younger may be a child
        ({"victim": 9, "tasks": []}, None, "child"),
        ({"tasks": []}, None, None),
        ({"tasks": [row(5), row(7)]}, None, "child"),
        ({"tasks": [row(8)]}, None, None),
        ({"columns": None}, None, None),
        ({"killed_as": "selected"}, None, "selected"),
        ({"kill_text": "Out of memory"}, None, "child"),
    ],
)
def test_a_thread_or_a_child(
    fields: dict[str, Any], tgid: int | None, killed_as: KilledAs | None
) -> None:
    """Until 5.2 a memory cgroup's scan chose among threads; 7 is chosen, 5 is killed."""
    made = {"victim": 5, "killed_as": "child", "kill_text": "Memory cgroup out of memory",
            "tasks": [row(5), row(8)], **fields}  # fmt: skip
    victim = Killed(pid=made.pop("victim"), comm="db", killed_as=made.pop("killed_as"))
    found = record(killed=[victim], **made)
    assert found.selected is not None
    assert (found.selected.tgid, found.killed[0].killed_as) == (tgid, killed_as)
    # Who dies with the victim, as it shares its memory, changes nothing of that.
    sharer = Killed(pid=6, comm="web", killed_as="mm_sharer")
    both = record(killed=[victim, sharer], **made)
    assert [v.killed_as for v in both.killed] == [killed_as, "mm_sharer"]


@pytest.mark.parametrize(
    ("fields", "complete"),
    [({}, True), ({"columns": None}, False), ({"tasks": []}, False),
     ({"tasks": [row(8)]}, False)],
)  # fmt: skip
def test_a_table_that_is_complete(fields: dict[str, Any], complete: bool) -> None:
    assert record(**fields).table_complete == complete


def test_the_asker_and_where_it_stands() -> None:
    assert record().invoker == "db"
    assert record(caller=CALLER).invoker == "db"
    prefixed = head("phone 17 db invoked oom-killer: gfp_mask=0x1(X), order=0, oom_score_adj=0")
    assert record(header=prefixed, caller=CALLER).invoker == "db"
    assert record(header=prefixed).invoker == "phone 17 db"
    long = head("a very long prefix of some kind db invoked oom-killer: gfp_mask=0x1(X), order=0")
    assert record(header=long).invoker == "db"
    for comm, name in (
        ("a name of 20 bytes x", "a name of 20 bytes x"),
        ("a name of 21 bytes xy", "xy"),
    ):
        cut = head(f"{comm} invoked oom-killer: gfp_mask=0x1(X), order=0, oom_score_adj=0")
        assert record(header=cut).invoker == (name or comm)
    other = parse_caller("CPU: 1 PID: 7 Comm: web Not tainted 6.1 #1")
    assert record(header=long, caller=other).invoker == long.comm
    assert record(header=None, caller=CALLER).invoker == "db"
    assert record(header=None).invoker is None
    assert (record().invoker_pid, record(caller=CALLER).invoker_pid) == (None, 7)


def test_fields_that_either_of_two_lines_can_give() -> None:
    said = summed("CONSTRAINT_NONE", cpuset="/s", mems_allowed="0", nodemask="1")
    assert (record(summary=said).cpuset, record(summary=said).mems_allowed) == ("/s", "0")
    both = record(summary=said, cpuset="/c", mems_allowed="5")
    assert (both.cpuset, both.mems_allowed) == ("/c", "5")
    assert record(summary=said).nodemask == "1"
    assert record(summary=said, header=head(NODES.format("0-1"))).nodemask == "0-1"
    assert record(summary=said, header=head(NODES.format("(null)"))).nodemask == "1"
    assert record().nodemask is None
    memcg = summed("CONSTRAINT_MEMCG", oom_memcg="/limit", task_memcg="/limit/t")
    assert record(summary=memcg).cgroup == "/limit"
    assert record(summary=summed("CONSTRAINT_MEMCG"), oom_group="/g").cgroup == "/g"
    assert record(kill_text="Out of memory in UB 5").cgroup == "UB 5"
    assert record().cgroup is None


def test_problems_stand_by_their_lines_and_are_counted() -> None:
    report = built()
    report.problem("line_damaged", "late", 9)
    report.problem("no_table", "nowhere")
    report.problem("line_damaged", "early", 2)
    report.problem("line_damaged", "early", 2)
    found = report.build("x.log", lambda _: None)
    assert [p.text for p in found.problems] == ["early", "late", "nowhere"]
    for number in range(60):
        report.problem("line_damaged", "more", 100 + number)
    assert sum(p.kind == "line_damaged" for p in report.problems) == 50


def test_where_a_report_stands() -> None:
    report = built(**WHOLE)
    report.first, report.last = (Line(number=n, text="") for n in (40, 9))
    assert report.build("x.log", lambda _: None).source == Source(file="x.log", line=9, end_line=40)


# -- stalls --------------------------------------------------------------------------------------


def stall_at(line: int, uptime_s: float | None = None) -> Stall:
    return Stall(comm="db", waited_s=10, order=0, uptime_s=uptime_s, line=line)


def test_a_warning_in_either_form() -> None:
    text = "db: page allocation stall for 12 secs: order:3, mode:0x1(X)"
    found = parse_stall(Line(number=3, text=text, uptime_s=5.0, time="x"))
    assert found == Stall(comm="db", waited_s=12, order=3, time="x", uptime_s=5.0, line=3)
    text = "db: page allocation stalls for 10500ms, order:0, mode:0x1(X)"
    found = parse_stall(Line(number=3, text=text))
    assert found == Stall(comm="db", waited_s=10.5, order=0, line=3)
    assert parse_stall(Line(number=3, text="db: page allocation failure")) is None


def test_warnings_of_the_same_shortage() -> None:
    def claimed(*stalls: Stall, **fields: Any) -> list[int]:
        kept = Stalls()
        for stall in stalls:
            kept.append(stall)
        report = Report(source=Source(file="x", line=100, end_line=110), **fields)
        found = [stall.line for stall in kept.before(report)]
        assert kept.before(report) == ()  # each is handed out once
        return found

    assert claimed(stall_at(5), stall_at(100), stall_at(99), stall_at(101)) == [5, 99]
    assert claimed(stall_at(5, 700.0), uptime_s=1000.0) == [5]
    assert claimed(stall_at(5, 699.9), uptime_s=1000.0) == []
    assert claimed(stall_at(5, 1000.1), uptime_s=1000.0) == []
    assert claimed(stall_at(5, 1000.0), uptime_s=1000.0) == [5]
    assert claimed(stall_at(5), uptime_s=1000.0) == [5]
    assert claimed(stall_at(5, 1.0)) == [5]
    assert len(claimed(*(stall_at(n) for n in range(70)))) == 64
    kept = Stalls()
    kept.append(stall_at(105))
    kept.before(Report(source=Source(file="x", line=100, end_line=110)))
    later = Report(source=Source(file="x", line=200, end_line=210))
    assert [stall.line for stall in kept.before(later)] == [105]
