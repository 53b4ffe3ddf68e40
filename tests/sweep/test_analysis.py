"""The right answer comes out of rows whose answer is known."""

from random import Random
from typing import Any

import polars as pl
import pytest

from oomkit.sweep import analysis
from oomkit.sweep.answer import Answer
from oomkit.sweep.plan import Job, Plan
from oomkit.sweep.run import columns, failure, identity
from oomkit.sweep.spec import Sweep
from tests.sweep.sweeps import sweep

NOTHING = {
    "outcome": "completed", "ended_s": 60.0, "kills": 0, "freed_mb": 0.0, "work_lost_s": 0.0,
    "innocents_killed": 0, "protected_killed": 0, "frozen_s": 0.0, "unusable_s": 0.0, "denied": 0,
    "first_kill_s": None, "first_victim": None, "cost": 0.0, "error": None,
}  # fmt: skip


def answered(one: Sweep, result: Any) -> Answer:
    """The answer to a sweep whose runs come out as ``result(job)`` says."""
    types: dict[type, Any] = {int: pl.Int64, float: pl.Float64, str: pl.String, bool: pl.Boolean}
    schema = {name: types[kind] for name, kind in columns(one.axes).items()}
    rows = [{**identity(one, "leak", job), **NOTHING, **result(job)} for job in Plan(one).jobs()]
    return analysis.answer(one, pl.DataFrame(rows, schema=schema).lazy())


def noise(job: Job) -> float:
    """The same for all runs of a point: what pairing takes out."""
    return Random(f"{job.point}").random() * 100


POLICIES = ["kernel", "default", "earlyoom"]


def test_the_best_policy_is_reported_with_its_margin_and_its_interval() -> None:
    one = sweep(runs=50, policies=POLICIES)
    costs = [30.0, 10.0, 25.0]

    def result(job: Job) -> dict[str, Any]:
        jitter = Random(f"{job.run}").random()
        return {"cost": costs[job.policy] + noise(job) + jitter}

    found = answered(one, result)
    assert found.sentence.startswith("default is best of 3 in 50 loads: cost ")
    assert found.sentence.endswith("less than earlyoom")
    assert [group.label for group in found.groups] == ["default", "earlyoom", "kernel"]
    more = found.against[0].more
    assert more.low < 15 < more.high
    # The load's own noise, from 0 to 100, is not in the difference.
    assert more.high - more.low < 1
    assert found.wins is not None
    assert found.wins.k == 50


def test_what_cant_be_distinguished_is_said() -> None:
    def result(job: Job) -> dict[str, Any]:
        return {"cost": [20.0, 10.0, 10.0][job.policy] + Random(f"{job.run}").gauss(0, 3)}

    found = answered(sweep(runs=40, policies=POLICIES), result)
    assert "not distinguishable from" in found.sentence
    assert [one.told_apart for one in found.against] == [False, True]
    alike = answered(sweep(runs=5, policies=POLICIES), lambda _: {"cost": 7.0})
    assert alike.sentence == "all 3 in 5 loads are alike: cost 7.0 s (7.0 s to 7.0 s) on average"


def test_a_run_that_failed_takes_its_point_out_and_is_reported() -> None:
    def result(job: Job) -> dict[str, Any]:
        if job.run == 4:
            return failure("it broke")
        return {"cost": 1.0 + job.policy}

    found = answered(sweep(runs=3, policies=POLICIES), result)
    assert found.failed == 1
    assert found.notes[0].endswith("run 4 with: it broke")
    assert found.against[0].more.n == 2
    none = answered(sweep(runs=3, policies=POLICIES), lambda _: failure("it broke"))
    assert none.sentence == "no run gave a result"


SWAP = {"machine.swap": {"from": "0", "to": "4G", "step": "1G"}}


def least(frozen: list[int], share: Any = 1.0) -> str:
    """The answer where of 100 runs with each size so many freeze."""
    one = sweep(
        runs=100, vary=SWAP, want={"least": "machine.swap", "without": "freeze", "in": share}
    )

    def result(job: Job) -> dict[str, Any]:
        return {"unusable_s": float(job.point < frozen[job.run % 5])}

    return answered(one, result).sentence


def test_the_least_that_suffices() -> None:
    assert least([90, 40, 0, 0, 0]) == (
        "2.00 GiB machine.swap is the smallest with no freeze in 100 of 100 runs"
    )
    # 1 GiB is free of it by chance: 2 GiB is not.
    assert least([9, 0, 1, 0, 0]).startswith("3.00 GiB machine.swap")
    assert least([9, 0, 1, 0, 0], "99%").startswith("1.00 GiB machine.swap")
    assert least([0, 0, 0, 0, 0]).endswith("in 100 of 100 runs (the smallest tried)")
    assert least([99, 90, 80, 70, 60]) == (
        "no machine.swap tried suffices: with 4.00 GiB, the largest, "
        "60 of 100 runs are not without freeze"
    )


def test_limits_of_several_cgroups_are_found_each_by_itself() -> None:
    one = sweep(
        runs=10,
        vary={"machine.swap": ["0", "1G"], "machine.ram": ["1G", "2G"]},
        want={"least": ["machine.swap", "machine.ram"], "without": ["kill", "panic"]},
    )

    def result(job: Job) -> dict[str, Any]:
        return {"kills": int(job.values[0] == 0)}

    found = answered(one, result)
    assert found.sentence == (
        "1.00 GiB machine.swap is the smallest with no kill and no panic in 10 of 10 runs; "
        "1.00 GiB machine.ram is the smallest with no kill and no panic in 10 of 10 runs "
        "(the smallest tried)"
    )
    assert "machine.ram 2.00 GiB" in found.notes[0]


def test_what_matters_is_reported_with_how_much() -> None:
    one = sweep(
        runs=400,
        vary={
            "machine.swap": {"uniform": ["0", "1G"]},
            "vm.swappiness": [0, 60, 100],
            "machine.thp": [True, False],
        },
    )

    def result(job: Job) -> dict[str, Any]:
        gib, swappiness, _ = float(job.values[0]) / 2**30, job.values[1], job.values[2]
        return {"cost": 100 * gib + (30.0 if swappiness == 100 else 0.0) + noise(job) / 10}

    found = answered(one, result)
    assert [one.key for one in found.influences] == ["machine.swap", "vm.swappiness", "machine.thp"]
    # Variances: a uniform's 100^2/12, 30^2 * 2/9, 10^2/12.
    shares = [one.share for one in found.influences]
    assert shares[0] == pytest.approx(0.77, abs=0.07)
    assert shares[1] == pytest.approx(0.19, abs=0.05)
    assert shares[2] < 0.02
    assert found.sentence.startswith("cost depends most on machine.swap, which explains 7")
    means = [group.objectives["cost"].mean.mean for group in found.influences[0].groups]
    assert means == sorted(means)
    assert len(means) == 5


def test_nothing_matters() -> None:
    one = sweep(runs=100, vary={"vm.swappiness": [0, 60]})
    found = answered(one, lambda job: {"cost": noise(job)})
    assert found.sentence == "cost depends on nothing that varies here by itself"
