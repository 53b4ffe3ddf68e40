"""R5: what the strategy is for, as numbers of every run."""

from typing import Any

import pytest

from oomkit.model import play
from oomkit.scenario import Run, scenario_from

HOLD = {"hold": "forever"}


def run(*tasks: dict[str, Any], **rest: Any) -> Run:
    raw = {"name": "n", "duration": "60s", "machine": {"ram": "512M"}, "task": list(tasks), **rest}
    return play(scenario_from(raw), audit=True)


def leak(**rest: Any) -> dict[str, Any]:
    return {"name": "leak", "start": "15s", "steps": [{"touch": "2G", "rate": "40M/s"}], **rest}


def big(**rest: Any) -> dict[str, Any]:
    return {"name": "big", "steps": [{"touch": "300M"}, {"work": "2s", "set": "1M"}, HOLD], **rest}


def test_one_kill_frees_what_the_victim_held_and_loses_what_it_had_worked() -> None:
    """R5: lose the least work, free the most memory."""
    record = run(big())
    assert record.objectives == type(record.objectives)()  # nothing happened: all of them 0
    record = run(big(), leak(role="culprit"))
    first = record.kills[0]
    assert first.task == "big"
    # Its 300 MB and some page tables; the two seconds it worked, and faulting them in.
    assert first.freed_mb == pytest.approx(301, abs=2)
    assert first.work_lost_s == pytest.approx(2.3, abs=0.2)
    assert record.objectives.kills == len(record.kills)
    assert record.objectives.freed_mb == pytest.approx(
        sum(k.freed_mb for k in record.kills), abs=0.01
    )
    assert record.objectives.work_lost_s == pytest.approx(sum(k.work_lost_s for k in record.kills))


def test_innocent_is_a_victim_that_was_not_growing_unless_the_scenario_says_otherwise() -> None:
    """R5: spare the innocent task that merely is big."""
    assert run(big(), leak()).objectives.innocents_killed == 1
    assert run(big(role="culprit"), leak()).objectives.innocents_killed == 0
    spared = run(big(), leak(oom_score_adj=1000))
    assert [kill.task for kill in spared.kills] == ["leak"]
    assert spared.objectives.innocents_killed == 0


def test_as_few_as_possible_and_none_that_is_protected() -> None:
    """R5: kill as few as possible."""
    assert run(big(), leak(oom_score_adj=1000)).objectives.kills == 1
    assert run(big(role="protected"), leak()).objectives.protected_killed == 1


def test_a_kill_that_is_only_logged_counts_nowhere() -> None:
    """R5, R12: ``would_have_oomkilled`` only logs."""
    named = run(big(), leak(), vm={"would_have_oomkilled": 1})
    assert named.kills
    assert all(kill.would_have for kill in named.kills)
    assert (named.objectives.kills, named.objectives.freed_mb) == (0, 0.0)


def test_frozen_is_the_time_in_which_a_small_program_takes_over_a_second() -> None:
    """R5: the machine must not become unusable."""
    stuck = run(big(), leak(), vm={"oom_killer_disabled": 1})
    spans = stuck.frozen
    total = sum(span.to_s - span.from_s for span in spans)
    assert stuck.objectives.frozen_s == pytest.approx(total, abs=0.01)
    assert stuck.objectives.frozen_s > 30
    assert run(big()).objectives.frozen_s == 0
