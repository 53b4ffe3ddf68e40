"""Lines that are easily taken for what they are not."""

import pytest

from oomkit.klog import Report, read_bytes, read_evidence, replay_all
from oomkit.klog.lines.clean import is_left_out, without_cut_end
from oomkit.klog.report.header import asks_release, parse_bare_release, parse_frame, parse_uname
from oomkit.klog.snapshot import rule_sets
from oomkit.klog.version_texts import NEWEST

KILL = (
    "{}ut of memory: Killed process {} ({}) total-vm:{}kB, anon-rss:90kB, file-rss:8kB, "
    "shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0"
)
SUMMARY = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0,oom_memcg=/g,"
    "task_memcg=/g/c,task={},pid={},uid=0"
)


def memcg(pid: int, comm: str, size_kb: int = 100) -> str:
    return KILL.format("Memory cgroup o", pid, comm, size_kb)


def glob(pid: int, comm: str, size_kb: int = 100) -> str:
    return KILL.format("O", pid, comm, size_kb)


def stamped(*lines: str, first: float = 10.0, step: float = 0.0001) -> str:
    return "".join(f"[{first + i * step:12.6f}] {line}\n" for i, line in enumerate(lines))


def reports_in(text: str) -> list[Report]:
    return list(replay_all(read_bytes(text.encode())))


def victims(report: Report) -> list[tuple[int, str, str | None]]:
    return [(victim.pid, victim.comm, victim.killed_as) for victim in report.killed]


@pytest.mark.parametrize("text", ["Out of memory and no killable processes...", "Out of memory: x"])
@pytest.mark.parametrize("end", [" ]---", ""])
def test_a_panics_end_mark_is_no_second_panic(text: str, end: str) -> None:
    log = stamped(
        f"Kernel panic - not syncing: {text}", f"---[ end Kernel panic - not syncing: {text}{end}"
    )
    (report,) = reports_in(log)
    assert report.panic == text
    (alone,) = reports_in(log.split("\n")[1])
    assert alone.panic == text


TABLE = (
    "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
    "[ 4100]     0  4100  6553193  1047384    2363        0             0 java",
)


def test_a_thread_is_chosen_and_its_leader_named() -> None:
    lines = (
        *TABLE,
        "Memory cgroup out of memory: Kill process 4210 (java) score 1001 or sacrifice child",
        "Killed process 4100 (java) total-vm:26212772kB, anon-rss:4189536kB, file-rss:0kB",
    )
    (report,) = reports_in(stamped(*lines))
    assert victims(report) == [(4100, "java", "selected")]
    assert report.selected is not None
    assert report.selected.tgid == 4100
    assert not any(problem.kind == "row_missing" for problem in report.problems)


def test_without_a_table_neither_thread_nor_child_is_claimed() -> None:
    lines = (
        "Memory cgroup out of memory: Kill process 4210 (java) score 1001 or sacrifice child",
        "Killed process 4100 (java) total-vm:26212772kB, anon-rss:4189536kB, file-rss:0kB",
    )
    (report,) = reports_in(stamped(*lines))
    assert victims(report) == [(4100, "java", None)]


def test_a_chosen_process_in_the_table_has_a_child_killed() -> None:
    lines = (
        *TABLE,
        "[ 4210]     0  4210  6553193  1047384    2363        0             0 java",
        "Memory cgroup out of memory: Kill process 4210 (java) score 1001 or sacrifice child",
        "Killed process 4100 (java) total-vm:26212772kB, anon-rss:4189536kB, file-rss:0kB",
    )
    (report,) = reports_in(stamped(*lines))
    assert victims(report) == [(4100, "java", "child")]


def test_a_group_is_reported_by_kill_lines_without_a_choice() -> None:
    (report,) = reports_in(
        stamped(SUMMARY.format("main", 7), memcg(7, "main"), memcg(8, "tini"), memcg(7, "main", 99))
    )
    assert victims(report) == [(7, "main", "selected"), (8, "tini", "oom_group")]
    assert not any(problem.kind == "lines_repeated" for problem in report.problems)


@pytest.mark.parametrize(
    "lines",
    [
        (SUMMARY.format("a", 7), memcg(7, "a"), SUMMARY.format("b", 8), memcg(8, "b")),
        (memcg(7, "a"), memcg(8, "b")),
        (SUMMARY.format("a", 7), memcg(7, "a"), glob(8, "b")),
    ],
)
def test_kills_of_their_own_are_no_group(lines: tuple[str, ...]) -> None:
    found = reports_in(stamped(*lines))
    assert [victims(report)[0][:2] for report in found] == [(7, "a"), (8, "b")]
    assert all(victims(report)[0][2] != "oom_group" for report in found)


def test_a_kill_seconds_later_is_no_member_of_the_group() -> None:
    found = reports_in(stamped(SUMMARY.format("a", 7), memcg(7, "a"), memcg(8, "b"), step=3.0))
    assert len(found) == 2


def test_the_reaper_names_a_victim_whose_line_is_lost() -> None:
    head = "pig invoked oom-killer: gfp_mask=0x24280ca(X), nodemask=0, order=0, oom_score_adj=0"
    (report,) = reports_in(stamped(head, "oom_reaper: reaped process 27664 (pig)"))
    assert victims(report) == [(27664, "pig", None)]
    assert report.killed[0].told_by == "reaper"
    assert report.kernel_range == ("4.9", "4.20")


def test_the_reaper_adds_none_to_a_report_that_names_its_victim() -> None:
    reaped = "oom_reaper: reaped process 7 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"
    (report,) = reports_in(stamped(glob(7, "a"), reaped))
    assert victims(report) == [(7, "a", None)]
    assert len(report.reaped) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (glob(7, "a"), ("5.4", NEWEST)),
        (glob(7, "a").partition(", UID")[0], ("5.1", "5.3")),
        (glob(7, "a").partition(" UID")[0], ("5.1", NEWEST)),
        (glob(7, "a").partition(" file-rss")[0], ("5.1", NEWEST)),
        (glob(7, "a").partition(", UID")[0] + ">", ("5.1", NEWEST)),
        ("Out of memory: Killed process 7 (a)", None),
        ("Killed process 7 (a) total-vm:9kB, anon-rss:9kB, file-rss:9kB", ("2.6.36", "4.4")),
        ("Killed process 7 (a) total-vm:9kB, anon-rss:9kB, ", ("2.6.36", "5.0")),
    ],
)
def test_a_cut_line_is_no_sign_of_a_version(line: str, expected: tuple[str, str] | None) -> None:
    (report,) = reports_in(stamped(line))
    assert report.kernel_range == expected


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Killed process 7493 (java) total-vm:395>", "Killed process 7493 (java) total-vm:"),
        ("memory: usage 4kB, limit 4kB, failcnt 14>", "memory: usage 4kB, limit 4kB, failcnt 14+"),
        ("Killed process 7493 (java) anon-rss:9kB, >", "Killed process 7493 (java) anon-rss:9kB,"),
        ("oom-kill:constraint=CONSTRAINT_NONE,pid=74…", "oom-kill:constraint=CONSTRAINT_NONE,pid="),
        ("Out of memory: Kill process 12 (a) score 3 or sacrif...",
         "Out of memory: Kill process 12 (a) score 3 or sacrif"),
        ("Out of memory and no killable processes...", None),
        ("</TASK>", None),
        ("[<ffffffff81d87acb>] <EOI>", None),
        ("...", None),
        ("…", None),
    ],
)  # fmt: skip
def test_what_a_pager_hid(text: str, left: str | None) -> None:
    assert without_cut_end(text) == left


@pytest.mark.parametrize(
    ("text", "is_mark"),
    [
        ("...", True),
        ("…", True),
        ("[...]", True),
        ("[…]", True),
        ("(...snipped...)", True),
        ("--- snip ---", True),
        ("<trim>", True),
        ("12 lines omitted", True),
        ("(many rows removed)", True),
        ("------------[ cut here ]------------", False),
        ("[ 1234]     0  1234     5     5", False),
        ("Mem-Info:", False),
        ("lines were written by cron", False),
    ],
)
def test_marks_in_the_place_of_lines(text: str, is_mark: bool) -> None:
    assert is_left_out(text) is is_mark


def test_unstamped_lines_are_not_glued() -> None:
    found = reports_in(
        "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null),cpuset=e,mems_allowed=0,task=qemu\n"
        "Out of memory: Killed process 7 (qemu) total-vm:9kB, anon-rss:8kB\n"
        "Memory cgroup out of memory: Killed process 8 (qemu) total-vm:9kB, anon-rss:8kB\n"
    )
    assert [(victims(r)[0][0], r.scope) for r in found] == [(7, "cpuset"), (8, "memcg")]


def test_backslashes_carry_a_line_on() -> None:
    (report,) = reports_in(
        "Apr 15 23:04:52 box kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),\\\n"
        "    oom_memcg=/e,\\\n    task_memcg=/e/c,task=tail,pid=51,uid=0\n"
        "Apr 15 23:04:52 box kernel: " + memcg(51, "tail") + "\n"
    )
    assert report.cgroup == "/e"
    assert report.summary is not None
    assert report.summary.task_memcg == "/e/c"


def test_screens_that_overlap_hold_one_report() -> None:
    head = "main invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0"
    lines = stamped(
        head, "memory: usage 200kB, limit 200kB, failcnt 4", SUMMARY.format("main", 7),
        memcg(7, "main"),
    ).splitlines(keepends=True)  # fmt: skip
    (report,) = reports_in("".join(lines[:3] + lines[1:]))
    assert victims(report) == [(7, "main", "selected")]
    assert [p.line for p in report.problems if p.kind == "lines_repeated"] == [4, 5]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("out_of_memory (mm/oom_kill.c:1180)", "out_of_memory"),
        ("dump_header (mm/oom_kill.c:468 (discriminator 1))", "dump_header"),
        ("? dump_stack (lib/dump_stack.c:130)", None),
        ("out_of_memory+0x1c3/0x4a0 mm/oom_kill.c:1080", "out_of_memory"),
        ("__alloc_pages_may_oom mm/page_alloc.c:4026 [inline]", "__alloc_pages_may_oom"),
        ("main (see manual, chapter 3)", None),
    ],
)
def test_frames_as_decoders_print_them(text: str, name: str | None) -> None:
    frame = parse_frame(text)
    assert (frame[0] if frame is not None and not frame[1] else None) == name


@pytest.mark.parametrize("severity", ["A", "E", "WARNING", "INFO"])
def test_a_severity_before_the_date(severity: str) -> None:
    (report,) = reports_in(f"{severity} 2020-06-25T09:57:22.729902Z {glob(7, 'a')}\n")
    assert report.time == "2020-06-25T09:57:22.729902Z"


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("Linux box 5.4.0-42-generic #46-Ubuntu SMP x86_64 GNU/Linux", "5.4.0-42-generic"),
        ("uname -a: Linux pi 6.1.21-v8+ #1642 SMP PREEMPT aarch64 GNU/Linux", "6.1.21-v8+"),
        ("Kernel: Linux 5.10.0-8-amd64", "5.10.0-8-amd64"),
        ("Kernel Version:             5.10.0-28-cloud-amd64", "5.10.0-28-cloud-amd64"),
        ('"kernelVersion": "5.15.0-1034-gke",', "5.15.0-1034-gke"),
        ("Linux is great", None),
        ("kernel: Linux agpgart interface v0.103", None),
        ("Kernel version 2", None),
    ],
)
def test_lines_outside_of_reports_that_name_the_kernel(text: str, release: str | None) -> None:
    assert parse_uname(text) == release


def test_a_prompt_asks_for_the_release() -> None:
    assert asks_release("root@box:~# uname -r")
    assert not asks_release("uname -a")
    assert parse_bare_release("5.15.0-101-generic") == "5.15.0-101-generic"
    assert parse_bare_release("1.2") is None


@pytest.mark.parametrize("repeated", [1, 3])
def test_newest_first_is_read_from_its_end(repeated: int) -> None:
    lines = []
    for i in range(repeated):
        lines += [
            (
                f"Sep  3 10:00:0{i} h kernel: a invoked oom-killer: gfp_mask=0xcc0, order=0, "
                "oom_score_adj=0"
            ),
            f"Sep  3 10:00:0{i} h kernel: memory: usage 200kB, limit 200kB, failcnt {i}",
            *(f"Sep  3 10:00:0{i} h kernel: {line}" for line in TABLE),
            f"Sep  3 10:00:0{i} h kernel: {SUMMARY.format('java', 4100)}",
            f"Sep  3 10:00:0{i} h kernel: {memcg(4100, 'java', 100 + i)}",
        ]
    upright = reports_in("\n".join(lines))
    turned = reports_in("\n".join(reversed(lines)))
    assert [victims(r) for r in turned] == [victims(r) for r in upright]
    assert [r.cgroup for r in turned] == ["/g"] * repeated
    assert [len(r.tasks) for r in turned] == [1] * repeated
    assert all(r.invoker == "a" and r.source.line < r.source.end_line for r in turned)


def test_a_victim_that_exits_anyway_was_not_killed() -> None:
    (report,) = reports_in(
        "[5.000001] Memory cgroup out of memory: OOM victim 1234 (foo) is already exiting. "
        "Skip killing the task\n"
    )
    assert report.already_exiting
    assert report.killed == ()
    assert report.summary is not None
    assert (report.summary.pid, report.summary.comm) == (1234, "foo")


def test_a_failed_allocation_before_a_kill_is_no_part_of_it() -> None:
    (report,) = reports_in(
        stamped(
            "kw/u8:2: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)",
            "CPU: 1 PID: 1234 Comm: kw/u8:2 Not tainted 5.10.0-8-amd64 #1 Debian",
            "Mem-Info:",
            "active_anon:1 inactive_anon:2 isolated_anon:0",
            glob(7, "a"),
        )
    )
    assert (report.invoker, report.order, report.memory) == (None, None, None)
    assert report.kernel == "5.10.0-8-amd64"


def test_a_child_is_younger_than_its_parent() -> None:
    lines = (
        "Memory cgroup out of memory: Kill process 900 (ruby) score 990 or sacrifice child",
        "Killed process 905 (ruby) total-vm:2000kB, anon-rss:800kB, file-rss:100kB",
    )
    (report,) = reports_in(stamped(*lines))
    assert victims(report) == [(905, "ruby", "child")]


def test_an_export_keeps_time_and_host() -> None:
    record = (
        "__CURSOR=s=1;i={i}\n__REALTIME_TIMESTAMP=170000000000000{i}\n_BOOT_ID=9f\nPRIORITY=4\n"
        "_SOURCE_MONOTONIC_TIMESTAMP=500000{i}\n_TRANSPORT=kernel\n_HOSTNAME=box7\nMESSAGE={text}\n\n"
    )
    log = record.format(i=1, text="a invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0")
    (report,) = reports_in(
        "".join(f"Nov 14 10:00:{i:02} h cron[1]: ran\n" for i in range(60)) * 60
        + "\n" + log + record.format(i=2, text=glob(7, "a"))
    )  # fmt: skip
    assert (report.time, report.host) == ("2023-11-14T22:13:20.000001+00:00", "box7")
    assert report.uptime_s == pytest.approx(5.000001)


@pytest.mark.parametrize(
    ("line", "range_"),
    [
        ("Out of memory: Killed process 24735, UID 1200, (oracle).", ("2.6.18", "2.6.18")),
        ("Out of memory: Killed process 24735, UID 1200, (oracle)", ("2.6.18", "2.6.32")),
        (
            "Killed process 24735, UID 1200, (oracle) total-vm:9kB, anon-rss:8kB, file-rss:0kB",
            ("2.6.32", "2.6.32"),
        ),
    ],
)
def test_two_vendors_print_the_user_before_the_name(line: str, range_: tuple[str, str]) -> None:
    (report,) = read_bytes(f"{line}\n".encode())
    assert (report.killed[0].comm, report.kernel_range) == ("oracle", range_)


def test_a_choice_and_a_user_after_the_name_are_el7s() -> None:
    text = (
        "Out of memory: Kill process 53 (mongod) score 130 or sacrifice child\n"
        "Killed process 53 (mongod), UID 0, total-vm:25kB, anon-rss:21kB, file-rss:0kB, "
        "shmem-rss:0kB\n"
    )
    (report,) = read_bytes(text.encode())
    assert report.kernel_range == ("3.10", "3.10")
    assert [rules.name for rules in rule_sets(report)] == ["3.10-el7-1127"]


def test_lines_of_a_syslog_that_were_pasted_as_one_keep_their_times() -> None:
    text = (
        "Apr 23 08:52:18 db kernel: NET: Unregistered protocol family 36 Apr 23 09:07:28 db "
        "kernel: oracle invoked oom-killer: gfp_mask=0x84d0, order=0, oom_adj=0, oom_score_adj=0 "
        "Apr 23 09:07:32 db rtkit-daemon[3097]: The canary thread is apparently starving. "
        "Apr 23 09:07:47 db kernel: oracle cpuset=/ mems_allowed=0-4\n"
    )
    (report,) = read_bytes(text.encode())
    assert report.time == "04-23T09:07:28"
    assert (report.invoker, report.mems_allowed) == ("oracle", "0-4")


def test_a_kill_line_in_a_sentence_is_evidence_and_no_report() -> None:
    text = 'to see entries like "Out of memory: Killed process\n23456 (chromium)". The fix is to\n'
    assert list(read_bytes(text.encode())) == []
    (said,) = read_evidence(text.encode())
    assert (said.by, said.kind, said.pid, said.comm) == ("kernel", "notice", 23456, "chromium")


def test_the_kernels_source_is_no_report() -> None:
    text = '\t\tpanic("Out of memory and no killable processes...\\n");\n'
    assert list(read_bytes(text.encode())) == []


def test_a_stamp_that_was_cut_is_no_part_of_the_row_before() -> None:
    rows = "".join(
        f"[669754.41492{i}] [{68454 + i}]    26 {68454 + i}    75887     7530   368640        0"
        "           999 postgres\n"
        for i in range(3)
    )
    (report,) = read_bytes(f"{rows}[66\n".encode())
    assert {row.comm for row in report.tasks} == {"postgres"}


def test_a_kill_line_that_is_cut_in_the_name_says_what_ran_out() -> None:
    (report,) = read_bytes(b"[10393.148711] Memory cgroup out of memory: Killed process 1023 (\n")
    assert (report.scope, report.killed[0].pid) == ("memcg", 1023)


@pytest.mark.parametrize(
    "line",
    [
        '#   "Out of memory: Killed process 1234 (claude) total-vm:..."',
        '    // "Memory cgroup out of memory: Killed process 1234 (uv) total-vm:9kB"',
        "OOM2='Out of memory and no killable processes...'",
        'line = "Out of memory: Killed process 1234 (claude) total-vm:9kB, anon-rss:9kB"',
        'const text = "Out of memory: Kill process 1234 (a) score 9 or sacrifice child";',
        'find_oom("Out of memory: Kill process 1234 (a) score 9 or sacrifice child")',
    ],
)
def test_a_text_that_a_program_looks_for_is_no_report(line: str) -> None:
    assert list(read_bytes(f"{line}\n".encode())) == []


@pytest.mark.parametrize(
    "line",
    [
        "# Out of memory: Killed process 1234 (a) total-vm:9kB",
        '"Out of memory: Killed process 1234 (a) total-vm:9kB"',
        'level=info msg="Out of memory: Killed process 1234 (a) total-vm:9kB"',
        'message: "Out of memory: Killed process 1234 (a) total-vm:9kB"',
        '* "Out of memory: Killed process 1234 (a) total-vm:9kB"',
    ],
)
def test_a_line_that_somebody_quotes_is_one(line: str) -> None:
    (report,) = read_bytes(f"{line}\n".encode())
    assert report.killed[0].pid == 1234


def test_a_kill_line_without_its_opening_is_of_its_version() -> None:
    text = "killed process 2016872 (kvm)total-vm:9kB, anon-rss:8kB, file-rss:3kB, shmem-rss:4kB, "
    (report,) = read_bytes(f"{text}UID:0 pgtables:4552kB oom_score_adj:400\n".encode())
    assert (report.scope, report.kernel_range) == (None, ("5.4", NEWEST))


def test_an_opening_that_a_page_has_wrapped_says_what_ran_out() -> None:
    text = (
        "Nov 18 12:31:49 n kernel: [89580.599157] oom-kill:cOnstraint=CONSTRAINT_MEMCG,nodemask="
        "(null),cpuset=e,mems_allowed=0,oom_memcg=/m,task_memcg=/m/v,task=kvm,pid=2016872,uid=0\n"
        "Nov 18 12:31:49 n kernel: [89580.599207] Memory cgroup\n"
        "out of memory: Killed process 2016872 (kvm)total-vm:9kB, anon-rss:8kB, file-rss:3kB,\n"
        "shmem-rss:4kB, UID:0 pgtables:4552kB oom_score_adj:400\n"
    )
    (report,) = read_bytes(text.encode())
    assert (report.cgroup, report.uptime_s, report.killed[0].pid) == ("/m", 89580.599157, 2016872)


def test_frames_that_klogd_has_named_before_show_what_ran_out() -> None:
    text = (
        "[ 2685.747564] x invoked oom-killer: gfp_mask=0x1201d2, order=0, oomkilladj=0\n"
        "[ 2685.747591]  [oom_kill_process+0x10a/0x120] oom_kill_process+0x10a/0x120\n"
        "[ 2685.747616]  [out_of_memory+0x167/0x1a0] out_of_memory+0x167/0x1a0\n"
        "[ 2685.747638]  [nfs:__alloc_pages+0x34c/0x380] __alloc_pages+0x34c/0x380\n"
    )
    (report,) = read_bytes(text.encode())
    assert report.scope == "global"
    assert report.call_trace == ("oom_kill_process", "out_of_memory", "__alloc_pages")
