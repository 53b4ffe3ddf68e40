"""Softer acts than a signal in a run: what each does to the modelled machine, and its end."""

import tomllib
from typing import Any

import pytest

from oomkit.model import play
from oomkit.scenario import Run, scenario_from
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
