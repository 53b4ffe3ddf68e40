"""Who was killed, by whom, for which limit: texts as people paste them, one for each kind."""

from collections.abc import Iterator

import pytest

from oomkit.explain.explanation import explain
from oomkit.explain.incidents import incidents
from oomkit.klog import read_bytes, read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report

OOMD = "Jan  4 10:00:00 pc systemd-oomd[70]: "
UNIT = "Jan  4 10:00:00 pc systemd[1]: "
PRESSURE = (
    OOMD + "Memory pressure for /jobs.slice is 74.23% > 20.00% for > 2s with reclaim activity\n"
)
EARLYOOM = "low memory! at or below SIGTERM limits: mem 10.00%, swap 15.00%\n"


def answers(text: str) -> list[str]:
    """The incidents, one line each."""
    records = list(_scan(text))
    reports = tuple(record for record in records if isinstance(record, Report))
    evidence = tuple(record for record in records if isinstance(record, Evidence))
    return [item.summary for item in incidents(reports, evidence)]


def _scan(text: str) -> Iterator[Report | Evidence]:
    data = text.encode()
    yield from read_bytes(data)
    yield from (item for item in read_evidence(data) if item.kind not in ("failure", "pressure"))


KINDS = {
    "marked-by-oomd": (
        OOMD
        + "oomd attempting to kill 407 with KILL\n"
        + OOMD
        + "Marked /system.slice/a.service for killing due to memory pressure for "
        "/system.slice being 85.03% > 80.00% for > 2s with reclaim activity\n"
        + UNIT
        + "a.service: systemd-oomd killed 1 process(es) in this unit.\n",
        (
            "systemd-oomd killed unit a.service, 1 process, because memory pressure of "
            "/system.slice "
            "was 85.03 % (limit 80 %) for 2 s"
        ),
    ),
    "oomds-reason-is-cut": (
        PRESSURE
        + OOMD
        + "oomd attempting to kill 63 with KILL\n"
        + OOMD
        + "Killed /jobs.slice/a.service due to memory pressure for /jobs.slice be>\n",
        (
            "systemd-oomd killed unit a.service, because memory pressure of /jobs.slice was "
            "74.23 % "
            "(limit 20 %) for 2 s"
        ),
    ),
    "oomd-names-processes-only": (
        PRESSURE
        + OOMD
        + "oomd attempting to kill 113 with KILL\n"
        + UNIT
        + "a.service: Main process exited, code=killed, status=9/KILL\n"
        + OOMD
        + "Failed to kill any cgroup(s) under /jobs.slice based on pressure: No such device\n",
        (
            "systemd-oomd sent SIGKILL to process 113, because memory pressure of /jobs.slice was "
            "74.23 % (limit 20 %) for 2 s"
        ),
    ),
    "earlyooms-limits": (
        EARLYOOM + 'sending SIGTERM to process 7 uid 1 "ipfs": badness 757, VmRSS 637 MiB\n'
        "process exited after 0.1 seconds\n",
        (
            "earlyoom killed ipfs[7]: memory at or below SIGTERM limits: mem 10.00%, swap "
            "15.00%; it "
            "held 637 MiB"
        ),
    ),
    "earlyooms-victim-lives": (
        EARLYOOM + 'sending SIGTERM to process 7 uid 1 "java": oom_score 1170, VmRSS 43912 MiB\n'
        "process 7 did not exit\nkill failed: Timer expired\n",
        (
            "earlyoom sent SIGTERM to java[7], which did not exit: memory at or below SIGTERM "
            "limits: "
            "mem 10.00%, swap 15.00%; it held 42.9 GiB"
        ),
    ),
    "earlyoom-1.0": (
        (
            "Low Memory! At or below sigterm limits (mem: 10 %, swap: 10 %)\n"
            "Killing process 'bash' with signal 15, pid: 5874, badness: 538, VmRSS: 3160 MiB\n"
        ),
        (
            "earlyoom sent SIGTERM to bash[5874]: memory at or below sigterm limits (mem: 10 %, "
            "swap: 10 %); it held 3.09 GiB"
        ),
    ),
    "earlyoom-1.2": (
        'killing process 27541 "bash" with signal 15: badness 550, VmRSS 7609 MiB\n',
        "earlyoom sent SIGTERM to bash[27541]; it held 7.43 GiB",
    ),
    "result-below-the-signal": (
        UNIT
        + "db.service: Main process exited, code=killed, status=9/KILL\n"
        + UNIT
        + "db.service: Failed with result 'oom-kill'.\n",
        (
            "systemd says that unit db.service lost a process to an OOM killer (Failed with result "
            "'oom-kill'): the kernel's or systemd-oomd, the line does not say which; the "
            "kernel's own "
            "report is not here"
        ),
    ),
    "node-without-victim": (
        "  Warning  SystemOOM   12m (x4 over 25m)    kubelet, n1     System OOM encountered\n",
        (
            "kubelet says that node n1 ran out of memory and the kernel killed a process there, 4 "
            "times; the kernel's own report is not here"
        ),
    ),
    "spark-on-yarn": (
        (
            "17/11/25 18:23:24 ERROR YarnScheduler: Lost executor 9 on n1: Container killed "
            "by YARN "
            "for exceeding memory limits. 7.2 GB of 4.2 GB virtual memory used. Consider "
            "boosting.\n"
        ),
        "YARN's node manager killed the container of executor 9; it held 7.20 GiB of 4.20 GiB",
    ),
    "bpf-oomkill": (
        (
            '21:03:39 Triggered by PID 3297 ("ntpd"), OOM kill of PID 22516 ("perl"), 385 pages, '
            "loadavg: 0.99 0.39 0.30 3/282 22724\n"
        ),
        (
            "BPF's oomkill says that the kernel killed perl[22516]; the kernel's own report is not "
            "here"
        ),
    ),
    "old-kubelets-reason": (
        '"exitCode": 137,\n"reason": "OOM Killed",\n',
        (
            "kubelet says that the kernel killed a container (OOM Killed), exit status 137; the "
            "kernel's own report is not here"
        ),
    ),
    "megabytes": (
        "Job has gone over memory limit of 2048 megabytes. Peak usage: 2111 megabytes.\n",
        (
            "HTCondor says that a job ran out of memory; it held 2.06 GiB of 2.00 GiB; the "
            "kernel's "
            "own report is not here"
        ),
    ),
    "status-below-the-reason": (
        (
            "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.\n"
            "Exited with exit code 137.\n"
        ),
        "LSF killed a job: job killed after reaching LSF memory usage limit",
    ),
    "srun-repeats-slurmstepd": (
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=44.0. Some of the step "
            "tasks have "
            "been OOM Killed.\nsrun: error: n7: tasks 1-3: Out Of Memory\n"
        ),
        (
            "Slurm says that the kernel killed in the cgroup of step 44.0 on node n7; the "
            "kernel's own "
            "report is not here"
        ),
    ),
    "srun-alone": (
        "srun: error: n7: tasks 1-3: Out Of Memory\n",
        (
            "Slurm says that the kernel killed for tasks 1-3 on node n7; the kernel's own "
            "report is "
            "not here"
        ),
    ),
    "shell-names-the-process": (
        (
            "/var/spool/slurmd/job1/slurm_script: line 28:  8156 Killed    python3 main.py "
            "--epochs 4\n"
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=191.batch cgroup.\n"
        ),
        (
            "Slurm says that the kernel killed in the cgroup of step 191.batch, where the "
            "shell names "
            "python3[8156]; the kernel's own report is not here"
        ),
    ),
    "shell-alone": (
        "./build.sh: line 3: 812 Killed    /usr/bin/cc1plus a.cpp\n",
        (
            "cc1plus[812]: SIGKILL, and nothing here shows that memory was the reason; any "
            "process may have sent it"
        ),
    ),
    "request-on-the-next-line": (
        (
            "  message: 'The node was low on resource: memory. Container web was using 2048Ki,\n"
            "    which exceeds its request of 12Gi. '\n"
        ),
        (
            "kubelet evicted a pod that the line does not name (container web: 2.00 MiB "
            "used, request 12.0 GiB), as the "
            "node ran low on memory; no OOM kill"
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_death_is_reported_with_its_killer_and_its_limit(kind: str) -> None:
    text, expected = KINDS[kind]
    assert answers(text) == [expected]


def test_a_beancounters_line_may_be_wrapped() -> None:
    (report,) = read_bytes(
        b"Nov 24 12:17:04 n kernel: [75.653313] Out of memory in UB 1234: OOM \n"
        b"killed process 738 (php-cgi) score 0 vm:281988kB, rss:17004kB, swap:0kB\n"
    )
    assert (report.scope, report.cgroup) == ("memcg", "UB 1234")
    assert [(victim.pid, victim.comm) for victim in report.killed] == [(738, "php-cgi")]


@pytest.mark.parametrize("word", ["SysRq : ", "sysrq: SysRq : ", "sysrq: "])
def test_a_panic_that_was_asked_for_is_no_shortage(word: str) -> None:
    panic = b"Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled\n"
    asked = f"[  910.064760] {word}Manual OOM execution\n[  910.113950] ".encode()
    (report,) = read_bytes(asked + panic)
    assert report.scope == "sysrq"
    told = explain(report).headline
    assert told.startswith("kernel panic: Out of memory: compulsory panic_on_oom is enabled")
    assert told.endswith("on request (SysRq-f)")
    (other,) = read_bytes(b"[  910.113950] " + panic)
    assert other.scope == "global"


@pytest.mark.parametrize("end", ["+0x555/0x580", "+0x555/", "+0x5", "+0x"])
def test_a_charge_in_a_cut_trace_tells_the_scope(end: str) -> None:
    (report,) = read_bytes(
        b"[5.1] php invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"
        b"[5.2] Call Trace:\n"
        b"[5.3]  [<ffffffff8115a32e>] oom_kill_process+0x24e/0x3b0\n"
        + f"[5.4]  [<ffffffff811bd1ce>] __mem_cgroup_try_charge{end}\n".encode()
    )
    assert report.scope == "memcg"


def test_an_allocation_inside_a_charge_is_the_machines() -> None:
    (report,) = read_bytes(
        b"[5.1] php invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"
        b"[5.2] Call Trace:\n"
        b"[5.3]  [<ffffffff8115a32e>] oom_kill_process+0x24e/0x3b0\n"
        b"[5.4]  [<ffffffff8115a999>] out_of_memory+0x4b6/0x4f0\n"
        b"[5.5]  [<ffffffff811bd1ce>] __mem_cgroup_try_charge+0x10/0x20\n"
    )
    assert report.scope != "memcg"


def test_a_page_fault_with_file_cache_left_is_no_shortage_of_the_machine() -> None:
    text = (
        "[5.1] python3 invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0\n"
        "[5.2] Mem-Info:\n"
        "[5.3] active_anon:57988 inactive_anon:147 isolated_anon:0\n"
        " active_file:578569 inactive_file:1353156 isolated_file:0\n"
        " slab_reclaimable:559978 slab_unreclaimable:198012\n"
    )
    (short,) = answers(text)
    assert short.endswith("a page fault gave up")


def test_a_name_that_is_not_cut_is_not_said_to_be() -> None:
    (found,) = read_evidence(
        (
            OOMD + "Killed /jobs.slice/a.service due to memory pressure for /jobs.slice be>\n"
        ).encode()
    )
    assert not found.cgroup_cut
    (cut,) = read_evidence((OOMD + "Killed /jobs.slice/a.serv>\n").encode())
    assert cut.cgroup_cut
