"""What the words of a run mean, whatever plays it."""

import pytest

from oomkit.scenario.definitions import (
    REQUESTS,
    freezes,
    outcome_of,
    piece_bytes,
    probe_of,
)
from oomkit.scenario.format import Step
from oomkit.scenario.record import Freeze
from oomkit.scenario.steps import VERBS

PROBE = probe_of(64 << 20)


def test_every_step_says_how_it_asks_for_memory() -> None:
    assert set(REQUESTS) == set(VERBS)
    assert all(bool(one.call) or one.charged == "never" for one in REQUESTS.values()), (
        "what is charged can be refused, and a refused call has a name"
    )


def test_the_probe_needs_no_more_text_than_the_machine_has() -> None:
    assert probe_of(0).text_bytes == 0
    assert probe_of(1 << 20).text_bytes == 1 << 20
    assert PROBE.text_bytes == probe_of(1 << 40).text_bytes < 64 << 20


def spans(*rounds: tuple[float, float | None], ended_s: float = 20.0) -> list[tuple[float, float]]:
    return [(one.from_s, one.to_s) for one in freezes(rounds, ended_s, PROBE)]


def test_a_round_over_in_time_is_no_freeze() -> None:
    assert spans((1.0, 1.01), (2.0, 3.0), (3.0, 3.02)) == []


def test_late_rounds_that_follow_each_other_are_one_freeze() -> None:
    assert spans((1.0, 4.2), (5.0, 6.5), (7.0, 7.01)) == [(1.0, 6.5)]
    assert spans((1.0, 4.2), (5.0, 5.01), (6.0, 7.5)) == [(1.0, 4.2), (6.0, 7.5)]


def test_a_round_that_is_not_over_lasts_to_the_end() -> None:
    assert spans((12.0, None)) == [(12.0, 20.0)]
    assert spans((19.5, None)) == []


@pytest.mark.parametrize(
    ("panicked", "over", "frozen_to", "expected"),
    [
        (True, True, None, "panicked"),
        (False, True, None, "completed"),
        (False, False, None, "timed_out"),
        (False, False, 19.0, "timed_out"),
        (False, False, 20.0, "frozen"),
    ],
)
def test_outcomes(panicked: bool, over: bool, frozen_to: float | None, expected: str) -> None:
    frozen = () if frozen_to is None else (Freeze(from_s=5.0, to_s=frozen_to),)
    assert outcome_of(panicked=panicked, over=over, frozen=frozen, ended_s=20.0) == expected


def test_pieces_of_address_space() -> None:
    mb = 1 << 20
    assert piece_bytes(Step(verb="touch", size_bytes=100 * mb)) == mb
    assert piece_bytes(Step(verb="touch", size_bytes=mb, stride_bytes=2 * mb)) == 32 * mb
    assert piece_bytes(Step(verb="touch", size_bytes=9 * mb, scatter=3)) == 9 * mb
    assert piece_bytes(Step(verb="lock", size_bytes=mb), 40.0 * mb) == 4 * mb
    assert piece_bytes(Step(verb="lock", size_bytes=mb), 1.0) == 4096
    assert piece_bytes(Step(verb="tmpfs", size_bytes=mb)) == 4096
