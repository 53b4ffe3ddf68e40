"""Processes of a run: holds that a kill cuts short, and forks where memory is low."""

from typing import Any

from oomkit.model import play
from oomkit.scenario import Run, scenario_from

HOLD = {"hold": "forever"}


def run(*tasks: dict[str, Any], **rest: Any) -> Run:
    raw = {"name": "n", "duration": "20s", "machine": {"ram": "512M"}, "task": list(tasks), **rest}
    return play(scenario_from(raw), audit=True)


def test_a_process_that_is_killed_while_it_holds_does_not_go_on_when_the_time_is_over() -> None:
    record = run(
        {"name": "holder", "steps": [{"touch": "300M"}, {"hold": "6s"}, {"touch": "10M"}]},
        {"name": "other", "start": "2s", "oom_score_adj": -1000,
         "steps": [{"touch": "300M", "rate": "200M/s"}, HOLD]},
    )  # fmt: skip
    (kill,) = record.kills
    assert (kill.task, kill.t_s < 6.0) == ("holder", True)
    after = [mb for t, mb in zip(record.samples.t_s, record.samples.tasks["holder/0"].rss_mb,
                                 strict=True) if t >= kill.t_s + 1.0]  # fmt: skip
    assert after
    assert set(after) == {0.0}


def test_a_hold_ends_in_time_in_each_round() -> None:
    record = run({
        "name": "round", "loops": 3,
        "steps": [{"touch": "10M"}, {"hold": "2s"}, {"free": "all"}, {"hold": "1s"}],
    })  # fmt: skip
    assert (record.outcome, round(record.ended_s, 1)) == ("completed", 9.0)


def test_a_fork_takes_page_cache_that_can_be_reclaimed_and_fails_without() -> None:
    forker = {"name": "forker", "start": "9s", "steps": [{"fork": 1}, HOLD]}
    cached = run({"name": "reader", "steps": [{"read": "900M"}, HOLD]}, forker)
    assert cached.denied == ()
    assert "forker/1" in cached.samples.tasks
    full = run(
        {"name": "eater", "steps": [{"touch": "900M", "rate": "90M/s"}, HOLD]},
        {"name": "forker", "steps": [{"hold": "9s"}, {"fork": 1}, HOLD]},
        vm={"oom_killer_disabled": 1, "min_free_kbytes": 100},
    )
    assert [(one.call, one.limit) for one in full.denied] == [("fork", "free memory")]
    assert "forker/1" not in full.samples.tasks
