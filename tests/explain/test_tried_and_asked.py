"""Killers that wanted to kill and could not, or asked others to; commands that look for a death.

The texts were collected for this project from public reports, or have the form that the programs'
sources and documentation show; names are changed.
"""

import pytest

from oomkit.explain.evidence_text import no_kill_text
from oomkit.klog import read_bytes, read_evidence
from tests.explain.test_platforms_texts import NOBODYS, answers

NOT_HERE = "; the kernel's own report is not here"

FAILED = {
    "oomd-by-swap": (
        "Mar 01 14:37:27 box systemd-oomd[6]: Failed to kill any cgroups based on swap: Invalid\n",
        "systemd-oomd wanted to kill for lack of memory, and could not (swap), line 1",
    ),
    "oomd-by-pressure": (
        "systemd-oomd[6]: Failed to kill any cgroups under /user.slice based on pressure: No\n",
        "systemd-oomd wanted to kill for lack of memory, and could not (pressure), line 1",
    ),
    "earlyoom": (
        "Mar 01 14:37:27 box earlyoom[6]: Could not find a process to kill. Sleeping 1 second.\n",
        "earlyoom wanted to kill for lack of memory, and found no process, line 1",
    ),
}


@pytest.mark.parametrize("name", FAILED)
def test_who_wanted_to_kill_and_could_not_killed_nobody(name: str) -> None:
    text, said = FAILED[name]
    assert answers(text) == []
    found = list(read_evidence(text.encode()))
    assert no_kill_text(found, len(found)) == f"no process was killed here: {said}"


def test_earlyoom_leaves_the_choice_to_the_kernel() -> None:
    text = (
        "Low memory! mem avail: 177 of 5875 MiB (3) % <= min 10 %, swap free: 0 of 0 MiB (0 %)\n"
        "Invoking oom killer: done\n"
    )
    assert answers(text) == [
        "earlyoom had the kernel's OOM killer run (SysRq-f): no line says what it killed" + NOT_HERE
    ]


def test_how_a_unit_ended_is_no_reason_of_systemd_oomd() -> None:
    unit = "app-x.scope: "
    text = (
        "Sep 02 13:07:24 box systemd-oomd[8]: Marked /user.slice/.../app-x.scope for killing\n"
        f"Sep 02 13:07:24 box systemd[1]: {unit}systemd-oomd killed 21 process(es) in this unit.\n"
        f"Sep 02 13:07:24 box systemd[1]: {unit}Failed with result 'oom-kill'.\n"
    )
    assert answers(text) == ["systemd-oomd killed unit app-x.scope, 21 processes"]


@pytest.mark.parametrize(
    "line",
    [
        "$ docker inspect c --format 'OOMKilled={{.State.OOMKilled}} Pid={{.State.Pid}}'",
        "jq '.items[].status | select(.reason==\"OOMKilled\")'",
        "jq '.status.lastState.terminated | select(.reason == \"OOMKilled\")' pod.json",
    ],
)
def test_a_command_that_looks_for_a_death_reports_none(line: str) -> None:
    assert answers(f"{line}\n") == []


PLATFORMS = {
    "slurm-steps": (
        "17311133.ba+      batch                   c          4 OUT_OF_ME+    0:125\n",
        ["Slurm says that job 17311133.ba+ ran out of memory (OUT_OF_ME+)" + NOT_HERE],
    ),
    "slurm-node-of-the-daemon": (
        "slurmstepd-n-2: error: Detected 1 oom-kill event(s) in StepId=213.batch. Some of your\n",
        [
            "Slurm says that the kernel killed in the cgroup of step 213.batch on node n-2"
            + NOT_HERE
        ],
    ),
    "slurm-limit-then-tasks": (
        (
            "slurmstepd: error: Exceeded job memory limit at some point.\n"
            "srun: error: n1: task 6: Out Of Memory\n"
            "srun: error: n2: task 21: Killed\n"
        ),
        [
            "Slurm says that a job or step ran out of memory (Exceeded job memory limit)"
            + NOT_HERE,
            "Slurm says that the kernel killed for task 6 on node n1" + NOT_HERE,
            "task 21 on node n2" + NOBODYS,
        ],
    ),
    "nomad-client": (
        (
            '2019/04/08 06:03:16.6 [INFO] client: task "web" for alloc "c5d0" failed: Wait '
            "returned exit code 137, signal 0, and error OOM Killed\n"
        ),
        ["Nomad says that task web ran out of memory (OOM Killed)" + NOT_HERE],
    ),
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_who_was_killed_by_whom(name: str) -> None:
    text, said = PLATFORMS[name]
    assert answers(text) == said


def test_nohangs_limits_and_its_minimum_are_no_kill() -> None:
    text = (
        "2023-08-10 16:53:26,460: Memory status that requires corrective actions:\n"
        "  MemAvailable [383 MiB, 5.0 %] <= soft_threshold_min_mem [384 MiB, 5.0 %]\n"
        "2023-08-10 16:53:26,470: victim badness 12 < min_badness 20; nothing to do\n"
        "2023-08-10 16:53:26,470:   Send SIGTERM to tail: 1\n"
    )
    assert answers(text) == []
    found = list(read_evidence(text.encode()))
    assert no_kill_text(found, len(found)) == (
        "no process was killed here: memory came below nohang's limits, line 1; nohang wanted to "
        "kill for lack of memory, and found no process that it may (12 < min_badness 20), line 3"
    )


def test_nohang_tells_how_much_a_victim_held_that_it_does_not_name() -> None:
    text = (
        "nohang[530]: Victim VmRSS: 3268608 KiB\n"
        "nohang[530]:   Send SIGTERM to the victim; total response time: 13246 ms\n"
    )
    assert answers(text) == [
        "nohang sent SIGTERM to something that the line does not name; it held 3.12 GiB"
    ]


def test_prose_on_an_event_of_containerd_is_none() -> None:
    assert answers("- we receive a TaskOOM event, but the container_id value is wrong\n") == []
    assert answers('level=debug msg="event published" topic=/tasks/oom ns=moby\n') != []


def test_a_docker_event_names_its_pod() -> None:
    one = "29d72966e0beb17d9b0b9fbcbfc734e2df2eb5428690115f9b24430357de08e5"
    text = (
        f"2019-05-04T18:05:45.01-05:00 container oom {one} (io.kubernetes.container.name=notebook, "
        "io.kubernetes.pod.name=jupyter-a, io.kubernetes.pod.namespace=jhub, name=k8s_notebook)\n"
        f"2019-05-04T18:05:45.02-05:00 container oom {one} (annotation.io.kubernetes.x=y\n"
    )
    assert answers(text) == [
        "docker says that container notebook of pod jhub/jupyter-a ran out of memory" + NOT_HERE
    ]


PLAIN = {
    "prompt": ("# ./bin/elasticsearch\nKilled\n", "shell (Killed)"),
    "job": ("[1]+  Killed                  ./a.out -n 3\n", "process a.out"),
    "zsh": ("zsh: killed     python3 x.py\n", "process python3"),
    "compose": ("elasticsearch exited with code 137\n", "container elasticsearch"),
    "any": ("container exited with code 137\n", "unknown (container exited with code 137)"),
    "systemd": (
        "systemd reports `Main process exited, code=killed, status=9/KILL`\n",
        "systemd (systemd reports `Main process exited, code=killed, status=9/KILL`)",
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_sigkill_shows_no_reason(name: str) -> None:
    text, subject = PLAIN[name]
    assert answers(text) == [subject + NOBODYS]


PODS = {
    "all-namespaces": (
        "my-ns       my-app-exec-2   0/1       OOMKilled   0          21m\n",
        "kubelet says that the kernel killed pod my-ns/my-app-exec-2 (OOMKilled)" + NOT_HERE,
    ),
    "one-namespace": (
        "my-app-exec-2   0/1       OOMKilled   0          21m\n",
        "kubelet says that the kernel killed pod my-app-exec-2 (OOMKilled)" + NOT_HERE,
    ),
    "status-of-a-client-library": (
        (
            "ContainerStatus(containerID=docker://15533f4f7a93f78e83736508706f8befc670b36b9593adb9"
            "827aa6e727dde0e3, image=x:1, lastState=ContainerState(running=null), name=executor, "
            "state=ContainerState(terminated=ContainerStateTerminated(exitCode=137, message=null, "
            "reason=OOMKilled, signal=null\n"
        ),
        "kubelet says that the kernel killed container executor (OOMKilled)" + NOT_HERE,
    ),
}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_named_as_far_as_the_line_names_it(name: str) -> None:
    text, said = PODS[name]
    assert answers(text) == [said]


@pytest.mark.parametrize(
    "text",
    [
        (
            "  message: >-\n"
            "    The node was low on resource: memory. Container pool-mgmt was using\n"
            "    27484Ki, which exceeds its request of 0. Container exporter was using\n"
            "    9736Ki, which exceeds its request of 0. \n"
            "  reason: Evicted\n"
        ),
        (
            "  message: 'The node was low on resource: memory. Container pool-mgmt was using\n"
            "    27484Ki, which exceeds its request of 0. '\n"
            "  phase: Failed\n"
        ),
    ],
)
def test_an_eviction_that_yaml_folds_keeps_its_numbers(text: str) -> None:
    assert answers(text) == [
        (
            "kubelet evicted a pod that the line does not name (container pool-mgmt: 26.8 MiB "
            "used, request 0: nothing was reserved for it), as the node ran low on memory; no "
            "OOM kill"
        )
    ]


@pytest.mark.parametrize(
    "line",
    [
        'LIMIT_MSG = "slurmstepd: error: Exceeded job memory limit"',
        'msg = "failed (exit code 137): unauthorized"',
        "assert_found(r'slurmstepd: error: Exceeded job memory limit')",
        "if result.exit_code == 137:",
        'return "Out of memory: Killed process 571 (python)"',
        r"Killed process (\d+) .+",
        "kernel: oom-kill:constraint=CONSTRAINT_NONE,...,task=kvm,pid=<pid>,uid=0",
    ],
)
def test_a_text_in_a_program_is_no_evidence(line: str) -> None:
    assert answers(f"{line}\n") == []


KILLS = "".join(f"[ {i}.000001] Out of memory: Killed process {i} (a)\n" for i in range(1, 7))


@pytest.mark.parametrize(
    "head",
    ["Look for lines like these:\n", "```bash\n# dmesg\n", "Exit code 137 means OOM.\n"],
)
def test_a_log_below_words_is_a_log(head: str) -> None:
    assert len(list(read_bytes((head + KILLS).encode()))) == 6


def test_a_program_beside_a_log_takes_nothing_from_it() -> None:
    text = f"```python\nimport os\n\ndef f():\n    return 'x'\n```\n```\n{KILLS}```\n"
    assert len(list(read_bytes(text.encode()))) == 6


def test_fields_of_a_record_are_no_program() -> None:
    text = '{\n "OOMKilled": false,\n "Running": true,\n "ExitCode": 137,\n "Name": "/cache"\n}\n'
    assert len(answers(text)) == 1


def test_a_kill_that_is_told_without_its_number() -> None:
    text = "`dmesg` showed `Memory cgroup out of memory: Killed process (python3) total-vm:22GB`.\n"
    assert answers(text) == [
        "the kernel killed python3 (Memory cgroup out of memory), by a text that leaves out its "
        "number" + NOT_HERE
    ]


HEADS = (
    ("K8S.NODE K8S.NAMESPACE K8S.POD K8S.CONTAINER KPID KCOMM PAGES TPID TCOMM",
     "mini demo test-pod main 11507 tail 32768 11507 tail"),
    ("K8S.NODE K8S.NAMESPACE K8S.PODNAME K8S.CONTAINERNAME FPID FUID FCOMM TPID TCOMM PAGES",
     "mini demo test-pod main 11507 0 tail 11507 tail 32768"),
)  # fmt: skip


@pytest.mark.parametrize(("head", "row"), HEADS)
def test_a_gadgets_table_says_who_was_killed_in_which_pod(head: str, row: str) -> None:
    said = "BPF's oomkill says that the kernel killed tail[11507] in pod demo/test-pod on node mini"
    assert answers(f"{head}\n{row}\nThe printed line says what.\n{row}\n") == [said + NOT_HERE]


MORE = {
    "ray-cut": (
        (
            "E   Memory on the node (IP: 172.17.0.2, ID: 8c5a) where the task (task ID: 41, pid=5) "
            "was running was 21.91GB / 33.28GB (0.658192), which exceeds the memory usage "
            "threshold of 0.65. Ray killed this worker (ID: 0f7695\n"
        ),
        [
            (
                "Ray killed worker 0f7695 on node 172.17.0.2: 21.91GB / 33.28GB (0.658192), which "
                "exceeds the memory usage threshold of 0.65"
            )
        ],
    ),
    "ray-before-2.2": (
        (
            "[2022-08-17 02:34:49,260 E 99866 99901] (raylet) node_manager.cc:2926: [0] Killing "
            "worker with the latest task assigned time to free up memory. Find details of workers "
            "killed via `ray list workers --detail`. Task to be killed:ff14. Top 10 worker:\n"
        ),
        ["Ray killed worker ff14"],
    ),
    "compose-killed": ("palworld-server  | Killed\n", ["container palworld-server" + NOBODYS]),
    "supervisord-reaps": (
        "2021-03-26 15:53:03,116 INFO reaped unknown pid 4415 (terminated by SIGKILL)\n",
        ["process 4415" + NOBODYS],
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_what_else_pools_and_shells_say(name: str) -> None:
    text, said = MORE[name]
    assert answers(text) == said


@pytest.mark.parametrize(
    ("text", "means"),
    [
        (
            "FATAL ERROR: NewSpace::Rebalance Allocation failed - process out of memory\n",
            "Node.js ended itself",
        ),
        (
            "memory allocation of 18446744073709551615 bytes failed[1]  32 abort (core dumped)\n",
            "a program asked for memory and was refused",
        ),
    ],
)
def test_a_program_that_ends_itself_is_not_killed(text: str, means: str) -> None:
    assert answers(text) == []
    (found,) = read_evidence(text.encode())
    assert found.means.startswith(means)
