import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.scenario import Run
from oomkit.views.run_text import free_table
from tests.views.runs import kill, run, runs, scenario


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[2:]]


def test_a_line_a_second_whose_parts_add_up_to_memory() -> None:
    """R17."""
    rows = _rows(free_table(run(), 1.0, scenario()))
    assert [int(row[0]) for row in rows] == list(range(121))
    for row in rows:
        total, used, free, cached, _, swap, swap_used, swap_free = map(int, row[1:9])
        assert (total, swap) == (1024, 256)
        assert abs(used + free + cached - total) <= 2
        assert abs(swap_used + swap_free - swap) <= 1


def test_a_line_shows_the_last_sample_and_what_happened_since() -> None:
    """R17."""
    rows = {row[0]: row for row in _rows(free_table(run(), 25.0, scenario()))}
    made = run().samples
    assert rows["50"][3] == f"{made.free_mb[50]:.0f}"
    assert rows["50"][5] == f"{made.available_mb[50]:.0f}"
    assert rows["50"][9:] == ["frozen"]
    assert rows["75"][9:] == ["killed", "hog/0;", "refused", "hog/1"]


def test_memtotal_may_be_less_than_what_is_built_in() -> None:
    rows = _rows(free_table(run(), 10.0, scenario(), total_mb=1000.0))
    for row in rows:
        total, used, free, cached = map(int, row[1:5])
        assert total == 1000
        assert abs(used + free + cached - total) <= 2


def test_would_have_kills_are_not_reported_as_kills() -> None:
    text = free_table(run(kills=(kill(would_have=True),)), 30.0)
    assert "would have killed hog/0" in text
    assert "  killed" not in text


def test_moments_between_seconds_are_reported_to_the_millisecond() -> None:
    rows = _rows(free_table(run(), 0.5))
    assert rows[1][0] == "0.500"
    assert rows[1][1:4] == rows[0][1:4]
    assert len(rows) == 241


@pytest.mark.parametrize("every_s", [0.0, -1.0, float("nan"), 1e-6])
def test_an_impossible_interval_is_refused(every_s: float) -> None:
    with pytest.raises(ValueError, match="between two lines"):
        free_table(run(), every_s)


@given(runs, st.floats(0.5, 1e4))
@settings(deadline=None, max_examples=40)
def test_any_record_has_its_table(made: Run, every_s: float) -> None:
    if made.ended_s / every_s <= 20_000:
        assert free_table(made, every_s).splitlines()[1].split()[0] == "t_s"
