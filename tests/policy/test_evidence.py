"""Every sentence of a decision, in each of its cases."""

import math
from typing import Any

import pytest

from oomkit.policy.engine.candidate import Ranked
from oomkit.policy.engine.conditions import HARD, KINDS, SOFT, Evidence
from oomkit.policy.engine.decider import Act
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.engine.evidence import (
    act_lines,
    amount,
    evidence_line,
    factors_words,
    plain,
    ranked_line,
    score_words,
    signal_line,
    span,
)
from oomkit.policy.engine.trigger import State
from tests.policy.making import process


@pytest.mark.parametrize(("value", "unit", "text"), [
    (2048, "kb", "2.00 MiB"), (5120, "kb/s", "5.00 MiB/s"), (0.25, "share", "25.0 %"),
    (1.25, "s", "1.2 s"), (math.inf, "s", "never"),
])  # fmt: skip
def test_amounts_with_their_units(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(("value", "text"), [
    (0.0123456, "0.0123"), (999.0, "999"), (999.4, "999"), (1000.0, "1,000"), (-1000.0, "-1,000"),
    (1234567.0, "1,234,567"),
])  # fmt: skip
def test_numbers_need_no_exponent(value: float, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (0.5, "0.5 s"), (60, "60 s"), (90, "90 s"), (119, "119 s"), (120, "2 min"), (150, "150 s"),
    (180, "3 min"), (3600, "1 h"), (3660, "61 min"), (7200, "2 h"), (86400, "1 d"),
    (90000, "25 h"), (172800, "2 d"), (61, "61 s"), (122, "122 s"),
])  # fmt: skip
def test_times_that_somebody_set_in_the_largest_unit_that_divides_them(
    seconds: float, text: str
) -> None:
    assert span(seconds) == text


def measured(kind: str, value: float | None, threshold: float, **more: Any) -> str:
    held_s = more.pop("held_s", 0.0)
    one = Evidence(KINDS[kind], value, threshold, **{"holds": True, **more})
    one.held_s = held_s
    return evidence_line(one)


def test_a_condition_says_what_was_measured_against_what() -> None:
    kb = 1024.0
    assert measured("available", 38 * kb, 40 * kb) == "available 38.0 MiB <= 40.0 MiB"
    assert measured("available", 41 * kb, 40 * kb, holds=False) == "available 41.0 MiB > 40.0 MiB"
    assert measured("zram", 41 * kb, 40 * kb) == "zram 41.0 MiB >= 40.0 MiB"
    assert measured("zram", 38 * kb, 40 * kb, holds=False) == "zram 38.0 MiB < 40.0 MiB"
    assert measured("available", None, 40 * kb) == "available: not known"
    assert measured("limit_left", None, 1.0, cgroup="/a") == "limit_left of /a: not known"
    assert measured("limit_left", 0.0, 1024, cgroup="/a") == "limit_left of /a 0 B <= 1.00 MiB"


def test_a_condition_says_over_which_time_and_for_how_long() -> None:
    assert measured("psi_full", 0.5, 0.25, over_s=2.0) == "psi_full 50.0 % over 2 s >= 25.0 %"
    assert measured("psi_full", 0.5, 0.25, over_s=0.5, held_s=1.25) == (
        "psi_full 50.0 % over 0.5 s >= 25.0 %, for 1.2 s"
    )
    assert measured("empty_within", math.inf, 1.5, holds=False) == "empty_within never > 1.5 s"


def ranked(pid: int, *factors: tuple[str, float], score: float, **fields: Any) -> Ranked:
    one = Ranked(process(pid, 10))
    one.factors, one.score = factors, score
    for name, value in fields.items():
        setattr(one, name, value)
    return one


@pytest.mark.parametrize("first", ["gain_kb", "rss", "swap", "growth"])
def test_scores_that_begin_with_a_size_are_sizes(first: str) -> None:
    one = ranked(7, (first, 102400.0), ("work", 0.5), score=51200.0)
    assert score_words(one) == "50.0 MiB"
    name = "" if first == "gain_kb" else f"{first} "
    assert factors_words(one) == f"{name}100 MiB x work 0.5"


@pytest.mark.parametrize("first", ["oom_score", "reclaim"])
def test_other_scores_are_points(first: str) -> None:
    assert score_words(ranked(7, (first, 1023.0), score=1323.0)) == "1,323"


def test_points_are_added_and_factors_multiplied() -> None:
    assert factors_words(ranked(7, ("oom_score", 700.0), ("comm a", 300.0), score=1000.0)) == (
        "oom_score 700 + comm a 300"
    )
    assert factors_words(ranked(7, ("reclaim", 700.0), ("comm a", 3.0), score=2100.0)) == (
        "reclaim 700 x comm a 3"
    )
    # Only the first is a size: growth is a factor here.
    assert factors_words(ranked(7, ("gain_kb", 2048.0), ("growth", 0.5), score=1.0)) == (
        "2.00 MiB x growth 0.5"
    )
    nothing = ranked(7, score=0.0)
    assert (factors_words(nothing), score_words(nothing)) == ("", "0")


def test_a_rank_says_what_it_is_made_of_and_who_dies_along() -> None:
    one = ranked(7, ("gain_kb", 2048.0), score=2048.0)
    assert ranked_line(one) == "p7[7]: 2.00 MiB"
    one.factors = (("gain_kb", 2048.0), ("work", 0.5))
    one.score = 1024.0
    assert ranked_line(one) == "p7[7]: 2.00 MiB x work 0.5 = 1.00 MiB"
    one.note = "alone: 60 in its tree, at most 50 may die at once"
    assert ranked_line(one) == (
        "p7[7]: 2.00 MiB x work 0.5 = 1.00 MiB (alone: 60 in its tree, at most 50 may die at once)"
    )
    one.note = ""
    one.members = (one.candidate, process(8), process(9))
    one.level = "tree"
    assert ranked_line(one) == "p7[7] and 2 more (tree): 2.00 MiB x work 0.5 = 1.00 MiB"
    one.verdict = "never: comm p7"
    assert ranked_line(one) == "p7[7] and 2 more (tree): never: comm p7"


def test_a_signal_is_named_with_its_reason() -> None:
    assert signal_line(Signal(process(7), "TERM", "chosen"), "web") == "SIGTERM to web[7]: chosen"


def act(level: int, count: int, chosen: int, **more: Any) -> tuple[str, ...]:
    state = State(0.0)
    state.level, state.cgroup = level, more.get("cgroup")
    state.evidence = (
        Evidence(KINDS["available"], 1024.0, 2048.0, holds=True),
        Evidence(KINDS["swap_free"], 0.0, 0.0, holds=True),
    )
    everybody = [ranked(pid, ("gain_kb", 2048.0), score=1.0) for pid in range(1, count + 1)]
    everybody.append(ranked(99, score=0.0, verdict="init"))
    return act_lines("default", Act(state, everybody, everybody[chosen], (), more.get("command")))


def test_an_act_says_why_now_and_why_this_one() -> None:
    assert act(SOFT, 2, 0) == (
        "default: soft: available 1.00 MiB <= 2.00 MiB and swap_free 0 B <= 0 B",
        "chosen: p1[1]: 2.00 MiB",
        "rank 2: p2[2]: 2.00 MiB",
    )
    assert act(HARD, 1, 0, cgroup="/a")[0].startswith("default: hard in /a: available ")


def test_of_those_who_could_be_chosen_three_are_named() -> None:
    assert len(act(SOFT, 3, 0)) == 4
    lines = act(SOFT, 5, 1, command=("/bin/restart", "web"))
    assert lines[1:] == (
        "rank 1: p1[1]: 2.00 MiB",
        "chosen: p2[2]: 2.00 MiB",
        "rank 3: p3[3]: 2.00 MiB",
        "2 more could be chosen",
        "runs /bin/restart web instead of a signal",
    )
