"""What others say in several lines is one piece of evidence with all its facts."""

from typing import Any

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence

ID = "91091d5382d54a44e697e224ebccba7f587c43184bfb51b123cf8c16920598d9"
DESCRIBED = f"""\
Name:         web-7d9f
Namespace:    shop
Node:         ip-10-0-1-12.internal/10.0.1.12
Containers:
  web:
    Container ID:   containerd://{ID}
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
    Limits:
      cpu:     500m
      memory:  512Mi
    Requests:
      memory:     256Mi
"""
INSPECTED = f"""\
[
    {{
        "Id": "{ID}",
        "State": {{
            "Status": "exited",
            "OOMKilled": true,
            "ExitCode": 137,
        }},
        "Name": "/cache",
    }}
]
"""
DRIVER = """\
<6>lowmemorykiller: Killing 'ui' (2613), adj 1000,
<6>   to free 20784kB on behalf of 'kswapd0' (442) because
<6>   cache 32112kB is below limit 32384kB for oom_score_adj 1000
<6>   Free memory is 17432kB above reserved
"""
OOMD = """\
Nov 03 10:52:29 box systemd-oomd[1]: Considered 2 cgroups for killing, top candidates were:
Nov 03 10:52:29 box systemd-oomd[1]:         Path: /system.slice/a.service
Nov 03 10:52:29 box systemd-oomd[1]:                 Current Memory Usage: 10.0M
Nov 03 10:52:29 box systemd-oomd[1]:         Path: /system.slice/b.service
Nov 03 10:52:29 box systemd-oomd[1]:                 Current Memory Usage: 1.5G
Nov 03 10:52:29 box systemd-oomd[1]: Killed /system.slice/b.service due to memory pressure for \
/system.slice being 91.73% > 50.00% for > 20s with reclaim activity
"""
NOHANG = """\
Feb 12 12:32:22 lap nohang-desktop[3]:   PID: 32706, Name: python3, badness: 572
Feb 12 12:32:22 lap nohang-desktop[3]:   VmRSS:   8056 MiB
Feb 12 12:32:22 lap nohang-desktop[3]: Implement a corrective action:
Feb 12 12:32:22 lap nohang-desktop[3]:   Send SIGTERM to the victim; total response time: 600 ms
"""
DYNO = """\
2024-01-01T10:00:00.000000+00:00 heroku[web.1]: Process running mem=1028M(200.9%)
2024-01-01T10:00:00.100000+00:00 heroku[web.1]: Error R15 (Memory quota vastly exceeded)
"""
FUNCTION = """\
RequestId: 8f5 Error: Runtime exited with error: signal: killed
REPORT RequestId: 8f5\tDuration: 3003.17 ms\tMemory Size: 128 MB\tMax Memory Used: 128 MB
"""
UNIT = """\
Jun 01 10:00:00 srv systemd[1]: db.service: Failed with result 'oom-kill'.
Jun 01 10:00:00 srv systemd[1]: db.service: Consumed 2.1s CPU time, 3.5G memory peak.
"""
STATUS = """\
● mysql.service - MySQL Community Server
     Active: failed (Result: oom-kill) since Sat 2024-06-01 10:00:00 UTC; 5min ago
"""
EVICTED = """\
Sep 03 12:00:01 n1 kubelet[1]: eviction_manager.go:367] "Eviction manager: attempting to \
reclaim" resourceName="memory"
Sep 03 12:00:03 n1 kubelet[1]: "Eviction manager: pod is evicted successfully" pod="shop/cart-1"
"""
STATUS_ABOVE = f"""\
    "terminated": {{
        "containerID": "docker://{ID}",
        "exitCode": 137,
        "finishedAt": "2017-10-10T17:41:58Z",
        "reason": "OOMKilled",
    }}
"""
CASES: list[tuple[str, str, dict[str, Any]]] = [
    (
        DESCRIBED,
        "kubelet",
        {
            "kind": "notice", "killer": "kernel", "pod": "web-7d9f", "namespace": "shop",
            "container_name": "web", "node": "ip-10-0-1-12.internal", "exit_code": 137,
            "limit_kb": 512 << 10, "request_kb": 256 << 10, "reason": "OOMKilled",
        },
    ),
    (INSPECTED, "docker", {"kind": "notice", "container": ID, "exit_code": 137}),
    (
        DRIVER,
        "lowmemorykiller",
        {
            "kind": "kill", "pid": 2613, "comm": "ui", "adj": 1000, "used_kb": 20784,
            "invoker": "kswapd0[442]",
            "reason": "file cache 32112kB was below its limit of 32384kB",
        },
    ),
    (OOMD, "systemd-oomd", {"cgroup": "/system.slice/b.service", "used_kb": 3 << 19}),
    (NOHANG, "nohang", {"kind": "kill", "pid": 32706, "comm": "python3", "used_kb": 8056 << 10}),
    (DYNO, "heroku", {"kind": "kill", "container_name": "web.1", "used_kb": 1028 << 10}),
    (FUNCTION, "lambda", {"kind": "notice", "used_kb": 128 << 10, "limit_kb": 128 << 10}),
    (UNIT, "systemd", {"kind": "notice", "unit": "db.service", "used_kb": 7 << 19}),
    (STATUS, "systemd", {"kind": "notice", "unit": "mysql.service", "killer": None}),
    (EVICTED, "kubelet", {"kind": "eviction", "pod": "shop/cart-1", "reason": "memory"}),
    (STATUS_ABOVE, "kubelet", {"kind": "notice", "container": ID, "exit_code": 137}),
]  # fmt: skip


def told_in(text: str) -> list[Evidence]:
    found = read_evidence(text.encode(), "x.log")
    return [item for item in found if item.kind not in ("failure", "pressure")]


@pytest.mark.parametrize(("text", "by", "facts"), CASES, ids=[case[1] for case in CASES])
def test_lines_that_belong_together_are_one(text: str, by: str, facts: dict[str, Any]) -> None:
    (found,) = told_in(text)
    assert found.by == by
    assert {name: getattr(found, name) for name in facts} == facts


@pytest.mark.parametrize("case", CASES, ids=[case[1] for case in CASES])
def test_what_stands_far_into_a_log_is_found_as_well(case: tuple[str, str, dict[str, Any]]) -> None:
    """A log's beginning is read whole; later on only the neighbourhood of what may tell is."""
    text, by, facts = case
    ordinary = "Jun  1 09:00:00 srv cron[1]: (root) CMD (true)\n"
    before = (ordinary * 9 + ordinary.replace("true", "x " * 100)) * 200
    (found,) = told_in(before + text)
    assert found.by == by
    shared = set(facts) - {"pod", "namespace", "container_name", "node", "container"}
    assert {name: getattr(found, name) for name in shared} == {n: facts[n] for n in shared}


def test_an_exit_status_alone_says_nothing_of_memory() -> None:
    (found,) = told_in(INSPECTED.replace("true", "false"))
    assert (found.kind, found.by) == ("sigkill", "unknown")
