"""Which runs there are, and that nothing but the sweep and its seed says what they are."""

import pytest

from oomkit.sweep.plan import Plan, count_runs
from tests.sweep.sweeps import sweep

SIZES = ["256M", "512M", "1G"]


def test_a_grid_plays_every_combination_once() -> None:
    made = sweep(
        vary={"machine.swap": SIZES, "vm.swappiness": [0, 60], "task.leak.nice": [0, 5]},
        want={"best": "machine.swap"},
        repeat=3,
    )
    jobs = list(Plan(made).jobs())
    assert len(jobs) == 3 * 2 * 2 * 3 == count_runs(made)
    assert [job.run for job in jobs] == list(range(len(jobs)))
    assert len({(job.values, job.seed) for job in jobs}) == len(jobs)
    for point in range(2 * 2 * 3):
        of_point = [job for job in jobs if job.point == point]
        assert len({job.seed for job in of_point}) == 1
        assert len({job.values[1:] for job in of_point}) == 1
        assert {job.values[0] for job in of_point} == {2**28, 2**29, 2**30}


def test_policies_are_played_on_the_same_draws() -> None:
    made = sweep(
        runs=5, policies=["kernel", "default"], vary={"machine.swap": {"uniform": ["0", "1G"]}}
    )
    jobs = list(Plan(made).jobs())
    assert [job.policy for job in jobs] == [0, 1] * 5
    assert all(
        a.values == b.values and a.seed == b.seed
        for a, b in zip(jobs[::2], jobs[1::2], strict=True)
    )
    assert len({job.values for job in jobs}) == 5


def test_a_run_can_be_had_by_its_number_and_from_the_middle() -> None:
    made = sweep(runs=7, policies=["kernel", "default"], vary={"vm.swappiness": [0, 60, 100]})
    plan = Plan(made)
    jobs = list(plan.jobs())
    assert [plan.job(number) for number in range(14)] == jobs
    assert list(plan.jobs(start=5)) == jobs[5:]
    assert list(plan.jobs(frozenset({3, 8}))) == [j for j in jobs if j.run not in (3, 8)]


def test_a_new_axis_or_more_runs_leave_the_other_draws_alone() -> None:
    size = {"uniform": ["0", "1G"]}
    before = Plan(sweep(runs=4, vary={"machine.swap": size})).jobs()
    after = Plan(sweep(runs=6, vary={"vm.swappiness": [0, 60], "machine.swap": size})).jobs()
    pairs = list(zip(before, after, strict=False))
    assert [a.values[0] for a, _ in pairs] == [b.values[1] for _, b in pairs]
    assert [a.seed for a, _ in pairs] == [b.seed for _, b in pairs]


def test_another_seed_draws_others() -> None:
    first, second = (
        [
            j.values
            for j in Plan(sweep(runs=4, seed=s, vary={"vm.swappiness": list(range(99))})).jobs()
        ]
        for s in (1, 2)
    )
    assert first != second


def test_the_least_of_several_is_looked_for_one_at_a_time() -> None:
    made = sweep(
        runs=1,
        vary={"machine.swap": [0, "1G", "2G"], "machine.ram": ["512M", "1G"]},
        want={"least": ["machine.swap", "machine.ram"], "without": "kill"},
    )
    gib = 2**30
    assert count_runs(made) >= Plan(made).total
    assert [job.values for job in Plan(made).jobs()] == [
        (0, gib), (gib, gib), (2 * gib, gib), (2 * gib, gib // 2),
    ]  # fmt: skip


@pytest.mark.parametrize("runs", [1, 1000])
def test_jobs_are_made_as_they_are_asked_for(runs: int) -> None:
    plan = Plan(sweep(runs=runs * 100_000))
    assert plan.total == runs * 100_000
    assert next(plan.jobs(start=plan.total - 1)).run == plan.total - 1
