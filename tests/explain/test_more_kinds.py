"""Who was killed, by whom, for which limit; and texts about OOM that hold no event at all."""

import pytest

from oomkit.explain.evidence_text import no_kill_text
from oomkit.explain.incidents import incidents
from oomkit.klog import read_bytes, read_evidence

NOT_HERE = "; the kernel's own report is not here"


def answers(text: str) -> list[str]:
    """The incidents, one line each; where there are none, what failed or was low."""
    data = text.encode()
    evidence = list(read_evidence(data))
    deaths = tuple(item for item in evidence if item.kind not in ("failure", "pressure"))
    found = [item.summary for item in incidents(tuple(read_bytes(data)), deaths)]
    others = [item for item in evidence if item.kind in ("failure", "pressure")]
    return found or ([no_kill_text(others, len(others))] if others else [])


SUPPOSED = {
    "slurms-state-in-a-question": (
        "When I run scontrol it prints JobState=OUT_OF_MEMORY for some users. Is "
        "JobState=OUT_OF_MEMORY always due to the cgroup?\n"
    ),
    "slurms-state-in-a-sentence": "3 jobs failed with OUT_OF_MEMORY and I do not know why\n",
    "slurms-manual": "OUT_OF_MEMORY    Job experienced out of memory error.\n",
    "a-kill-that-is-looked-for": (
        "To see whether that was so, look for Killed process 1234 (java) in the syslog.\n"
    ),
}


@pytest.mark.parametrize("text", SUPPOSED.values(), ids=SUPPOSED)
def test_what_is_supposed_or_explained_is_no_event(text: str) -> None:
    assert answers(text) == []


RAY = (
    "Memory on the node (IP: 10.0.0.5, ID: 2f2c9e5cd2b6) where the task\n"
    "(actor ID: 99ce1e9b0a6b, name=A.__init__, pid=1234, memory used=12.31GB)\n"
    "was running was 61.05GB / 64.00GB (0.953906), which exceeds the memory\n"
    "usage threshold of 0.95. Ray killed this\n"
    "worker (ID: 7c1b2a) because it was the most recently\n"
)
TEXTS = {
    "slurms-states": (
        "12345.batch       batch                  acct          4 OUT_OF_ME+    0:125 \n",
        "Slurm says that job 12345.batch ran out of memory (OUT_OF_ME+)" + NOT_HERE,
    ),
    "slurms-record": (
        "JobId=77 JobName=x\n   JobState=OUT_OF_MEMORY Reason=OutOfMemory Dependency=(null)\n",
        "Slurm says that job 77 ran out of memory (OUT_OF_MEMORY)" + NOT_HERE,
    ),
    "slurms-mail": (
        "Slurm Job_id=35 Name=a.sh Failed, Run time 00:00:13, OUT_OF_MEMORY\n",
        "Slurm says that job 35 ran out of memory (OUT_OF_MEMORY)" + NOT_HERE,
    ),
    "a-sentence-on-a-kill": (
        "I checked dmesg and it says Killed process 1234 (mysqld). What does that mean?\n",
        "a sentence says that the kernel killed mysqld[1234]" + NOT_HERE,
    ),
    "a-sentence-quotes-the-reason": (
        'syslog shows "Out of memory: Killed process 12 (php-fpm)" and the site goes down\n',
        "a sentence says that the kernel killed php-fpm[12] (Out of memory)" + NOT_HERE,
    ),
    "rays-message-wrapped": (
        RAY,
        (
            "Ray killed worker 7c1b2a on node 10.0.0.5: 61.05GB / 64.00GB (0.953906), which "
            "exceeds the memory usage threshold of 0.95"
        ),
    ),
    # As OpenVZ's kernel 2.6.32-042stab prints it.
    "openvzs-choice": (
        (
            "[1.0] 3120 (php-cgi) invoked oom-killer: gfp 0xd0 order 0 oomkilladj=0\n"
            "[1.1] Out of memory in UB 101: kill process 3100 (mysqld_safe) or a child\n"
            "[1.2] OOM killed process 3123 (mysqld) vm:412312kB, rss:123212kB, swap:12312kB\n"
        ),
        "mysqld[3123] killed: memory cgroup UB 101 ran out of memory",
    ),
    "kubelet-of-1.6": (
        (
            "W0411 10:11:20.123456    2011 eviction_manager.go:142] Failed to admit pod "
            "web-1_default(8a) - node has conditions: [MemoryPressure]\n"
        ),
        (
            "no process was killed here: the kubelet admitted no pod to its node (MemoryPressure), "
            "line 1"
        ),
    ),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_each_kind_of_text_has_its_answer(text: str, expected: str) -> None:
    assert answers(text) == [expected]
