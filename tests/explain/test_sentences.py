"""The sentences a user reads of a death: each for each of its cases, in whole."""

from typing import Any

import pytest

from oomkit.explain.evidence_text import (
    is_for_memory,
    joined,
    key_of,
    no_kill_text,
    sentence,
    subject,
)
from oomkit.explain.explanation import Case, explain, related, victims
from oomkit.explain.files import ReadLog
from oomkit.explain.killer import death, verdict
from oomkit.explain.records import Proof, Verdict
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Report, Selected, Summary
from oomkit.records import replace
from tests.explain.made import DB, group, machine, said

UID = "0a1b2c3d-1111-2222-3333-444455556666"
POD_PATH = f"/kubepods/burstable/pod{UID}"
CONTAINER_PATH = f"{POD_PATH}/{'ab' * 32}"
WEB = Killed(pid=8, comm="web")
SH = Killed(pid=9, comm="sh")
MACHINE = "the machine ran out of memory"

# -- headlines -----------------------------------------------------------------------------------


def of(**fields: Any) -> Report:
    return replace(machine(), **fields)


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        (of(), f"db[7] was killed: {MACHINE}"),
        (of(killed=(DB, WEB)), f"db[7] and web[8] were killed: {MACHINE}"),
        (of(killed=(DB, WEB, SH)), f"db[7] and 2 more were killed: {MACHINE}"),
        (
            of(killed=(replace(DB, killed_as="oom_group"), WEB)),
            f"db[7] and web[8] of its group (memory.oom.group) were killed: {MACHINE}",
        ),
        (
            of(killed=(replace(DB, told_by="choice"),)),
            f"db[7], or a child of it, was killed: {MACHINE}",
        ),
        (
            of(killed=(replace(DB, killed_as="child"),), selected=Selected(pid=3, comm="pa")),
            f"db[7], a child of pa[3], was killed: {MACHINE}",
        ),
        (
            of(
                killed=(replace(DB, killed_as="child"), WEB),
                selected=Selected(pid=3, comm="pa"),
            ),
            f"db[7], a child of pa[3] and web[8] were killed: {MACHINE}",
        ),
        (of(killed=(replace(DB, killed_as="child"),)), f"db[7] was killed: {MACHINE}"),
        (of(selected=Selected(pid=7, comm="db")), f"db[7] was killed: {MACHINE}"),
        (of(selected=Selected(pid=70, comm="db", tgid=7)), f"db[7] was killed: {MACHINE}"),
        (
            of(selected=Selected(pid=70, comm="db")),
            f"db[7], a child of db[70] or the process of that thread, was killed: {MACHINE}",
        ),
        (
            of(killed=(), would_have=True, selected=Selected(pid=7, comm="db")),
            f"db[7] would have been killed, and was spared; {MACHINE}",
        ),
        (of(killed=(), would_have=True), f"victim unknown: {MACHINE}"),
        (of(would_have=True), f"db[7] was killed: {MACHINE}"),
        (
            of(killed=(), already_exiting=True, summary=Summary(comm="db", pid=7)),
            f"db[7] was chosen, and was exiting already: {MACHINE}",
        ),
        (of(killed=(), already_exiting=True), f"victim unknown: {MACHINE}"),
        (of(killed=(), no_killable=True), f"no process could be killed: {MACHINE}"),
        (
            of(killed=(), summary=Summary(comm="db", pid=7)),
            f"db[7] was chosen, its kill line is missing: {MACHINE}",
        ),
        (
            of(killed=(), summary=Summary(comm="db")),
            f"db was chosen, its kill line is missing: {MACHINE}",
        ),
        (of(killed=(), summary=Summary(pid=7)), f"victim unknown: {MACHINE}"),
        (of(killed=()), f"victim unknown: {MACHINE}"),
        (of(panic="System is deadlocked on memory. "),
         f"kernel panic: System is deadlocked on memory; {MACHINE}"),
        (of(scope="sysrq"), "db[7] was killed on request (SysRq-f)"),
        (of(scope="sysrq", killed=(DB, WEB)), "db[7] and web[8] were killed on request (SysRq-f)"),
        (of(scope="sysrq", killed=()), "an unknown process was killed on request (SysRq-f)"),
        (of(scope="sysrq", panic="no. "), "kernel panic: no; on request (SysRq-f)"),
        (of(scope=None), "db[7] was killed: memory ran out"),
        (group("/system.slice/db.service"),
         "db[7] was killed: the memory cgroup of unit db.service ran out of memory"),
    ],
)  # fmt: skip
def test_a_headline(report: Report, headline: str) -> None:
    assert explain(report).headline == headline


def test_no_victims_no_words() -> None:
    assert victims(of(killed=())) == ""


# -- who killed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "by", "text"),
    [
        (of(), "kernel", "the kernel's OOM killer"),
        (of(panic="no"), "kernel", "the kernel's OOM killer"),
        (of(scope="sysrq"), "kernel", "the kernel, on request by SysRq-f"),
        (of(killed=(), panic="no", no_killable=True), "nobody", "none: the kernel panicked"),
        (of(killed=(), already_exiting=True, no_killable=True), "nobody",
         "none: the chosen process was exiting already"),
        (of(killed=(), no_killable=True), "nobody", "no process was killed"),
        (of(killed=(), would_have=True), "nobody", "no process was killed"),
        (of(killed=()), "unknown",
         "not known: the kernel's OOM killer ran, but no line here names the victim"),
    ],
)  # fmt: skip
def test_who_killed(report: Report, by: str, text: str) -> None:
    found = verdict(report)
    assert (found.by, found.text) == (by, text)


def proofs_of(report: Report, *others: Evidence) -> list[tuple[int, str]]:
    found = verdict(report, others).evidence
    assert {one.file for one in found} <= {"kern.log"}
    return [(one.line, one.text) for one in found]


def killed(**fields: Any) -> Report:
    return of(killed=(Killed(pid=7, comm="db", line=9, **fields),))


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (killed(), "Killed process 7 (db)"),
        (
            killed(anon_rss_kb=1024, file_rss_kb=2048, shmem_rss_kb=3072, pgtables_kb=4096),
            ("Killed process 7 (db): anonymous 1.00 MiB, file 2.00 MiB, shmem 3.00 MiB, "
            "page tables 4.00 MiB"),
        ),
        (killed(rss_kb=1024, swap_kb=0), "Killed process 7 (db): rss 1.00 MiB"),
        (killed(swap_kb=1024), "Killed process 7 (db): swap 1.00 MiB"),
        (killed(killed_as="selected"), "Killed process 7 (db)"),
        (killed(killed_as="mm_sharer"), "Killed process 7 (db) [mm sharer]"),
        (killed(killed_as="oom_group", anon_rss_kb=1024),
         "Killed process 7 (db) [oom group]: anonymous 1.00 MiB"),
        (killed(told_by="reaper", anon_rss_kb=9),
         "oom_reaper: reaped process 7 (db): it reaps only victims"),
    ],
)  # fmt: skip
def test_a_kill_line_as_evidence(report: Report, text: str) -> None:
    assert proofs_of(report) == [(9, text)]


def test_the_choice_as_evidence() -> None:
    chosen = Selected(pid=3, comm="pa", score=0, line=8)
    assert proofs_of(of(selected=chosen)) == [
        (8, "Kill process 3 (pa) score 0"), (9, "Killed process 7 (db)"),
    ]  # fmt: skip
    report = of(selected=replace(chosen, score=None), killed=(replace(DB, told_by="choice"),))
    assert proofs_of(report) == [(8, "Kill process 3 (pa)")]


def test_no_more_than_four_kill_lines_are_shown() -> None:
    def many(count: int) -> tuple[Killed, ...]:
        return tuple(Killed(pid=n, comm="t", line=10 + n) for n in range(1, count + 1))

    four = [(10 + n, f"Killed process {n} (t)") for n in range(1, 5)]
    assert proofs_of(of(killed=many(4))) == four
    assert proofs_of(of(killed=many(5))) == [*four[:3], (15, "1 more kill line, to here")]
    assert proofs_of(of(killed=many(9))) == [*four[:3], (19, "5 more kill lines, to here")]
    # The choice's line, too, takes one of the four places.
    chosen = Selected(pid=1, comm="t", line=5)
    assert proofs_of(of(selected=chosen, killed=many(4))) == [(5, "Kill process 1 (t)"), *four[:3]]
    other = said("notice", "docker", "it died", line=70)
    assert proofs_of(of(killed=many(4)), other) == [*four, (70, "docker: it died")]


@pytest.mark.parametrize(
    ("item", "by"),
    [
        (said("kill", "systemd-oomd", unit="a.service"), "systemd-oomd"),
        (said("notice", "systemd-oomd", unit="a.service"), "systemd-oomd"),
        (said("notice", "earlyoom", pid=7, comm="db"), "unknown"),
        (said("kill", "earlyoom", pid=7, comm="db"), "earlyoom"),
        (said("kill", "nohang", pid=7, comm="db"), "nohang"),
        (said("kill", "oomd", cgroup="/a"), "oomd"),
        (said("kill", "lmkd", pid=7, comm="db"), "lmkd"),
        (said("kill", "talos", cgroup="/a"), "talos"),
        (said("kill", "kernel", pid=7, comm="db"), "kernel"),
        (said("kill", "lowmemorykiller", pid=7, comm="db"), "lowmemorykiller"),
        (said("kill", "slurm", job="1"), "slurm"),
        (said("kill", "pbs", job="1"), "pbs"),
        (said("kill", "lsf", job="1"), "lsf"),
        (said("kill", "yarn", job="1"), "yarn"),
        (said("kill", "ray", job="1"), "ray"),
        (said("kill", "heroku", container="web.1"), "heroku"),
        (said("kill", "somebody", pid=7, comm="db"), "unknown"),
        (said("eviction", "kubelet", pod="a/b"), "kubelet"),
        (said("notice", "systemd", unit="a.service", killer="kernel"), "kernel"),
        (said("sigkill", "docker", pid=7, comm="db"), "unknown"),
    ],
)
def test_the_killer_without_a_kernel_report(item: Evidence, by: str) -> None:
    found = death(item)
    assert found.by == by
    assert found.text == sentence(item)
    assert found.evidence == (Proof(file="kern.log", line=60, text=f"{item.by}: its words"),)


def test_a_failure_killed_nobody() -> None:
    item = said("failure", "kernel", means="a request failed", order=2, line=5)
    assert death(item) == Verdict(
        by="nobody", text="no process was killed here: a request failed (order 2), line 5",
        evidence=(Proof(file="kern.log", line=5, text="kernel: its words"),),
    )  # fmt: skip
    assert death(replace(item, kind="pressure")).by == "nobody"


# -- what a line is about ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"comm": "db", "pid": 7}, "db[7]"),
        ({"comm": "db", "pid": 7, "pod": "b", "namespace": "a", "node": "n"},
         "db[7] in pod a/b on node n"),
        ({"comm": "db", "pid": 7, "pod": "x/b", "namespace": "a"}, "db[7] in pod x/b"),
        ({"comm": "db", "pid": 7, "pod": "b"}, "db[7] in pod b"),
        ({"comm": "db", "unit": "a.service"}, "unit a.service"),
        ({"comm": "db"}, "process db"),
        ({"pid": 7}, "process 7"),
        ({"by": "heroku", "container": "web.1"}, "dyno web.1"),
        ({"by": "heroku", "container_name": "web.2", "container": "web.1"}, "dyno web.2"),
        ({"by": "heroku"}, "a dyno"),
        ({"by": "ray", "job": "9"}, "worker 9"),
        ({"by": "ray", "node": "n"}, "workers on node n"),
        ({"by": "ray"}, "workers"),
        ({"by": "cloud-foundry", "job": "9"}, "an instance of app 9"),
        ({"by": "cloud-foundry"}, "an app instance"),
        ({"cgroup": "/"}, "the machine"),
        ({"by": "yarn", "job": "3"}, "the container of executor 3"),
        ({"by": "yarn"}, "a container"),
        ({"pod": "b", "namespace": "a", "container_name": "c"}, "container c of pod a/b"),
        ({"pod": "b", "container": "cd"}, "container cd of pod b"),
        ({"pod": "b"}, "pod b"),
        ({"container": "cd", "job": "5"}, "container cd"),
        ({"cgroup": POD_PATH}, f"pod {UID}"),
        ({"cgroup": CONTAINER_PATH}, f"pod {UID}"),
        ({"cgroup": CONTAINER_PATH, "container": "cd"}, f"container cd of pod {UID}"),
        ({"cgroup": f"/docker/{'ab' * 32}"}, "container abababababab"),
        ({"cgroup": "/system.slice/a.service"}, "unit a.service"),
        ({"cgroup": "/system.slice/a.service/"}, "unit a.service"),
        ({"cgroup": "/system.slice/a.service/below"}, "cgroup /system.slice/a.service/below"),
        ({"cgroup": "/system.slice/a.serv", "cgroup_cut": True},
         "cgroup /system.slice/a.serv (its name is cut)"),
        ({"unit": "a.service", "cgroup": "/b"}, "unit a.service"),
        ({"job": "5"}, "job 5"),
        ({"by": "lsf", "comm": "db"}, "process db"),
        ({"by": "lsf"}, "a job"),
        ({"by": "pbs"}, "a job"),
        ({"by": "htcondor"}, "a job"),
        ({"by": "docker"}, "a container"),
        ({"by": "kubelet"}, "a container"),
        ({"by": "mesos"}, "a container"),
        ({"by": "cloud-run"}, "an instance"),
        ({"by": "slurm"}, "a job or step"),
        ({"by": "nomad"}, "a task"),
        ({"by": "somebody"}, "something that the line does not name"),
    ],
)  # fmt: skip
def test_what_a_line_is_about(fields: dict[str, Any], text: str) -> None:
    made = {"kind": "notice", "by": "somebody", **fields}
    assert subject(said(**made)) == text


def test_a_nameless_death_is_quoted_to_80_characters() -> None:
    item = said("sigkill", "supervisor", "x" * 80 + "y")
    assert subject(said("sigkill", "supervisor", "x" * 80)) == f"supervisor ({'x' * 80})"
    assert subject(item) == f"supervisor ({'x' * 80}…)"
    assert sentence(item) == (
        f"supervisor ({'x' * 80}…): SIGKILL, and nothing here shows that memory was the reason; "
        "any process may have sent it"
    )


# -- sentences -----------------------------------------------------------------------------------

NOT_HERE = "; the kernel's own report is not here"
DB_7: dict[str, Any] = {"pid": 7, "comm": "db"}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (said("kill", "earlyoom", **DB_7), "earlyoom killed db[7]"),
        (said("kill", "earlyoom", **DB_7, signal="SIGTERM"), "earlyoom sent SIGTERM to db[7]"),
        (said("kill", "earlyoom", **DB_7, signal="SIGTERM", exited=True), "earlyoom killed db[7]"),
        (said("kill", "earlyoom", **DB_7, signal="SIGKILL"), "earlyoom killed db[7]"),
        (said("kill", "lmkd", **DB_7, signal="SIGTERM"), "lmkd killed db[7]"),
        (said("kill", "nohang", **DB_7, exited=False),
         "nohang sent SIGKILL to db[7], which did not exit"),
        (said("kill", "nohang", **DB_7, exited=False, signal="SIGTERM", adj=5, used_kb=1024),
         "nohang sent SIGTERM to db[7], which did not exit (adj 5); it held 1.00 MiB"),
        (said("kill", "systemd-oomd", **DB_7), "systemd-oomd sent SIGKILL to db[7]"),
        (said("kill", "systemd-oomd", unit="a.service"), "systemd-oomd killed unit a.service"),
        (said("kill", "systemd-oomd", cgroup="/a"), "systemd-oomd killed cgroup /a"),
        (said("notice", "systemd-oomd", **DB_7), "systemd-oomd killed db[7]"),
        (said("kill", "oomd", cgroup="/a", processes=1), "oomd killed cgroup /a, 1 process"),
        (said("kill", "oomd", cgroup="/a", processes=3, count=2, exit_code=137),
         "oomd killed cgroup /a, 3 processes, 2 times, exit status 137"),
        (said("kill", "oomd", cgroup="/a", count=1, exit_code=0),
         "oomd killed cgroup /a, exit status 0"),
        (said("kill", "kernel", **DB_7, count=2), "the kernel killed db[7], 2 times"),
        (said("kill", "lmkd", **DB_7, adj=0, invoker="kswapd0[9]"),
         "lmkd killed db[7] (adj 0), asked by kswapd0[9]"),
        (said("kill", "lmkd", **DB_7, reason="low"), "lmkd killed db[7]: low"),
        (said("kill", "systemd-oomd", cgroup="/a", reason="swap used 95%"),
         "systemd-oomd killed cgroup /a, because of swap used 95%"),
        (said("kill", "systemd-oomd", cgroup="/a",
              reason="memory pressure for /a being 61.50% > 60.00% for > 20s with reclaim"),
         ("systemd-oomd killed cgroup /a, because memory pressure of /a was 61.50 % "
         "(limit 60 %) for 20 s")),
        (said("kill", "systemd-oomd", cgroup="/a",
              reason="memory pressure for /a being 61.00% > 60.00%"),
         "systemd-oomd killed cgroup /a, because memory pressure of /a was 61 % (limit 60 %)"),
        (said("kill", "systemd-oomd", cgroup="/a",
              reason="memory pressure for /a being 61% > 60% for > 1min 30s with reclaim"),
         ("systemd-oomd killed cgroup /a, because memory pressure of /a was 61 % (limit 60 %) for "
         "1 min 30 s")),
        (said("kill", "slurm", job="5", used_kb=2048, limit_kb=1024),
         "Slurm killed job 5; it held 2.00 MiB of 1.00 MiB"),
        (said("kill", "slurm", job="5", limit_kb=1024), "Slurm killed job 5, limit 1.00 MiB"),
        (said("kill", "slurm", job="5", used_kb=0), "Slurm killed job 5; it held 0 B"),
        (said("kill", "lmkd", **DB_7, used_kb=1024), "lmkd killed db[7]; it would free 1.00 MiB"),
        (said("kill", "lowmemorykiller", **DB_7, used_kb=1024),
         "the kernel's Android lowmemorykiller driver killed db[7]; it would free 1.00 MiB"),
        (said("notice", "kernel", count=1),
         f"the kernel's counter oom_kill says that it killed once{NOT_HERE}"),
        (said("notice", "kernel", count=2),
         f"the kernel's counter oom_kill says that it killed 2 times{NOT_HERE}"),
        (said("notice", "flux", processes=1, node="n", reason="OOM"),
         f"Flux says that the kernel killed 1 task of a job on node n (OOM){NOT_HERE}"),
        (said("notice", "flux", processes=2),
         f"Flux says that the kernel killed 2 tasks of a job{NOT_HERE}"),
        (said("notice", "flux", job="f1"), f"Flux says that job f1 ran out of memory{NOT_HERE}"),
        (said("notice", "nomad", job="f1", processes=2),
         f"Nomad says that job f1 ran out of memory{NOT_HERE}"),
        (said("notice", "kubelet", "System OOM encountered, victim process: db", node="n"),
         (f"kubelet says that node n ran out of memory and the kernel killed a process there"
         f"{NOT_HERE}")),
        (said("notice", "kubelet", "System OOM encountered"),
         (f"kubelet says that the node ran out of memory and the kernel killed a process there"
         f"{NOT_HERE}")),
        (said("notice", "kubelet", "System OOM encountered", **DB_7, killer="kernel"),
         f"kubelet says that the kernel killed db[7]{NOT_HERE}"),
        (said("notice", "systemd", unit="a.service", killer="kernel", reason="oom-kill"),
         f"systemd says that the kernel killed a process of unit a.service{NOT_HERE}"),
        (said("notice", "docker", container="cd", killer="kernel", reason="OOMKilled"),
         f"docker says that the kernel killed container cd (OOMKilled){NOT_HERE}"),
        (said("notice", "somebody", "repeats the kernel's line on its choice of db", **DB_7,
              killer="kernel"),
         f"somebody says that the kernel killed db[7], or a child of it{NOT_HERE}"),
        (said("notice", "systemd", unit="a.service", reason="oom-kill"),
         ("systemd says that unit a.service lost a process to an OOM killer (oom-kill): the "
         f"kernel's or systemd-oomd, the line does not say which{NOT_HERE}")),
        (said("notice", "docker", container="cd", reason="OOMKilled", count=3, limit_kb=1024),
         ("docker says that container cd ran out of memory (OOMKilled), limit 1.00 MiB, 3 times"
         f"{NOT_HERE}")),
        (said("notice", "docker", container="cd"),
         f"docker says that container cd ran out of memory{NOT_HERE}"),
    ],
)  # fmt: skip
def test_what_others_say_in_whole(item: Evidence, text: str) -> None:
    assert sentence(item) == text


@pytest.mark.parametrize(
    ("text", "fields", "words"),
    [
        ("srun: error: n1: task 0: Out Of Memory", {"node": "n1", "job": "0"},
         "for task 0 on node n1"),
        ("srun: error: n1: tasks 0-3: Out Of Memory", {"node": "n1", "job": "0-3"},
         "for tasks 0-3 on node n1"),
        ("srun: error: n1: tasks 0,2: Out Of Memory", {"node": "n1", "job": "0,2"},
         "for tasks 0,2 on node n1"),
        ("srun: error: n1: task 0: Out Of Memory", {"job": "0"}, "in the cgroup of step 0"),
        ("error: Detected 1 oom-kill event: Out Of Memory", {"node": "n1", "job": "7.0"},
         "in the cgroup of step 7.0 on node n1"),
        ("error: Detected 1 oom_kill event: Out Of Memory", {"node": "n1", "job": "7.0"},
         "in the cgroup of step 7.0 on node n1"),
        ("slurmstepd: error", {"job": "7.0", "pid": 9, "comm": "bash"},
         "in the cgroup of step 7.0, where the shell names bash[9]"),
        ("slurmstepd: error", {"job": "7.0", "pid": 9}, "in the cgroup of step 7.0"),
        ("slurmstepd: error", {"job": "7.0", "comm": "bash"}, "in the cgroup of step 7.0"),
    ],
)  # fmt: skip
def test_what_slurm_says_of_the_kernel(text: str, fields: dict[str, Any], words: str) -> None:
    item = said("notice", "slurm", text, killer="kernel", **fields)
    assert sentence(item) == f"Slurm says that the kernel killed {words}{NOT_HERE}"


EVICTED = "; no OOM kill"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"pod": "a/b"}, "evicted pod a/b, as the node ran low on memory, disk or process ids"),
        ({"text": "low on memory", "pod": "a/b", "node": "n"},
         "evicted pod a/b, as the node n ran low on memory"),
        ({"pod": "a/b", "reason": "ephemeral-storage"},
         "evicted pod a/b, as the node ran low on ephemeral-storage"),
        ({"cgroup": POD_PATH, "reason": "memory"},
         f"evicted pod {UID}, as the node ran low on memory"),
        ({"reason": "memory"},
         "evicted a pod that the line does not name, as the node ran low on memory"),
        ({"pod": "b", "namespace": "a", "used_kb": 2048, "request_kb": 1024, "reason": "memory"},
         "evicted pod a/b (2.00 MiB used, request 1.00 MiB), as the node ran low on memory"),
        ({"pod": "b", "request_kb": 0, "reason": "memory", "container_name": "c", "count": 2},
         ("evicted pod b (container c: request 0: nothing was reserved for it), as the node ran "
         "low on memory, 2 times")),
        ({"pod": "b", "container_name": "c", "reason": "memory"},
         "evicted pod b, as the node ran low on memory"),
        ({"pod": "b", "used_kb": 0, "reason": "memory"},
         "evicted pod b (0 B used), as the node ran low on memory"),
    ],
)  # fmt: skip
def test_evictions_in_whole(fields: dict[str, Any], text: str) -> None:
    assert sentence(said("eviction", "kubelet", **fields)) == f"kubelet {text}{EVICTED}"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (said("eviction", "kubelet"), True),
        (said("eviction", "kubelet", reason="memory"), True),
        (said("eviction", "kubelet", reason="ephemeral-storage"), False),
        (said("kill", "lmkd", reason="x"), True),
        (said("notice", "docker", reason="x"), True),
        (said("sigkill", "docker", reason="memory"), False),
    ],
)
def test_what_is_a_death_for_memory(item: Evidence, expected: bool) -> None:
    assert is_for_memory(item) == expected


# -- lines about the same ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"pid": 7, "unit": "a.service"}, ("pid", "7")),
        ({"unit": "a.service", "pod": "b"}, ("unit", "a.service")),
        ({"cgroup": "/system.slice/a.service"}, ("unit", "a.service")),
        ({"pod": "a/b", "container": "c"}, ("pod", "b")),
        ({"pod": "b"}, ("pod", "b")),
        ({"container": "c", "cgroup": "/x"}, ("container", "c")),
        ({"cgroup": "/x", "job": "1"}, ("cgroup", "/x")),
        ({"job": "1", "comm": "db"}, ("job", "1")),
        ({"comm": "db"}, None),
    ],
)
def test_the_key_of_a_line(fields: dict[str, Any], key: tuple[str, str] | None) -> None:
    assert key_of(said("notice", "x", **fields)) == key


def test_lines_about_the_same_fill_each_other_in() -> None:
    first = said("kill", "lmkd", pid=7, comm="db", adj=5)
    second = said("kill", "lmkd", line=61, pid=7, comm="other", used_kb=9, adj=6)
    assert joined([first, second]) == [replace(first, used_kb=9)]
    # A death by signal 9 that names no cause fills in, and stands behind, a line that does.
    bare = said("sigkill", "docker", pid=7, comm="db", exit_code=137)
    assert joined([bare, first]) == [replace(first, exit_code=137)]
    assert joined([first, bare]) == [replace(first, exit_code=137)]
    assert joined([bare, replace(bare, exit_code=None, node="n")]) == [replace(bare, node="n")]


def test_lines_that_name_nothing_stay_apart() -> None:
    items = [said("notice", "docker", line=n) for n in (1, 2, 3)]
    assert joined(items) == items
    named = said("notice", "docker", container="c")
    assert joined([*items, named, named]) == [*items, named]


@pytest.mark.parametrize(
    ("first", "second", "by", "kinds", "exited"),
    [
        (None, None, "earlyoom", ("kill", "kill"), False),
        (None, None, "nohang", ("kill", "kill"), False),
        (None, None, "lmkd", ("kill", "kill"), None),
        (None, None, "earlyoom", ("kill", "notice"), None),
        (None, None, "earlyoom", ("notice", "kill"), None),
        (None, True, "earlyoom", ("kill", "kill"), True),
        (True, None, "earlyoom", ("kill", "kill"), True),
        (True, False, "earlyoom", ("kill", "kill"), True),
        (False, None, "earlyoom", ("kill", "notice"), False),
        (None, False, "lmkd", ("kill", "kill"), None),
    ],
)
def test_whether_a_process_exited_after_two_signals(
    first: bool | None,
    second: bool | None,
    by: str,
    kinds: tuple[str, str],
    exited: bool | None,
) -> None:
    items = [said(kind, by, pid=7, exited=e)
             for kind, e in zip(kinds, (first, second), strict=True)]  # fmt: skip
    (found,) = joined(items)
    assert found.exited is exited


# -- nobody was killed ---------------------------------------------------------------------------


def failed(line: int, means: str = "a request failed", **fields: Any) -> Evidence:
    return said("failure", "kernel", line=line, means=means, **fields)


@pytest.mark.parametrize(
    ("items", "count", "text"),
    [
        ([failed(3)], 1, "a request failed, line 3"),
        ([failed(3), failed(9)], 2, "a request failed, 2 times, line 3"),
        ([failed(3), failed(9)], 3, ("a request failed, 2 times, line 3; and 1 more line of this "
         "kind")),
        ([failed(3), failed(4, "memory was low"), failed(5)], 9,
         ("a request failed, 2 times, line 3; memory was low, line 4; and 6 more lines of this "
         "kind")),
        ([failed(3, order=0, comm="db", pid=7, reason="why")], 1,
         "a request failed (order 0, db[7], why), line 3"),
        ([failed(3, comm="db")], 1, "a request failed (db), line 3"),
        ([failed(3, pid=7)], 1, "a request failed, line 3"),
        ([failed(3, used_kb=1024, limit_kb=2048)], 1,
         "a request failed (1.00 MiB of 2.00 MiB), line 3"),
        ([failed(3, used_kb=1024)], 1, "a request failed, line 3"),
        ([failed(3, limit_kb=1024)], 1, "a request failed, line 3"),
    ],
)  # fmt: skip
def test_nobody_was_killed(items: list[Evidence], count: int, text: str) -> None:
    assert no_kill_text(items, count) == f"no process was killed here: {text}"


# -- a set of logs -------------------------------------------------------------------------------


def case(*reports: Report, evidence: tuple[Evidence, ...] = (), **fields: Any) -> Case:
    log = ReadLog(name="a", reports=reports, evidence=evidence, **fields)
    return Case([log, ReadLog(name="b", no_kill_count=2 if fields else 0)])


def test_nobody_was_killed_is_said_only_where_nothing_else_is() -> None:
    kept = (failed(3),)
    found = case(no_kill=kept, no_kill_count=4)
    assert found.no_kill == (
        "no process was killed here: a request failed, line 3; and 5 more lines of this kind"
    )
    assert found.failed == list(kept)
    assert case(machine(), no_kill=kept, no_kill_count=4).no_kill is None
    died = said("sigkill", "docker", pid=7, comm="db")
    assert case(evidence=(died,), no_kill=kept, no_kill_count=4).no_kill is None
    assert case().no_kill is None


def test_what_is_bad_news() -> None:
    assert not case().is_bad_news
    assert case(machine()).is_bad_news
    assert case(evidence=(said("kill", "lmkd", pid=7, comm="db"),)).is_bad_news
    assert not case(evidence=(said("sigkill", "docker", pid=7, comm="db"),)).is_bad_news
    disk = said("eviction", "kubelet", pod="a/b", reason="ephemeral-storage")
    assert not case(evidence=(disk,)).is_bad_news


def test_what_is_said_of_a_victim_the_nearest_first() -> None:
    report = replace(machine(), uptime_s=100.0)
    items = [
        said("notice", "far", line=20, uptime_s=110.0),
        said("notice", "other", line=21, uptime_s=100.0, pid=99),
        said("notice", "near", line=22, uptime_s=101.0, pid=7),
        said("notice", "clockless", line=90),
        said("notice", "same", line=18, uptime_s=110.0),
        said("notice", "exact", line=95, uptime_s=100.0),
    ]
    found = [item.by for item in related(report, items)]
    assert found == ["clockless", "exact", "near", "same", "far"]


def test_a_case_explains_with_what_others_say_and_the_kernels_faults() -> None:
    reports = tuple(
        replace(group("/app", v2=False), kernel="4.19.0", uptime_s=100.0 + n,
                source=replace(DB_SOURCE, line=10 * n + 1, end_line=10 * n + 9),
                killed=(DB,) if n == 0 else ())
        for n in range(4)
    )  # fmt: skip
    said_of = said("notice", "docker", line=12, uptime_s=100.5, pid=7, comm="db")
    found = Case([ReadLog(name="a", reports=reports, evidence=(said_of,))])
    assert found.incident(3) == 1
    assert found.reported_by_others() == []
    item = found.explain(0)
    assert item.related == (said_of,)
    assert item.findings[0].kind == "memcg_oom_loop"
    assert item.findings[0].level == "cause"
    plain = Case([ReadLog(name="a", reports=(machine(),))]).explain(0)
    assert plain.findings == explain(machine()).findings


DB_SOURCE = machine().source
