"""Answers beyond the kill itself: limits, reserves, repeats, what others say, nobody killed."""

import json
from pathlib import Path
from typing import Any

import pytest

from oomkit.explain.explanation import Case, explain
from oomkit.explain.files import read_file
from oomkit.explain.records import Explanation
from oomkit.explain.redact import Redactor
from oomkit.klog import read_bytes, replay_all
from oomkit.klog.memory_records import Counter, Memcg, Memory, Zone
from oomkit.klog.records import Killed, Report, Source, Summary, TaskRow
from oomkit.render.layout import Terminal
from oomkit.render.terminal import plain_lines
from oomkit.views.explain_json import incident_object, no_kill_object, report_object
from oomkit.views.explain_report import explanation_report
from tests.klog.logs import path_of

SOURCE = Source(file="kern.log", line=1, end_line=9)
UID = "0a1b2c3d-1111-2222-3333-444455556666"
CONTAINER = "ab" * 32
POD = (
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
)
GIB_KB = 1 << 20


def at_limit(path: str, *, task_path: str | None = None, v2: bool = True) -> Report:
    """Java at a limit of 4 GiB."""
    counter = Counter(usage_kb=4 * GIB_KB, limit_kb=4 * GIB_KB, failcnt=7)
    swap = Counter(usage_kb=0, limit_kb=0)
    return Report(
        source=SOURCE,
        scope="memcg",
        cgroup=path,
        summary=Summary(constraint="CONSTRAINT_MEMCG", oom_memcg=path, task_memcg=task_path),
        memcg=Memcg(
            path=path,
            memory=counter,
            swap=swap if v2 else None,
            stats={path: {"anon": 4 << 30, "file": 0}},
        ),
        tasks=(
            TaskRow(
                pid=7, tgid=7, uid=0, comm="java", total_vm_pages=9 << 18, rss_pages=1 << 20,
                pgtables_bytes=4096, swapents=0, oom_score_adj=934,
            ),
        ),
        killed=(Killed(pid=7, comm="java", oom_score_adj=934, line=9),),
    )  # fmt: skip


def explain_first(text: str) -> Explanation:
    """The only report of a text, explained."""
    (report,) = replay_all(read_bytes(text.encode()))
    return explain(report)


@pytest.mark.parametrize(
    ("path", "v2", "setting"),
    [
        (POD, True, "resources.limits.memory: 5120Mi"),
        (
            f"/docker/{CONTAINER}",
            False,
            f"docker update --memory 5120m --memory-swap 5120m {'ab' * 6}",
        ),
        ("/system.slice/db.service", True, "systemctl set-property db.service MemoryMax=5120M"),
        ("/lxc/101", True, "pct set 101 --memory 5120"),
        ("/slurm/uid_1/job_7/step_0", False, "sbatch --mem=5120M"),
        ("/mine", True, "echo 5120M > /sys/fs/cgroup/mine/memory.max"),
        ("/mine", False, "echo 5120M > /sys/fs/cgroup/memory/mine/memory.limit_in_bytes"),
    ],
)
def test_a_containers_limit_comes_first(path: str, v2: bool, setting: str) -> None:
    first = explain(at_limit(path, v2=v2)).changes[0]
    assert first.kind == "limit"
    assert (first.now, first.needed) == (4 * GIB_KB, 4 * GIB_KB)
    assert setting in first.text
    assert "in it sat anonymous 4.00 GiB (java[7] 4.00 GiB)" in first.text


def test_a_limit_that_the_log_does_not_show_gets_no_number() -> None:
    (line,) = replay_all(
        read_bytes(b"[1.000001] Memory cgroup out of memory: Killed process 7 (a) total-vm:9kB\n")
    )
    first = explain(line).changes[0]
    assert (first.kind, first.now, first.needed) == ("limit", None, None)
    assert not any(char.isdigit() for char in first.text)


def test_where_to_look_at_a_pod() -> None:
    steps = {step.kind: step.text for step in explain(at_limit(POD, task_path=f"{POD}/x")).advice}
    assert "-XX:MaxRAMPercentage" in steps["leak"]
    assert "Burstable" in steps["qos"]
    assert "about 6.6 % of the node's memory" in steps["qos"]
    assert f"| grep {UID}" in steps["pod_name"]
    inside = at_limit(POD, task_path=f"{POD}/cri-containerd-{CONTAINER}.scope")
    steps = {step.kind: step.text for step in explain(inside).advice}
    assert steps["container_name"].endswith(f"crictl ps -a --id {'ab' * 6}")


def test_a_machine_gets_no_advice_on_limits() -> None:
    (report,) = replay_all(read_bytes(b"[1.000001] Out of memory: Killed process 7 (a) vm:9kB\n"))
    item = explain(report)
    assert (item.advice, item.changes) == ((), ())


def machine(gfp: str, *zones: Zone, free: int = 0) -> Report:
    memory = Memory(page_kb=4, counters_pages={"free": free}, zones=zones, total_swap_kb=0)
    return Report(
        source=SOURCE, scope="global", gfp_mask=gfp, order=0, memory=memory,
        killed=(Killed(pid=7, comm="db", line=9),),
    )  # fmt: skip


def zone(name: str, free: int, least: int, size: int, **more: Any) -> Zone:
    return Zone(
        node=0, name=name, free_kb=free, min_kb=least, high_kb=least, managed_kb=size, **more
    )


@pytest.mark.parametrize(
    ("report", "kind", "words"),
    [
        (
            machine("0xd0", zone("Normal", 4000, 8000, 800_000),
                    zone("HighMem", 900_000, 500, 1_000_000)),
            "low_memory", "low memory (781 MiB) ran out, with 879 MiB free in high memory",
        ),
        (
            machine("0xcc0(GFP_KERNEL)",
                    zone("DMA", 200_000, 20_000, 600_000, counters_kb={"free_cma": 190_000})),
            "cma", "of 195 MiB free, 186 MiB is CMA",
        ),
        (
            machine("0x100cca(GFP_HIGHUSER_MOVABLE)",
                    zone("Normal", 3_900_000, 4_000_000, 16_000_000), free=975_000),
            "reserve", "vm.min_free_kbytes is set too high",
        ),
        (
            machine("0x100cca(GFP_HIGHUSER_MOVABLE)",
                    zone("DMA32", 900_000, 1000, 1_000_000, lowmem_reserve_pages=(0, 0, 240_000)),
                    zone("Normal", 100, 1000, 1_000_000), free=225_000),
            "reserve", "vm.lowmem_reserve_ratio is set too high",
        ),
    ],
)  # fmt: skip
def test_zones_and_reserves_are_named_as_causes(report: Report, kind: str, words: str) -> None:
    found = {finding.kind: finding for finding in explain(report).findings}
    assert found[kind].level == "cause"
    assert words in found[kind].text


def test_usual_watermarks_are_no_cause() -> None:
    report = machine("0x100cca(GFP_HIGHUSER_MOVABLE)", zone("Normal", 60_000, 67_000, 16_000_000))
    assert not any(finding.kind == "reserve" for finding in explain(report).findings)


def case_of(tmp_path: Path, *texts: str, redactor: Redactor | None = None) -> Case:
    told = []
    for i, text in enumerate(texts):
        path = tmp_path / f"{i}.log"
        path.write_text(text)
        told.append(read_file(str(path), redactor=redactor))
    return Case(told)


KILL = (
    "Out of memory: Killed process 4242 (java) total-vm:800kB, anon-rss:400kB, file-rss:0kB, "
    "shmem-rss:0kB, UID:1000 pgtables:9kB oom_score_adj:0\n"
)


def test_the_same_report_in_two_files_is_one(tmp_path: Path) -> None:
    case = case_of(
        tmp_path,
        f"Sep  3 10:00:00 h kernel: {KILL}",
        f"[  12.345678] java invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0\n"
        f"[  12.345679] {KILL}",
    )
    (report,) = case.reports
    assert report.invoker == "java"
    assert (report.host, report.uptime_s) == ("h", 12.345678)
    assert any("stands in" in problem.text for problem in report.problems)
    assert len(case.incidents) == 1


@pytest.mark.parametrize(
    "other",
    [
        f"Sep  3 10:00:09 h kernel: {KILL}",
        f"Sep  3 10:00:00 other kernel: {KILL}",
        f"Sep  3 10:00:00 h kernel: {KILL.replace('400kB', '404kB')}",
        f"Sep  3 10:00:00 h kernel: {KILL.replace('Out of', 'Memory cgroup out of')}",
    ],
)
def test_another_kill_is_another_report(tmp_path: Path, other: str) -> None:
    assert len(case_of(tmp_path, f"Sep  3 10:00:00 h kernel: {KILL}", other).reports) == 2


def test_neighbours_and_uname_name_the_kernel(tmp_path: Path) -> None:
    caller = "[  10.000002] CPU: 1 PID: 55 Comm: a Not tainted 6.1.0-13-amd64 #1\n"
    head = "[  10.000001] a invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0\n"
    first = head + caller + "[  10.000003] " + KILL
    later = "[  {}.000001] " + KILL.replace("4242", "77")
    case = case_of(tmp_path, first + later.format(20))
    assert [report.kernel for report in case.reports] == ["6.1.0-13-amd64"] * 2
    rebooted = case_of(tmp_path, first + later.format(" 2"))
    assert [report.kernel for report in rebooted.reports] == ["6.1.0-13-amd64", None]
    uname = "Linux box 5.4.0-42-generic #46-Ubuntu SMP x86_64 GNU/Linux\n"
    (report,) = case_of(tmp_path, later.format(20) + uname).reports
    assert report.kernel == "5.4.0-42-generic"
    (report,) = case_of(tmp_path, later.format(20) + uname.replace("5.4.0", "3.2.0")).reports
    assert report.kernel is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1.000001] kw/u8:2: page allocation failure: order:4, mode:0x40c\n", "order 4, kw/u8:2"),
        ("java.lang.OutOfMemoryError: Java heap space\n", "Java heap space"),
        ("-bash: fork: Cannot allocate memory\n", "asked for memory and was refused"),
        ("May 1 10:00:00 h systemd-journald[3]: Under memory pressure, flushing caches.\n",
         "memory was under pressure"),
        ("Node n1 status is now: NodeHasInsufficientMemory\n", "memory was under pressure"),
    ],
)  # fmt: skip
def test_where_none_was_killed_one_sentence_says_so(tmp_path: Path, text: str, words: str) -> None:
    case = case_of(tmp_path, text)
    assert case.no_kill is not None
    assert case.no_kill.startswith("no process was killed here: ")
    assert words in case.no_kill
    assert not case.is_bad_news
    told = no_kill_object(case.no_kill, case.failed)
    assert (told["record"], told["killed"], told["killer"]["by"]) == ("no_kill", [], "nobody")
    assert case_of(tmp_path, text + f"[9.000001] {KILL}").no_kill is None


EVENT = (
    "shop   3m (x16 over 2h)  Warning  Evicted  pod/egg-5d9  The node was low on resource: memory. "
    "Container yolk was using 5053216Ki, which exceeds its request of 0.\n"
)
OOMD = (
    "Nov 03 10:52:29 secrethost systemd-oomd[1]: Killed /system.slice/private.service due to "
    "memory pressure for /system.slice/private.service being 91.73% > 50.00% for > 20s\n"
)
DRIVER = (
    "<6>lowmemorykiller: Killing 'com.private' (2613), adj 1000,\n"
    "<6>   to free 20784kB on behalf of 'asker0' (442) because\n"
)
STEP = "slurmstepd-node77: error: Detected 2 oom_kill events in StepId=4711.batch. Some tasks\n"
ROWS = (
    "Name:   podname-1\nNamespace:  private-ns\nNode:   nodename/10.0.0.1\n  Reason:   OOMKilled\n"
)


def test_what_others_say_is_shown_in_text_and_json(tmp_path: Path) -> None:
    case = case_of(tmp_path, EVENT)
    (incident,) = case.incidents
    said = (
        "kubelet evicted pod shop/egg-5d9 (container yolk: 4.82 GiB used, request 0: nothing was "
        "reserved for it), as the node ran low on memory, 16 times; no OOM kill"
    )
    assert incident.summary == said
    told = incident_object(incident, case.evidence)
    assert (told["headline"], told["killer"]["by"]) == (said, "kubelet")
    fields = {"pod": "egg-5d9", "namespace": "shop", "container_name": "yolk", "count": 16,
              "used_kb": 5053216, "request_kb": 0}  # fmt: skip
    assert {name: told["related"][0][name] for name in fields} == fields


def test_redaction_covers_what_others_say(tmp_path: Path) -> None:
    text = EVENT + OOMD + DRIVER + STEP + ROWS
    case = case_of(tmp_path, text, redactor=Redactor())
    told = json.dumps([incident_object(item, case.evidence) for item in case.incidents])
    shown = told + " ".join(item.summary for item in case.incidents)
    for name in (
        "egg-5d9", "shop", "yolk", "private", "secrethost", "com.private", "asker0", "node77",
        "4711", "podname-1", "private-ns", "nodename",
    ):  # fmt: skip
        assert name not in shown, name
    assert "5053216" in told
    assert "91.73" in told
    assert '"count": 16' in told


@pytest.mark.parametrize("width", [60, 80, 100, 132])
def test_rows_and_bars_fit_the_window(width: int) -> None:
    told = read_file(str(path_of("g-3.10.0-514-el7-sed-mysqld.log")))
    (item,) = [Case([told]).explain(0)]
    lines = plain_lines(explanation_report(item, 1), Terminal(width=width, unicode=False))
    table = [i for i, line in enumerate(lines) if line.strip().startswith("rank  process")]
    rows = lines[table[0] : table[0] + 6]
    assert max(map(len, rows)) <= width
    assert "6700394" in rows[1]
    left_out = [head for head in ("swap", "page tables", "adj", "badness") if head not in rows[0]]
    assert bool(left_out) == (width < 100)
    if left_out:
        below = " ".join(line.strip() for line in lines[table[0] + 6 :])
        assert below.startswith(f"(no room for {', '.join(left_out)}; a wider window shows them)")
    assert max(map(len, lines)) <= width


def test_reports_and_incidents_have_one_form_of_json(tmp_path: Path) -> None:
    case = case_of(tmp_path, f"[9.000001] {KILL}" + "\n" * 500 + OOMD)
    report = report_object(case.explain(0), case.incident(0))
    (alone,) = case.reported_by_others()
    incident = incident_object(alone, case.evidence)
    assert (report["record"], incident["record"]) == ("report", "incident")
    assert set(incident) <= set(report)


def test_a_choice_whose_kill_line_is_missing_is_the_kernels() -> None:
    text = (
        "[4650180.470877] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=aegis,"
        "mems_allowed=0,global_oom,task_memcg=/system.slice/docker-00748bf4e957f82c239a1db8a885790"
        "59b7d40c7b5fbd3f43617d31d3f646f12.scope,task=java,pid=7134,uid=1000\n"
    )
    report = explain_first(text)
    assert (report.killer.by, report.killer.text) == (
        "kernel",
        "the kernel's OOM killer, by its choice; the line of the kill itself is missing",
    )
    assert report.killer.evidence[0].text == (
        "oom-kill: chose java[7134], in container 00748bf4e957"
    )


def test_a_victim_whose_name_is_cut_is_named_by_its_number() -> None:
    report = explain_first("[10393.148711] Out of memory: Killed process 1023 (\n")
    assert report.headline == "process 1023 was killed: the machine ran out of memory"
