"""Who was killed, by whom: what batch systems, platforms, supervisors and compilers print."""

import pytest

from oomkit.explain.incidents import incidents
from oomkit.explain.recurring import tables
from oomkit.klog import read_bytes, read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report

NOBODYS = (
    ": SIGKILL, and nothing here shows that memory was the reason; any process may have sent it"
)
OOM_NOTICE = "A process of this unit has been killed by the OOM killer.\n"
SYSTEMD = "Jan  4 10:00:00 pc systemd[1]: "


def answers(text: str) -> list[str]:
    """The incidents, one line each."""
    data = text.encode()
    records = [item for item in read_evidence(data) if item.kind not in ("failure", "pressure")]
    return [item.summary for item in incidents(tuple(read_bytes(data)), tuple(records))]


TEXTS = {
    "gunicorn": (
        (
            "[2024-01-02 03:04:05 +0000] [7] [ERROR] Worker (pid:31) was sent "
            "SIGKILL! Perhaps out of "
            "memory?\n"
        ),
        "process 31" + NOBODYS,
    ),
    "gunicorn-by-number": (
        "[WARNING] Worker with pid 44 was terminated due to signal 9\n",
        "process 44" + NOBODYS,
    ),
    "postgres": (
        "LOG:  server process (PID 812) was terminated by signal 9: Killed\n",
        "process 812" + NOBODYS,
    ),
    "nginx": (
        "2024/01/02 03:04:05 [alert] 7#7: worker process 29 exited on signal 9\n",
        "process 29" + NOBODYS,
    ),
    "uwsgi": (
        "DAMN ! worker 2 (pid: 61) died, killed by signal 9 :( trying respawn ...\n",
        "process 61" + NOBODYS,
    ),
    "stress": (
        "stress: FAIL: [3] (425) <-- worker 9 got signal 9\n",
        "process 9" + NOBODYS,
    ),
    "supervisor": (
        "2024-01-02 03:04:05,678 INFO exited: web (terminated by SIGKILL; not expected)\n",
        "process web" + NOBODYS,
    ),
    "compiler": (
        "c++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n",
        "process cc1plus" + NOBODYS,
    ),
    "old-compiler": (
        "gcc: internal compiler error: Killed (program cc1)\n",
        "process cc1" + NOBODYS,
    ),
    "pbs-names-its-job-below": (
        (
            "=>> PBS: job killed: mem 3145728kb exceeded limit 2097152kb\n\n-----\n"
            "PBS Job 77.head\nCPU time  : 00:16:12\n"
        ),
        "PBS killed job 77.head; it held 3.00 GiB of 2.00 GiB",
    ),
    "torque-names-its-job-above": (
        (
            "PBS Job Id: 78.head\nJob Name:   align\nAborted by PBS Server\n"
            "Job exceeded a memory resource limit (vmem, pvmem, etc.). Job was aborted\n"
        ),
        "PBS killed job 78.head: Job exceeded a memory resource limit",
    ),
    "ray": (
        (
            "Memory on the node (IP: 10.0.0.2, ID: 3a4b) where the task was running was "
            "30.00GB / 32.00GB (0.94), which exceeds the memory usage threshold of 0.9. Ray killed "
            "this worker (ID: 39ff) because it was the most recently scheduled task\n"
        ),
        (
            "Ray killed worker 39ff on node 10.0.0.2: 30.00GB / 32.00GB (0.94), which "
            "exceeds the memory "
            "usage threshold of 0.9"
        ),
    ),
    "ray-counts": (
        (
            "(raylet) node_manager.cc:3069: 3 Workers (tasks / actors) killed due "
            "to memory pressure "
            "(OOM), 0 Workers crashed due to other reasons at node (ID: 28ab, IP: "
            "10.0.0.3) over the "
            "last time period.\n"
        ),
        "Ray killed workers on node 10.0.0.3, 3 processes: memory pressure",
    ),
    "slurm-step-and-task-in-one-line": (
        (
            "I get slurmstepd: error: Detected 1 oom_kill event in StepId=5.0. "
            "Some of the step tasks "
            "have been OOM Killed. srun: error: n1: task 0: Out Of Memory\n"
        ),
        (
            "Slurm says that the kernel killed in the cgroup of step 5.0; the "
            "kernel's own report is "
            "not here"
        ),
    ),
    "earlyoom-signals-the-same-process-again": (
        (
            "Killing process 'bash' with signal 15, pid: 58, badness: 538, VmRSS: 3072 MiB\n"
            "Killing process 'bash' with signal 15, pid: 58, badness: 541, VmRSS: 3073 MiB\n"
        ),
        "earlyoom sent SIGTERM to bash[58], which did not exit; it held 3.00 GiB",
    ),
    "ecs-names-the-container-above": (
        (
            '{\n  "containers": [\n    {\n      "containerName": "web",\n      '
            '"networkBindings": [\n'
            '      ],\n      "reason": "OutOfMemoryError: Container killed due to '
            'memory usage"\n    }\n'
            "  ]\n}\n"
        ),
        (
            "Amazon ECS says that container web ran out of memory (Container killed due to memory "
            "usage); the kernel's own report is not here"
        ),
    ),
    "a-key-of-a-record-names-the-container": (
        (
            '        "db": {\n            "state": {\n                "termination": {\n'
            '                    "exitCode": 137,\n                    "reason": "OOM Killed"\n'
        ),
        (
            "kubelet says that the kernel killed container db (OOM Killed), exit status 137; the "
            "kernel's own report is not here"
        ),
    ),
    "another-key-names-none": (
        (
            '        "resources": {\n            "limits": {\n                "memory": "1Gi"\n'
            '            }\n        },\n                    "reason": "OOMKilled"\n'
        ),
        (
            "kubelet says that the kernel killed a container (OOMKilled); the "
            "kernel's own report is "
            "not here"
        ),
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_death_is_reported_with_its_killer(kind: str) -> None:
    text, expected = TEXTS[kind]
    assert answers(text) == [expected]


def test_the_units_above_one_that_lost_a_process_lost_no_other() -> None:
    units = ("user-7.slice", "user@7.service", "user.slice")
    text = "".join(f"{SYSTEMD}{unit}: {OOM_NOTICE}" for unit in units)
    said = tuple(read_evidence(text.encode()))
    (incident,) = incidents((), said)
    assert incident.summary == (
        "systemd says that the kernel killed a process of unit user@7.service; the kernel's own "
        "report is not here"
    )
    assert [row.name for row in tables((), said, (incident,)).unit] == ["user@7.service"]


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("db@1.service", "system-db.slice"),
        ("db.service", "system.slice"),
        ("a-b-c.slice", "a-b.slice"),
        ("app-editor-9.scope", "user@7.service"),
    ],
)
def test_one_death_of_a_unit_and_its_slice(inner: str, outer: str) -> None:
    text = f"{SYSTEMD}{outer}: {OOM_NOTICE}{SYSTEMD}{inner}: {OOM_NOTICE}"
    (summary,) = answers(text)
    assert inner in summary
    assert "more in the same" not in summary


def test_units_beside_each_other_lost_a_process_each() -> None:
    text = f"{SYSTEMD}ab.slice: {OOM_NOTICE}{SYSTEMD}abc.slice: {OOM_NOTICE}"
    (summary,) = answers(text)
    assert summary.endswith("(and 1 more in the same half minute)")


TRACE = (
    "[5.1] CPU: 0 PID: 18 Comm: nfsd Not tainted 6.1.119-1.el9.x86_64 #1\n"
    "[5.2] Call Trace:\n"
    "[5.3]  dump_header+0x4a/0x213\n"
    "[5.4]  oom_kill_process.cold+0xb/0x10\n"
    "[5.5]  {function}+0xed/0x2e0\n"
)


@pytest.mark.parametrize(
    ("function", "scope"), [("out_of_memory", "global"), ("mem_cgroup_out_of_memory", "memcg")]
)
def test_a_trace_tells_of_a_report_whose_head_is_lost(function: str, scope: str) -> None:
    (report,) = read_bytes(TRACE.format(function=function).encode())
    assert isinstance(report, Report)
    assert report.killed == ()
    assert (report.invoker, report.scope, report.source.line) == ("nfsd", scope, 1)


def test_another_trace_is_no_report() -> None:
    """A task waits in the OOM killer, or its request failed: no report was printed."""
    text = TRACE.format(function="out_of_memory").replace("oom_kill_process.cold", "warn_alloc")
    text = text.replace("dump_header", "dump_stack_lvl")
    assert list(read_bytes(text.encode())) == []


GUESSES = (
    "[5.1] mysqld invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0\n"
    "[5.2] Pid: 13, comm: mysqld Tainted: P           2.6.32-5-amd64 #1\n"
    "[5.3] Call Trace:\n"
    "[5.4]  [<ffffffff810b6708>] ? oom_kill_process+0x7f/0x23f\n"
)


def test_a_trace_of_guesses_alone_tells_the_scope() -> None:
    alloc = "[5.5]  [<ffffffff810b6d83>] ? out_of_memory+0x140/0x172\n"
    memcg = "[5.6]  [<ffffffff810b6d90>] ? mem_cgroup_out_of_memory+0x10/0x20\n"
    scopes = [
        report.scope
        for text in (GUESSES + alloc, GUESSES + memcg, GUESSES + alloc + memcg)
        for report in read_bytes(text.encode())
    ]
    assert scopes == ["global", "memcg", None]


def test_a_failed_requests_name_has_no_stamp() -> None:
    text = "[Jun30 03:33] kworker/0:2: page allocation failure: order:7, mode:0xdc0\n"
    (item,) = read_evidence(text.encode())
    assert isinstance(item, Evidence)
    assert (item.comm, item.order) == ("kworker/0:2", 7)


def test_other_limits_are_not_the_platforms() -> None:
    assert answers("MEMCG_RECLAIM: Memory limit exceeded, attempting reclaim\n") == []
    (said,) = answers("Error: memory limit exceeded. Function invocation was interrupted.\n")
    assert said.startswith("Cloud Functions says")


OTHERS = "Jan  4 10:00:00 pc app[7]: nothing of note happened in this line\n" * 4000


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Killing process 'bash' with signal 15, pid: 58, badness: 538\n", "kill"),
        ("Jan  4 10:00:00 pc systemd-oomd[7]: Marked /a.slice/b.service for killing\n", "kill"),
        ("Jan  4 10:00:00 pc run[7]: /x.sh: line 28:  8156 Killed          python3\n", "sigkill"),
        ("[ERROR] Worker (pid:21) was sent SIGKILL! Perhaps out of memory?\n", "sigkill"),
        ("c++: fatal error: Killed signal terminated program cc1plus\n", "sigkill"),
        ("exited: web (terminated by SIGKILL; not expected)\n", "sigkill"),
        ("FATAL ERROR: Allocation failed - JavaScript heap out of memory\n", "failure"),
        ("RuntimeError: CUDA out of memory. Tried to allocate\n", "failure"),
        ("fatal error: runtime: out of memory\n", "failure"),
        ("3 Workers (tasks / actors) killed due to memory pressure (OOM)\n", "kill"),
        ("VM: killing process foo\n", "kill"),
        ("Jan  4 10:00:00 pc kubelet[1]: eviction manager: pod a evicted\n", "eviction"),
        ("Container killed by YARN for exceeding memory limits. 5 GB of 4 GB used\n", "kill"),
    ],
)
def test_a_line_in_the_middle_of_a_long_log_is_found(text: str, kind: str) -> None:
    (found,) = read_evidence((OTHERS + text + OTHERS).encode())
    assert found.kind == kind
    assert found.source.line == 4001
