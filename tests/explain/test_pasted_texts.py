"""Texts as people paste them: nothing is named that they do not hold, and nobody is left out."""

from pathlib import Path

import pytest

from oomkit.explain.evidence_text import no_kill_text
from oomkit.explain.explanation import Case
from oomkit.explain.files import read_files
from oomkit.klog import read_bytes, read_evidence
from tests.explain.test_platforms_texts import answers

ID = "36eb96d6c134895854e77f65ac47955b6ee08eb62bceee37cc605157f1c9482b"
NOBODYS = (
    ": SIGKILL, and nothing here shows that memory was the reason; any process may have sent it"
)
NOT_HERE = "; the kernel's own report is not here"

TEXTS = {
    "earlyoom-asks": (
        (
            "low memory! at or below SIGTERM limits: mem 10.00%, swap 15.00%\n"
            'sending SIGTERM to process 397 uid 61 "mail": badness 0, VmRSS 1 MiB\n'
        ),
        (
            "earlyoom sent SIGTERM to mail[397]: memory at or below SIGTERM limits: mem "
            "10.00%, swap "
            "15.00%; it held 1.00 MiB"
        ),
    ),
    "another-unit-exited": (
        (
            'Jul 18 08:23:17 h earlyoom[9]: sending SIGTERM to process 25 uid 0 "cells": '
            "badness 711\n"
            "Jul 18 08:23:18 h systemd[1]: earlyoom.service: Main process exited, code=dumped, "
            "status=31/SYS\n"
        ),
        "earlyoom sent SIGTERM to cells[25]",
    ),
    "earlyoom-0": (
        "Out of memory! avail: 138 MiB < min: 786 MiB\nKilling process 4084 worker/u17:3\n",
        "earlyoom killed worker/u17:3[4084]: memory at or below 138 MiB < min: 786 MiB",
    ),
    "month-of-a-locale": (
        (
            "avril 16 21:08:50 systemd-oomd[93]: Killed /user.slice/user-1000.slice/"
            "user@1000.service/app.slice/tmux\n"
        ),
        "systemd-oomd killed cgroup /user.slice/user-1000.slice/user@1000.service/app.slice/tmux",
    ),
    "cadvisor": (
        (
            "Oct 10 17:41:58 n kubelet[4991]: I1010 17:41:57.858757    4991 manager.go:1126] "
            "Created "
            'an OOM event in container "/" at 2017-10-10 17:41:57\n'
        ),
        "kubelet says that the machine ran out of memory" + NOT_HERE,
    ),
    "cloud-foundry": (
        (
            'OUT App instance exited with guid 9bd9-4c20 payload: {"reason"=>"CRASHED", '
            '"exit_description"=>"Exited with status 137 (out of memory)"}\n'
        ),
        "Cloud Foundry says that an instance of app 9bd9-4c20 ran out of memory (Exited with "
        "status 137 (out of memory))" + NOT_HERE,
    ),
    "cloud-foundry-other-status": (
        "APP/PROC/WEB: Exited with status 255 (out of memory)\n",
        "Cloud Foundry says that an app instance ran out of memory (Exited with status 255 (out of "
        "memory))" + NOT_HERE,
    ),
    "state-in-json": (
        (
            '        "lastState": {\n            "terminated": {\n'
            f'                "containerID": "docker://{ID}",\n                "exitCode": 137,\n'
            '                "reason": "Error"\n            }\n        }\n'
        ),
        f"container {ID}" + NOBODYS,
    ),
    "ecs-agent": (
        (
            f"2018-10-24T16:25:53Z [INFO] DockerGoClient: process within container {ID} "
            '(name: "ecs-q"'
            ") died due to OOM\n"
        ),
        "Amazon ECS says that container ecs-q ran out of memory" + NOT_HERE,
    ),
    "ecs-cli": (
        (
            "3585-4f7e/shop  STOPPED ExitCode: 137 Reason: OutOfMemoryError: Container "
            "killed due to "
            "memory usage  1.2.3.4:80->80/tcp\n"
        ),
        "Amazon ECS says that container shop ran out of memory (Container killed due to memory "
        "usage)" + NOT_HERE,
    ),
    "docker-api": (
        f'{{"status":"oom","id":"{ID}","from":"9e0d","time":1449497871}}\n',
        f"docker says that container {ID} ran out of memory" + NOT_HERE,
    ),
    "freebsd": (
        (
            "Jul 21 22:30:41 b kernel: pid 878 (pkg), jid 0, uid 0, was killed: failed to reclaim "
            "memory\n"
        ),
        "FreeBSD's kernel killed pkg[878]: failed to reclaim memory",
    ),
    "lambda-in-a-record": (
        (
            '{\n  "error": "Runtime.ExitError",\n  "cause": {\n    "errorMessage": "RequestId: <X> '
            'Error: Runtime exited with error: signal: killed",\n    "errorType": '
            '"Runtime.ExitError"'
            "\n  }\n}\n"
        ),
        'lambda ("errorMessage": "RequestId: <X> Error: Runtime exited with error: signal: '
        "killed…)" + NOBODYS,
    ),
    "lsf-says-how-much": (
        (
            "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.\nExited with "
            "exit code "
            "130.\n\nResource usage summary:\n\n    Max Memory :    23183 MB\n"
        ),
        "LSF killed a job: job killed after reaching LSF memory usage limit; it held 22.6 GiB",
    ),
    "lmkd-in-two-lines": (
        (
            "03-24 12:24:57.186 400 400 I lowmemorykiller: Killing 'com.a.ui' (4563), uid 10010, "
            "adj 906\n03-24 12:24:57.186 400 400 I lowmemorykiller:    to free 39444kB because "
            "system is under medium memory pressure oom_adj 800\n"
        ),
        (
            "lmkd killed com.a.ui[4563] (adj 906): system is under medium memory pressure; "
            "it would "
            "free 38.5 MiB"
        ),
    ),
    "lmkd-reclaims": (
        (
            "01-01 15:11:13.739 879 879 I lmkd    : Reclaim 'com.b' (591), uid 10112, "
            "oom_score_adj "
            "975, state 19 to free 19252kB rss, 52772kB swap; reason: min2x watermark is breached\n"
        ),
        "lmkd killed com.b[591] (adj 975): min2x watermark is breached; it would free 18.8 MiB",
    ),
    "gitlab-runner": (
        (
            "ERROR: Job failed (system failure): Error in container build: exit code: 137, reason: "
            "'OOMKilled'\n"
        ),
        "GitLab Runner says that the kernel killed container build (OOMKilled)" + NOT_HERE,
    ),
    "cgroup-oom-of-a-pod": (
        (
            "$ kubectl describe pod -n default memory-demo-2\n  Warning  CgroupOOM  28s    "
            "kubelet   "
            "Cgroup OOM encountered, victim process: stress, pid: 470521\n"
        ),
        "kubelet says that the kernel killed stress[470521] in pod memory-demo-2" + NOT_HERE,
    ),
    "systemd-in-other-words": (
        (
            "Aug 24 10:00:01 h systemd[1]: web.service: The kernel OOM killer killed some "
            "processes in "
            "this unit.\n"
        ),
        "systemd says that the kernel killed a process of unit web.service" + NOT_HERE,
    ),
    "evicted-row-and-reason": (
        (
            "web-1    0/1     Evicted   0          102d\n\n$ kubectl -n shop describe pods web-1\n"
            "Message: The node was low on resource: memory. Container web was using 43536Ki, which "
            "exceeds its request of 0.\n"
        ),
        (
            "kubelet evicted pod web-1 (container web: 42.5 MiB used, request 0: nothing was "
            "reserved "
            "for it), as the node ran low on memory; no OOM kill"
        ),
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_tells_what_it_holds(kind: str) -> None:
    text, expected = TEXTS[kind]
    assert answers(text) == [expected]


def case(directory: Path, text: bytes) -> Case:
    file = directory / "pasted.log"
    file.write_bytes(text)
    return Case(list(read_files([str(file)])))


MENTIONS = {
    "a-test's-name": "=== RUN   TestDockerDriver_OOMKilled\n--- FAIL: TestDockerDriver_OOMKilled\n",
    "a-program-that-looks-for-it": 'if pod["terminated"]["reason"] == "OOMKilled":\n',
    "a-program-that-names-it": 'errorMsg := "System OOM encountered"\n',
    "a-command-that-looks-for-it": (
        "me@h:~$ sudo grep 'Job failed: exit code 137' /var/log/syslog\n"
    ),
    "an-alert's-name": "alertname = KubeContainerOOMKilled\n",
    "a-batch-system's-usual-words": (
        "normally LSF ends such jobs and emits the `TERM_MEMLIMIT: job killed after reaching LSF "
        "memory usage limit` message\n"
    ),
}


@pytest.mark.parametrize("kind", MENTIONS)
def test_a_mention_is_no_death(kind: str) -> None:
    assert answers(MENTIONS[kind]) == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("The node was low on resource: memory. Container a was using 9Ki\n", 1),
        ("The node was low on resource: ephemeral-storage. Container a was using 9Ki\n", 0),
        (
            (
                "web-1\t\tEvicted\t\tThe node was low on resource: ephemeral-storage. \n"
                "I0528 16:05:54.8 22 eviction_manager.go:627] "
                '"Eviction manager: pod is evicted successfully" pod="shop/web-1"\n'
            ),
            0,
        ),
    ],
)
def test_an_eviction_is_bad_news_where_memory_was_the_reason(
    text: str, status: int, tmp_path: Path
) -> None:
    assert int(case(tmp_path, text.encode()).is_bad_news) == status


REFUSED = {
    "errno-in-another-language": (
        (
            "Java HotSpot(TM) 64-Bit Server VM warning: INFO: os::commit_memory(0x7f, 262144, 0) "
            "failed; error='无法分配内存' (errno=12)\n"
        ),
        "the JVM was refused memory and ended itself",
    ),
    "hs_err": (
        "#  Out of Memory Error (gcTaskThread.cpp:48), pid=8624, tid=0x7f5e\n",
        "the JVM was refused memory and ended itself",
    ),
    "without-errno": (
        "# There is insufficient memory for the Java Runtime Environment to continue.\n",
        "the JVM was refused memory and ended itself",
    ),
    "two-cpus-at-once": (
        (
            "[73797.116745] swapper/8: \n[73797.116748] swapper/6: \n"
            "[73797.116750] page allocation failure: order:0page allocation failure: order:0, "
            "mode:0x2080020(GFP_ATOMIC)\n"
        ),
        "a request for pages failed, and its caller was told so (order 0)",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_is_reported_in_one_sentence(kind: str) -> None:
    text, expected = REFUSED[kind]
    found = list(read_evidence(text.encode()))
    assert no_kill_text(found, len(found)).startswith(f"no process was killed here: {expected}")


def test_what_people_write_below_a_line_is_no_part_of_a_name() -> None:
    (report,) = read_bytes(
        b"Aug 18 03:19:11 h kernel: [ 7747]     0  7748  3226957  2875051    5692        0"
        b"             0 python\n\n"
        b'(notice it just says name = "python")\n\n'
        b"Aug 18 03:19:11 h kernel: Killed process 7748 (python) total-vm:12907828kB, "
        b"anon-rss:11500204kB, file-rss:0kB\n"
        b'(again notice it just says the process was "python")\n'
    )
    (victim,) = report.killed
    assert (victim.pid, victim.comm, victim.anon_rss_kb) == (7748, "python", 11500204)
    assert [row.comm for row in report.tasks] == ["python"]


def test_the_two_lines_of_a_kill_may_be_pasted_as_one() -> None:
    (report,) = read_bytes(
        b"seen: Out of memory: Kill process 5372 (mongod) score 130 or sacrifice child Killed "
        b"process 5372 (mongod), UID 0, total-vm:2539052kB, anon-rss:2117096kB, file-rss:0kB\n"
    )
    (victim,) = report.killed
    assert (victim.pid, victim.comm, victim.uid) == (5372, "mongod", 0)
    assert report.selected is not None
    assert (report.selected.comm, report.selected.score) == ("mongod", 130)


QUOTED = b"""\
Jul 27 13:29:54 kernel: Out of memory: Kill process 17982 (java) score 77 or sacrifice child

the whole of it:
[511250.459172] [ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name
[511250.459178] [  444]     0   444    30482      118      63        0             0 journald
[511250.459581] Out of memory: Kill process 17982 (java) score 77 or sacrifice child
[511250.459642] Killed process 17982 (java) total-vm:9kB, anon-rss:7kB, file-rss:0kB, shmem-rss:0kB
"""


def test_a_kill_that_is_quoted_by_its_first_line_alone_is_one(tmp_path: Path) -> None:
    reports = case(tmp_path, QUOTED).reports
    assert [[victim.pid for victim in report.killed] for report in reports] == [[17982]]
    again = QUOTED.replace(b"score 77", b"score 78", 1)
    assert len(case(tmp_path, again).reports) == 2


IN_A_CHILD = """\
[41107.803910] Task in /lxc/a/system.slice/b.service killed as a result of limit of /lxc/a
[41107.803917] memory: usage 62500kB, limit 62500kB, failcnt 81
[41107.803920] Memory cgroup stats for /lxc/a: cache:8792KB rss:17956KB mapped_file:0KB swap:0KB
"""
CHILD = "[41107.803921] Memory cgroup stats for /lxc/a/system.slice/b.service: cache:0KB rss:9KB\n"


def test_what_a_descendant_holds_is_not_unaccounted_where_its_counters_were_cut(
    tmp_path: Path,
) -> None:
    def keys(text: str) -> set[str]:
        found = case(tmp_path, text.encode()).explain(0).where
        assert found is not None
        return {share.key for share in found.shares}

    assert "unaccounted" not in keys(IN_A_CHILD)
    assert "unaccounted" in keys(IN_A_CHILD + CHILD)


THREAD = b"""\
[1.000001] Memory cgroup stats for /kubepods/pod1/a: cache:32KB rss:524188KB swap:0KB
[1.000002] [ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name
[1.000003] [28438]     0 28438  5063909   119961    1661   136409          -998 java
[1.000004] Memory cgroup out of memory: Kill process 24572 (java) score 0 or sacrifice child
[1.000005] Killed process 28438 (java) total-vm:20255636kB, anon-rss:466160kB, file-rss:13684kB
"""


def test_a_victim_is_a_child_only_where_the_table_shows_the_chosen_process() -> None:
    """Thread ids begin anew at pid_max, so that a thread's may be lower than its process's."""
    (report,) = read_bytes(THREAD)
    assert [victim.killed_as for victim in report.killed] == [None]
    row = b"[1.000003] [24572]     0 24572    63909      961      16        0          -998 java\n"
    (known,) = read_bytes(THREAD.replace(b"[1.000004]", row + b"[1.000004]", 1))
    assert [victim.killed_as for victim in known.killed] == ["child"]


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        (
            (
                b"[1.000001] memory: usage 1048576kB, limit 1048576kB, failcnt 141\n"
                b"[1.000002] swap: usage 0kB, limit 9007199254740988kB, failcnt 0\n"
            ),
            "memcg",
        ),
        (
            (
                b"[1.000001] Total swap = 0kB\n[1.000002] 262041 pages RAM\n"
                b"[1.000003] 13145 pages reserved\n"
                b"[1.000004] Tasks state (memory values in pages):\n"
            ),
            "global",
        ),
    ],
)
def test_the_middle_of_a_report_is_one_of_an_unknown_victim(text: bytes, scope: str) -> None:
    (report,) = read_bytes(text)
    assert report.scope == scope
    assert report.killed == ()
