"""A policy at work on the modelled machine."""

import random
from typing import Any

import pytest

from oomkit.model import play
from oomkit.model.candidates import candidates, memory_key, sizes, start_time, tmpfs_key
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.policy_driver import PolicyDriver
from oomkit.model.psi import Psi
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.policy.engine.candidate import Candidate, Growth
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.read import find_policy, policy_from
from oomkit.policy.records import Policy
from oomkit.scenario import Run, scenario_from
from oomkit.scenario.format import Step, Task
from tests.model.test_address_spaces import holding, process
from tests.model.test_horizon import machine

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


# What its signals do, on a machine made for one question


class Post:
    """A machine with a policy at work, whose signals are sent by hand."""

    def __init__(self, **spec: Any) -> None:
        self.on = machine({"name": "pod"})
        self.timers = Timers()
        self.lifecycle = Lifecycle(
            self.on, self.timers, random.Random(1), on_start=lambda _: None,
            on_kill=lambda: None, on_exit=self._gone,
        )  # fmt: skip
        self.driver = PolicyDriver(
            self.on, self.lifecycle, self.timers, Psi(100), spec.pop("policy", low(term_wait="3s"))
        )
        self.lifecycle.schedule(Task(**{"name": "t", "steps": (Step(verb="hold"),), **spec}), 0.0)
        self.at(0.0)
        self.proc = self.on.procs[0]

    def _gone(self, proc: Proc) -> None:
        self.driver.process_exited(proc)

    def at(self, now: float) -> None:
        self.on.now = now
        self.timers.run_due(now)

    def send(self, name: str, later: int = 0) -> None:
        """Send a signal, to a process of that id that started so many ticks later."""
        to = Candidate(self.proc.pid, start_time(self.proc) + later, 1, "t", anon_kb=0.0)
        self.driver.signal((Signal(to, name, "chosen"),))


@pytest.mark.parametrize(("spec", "name", "exits_s"), [
    ({}, "TERM", 1.0), ({}, "KILL", 1.0), ({"on_sigterm": "ignore"}, "TERM", None),
    ({"on_sigterm": "ignore"}, "KILL", 1.0), ({"sigterm_exit_s": 2.0}, "TERM", 3.0),
    ({"sigterm_exit_s": 2.0}, "KILL", 1.0),
    ({"sigterm_exit_s": 2.0, "on_sigterm": "ignore"}, "TERM", None),
])  # fmt: skip
def test_what_a_signal_does(spec: dict[str, Any], name: str, exits_s: float | None) -> None:
    post = Post(**spec)
    post.at(1.0)
    post.proc.frozen = True
    post.send(name)
    assert not post.proc.frozen, "who is signalled goes on"
    if exits_s is None:
        post.at(30.0)
        assert (post.proc.state, post.lifecycle.kills) == ("hold", [])
        return
    if exits_s > 1.0:
        post.at(exits_s - 0.01)
        assert (post.proc.state, post.lifecycle.kills) == ("hold", [])
        post.at(exits_s)
    (kill,) = post.lifecycle.kills
    assert (kill.by, kill.t_s, post.proc.state) == ("low", exits_s, "exiting")
    assert kill.trace == (f"SIG{name} to t[100]: chosen",)
    assert kill.freed_mb == pytest.approx(10 / 256, abs=1e-3)  # its page tables


def test_one_that_exits_slowly_is_killed_once() -> None:
    post = Post(sigterm_exit_s=2.0)
    post.send("TERM")
    post.at(1.0)
    post.send("KILL")
    post.at(2.0)
    post.send("KILL")
    (kill,) = post.lifecycle.kills
    assert kill.t_s == 1.0
    assert kill.trace == ("SIGTERM to t[100]: chosen", "SIGKILL to t[100]: chosen")


def test_a_later_process_of_that_id_is_not_signalled() -> None:
    post = Post()
    post.send("KILL", later=1)
    assert (post.proc.state, post.lifecycle.kills) == ("hold", [])
    post.send("KILL")
    assert post.proc.state == "exiting"
    post.at(1.0)
    assert post.on.by_pid(100) is None
    post.send("KILL")
    assert len(post.lifecycle.kills) == 1


def test_processes_and_their_sizes_are_found_by_their_start() -> None:
    """In clock ticks of a hundredth of a second since the machine was booted."""
    post = Post(cgroup="pod", uid=7, oom_score_adj=3)
    proc, on = post.proc, post.on
    proc.start_s = 2.5
    at = int(on.uptime_s() * 100) + 250
    assert start_time(proc) == at
    assert memory_key(proc) == (100, at)
    assert tmpfs_key(proc) == (-100, at)
    proc.mm.anon.resident, proc.mm.anon.swapped, proc.mm.locked = 50.0, 5.0, 4.0
    proc.mm.shmem.resident = 30.0
    assert sizes(on) == {(100, at): 4.0 * 89}
    proc.tmpfs_written = 20.0
    assert sizes(on) == {(100, at): 4.0 * 89, (-100, at): 80.0}
    on.now, proc.cpu_s = 10.0, 1.5
    init, found = candidates(on, Growth(60.0), with_scores=False)
    assert (init.pid, init.cgroup, init.oom_score) == (1, "/", None)
    assert (found.pid, found.start_time, found.ppid, found.uid) == (100, at, 1, 7)
    assert (found.anon_kb, found.shmem_kb, found.swap_kb) == (4.0 * 54, 120.0, 20.0)
    assert (found.file_kb, found.pgtables_kb) == (185 * 4.0, 40.0)
    assert (found.cgroup, found.oom_score_adj, found.dying) == ("/pod", 3, False)
    assert (found.age_s, found.cpu_s, found.mm_id) == (7.5, 1.5, None)
    proc.state = "exiting"
    assert candidates(on, Growth(60.0), with_scores=False)[1].dying
    proc.state = "dead"
    assert len(candidates(on, Growth(60.0), with_scores=False)) == 1


@pytest.mark.parametrize(("kernel", "oom_adj", "adj"), [
    ("2.6.32", -17, -1000), ("2.6.32", -16, 0), ("2.6.32", None, 0), ("6.12", -17, 0),
])  # fmt: skip
def test_old_kernels_exempt_by_oom_adj(kernel: str, oom_adj: int | None, adj: int) -> None:
    on = machine(kernel=kernel)
    process(on, 100, oom_adj=oom_adj)
    assert candidates(on, Growth(60.0), with_scores=False)[1].oom_score_adj == adj


def test_scores_are_the_kernels() -> None:
    """6.12: (1000 + 1000 * points / total) * 2 / 3; of 118,688 pages and 16,384 of swap."""
    on = machine()
    proc = holding(process(on, 100), 13_000.0)
    found = candidates(on, Growth(60.0), with_scores=True)[1]
    points = 13_000 + 185 + 10
    assert proc.rss() == 13_185
    assert found.oom_score == (1000 + points * 1000 // (118_688 + 16_384)) * 2 // 3
