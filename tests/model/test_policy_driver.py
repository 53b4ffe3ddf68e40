"""A policy at work on the modelled machine."""

from typing import Any

import pytest

from oomkit.model import play
from oomkit.policy.read import find_policy, policy_from
from oomkit.policy.records import Policy
from oomkit.scenario import Run, scenario_from

HOLD = {"hold": "forever"}
LEAK = {"name": "leak", "steps": [{"touch": "2G", "rate": "20M/s"}, HOLD]}
BIG = {"name": "big", "role": "protected", "steps": [{"touch": "250M", "over": "1s"}, HOLD]}


def guarded(tasks: list[dict[str, Any]], policy: Policy | str = "default", **rest: Any) -> Run:
    machine = {"ram": "512M", **rest.pop("machine", {})}
    raw = {"name": "n", "duration": "60s", "machine": machine, "task": tasks, **rest}
    chosen = find_policy(policy) if isinstance(policy, str) else policy
    return play(scenario_from(raw), policy=chosen, sample_s=0.1, audit=True)


def low(*, level: str = "soft", at: str = "10%", look: Any = None, **how: Any) -> Policy:
    when = [{"level": level, "available": at, "swap_free": "100%"}]
    return policy_from({"name": "low", "when": when, "how": how, "look": look or {}})


def kills(run: Run) -> list[tuple[str, str]]:
    return [(kill.task, kill.by) for kill in run.kills]


def test_the_default_kills_the_leak_before_the_kernel_kills_the_large_one() -> None:
    assert kills(guarded([BIG, LEAK], "kernel"))[0] == ("big", "kernel")
    run = guarded([BIG, LEAK])
    assert kills(run) == [("leak", "default")]
    assert run.policy == "default"
    assert run.objectives.protected_killed == run.objectives.innocents_killed == 0
    kill = run.kills[0]
    assert kill.trace[0].startswith("default: soft: available")
    assert kill.trace[1].startswith("chosen: leak[101]")
    assert kill.trace[-1] == "SIGTERM to leak[101]: chosen"
    assert kill.freed_mb == pytest.approx(160, abs=30)


def test_no_policy_and_a_policy_without_rules_are_the_same_run() -> None:
    alone = play(scenario_from({"name": "n", "machine": {"ram": "512M"}, "task": [BIG, LEAK]}))
    kernel = find_policy("kernel")
    guarded_run = play(
        scenario_from({"name": "n", "machine": {"ram": "512M"}, "task": [BIG, LEAK]}),
        policy=kernel,
    )
    assert guarded_run.kills == alone.kills
    assert guarded_run.samples == alone.samples


def test_it_looks_when_the_threshold_is_crossed_not_later_than_its_own_pace() -> None:
    """What is available when it acts differs from its threshold by what one pause lets through."""
    leak = {"name": "leak", "steps": [{"touch": "2G", "rate": "10M/s"}, HOLD]}
    for pause_s in (0.02, 0.5, 3.0):
        look = {"least": f"{pause_s * 1000:g}ms", "most": f"{pause_s * 1000:g}ms"}
        run = guarded([leak], low(look=look))
        killed = run.kills[0]
        assert killed.by == "low"
        before = [mb for t, mb in zip(run.samples.t_s, run.samples.available_mb, strict=True)
                  if t <= killed.t_s]  # fmt: skip
        threshold_mb = 0.1 * (512 - 41 - 8)
        assert threshold_mb - 10 * pause_s - 2 <= before[-1] <= threshold_mb + 2


def test_a_slow_guard_comes_after_the_kernel() -> None:
    hog = {"name": "hog", "start": "1s", "steps": [{"touch": "2G", "rate": "1G/s"}, HOLD]}
    assert kills(guarded([hog], low(look={"least": "5s", "most": "5s"}))) == [("hog", "kernel")]
    assert kills(guarded([hog], low(look={"least": "20ms", "most": "20ms"}))) == [("hog", "low")]


def test_a_process_that_ignores_sigterm_is_killed_at_the_timeout() -> None:
    """Row 7."""
    deaf = {**LEAK, "on_sigterm": "ignore"}
    run = guarded([deaf], low(at="30%", term_wait="2s"))
    assert kills(run) == [("leak", "low")]
    term, kill = run.kills[0].trace[-2:]
    assert term.startswith("SIGTERM to leak")
    assert kill.startswith("SIGKILL to leak[100]: still there 2.0 s after SIGTERM")


def test_a_process_that_exits_slowly_gets_the_time_it_needs() -> None:
    slow = {**LEAK, "sigterm_exit": "1500ms"}
    run = guarded([slow], low(at="30%", term_wait="5s"))
    quick = guarded([LEAK], low(at="30%", term_wait="5s"))
    assert run.kills[0].t_s - quick.kills[0].t_s == pytest.approx(1.5, abs=0.01)
    assert run.kills[0].trace[-1].startswith("SIGTERM")


def test_a_machine_that_stands_still_below_the_threshold_is_not_left_to_itself() -> None:
    still = {"name": "still", "steps": [{"touch": "420M", "over": "5s"}, HOLD]}
    assert kills(guarded([still], low(at="20%"))) == [("still", "low")]
    untouchable = {**still, "oom_score_adj": -1000}
    run = guarded([untouchable], low(at="20%"))
    assert (run.outcome, run.kills) == ("completed", ())


def test_thrashing_is_ended_before_the_machine_freezes() -> None:
    """Row 9: swap is still free."""
    work = {
        "name": "solver", "count": 2,
        "steps": [{"touch": "330M", "over": "3s"}, {"work": "600s"}],
    }  # fmt: skip
    machine = {"swap": "2G", "programs": "40M", "disk": "50M/s"}
    assert guarded([work], "kernel", machine=machine).objectives.kills == 0
    run = guarded([work], machine=machine)
    assert kills(run) == [("solver", "default")]
    assert "psi_full" in run.kills[0].trace[0]


def test_the_process_that_fills_tmpfs_is_killed() -> None:
    filler = {
        "name": "filler", "role": "culprit", "cgroup": "f", "start": "5s",
        "steps": [{"tmpfs": "600M", "rate": "20M/s"}, HOLD],
    }  # fmt: skip
    groups = [{"name": "f"}, {"name": "b"}]
    run = guarded([{**BIG, "cgroup": "b"}, filler], cgroup=groups)
    assert kills(run) == [("filler", "default")]
    del filler["cgroup"]
    assert kills(guarded([BIG, filler])) == [("filler", "default")]
    assert kills(guarded([BIG, filler], "earlyoom"))[0] == ("big", "earlyoom")


def test_a_fork_bomb_is_taken_several_at_a_time() -> None:
    children = [{
        "name": "bomb", "count": 60, "every": "50ms",
        "steps": [{"touch": "25M", "over": "200ms"}, HOLD],
    }]  # fmt: skip
    bomber = {"name": "bomber", "start": "3s", "steps": [{"touch": "1M"}, HOLD],
              "children": children}  # fmt: skip
    small = {"name": "tab", "count": 8, "oom_score_adj": 300, "role": "innocent",
             "steps": [{"touch": "5M"}, HOLD]}  # fmt: skip
    run = guarded([small, bomber])
    kernel = guarded([small, bomber], "kernel")
    assert kernel.objectives.innocents_killed > 0
    assert run.objectives.innocents_killed == 0
    assert run.objectives.kills <= 1.2 * kernel.objectives.kills
    assert any("more (namesakes)" in line for kill in run.kills for line in kill.trace)


def test_systemd_oomd_kills_the_cgroup_with_most_swap() -> None:
    tasks = [
        {"name": name, "cgroup": "app", "steps": [{"touch": "250M", "over": "10s"}, HOLD]}
        for name in ("a", "b")
    ]
    leak = {**LEAK, "cgroup": "leak", "steps": [{"touch": "400M", "rate": "40M/s"}, HOLD]}
    run = guarded(
        [*tasks, leak], "systemd-oomd", machine={"swap": "420M"},
        cgroup=[{"name": "app"}, {"name": "leak"}],
    )  # fmt: skip
    assert {by for _, by in kills(run)} == {"systemd-oomd"}
    assert len({kill.t_s for kill in run.kills}) == 1
    assert "ranks" not in run.kills[0].trace[0]


@pytest.mark.parametrize("name", ["default", "earlyoom", "nohang", "systemd-oomd", "oomd-like"])
def test_the_same_run_gives_the_same_record(name: str) -> None:
    machine = {"swap": "256M"}
    assert guarded([BIG, LEAK], name, machine=machine) == guarded(
        [BIG, LEAK], name, machine=machine
    )
