"""The samples a run is told from: as fine as it is short, with one at each moment that matters."""

from itertools import pairwise
from pathlib import Path

import pytest

from oomkit.model import play
from oomkit.scenario import Run, read_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def told(name: str, *overrides: str) -> Run:
    path = str(SCENARIOS / f"{name}.toml")
    return play(read_scenario(path, overrides=overrides), sample_s=None)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_sample_at_each_kill_and_at_both_ends(name: str) -> None:
    run = told(name)
    t_s = run.samples.t_s
    assert all(before < after for before, after in pairwise(t_s))
    assert (t_s[0], t_s[-1]) == (0.0, run.ended_s)
    for kill in run.kills:
        curve = run.samples.tasks[f"{kill.task}/{kill.instance}"]
        at = t_s.index(kill.t_s)
        assert curve.rss_mb[at] + curve.swap_mb[at] > 0


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_as_fine_as_the_run_is_short(name: str) -> None:
    run = told(name)
    widest = max(after - before for before, after in pairwise(run.samples.t_s))
    assert widest <= run.ended_s / 300
    assert len(run.samples.t_s) < 4000
    for task in run.samples.tasks.values():
        columns = (task.rss_mb, task.swap_mb, task.progress)
        assert {len(column) for column in columns} == {len(run.samples.t_s)}


@pytest.mark.parametrize("name", NAMES)
def test_how_a_run_is_sampled_changes_nothing_of_it(name: str) -> None:
    scenario = read_scenario(str(SCENARIOS / f"{name}.toml"))
    fine, coarse = told(name), play(scenario, sample_s=7.0)
    for field in ("outcome", "ended_s", "kills", "denied", "frozen", "objectives", "log"):
        assert getattr(fine, field) == getattr(coarse, field)


def test_a_thinned_curve_says_what_an_even_one_says() -> None:
    fine = told("database-and-leak").samples
    even = play(read_scenario(str(SCENARIOS / "database-and-leak.toml")), sample_s=1.0).samples
    at = {t: i for i, t in enumerate(fine.t_s)}
    for i, t in enumerate(even.t_s):
        assert fine.free_mb[at[t]] == pytest.approx(even.free_mb[i], abs=1.0)
        assert fine.psi_some_avg10[at[t]] == even.psi_some_avg10[i]
        for key, task in even.tasks.items():
            if fine.tasks[key].rss_mb[at[t]] > 0:  # else it has started at this very moment
                assert fine.tasks[key].rss_mb[at[t]] == pytest.approx(task.rss_mb[i], abs=0.01)
            assert fine.tasks[key].progress[at[t]] == pytest.approx(task.progress[i], abs=0.001)


def test_the_limit_is_reached_in_the_curve_where_it_kills() -> None:
    run = told("oom-group")
    at = run.samples.t_s.index(run.kills[0].t_s)
    tasks = run.samples.tasks.items()
    inside = sum(task.rss_mb[at] for key, task in tasks if key.startswith(("main/", "sidecar/")))
    limit = read_scenario(str(SCENARIOS / "oom-group.toml")).cgroups[0].max_bytes
    assert limit is not None
    assert inside == pytest.approx(limit / 2**20, rel=0.03)


def test_fewer_samples_are_of_the_same_run() -> None:
    scenario = read_scenario(str(SCENARIOS / "test1.toml"))
    whole = play(scenario, sample_s=None)
    thin = play(scenario, sample_s=None, most_samples=50)
    assert thin.kills == whole.kills
    assert thin.ended_s == whole.ended_s
    events = 2 * 20 + len(whole.kills) + 1
    assert len(thin.samples.t_s) <= 50 + events < len(whole.samples.t_s)
    assert set(thin.samples.t_s) >= {whole.samples.t_s[-1]}
