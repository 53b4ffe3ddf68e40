"""Lines of userspace killers, container engines and plain SIGKILLs are told apart."""

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.scan import KERNEL_NEEDLES
from oomkit.klog.userspace.needles import NEEDLES

CASES = [
    (
        (
            "systemd-oomd[601]: Killed /user.slice/u.slice/user@1000.service/a.scope "
            "due to memory pressure for /user.slice being 70.43% > 50.00% for > 20s "
            "with reclaim activity"
        ),
        ("systemd-oomd", "kill"),
        {"cgroup": "/user.slice/u.slice/user@1000.service/a.scope"},
    ),
    (
        (
            "systemd-oomd[601]: Killed /system.slice/big.service due to memory used (160 of 163) "
            "and swap used (4000 of 4096) is over 90.00%"
        ),
        ("systemd-oomd", "kill"),
        {"cgroup": "/system.slice/big.service"},
    ),
    (
        (
            'earlyoom[77]: sending SIGTERM to process 3045 uid 1000 "chromium": badness 912, '
            "VmRSS 1421 MiB"
        ),
        ("earlyoom", "kill"),
        {"pid": 3045, "comm": "chromium"},
    ),
    (
        (
            'earlyoom[77]: sending SIGKILL to process 3045 uid 1000 "Web Content": oom_score 912, '
            'oom_score_adj 167, VmRSS 1421 MiB, cmdline "x"'
        ),
        ("earlyoom", "kill"),
        {"pid": 3045, "comm": "Web Content"},
    ),
    (
        (
            "kernel: oomd kill: 42.1 30.2 1.0 work.slice/job.service 1234567 ruleset:[protect] "
            "detectorgroup:[pressure] killer:kill_by_memory_size_or_growth v2"
        ),
        ("oomd", "kill"),
        {"cgroup": "work.slice/job.service"},
    ),
    (
        (
            "lmkd[501]: Kill 'com.example.app' (4711), uid 10123, oom_score_adj 900 to free "
            "123456kB rss, 0kB swap; reason: low watermark is breached"
        ),
        ("lmkd", "kill"),
        {"pid": 4711, "comm": "com.example.app"},
    ),
    (
        "kernel: lowmemorykiller: Killing 'com.example.app' (4711), adj 900,",
        ("lowmemorykiller", "kill"),
        {"pid": 4711, "comm": "com.example.app", "adj": 900},
    ),
    (
        (
            'kernel: [talos] Sending SIGKILL to cgroup {"component": "controller-runtime", '
            '"cgroup": "/sys/fs/cgroup/kubepods/burstable/pod77f06c5c"}'
        ),
        ("talos", "kill"),
        {"cgroup": "/sys/fs/cgroup/kubepods/burstable/pod77f06c5c"},
    ),
    (
        (
            'kubelet[900]: I0101 10:00:00.1 900 eviction_manager.go:592] "Eviction manager: pod is '
            'evicted successfully" pod="shop/cart-7d9f"'
        ),
        ("kubelet", "eviction"),
        {"pod": "shop/cart-7d9f"},
    ),
    (
        (
            'kubelet[900]: "Event occurred" message="System OOM encountered, victim process: java, '
            'pid: 4711"'
        ),
        ("kubelet", "notice"),
        {"pid": 4711, "comm": "java"},
    ),
    (
        (
            'containerd[800]: time="x" level=info msg="TaskOOM event &TaskOOM{ContainerID:'
            '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef,XXX_unrecognized:[],}"'
        ),
        ("containerd", "notice"),
        {"container": "0123456789abcdef" * 4},
    ),
    (
        "systemd[1]: postgresql.service: A process of this unit has been killed by the OOM killer.",
        ("systemd", "notice"),
        {"unit": "postgresql.service"},
    ),
    (
        "systemd[1]: postgresql.service: Failed with result 'oom-kill'.",
        ("systemd", "notice"),
        {"unit": "postgresql.service"},
    ),
    (
        "systemd[1]: app.service: Main process exited, code=killed, status=9/KILL",
        ("systemd", "sigkill"),
        {"unit": "app.service"},
    ),
    ("dockerd[5]: container exited with code 137", ("dockerd", "sigkill"), {}),
    (
        "slurmstepd[7]: error: Detected 2 oom_kill events in StepId=7.batch. Some of the tasks",
        ("slurm", "notice"),
        {"job": "7.batch", "count": 2, "killer": "kernel"},
    ),
    (
        "slurmstepd[7]: error: Job 12 exceeded memory limit (2100000 > 2097152), being killed",
        ("slurm", "kill"),
        {"job": "12", "used_kb": 2100000, "limit_kb": 2097152},
    ),
    (
        "pbs_mom[7]: =>> PBS: job killed: mem 4194504kb exceeded limit 4194304kb",
        ("pbs", "kill"),
        {"used_kb": 4194504, "limit_kb": 4194304},
    ),
    (
        "kubelet[9]: Cgroup OOM encountered, victim process: stress, pid: 470521",
        ("kubelet", "notice"),
        {"pid": 470521, "comm": "stress", "killer": "kernel"},
    ),
    (
        (
            "ev[1]: 3m (x16 over 2h)  Warning  OOMKilling  node/n-3  Memory cgroup out of memory: "
            "Killed process 28711 (java) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB"
        ),
        ("node-problem-detector", "notice"),
        {"pid": 28711, "comm": "java", "count": 16, "node": "n-3", "killer": "kernel"},
    ),
    (
        (
            "ev[1]: 5m  Warning  Evicted  pod/egg-5d9  The node was low on resource: memory. "
            "Container egg was using 5053216Ki, which exceeds its request of 0."
        ),
        ("kubelet", "eviction"),
        {"pod": "egg-5d9", "container_name": "egg", "used_kb": 5053216, "request_kb": 0},
    ),
    (
        (
            "ev[1]: The node was low on resource: memory. Threshold quantity: 100Mi, available: "
            "90112Ki. Container web was using 2Gi, request is 1Gi, has larger consumption."
        ),
        ("kubelet", "eviction"),
        {"container_name": "web", "used_kb": 2 << 20, "request_kb": 1 << 20, "reason": "memory"},
    ),
    (
        'ecs[1]: "reason": "OutOfMemoryError: Container killed due to memory usage"',
        ("ecs", "notice"),
        {"killer": None},
    ),
    (
        "run[1]: Memory limit of 512 MiB exceeded with 523 MiB used. Consider increasing it",
        ("cloud-run", "notice"),
        {"limit_kb": 512 << 10, "used_kb": 523 << 10},
    ),
    (
        (
            "nm[1]: Container [pid=6332,containerID=container_1_01_01_000002] is running beyond "
            "physical memory limits. Current usage: 1.5 GB of 1 GB physical memory used; Killing"
        ),
        ("yarn", "kill"),
        {"pid": 6332, "used_kb": 3 << 19, "limit_kb": 1 << 20},
    ),
    (
        "conmon[77]: OOM event received",
        ("conmon", "notice"),
        {"killer": None},
    ),
    (
        "kernel: VM: killing process python",
        ("kernel", "kill"),
        {"comm": "python"},
    ),
    (
        "kernel: kworker/u8:2: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL)",
        ("kernel", "failure"),
        {"comm": "kworker/u8:2", "order": 4},
    ),
    (
        "app[7]: java.lang.OutOfMemoryError: Java heap space",
        ("java", "failure"),
        {"reason": "Java heap space"},
    ),
    ("cron[7]: fork: Cannot allocate memory", ("cron", "failure"), {}),
    (
        "systemd-journald[300]: Under memory pressure, flushing caches.",
        ("systemd-journald", "pressure"),
        {},
    ),
]


def evidence_of(text: str) -> list[Evidence]:
    return list(read_evidence(f"Jan  4 10:00:00 web-01 {text}\n".encode(), "x.log"))


@pytest.mark.parametrize(("text", "who", "about"), CASES, ids=lambda case: str(case)[:40])
def test_each_line_is_known(text: str, who: tuple[str, str], about: dict[str, object]) -> None:
    (found,) = evidence_of(text)
    assert (found.by, found.kind) == who
    assert {name: getattr(found, name) for name in about} == about
    assert found.host == "web-01"
    assert found.source.line == 1


@pytest.mark.parametrize(
    "text",
    [
        "sshd[1]: Accepted publickey for root from 10.0.0.137",
        "earlyoom[77]: mem avail: 21790 of 23909 MiB (91.14%), swap free: 0 of 0 MiB",
        "systemd[1]: Started systemd-oomd.service - Userspace Out-Of-Memory (OOM) Killer.",
        "systemd[1]: app.service: Main process exited, code=exited, status=1/FAILURE",
        "kernel: Out of memory: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB",
        "nginx: GET /room/137 HTTP/1.1",
        'docker[1]: "OOMKilled": false',
        "app[1]: REPORT RequestId: 1 Memory Size: 256 MB Max Memory Used: 128 MB",
    ],
)
def test_ordinary_lines_are_no_evidence(text: str) -> None:
    assert evidence_of(text) == []


def test_no_more_needles_than_the_library_finds_many_bytes_at_a_time() -> None:
    assert len({*KERNEL_NEEDLES, *NEEDLES}) <= 64
    assert min(map(len, NEEDLES)) >= 4
