"""What a scenario leaves to chance is the same for the model and for real kernels."""

import random
from typing import Any

import pytest

from oomkit.model import play
from oomkit.real.plan import Places, Planner
from oomkit.scenario import Scenario, scenario_from
from oomkit.scenario.draws import draw
from oomkit.scenario.format import Step, Task

EXITS = (Step(verb="exit"),)


def test_sizes_are_drawn_only_where_a_spread_is_declared() -> None:
    (plain,) = draw(Task(name="x", steps=EXITS * 200), random.Random(1))
    assert plain.scales == (1.0,) * 200
    (drawn,) = draw(Task(name="x", steps=EXITS * 200, spread=0.4), random.Random(1))
    assert 0.6 <= min(drawn.scales) < 0.65
    assert 1.35 < max(drawn.scales) <= 1.4


def test_delays_are_drawn_up_to_the_jitter() -> None:
    drawn = draw(Task(name="x", count=200, jitter_s=4.0, steps=EXITS), random.Random(1))
    late = [one.late_s for one in drawn]
    assert len(set(late)) == 200
    assert 0.0 <= min(late) < 0.1
    assert 3.9 < max(late) <= 4.0


def test_each_parent_has_children_of_its_own() -> None:
    child = Task(name="c", count=2, spread=0.5, steps=EXITS)
    one, other = draw(Task(name="p", count=2, steps=EXITS, children=(child,)), random.Random(1))
    scales = [drawn.scales for parent in (one, other) for drawn in parent.children[0]]
    assert len(set(scales)) == 4


def family() -> Scenario:
    touch: list[dict[str, Any]] = [{"touch": "20M"}, {"hold": "1s"}, {"hold": "forever"}]
    late = {"name": "late", "start": "3s", "spread": 0.5, "steps": touch}
    parent = {
        "name": "parent", "count": 2, "every": "4s", "jitter": "2s", "spread": 0.3, "steps": touch,
        "children": [{"name": "kid", "count": 2, "start": "1s", "jitter": "1s", "spread": 0.4,
                      "steps": touch}],
    }  # fmt: skip
    small = {"name": "small", "count": 3, "start": "500ms", "spread": 0.2, "steps": touch}
    raw = {"name": "f", "duration": "30s", "machine": {"ram": "1G"}, "task": [late, parent, small]}
    return scenario_from(raw)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_is_the_same_sizes_in_the_model_and_in_the_plan_of_a_real_run(seed: int) -> None:
    """Whatever the order in which they start there."""
    samples = play(family(), seed=seed, sample_s=0.1).samples
    sizes = {key: max(series.rss_mb) for key, series in samples.tasks.items()}
    places = Places(files="", tmpfs="", cgroup_procs={"": ()})
    plan = Planner(family(), places, seed).tasks()
    planned = {f"{entry['name']}/{entry['instance']}": _touched_mb(entry) for entry in plan}
    # Shared text is in every rss, and the same.
    text_mb = sizes["late/0"] - planned["late/0"]
    assert {key: sizes[key] - text_mb for key in planned} == pytest.approx(planned, abs=0.05)
    kids = sorted(size - text_mb for key, size in sizes.items() if key.startswith("kid/"))
    theirs = sorted(_touched_mb(kid) for entry in plan for kid in entry["children"])
    assert kids == pytest.approx(theirs, abs=0.05)


def _touched_mb(entry: dict[str, Any]) -> float:
    return float(entry["steps"][0]["size"]) / 2**20


def test_a_task_that_is_started_again_is_as_large_as_before() -> None:
    raw = {
        "name": "r", "duration": "20s", "machine": {"ram": "1G"},
        "task": [{"name": "t", "spread": 0.5, "restart": "1s",
                  "steps": [{"touch": "40M"}, {"hold": "2s"}]}],
    }  # fmt: skip
    samples = play(scenario_from(raw), sample_s=0.1).samples
    sizes = [max(samples.tasks[f"t/{i}"].rss_mb) for i in range(3)]
    assert max(sizes) - min(sizes) < 0.05
