"""Softer acts than a signal in a run: what each does to the modelled machine, and its end."""

import tomllib
from typing import Any

import pytest

from oomkit.model import play
from oomkit.model.candidates import start_time
from oomkit.model.domains import count_usage
from oomkit.model.machine import Machine
from oomkit.model.soft_acts import SoftActs
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.easing import Ease
from oomkit.policy.engine.plan_parts import Easement
from oomkit.policy.engine.trigger import State
from oomkit.scenario import Run, scenario_from
from tests.model.test_address_spaces import holding, process
from tests.model.test_horizon import machine
from tests.policy.making import policy

JOB = """
name = "job"
duration = "60s"
[machine]
ram = "1G"
swap = "1G"
kernel = "6.12"
[[cgroup]]
name = "job"
[[task]]
name = "shell"
steps = [{ touch = "50M" }, { hold = "forever" }]
[[task]]
name = "leak"
cgroup = "job"
steps = [{ touch = "2G", rate = "40M/s" }]
"""
EASE: dict[str, Any] = {"level": "ease", "available": "30%"}
LAST: dict[str, Any] = {"level": "hard", "available": "2%", "swap_free": "5%"}


def played(**how: Any) -> Run:
    found = policy(EASE, LAST, whom={"growth": 0.95}, how=how)
    return play(scenario_from(tomllib.loads(JOB)), policy=found, sample_s=1.0)


def anon_mb(run: Run, t_s: float) -> float:
    """What the leak holds, in RAM and in swap."""
    at = next(i for i, t in enumerate(run.samples.t_s) if t >= t_s)
    leak = run.samples.tasks["leak/0"]
    return float(leak.rss_mb[at] + leak.swap_mb[at])


def test_what_is_frozen_does_not_grow_and_goes_on_after_its_time() -> None:
    run = played(freeze={"time": "20s"})
    (frozen, *_) = run.eased
    assert (frozen.act, frozen.task, frozen.cgroup, frozen.lasts_s) == ("freeze", "leak", "", 20.0)
    begin = frozen.t_s
    assert anon_mb(run, begin + 19.0) == pytest.approx(anon_mb(run, begin + 1.0), abs=1.0)
    assert anon_mb(run, begin + 25.0) > anon_mb(run, begin + 19.0) + 100.0


def test_what_is_reclaimed_goes_to_swap_and_frees_memory() -> None:
    run = played(reclaim={"amount": "100M", "wait": "10s"})
    first = run.eased[0]
    assert (first.act, first.cgroup, first.mb) == ("reclaim", "/job", 100.0)
    before = min(run.samples.swap_free_mb[: int(first.t_s)], default=1024.0)
    after = run.samples.swap_free_mb[int(first.t_s) + 2]
    assert before - after == pytest.approx(100.0, abs=10.0)


def test_a_throttle_lets_a_cgroup_keep_what_it_has_in_memory_and_is_taken_back() -> None:
    run = played(throttle={"time": "10s"})
    first = run.eased[0]
    assert (first.act, first.cgroup, first.lasts_s) == ("throttle", "/job", 10.0)
    leak = run.samples.tasks["leak/0"]
    at = int(first.t_s)
    assert max(leak.rss_mb[at + 2 : at + 10]) < first.mb + 30.0
    assert max(leak.rss_mb[at + 12 :]) > first.mb + 60.0


def test_a_policy_without_them_does_none() -> None:
    found = policy(LAST)
    assert play(scenario_from(tomllib.loads(JOB)), policy=found, sample_s=1.0).eased == ()


# Each of them, on a machine made for one question


def easing(
    kind: str, *members: Proc, kb: float = 0.0, share: float = 0.0, cgroup: str = "", s: float = 5.0
) -> Ease:
    """An act on the first process, or its cgroup, of so many kB or such a share."""
    found = [
        Candidate(one.pid, start_time(one), 1, one.spec.name, anon_kb=0.0, cgroup=cgroup or "/")
        for one in members
    ]
    choice = Ranked(found[0])
    choice.members = tuple(found)
    choice.level = "cgroup" if cgroup else "process"
    choice.place = cgroup or None
    return Ease(State(0.0), [], choice, Easement(kind, share or kb, bool(share), s, 0.0))


def made(**group: Any) -> tuple[Machine, SoftActs, list[Proc]]:
    """Two processes of 1000 pages in a cgroup, one outside, on 16,384 pages of swap."""
    on = machine({"name": "job", **group})
    procs = [
        holding(process(on, pid, cgroup=cgroup), 1000.0)
        for pid, cgroup in ((100, "job"), (101, "job"), (102, None))
    ]
    return on, SoftActs(on, Timers()), procs


@pytest.mark.parametrize(("group", "amount", "swapped"), [
    ({}, {"kb": 1600.0}, 400.0), ({}, {"share": 0.5}, None), ({"swap_max": "400K"}, {"kb": 1600.0},
     100.0), ({}, {"kb": 4e9}, 2000.0),
])  # fmt: skip
def test_a_part_of_a_cgroup_is_reclaimed(
    group: dict[str, Any], amount: dict[str, float], swapped: float | None
) -> None:
    on, acts, procs = made(**group)
    count_usage(on)
    usage, free, count = on.groups["job"].usage, on.free, on.change_count
    assert acts.begin(easing("reclaim", procs[0], cgroup="/job", **amount))
    expected = usage / 2 if swapped is None else swapped
    gone = [1000.0 - proc.mm.anon.resident for proc in procs]
    assert sum(gone) == pytest.approx(expected)
    assert gone[2] == 0.0
    if not group:
        assert gone[0] == gone[1]
    assert [proc.mm.anon.swapped for proc in procs] == pytest.approx(gone)
    assert on.free - free == pytest.approx(expected)
    assert on.change_count == count + 1
    (done,) = acts.done
    pages = usage / 2 if swapped is None else amount["kb"] / 4
    assert (done.act, done.task, done.instance, done.cgroup) == ("reclaim", "t100", 0, "/job")
    assert done.mb == pytest.approx(pages / 256, abs=1e-3)


def test_where_nothing_can_be_reclaimed_nothing_is_done() -> None:
    on, acts, procs = made(swap_max=0)
    assert not acts.begin(easing("reclaim", procs[0], kb=1600.0, cgroup="/job"))
    assert not acts.begin(easing("reclaim", procs[0], kb=1600.0, cgroup="/other"))
    assert acts.done == []
    assert on.change_count == 0


@pytest.mark.parametrize(("amount", "high"), [
    ({"kb": 4000.0}, 1000.0), ({"kb": 0.0}, 1.0), ({"share": 1.0}, None),
])  # fmt: skip
def test_a_cgroup_is_throttled_for_a_time(amount: dict[str, float], high: float | None) -> None:
    on, acts, procs = made()
    group = on.groups["job"]
    count_usage(on)
    assert acts.begin(easing("throttle", procs[0], cgroup="/job", **amount))
    assert group.high_pages == (group.usage if high is None else high)
    acts.timers.run_due(4.9)
    assert group.high_pages < float("inf")
    acts.timers.run_due(5.0)
    assert group.high_pages == float("inf")
    assert [(one.act, one.lasts_s) for one in acts.done] == [("throttle", 5.0)]


def test_a_lower_throttle_stays_and_is_not_taken_back_by_another() -> None:
    on, acts, procs = made(high="2M")
    group = on.groups["job"]
    assert not acts.begin(easing("throttle", procs[0], kb=2048.0, cgroup="/job"))
    assert acts.begin(easing("throttle", procs[0], kb=2044.0, cgroup="/job"))
    assert (group.high_pages, len(acts.done)) == (511.0, 1)
    group.high_pages = 300.0  # somebody else's meanwhile
    acts.timers.run_due(9.0)
    assert group.high_pages == 300.0


@pytest.mark.parametrize(("cgroup", "frozen"), [
    ("", [True, False, False]), ("/job", [True, True, False]),
])  # fmt: skip
def test_a_process_or_all_in_a_cgroup_stand_still(cgroup: str, frozen: list[bool]) -> None:
    on, acts, procs = made()
    ease = easing("freeze", procs[0], cgroup=cgroup)
    assert acts.begin(ease)
    assert [proc.frozen for proc in procs] == frozen
    assert not acts.begin(ease), "it is frozen already"
    count = on.change_count
    acts.timers.run_due(4.9)
    assert [proc.frozen for proc in procs] == frozen
    acts.timers.run_due(5.0)
    assert not any(proc.frozen for proc in procs)
    assert on.change_count == count + sum(frozen)
    assert [(one.act, one.cgroup, one.mb) for one in acts.done] == [("freeze", cgroup, 0.0)]


def test_who_is_signalled_goes_on() -> None:
    on, acts, procs = made()
    assert acts.begin(easing("freeze", procs[0], procs[1]))
    count = on.change_count
    acts.release(100)
    acts.release(102)
    acts.release(77)
    assert [proc.frozen for proc in procs] == [False, True, False]
    assert on.change_count == count + 1


def test_another_process_of_that_id_is_not_frozen() -> None:
    _, acts, procs = made()
    ease = easing("freeze", procs[0])
    procs[0].start_s = 3.0
    assert not acts.begin(ease)
    assert not procs[0].frozen
