"""Batch systems, shells and pools that name whom a line is about above it, or elsewhere in it.

The texts were collected for this project from public reports, or have the form that the programs'
documentation shows; names are changed.
"""

import pytest

from oomkit.explain.evidence_text import no_kill_text
from oomkit.klog import read_bytes, read_evidence
from tests.explain.test_platforms_texts import NOBODYS, answers

NOT_HERE = "; the kernel's own report is not here"

TEXTS = {
    "flux": (
        "29.475s: flux-shell[0]: ERROR: oom: Memory cgroup out of memory: killed 1 task on n7.\n",
        ["Flux says that the kernel killed 1 task of a job on node n7 (Memory cgroup out of memory)"
         + NOT_HERE],
    ),
    "htcondor-holds": (
        ("1050981.0   u    11/7  23:48 Job in status 2 put on hold by SYSTEM_PERIODIC_HOLD due to "
        "memory usage 3000000.\n"),
        ["HTCondor says that job 1050981.0 ran out of memory (put on hold by SYSTEM_PERIODIC_HOLD "
         "due to memory usage 3000000)" + NOT_HERE],
    ),
    "htcondor-log": (
        ("012 (314.000.000) 2024-05-01 10:01:02 Job was held.\n"
        "\tError from slot1_2@node9: Job has gone over cgroup memory limit of 2048 megabytes.\n"),
        ["HTCondor says that job 314.000 ran out of memory, limit 2.00 GiB" + NOT_HERE],
    ),
    "lsf-bjobs": (
        ("Job <4242>, User <u>, Project <default>, Status <EXIT>, Queue <normal>\n"
        "Wed May  1 10:01:02: Completed <exit>; TERM_MEMLIMIT: job killed after reaching LSF "
        "memory usage limit.\n"),
        ["LSF killed job 4242: job killed after reaching LSF memory usage limit"],
    ),
    "sacct": (
        ("       JobID    JobName      State ExitCode     MaxRSS\n"
        "------------ ---------- ---------- -------- ----------\n"
        "      123456      align OUT_OF_ME+    0:125\n"),
        ["Slurm says that job 123456 ran out of memory (OUT_OF_ME+)" + NOT_HERE],
    ),
    "scontrol": (
        ("JobId=77 JobName=sim\n   UserId=u(1000) GroupId=u(1000) MCS_label=N/A\n"
        "   JobState=OUT_OF_MEMORY Reason=OutOfMemory Dependency=(null)\n"),
        ["Slurm says that job 77 ran out of memory (OUT_OF_MEMORY)" + NOT_HERE],
    ),
    "mesos": (
        ("I0816 03:02:11.655000  1240 mem.cpp:686] Memory limit exceeded: Requested: 32MB Maximum "
        "Used: 32MB\n"),
        ["Mesos killed a container; it held 32.0 MiB of 32.0 MiB"],
    ),
    "systemctl-show": (
        "Id=worker.service\nResult=oom-kill\nExecMainStatus=9\n",
        ["systemd says that unit worker.service lost a process to an OOM killer (Result=oom-kill): "
         "the kernel's or systemd-oomd, the line does not say which" + NOT_HERE],
    ),
    "containerd-of-a-name": (
        '2020-05-28 04:11:09.456 +0000 UTC default /tasks/oom {"container_id":"foo"}\n',
        ["containerd says that container foo ran out of memory" + NOT_HERE],
    ),
    "evicted-before-resources-were-named": (
        ("Aug 24 15:46:06: INFO: event for cadvisor: {kubelet node-1} Evicted: The node was low "
        "on compute resources.\n"),
        [("kubelet evicted pod cadvisor, as the node node-1 ran low on memory, disk or process "
         "ids; no OOM kill")],
    ),
    "problem-detector-passes-on-a-choice": (
        ("Warning OOMKilling  Memory cgroup out of memory: Kill process 4481 (stress) score 9 or "
        "sacrifice child\n"),
        ["node-problem-detector says that the kernel killed stress[4481], or a child of it (Memory "
         "cgroup out of memory)" + NOT_HERE],
    ),
    "nohang-runs-a-command": (
        ("Process with highest badness (found in 6 ms):\n  PID: 12297, Name: tail, badness: 727\n"
        "Implement a corrective action:\n  Run the command: kill -TERM 12297\n"),
        ["nohang sent SIGTERM to tail[12297]"],
    ),
    "celery": (
        ("[2022-11-08 10:22:12,972: ERROR/MainProcess] Process 'ForkPoolWorker-4' pid:19 exited "
        "with 'signal 9 (SIGKILL)'\n"
        "[2022-11-08 10:22:13,375: ERROR/MainProcess] Task handler raised error: WorkerLostError("
        "'Worker exited prematurely: signal 9 (SIGKILL) Job: 10.')\n"
        "Traceback (most recent call last):\n"
        'File "/usr/lib/python3.9/billiard/pool.py", line 1265, in mark_as_worker_lost\n'
        "raise WorkerLostError(\n"
        "billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: "
        "10.\n"),
        ["ForkPoolWorker-4[19]" + NOBODYS],
    ),
    "pm2": (
        "PM2 App name:core id:0 exited with code SIGKILL\n",
        ["unknown (PM2 App name:core id:0 exited with code SIGKILL)" + NOBODYS],
    ),
    "shell-of-a-variable": (
        'start.sh: line 102:  4414 Killed                  LD_PRELOAD=$X "$server" -batchmode\n',
        ["process 4414" + NOBODYS],
    ),
    "airflow": (
        'INFO - Task exited with return code Negsignal.SIGKILL\n',
        ["unknown (INFO - Task exited with return code Negsignal.SIGKILL)" + NOBODYS],
    ),
    "exit-code-in-quotes": (
        "Container 'app-y' was terminated with exit code '137' and reason 'Error'\n",
        ["unknown (Container 'app-y' was terminated with exit code '137' and reason 'Error')"
         + NOBODYS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_who_was_killed_by_whom(name: str) -> None:
    text, said = TEXTS[name]
    assert answers(text) == said


FAILURES = {
    "page-fault": (
        "[ 4711.000000] Huh VM_FAULT_OOM leaking out to the #PF handler. Retrying PF\n",
        "a page fault found no memory, and the task tries again, line 1",
    ),
    "2.4": (
        "Jan  4 10:00:00 box kernel: __alloc_pages: 0-order allocation failed (gfp=0x1d2/0)\n",
        "a request for pages failed, and its caller was told so (order 0), line 1",
    ),
    "tensor": (
        (
            "W tensorflow/core/op_kernel.cc:1767] Resource exhausted: OOM when allocating "
            "tensor with shape[3,3] on /job:localhost/device:GPU:0 by allocator GPU_0_bfc\n"
        ),
        "a GPU's own memory ran out (OOM when allocating tensor), line 1",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_request_that_failed_is_no_kill(name: str) -> None:
    text, said = FAILURES[name]
    assert answers(text) == []
    found = list(read_evidence(text.encode()))
    assert no_kill_text(found, len(found)) == f"no process was killed here: {said}"


@pytest.mark.parametrize("before", ["", "ERROR ", "Warning: ", "kubelet reports "])
def test_words_before_the_kernels_own_hide_no_limit(before: str) -> None:
    """What others wrote before the line is not what ran out."""
    for line in (
        "Memory cgroup out of memory: Kill process 4481 (stress) score 9 or sacrifice child",
        "Memory cgroup out of memory: Killed process 4481 (stress) total-vm:9kB, anon-rss:9kB",
    ):
        (report,) = read_bytes(f"{before}{line}\n".encode())
        assert (report.scope, report.killed[0].pid) == ("memcg", 4481)
        assert report.kill_text == "Memory cgroup out of memory"


def test_an_event_in_yaml_is_not_joined_to_its_next_field() -> None:
    text = (
        "- apiVersion: v1\n  message: 'Memory cgroup out of memory: Killed process 3122 (java) "
        "total-vm:81kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:50kB "
        "oom_score_adj:984'\n  reason: OOMKilling\n  source:\n    component: kernel-monitor\n"
    )
    assert not list(read_bytes(text.encode()))
    (event,) = read_evidence(text.encode())
    assert (event.by, event.pid, event.comm) == ("node-problem-detector", 3122, "java")
    assert event.reason == "Memory cgroup out of memory"
