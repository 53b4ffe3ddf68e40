"""The policy ``kubelet``: when it evicts, whom, and when the kernel is faster."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oomkit.model.play import play
from oomkit.policy import builtin
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import PolicyError, find_policy, policy_from
from oomkit.scenario.read import scenario_from
from oomkit.scenario.record import Run
from tests.forked import command

MB = 1024.0
GB = 2**20


def process(pid: int, cgroup: str, mb: float = 100.0) -> Candidate:
    return Candidate(pid, pid, 1, f"p{pid}", anon_kb=mb * MB, cgroup=cgroup)


def pod(name: str, used_mb: float, request_mb: float = 0.0, priority: int = 0) -> CgroupReading:
    return CgroupReading(
        name, used_mb * MB, working_set_kb=used_mb * MB, request_kb=request_mb * MB,
        priority=priority,
    )  # fmt: skip


A, B, C = (f"/kubepods/burstable/poddefault_{name}" for name in "abc")


def order(candidates: list[Candidate], groups: list[CgroupReading]) -> list[str | None]:
    plan = compile_plan(find_policy("kubelet"))
    ranked = Chooser(plan).rank(candidates, groups=groups)
    return [one.cgroup for one in ranked if not one.verdict]


def test_pods_above_their_request_go_first_then_low_priority_then_the_excess() -> None:
    """rankMemoryPressure(), pkg/kubelet/eviction/helpers.go."""
    candidates = [process(1000 + i, f"{path}/c") for i, path in enumerate((A, B, C))]
    # B uses most, but less than it requested; C is above by less than A and of higher priority.
    groups = [pod(A, 300, 200), pod(B, 900, 1000, -5), pod(C, 300, 250, 10)]
    assert order(candidates, groups) == [A, C, B]
    groups = [pod(A, 300, 200, 20), pod(B, 900, 1000, -5), pod(C, 300, 250, 10)]
    assert order(candidates, groups) == [C, A, B]
    groups = [pod(A, 300, 400), pod(B, 900, 1100), pod(C, 300, 350)]
    assert order(candidates, groups) == [C, A, B]


def test_a_pod_dies_as_a_whole_and_what_is_in_none_is_spared() -> None:
    candidates = [process(10, f"{A}/x"), process(11, f"{A}/y/z"), process(12, "/system.slice/a")]
    plan = compile_plan(find_policy("kubelet"))
    ranked = Chooser(plan).rank(candidates, groups=[pod(A, 300)])
    assert {member.pid for member in ranked[0].members} == {10, 11}
    assert [one.verdict for one in ranked[1:]] == ["in no cgroup that is chosen"]


@pytest.mark.parametrize(
    "path",
    [
        "/kubepods/podx/c",
        "/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/crio-1.scope",
        "/kubepods/besteffort/podx/c",
    ],
)
def test_the_paths_of_both_cgroup_drivers_are_pods(path: str) -> None:
    assert order([process(10, path)], []) == [path.rpartition("/")[0]]


@pytest.mark.parametrize(
    "path", ["/kubepods.slice/kubepods-burstable.slice", "/kubepods/burstable", "/", "/podman/c"]
)
def test_others_are_not(path: str) -> None:
    assert order([process(10, path)], []) == []


def test_critical_pods_are_never_evicted() -> None:
    groups = [pod(A, 900, 0, 2 * 10**9), pod(B, 100, 200)]
    assert order([process(10, f"{A}/c"), process(11, f"{B}/c")], groups) == [B]


def reading(t_s: float, used: float, cgroups: tuple[CgroupReading, ...] = ()) -> Reading:
    """A node of 1 GiB; MemAvailable says that nothing is left, which the kubelet does not read."""
    return Reading(t_s, GB, 0.0, working_set_kb=used * MB, cgroups=cgroups)


def test_it_reads_the_working_set_and_every_ten_seconds() -> None:
    decider = Decider(compile_plan(find_policy("kubelet")))
    calm = reading(0.0, 900)
    assert not decider.look(calm).choose
    assert decider.next_look_s(calm) == 10.0
    assert decider.look(reading(10.0, 930)).choose


def test_what_pods_may_have_is_a_threshold_of_its_own() -> None:
    """allocatableMemory.available: limit of the pods' cgroup less its working set."""
    decider = Decider(compile_plan(find_policy("kubelet")))
    pods = CgroupReading("/kubepods", 500 * MB, 512 * MB, working_set_kb=413 * MB)
    look = decider.look(reading(0.0, 100, (pods,)))
    assert (look.choose, look.state.cgroup) == (True, "/kubepods")


def test_sigkill_follows_a_second_later_whatever_memory_says() -> None:
    decider = Decider(compile_plan(find_policy("kubelet")))
    decider.look(reading(0.0, 1000))
    act = decider.choose([process(10, f"{A}/c")], [pod(A, 300)])
    assert act is not None
    assert [signal.name for signal in act.signals] == ["TERM"]
    assert decider.look(reading(0.5, 100)).signals == ()
    assert [signal.name for signal in decider.look(reading(1.0, 100)).signals] == ["KILL"]


def scenario(task: str, *, cgroup: str = "", seconds: int = 120) -> Any:
    return scenario_from(
        tomllib.loads(f"""
        name = "n"
        duration = "{seconds}s"
        machine = {{ ram = "1G", swap = "0", kernel_memory = "20M" }}
        [[cgroup]]
        name = "kubepods"
        [[cgroup]]
        name = "kubepods/burstable/podd_a"
        request = "100M"
        {cgroup}
        [[cgroup]]
        name = "kubepods/burstable/podd_b"
        request = "500M"
        [[task]]
        name = "b"
        cgroup = "kubepods/burstable/podd_b"
        oom_score_adj = 500
        steps = [ {{ touch = "300M", over = "1s" }}, {{ hold = "forever" }} ]
        [[task]]
        name = "a"
        cgroup = "kubepods/burstable/podd_a"
        oom_score_adj = 900
        {task}
        """)
    )


def played(made: Any, policy: str = "kubelet") -> Run:
    return play(made, policy=find_policy(policy))


SLOW = 'restart = "1s"\nsteps = [ { touch = "1G", rate = "5M/s" } ]'
FAST = 'restart = "1s"\nsteps = [ { hold = "11s" }, { touch = "1G", rate = "200M/s" } ]'


def test_a_slow_pod_is_evicted_and_does_not_come_back() -> None:
    run = played(scenario(SLOW, seconds=200))
    assert [(kill.task, kill.by) for kill in run.kills] == [("a", "kubelet")]
    assert "working_set_left" in run.kills[0].trace[0]
    assert run.kills[0].trace[1].startswith("chosen: a[101] of /kubepods/burstable/podd_a")
    # The kernel's own kill restarts it.
    assert (
        len([one for one in played(scenario(SLOW, seconds=300), "kernel").kills if one.task == "a"])
        > 1
    )


def test_the_kernel_is_first_where_memory_fills_between_two_looks() -> None:
    run = played(scenario(FAST))
    assert run.kills[0].by == "kernel"


def test_files_in_memory_of_an_evicted_pod_are_removed() -> None:
    filler = 'steps = [ { tmpfs = "1G", rate = "5M/s" } ]'
    later = '[[task]]\nname = "later"\nstart = "150s"\nsteps = [ { hold = "5s" } ]'
    run = played(scenario(f"{filler}\n{later}", seconds=200))
    assert [(kill.task, kill.by) for kill in run.kills] == [("a", "kubelet")]
    assert run.samples.free_mb[-1] > 500.0


def test_memory_min_keeps_a_pods_pages() -> None:
    kept = 'min = "600M"'
    task = 'steps = [ { read = "400M", file = "f", over = "5s" }, { hold = "forever" } ]'
    hog = '[[task]]\nname = "hog"\nsteps = [ { hold = "8s" }, { touch = "600M", over = "20s" } ]'
    taken = play(scenario(f"{task}\n{hog}"))
    held = play(scenario(f"{task}\n{hog}", cgroup=kept))
    assert not taken.kills
    assert held.kills


def test_the_guard_leaves_it_to_the_kubelet() -> None:
    done = command("guard", "--policy", "kubelet", "--check")
    assert done.returncode == 2
    assert "oomkit run plays it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("whom", "expected"),
    [
        ({"by": "over_request"}, "over_request is measured per cgroup"),
        ({"cgroup": "/a"}, 'whom.cgroup: expected whom.level = "cgroup" beside it'),
        ({"level": "cgroup", "cgroup": "re:("}, "a regular expression"),
        ({"spared_priority": "high"}, "expected a whole number"),
    ],
)
def test_contradictions_are_refused(whom: dict[str, Any], expected: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_from({"name": "p", "when": [{"level": "hard", "available": "5%"}], "whom": whom})
    assert expected in str(caught.value)


def test_run_from_manifest_to_eviction(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "kind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3, template: {spec: "
        "{containers: [{name: c, "
        "resources: {requests: {memory: 256Mi}, limits: {memory: 1Gi}}}]}}}\n"
    )

    def oomkit(*args: str) -> subprocess.CompletedProcess[str]:
        return command(*args, cwd=tmp_path)

    assert oomkit("new", "n", "--from-kubernetes", "m.yaml", "--node-ram", "4G").returncode == 0
    told = oomkit("run", "n.toml", "--policy", "kubelet", "--set", "machine.ram=2G").stdout
    assert "kubelet kills web-" in told
    compared = oomkit(
        "run", "n.toml", "--policy", "kubelet", "--set", "machine.ram=2G",
        "--vs", "cgroup.kubepods/burstable/poddefault_web-0.request=900M",
    )  # fmt: skip
    assert compared.returncode == 1, compared.stderr
    assert "other victim" in compared.stdout


def test_a_soft_threshold_counts_from_the_look_that_first_meets_it() -> None:
    """evictionSoftGracePeriod: 20 s from 400 MiB on, at 5 MiB/s and a look every 10 s."""
    text = builtin.source("kubelet").replace(
        '[[when]]\nlevel = "soft"           #',
        '[[when]]\nlevel = "soft"\nworking_set_left = "400M"\nfor = "20s"\n\n'
        '[[when]]\nlevel = "soft"           #',
    )
    policy = policy_from(tomllib.loads(text))
    run = play(scenario(SLOW, seconds=200), policy=policy)
    met_s = next(
        t for t, used in zip(run.samples.t_s, run.samples.free_mb, strict=True) if used < 400.0
    )
    assert run.kills[0].by == "kubelet"
    # Kernel memory, 25 MiB here, is in no working set: it meets the threshold 5 s later.
    assert met_s + 25.0 <= run.kills[0].t_s <= met_s + 37.0
    assert "for 20.0 s" in run.kills[0].trace[0]
