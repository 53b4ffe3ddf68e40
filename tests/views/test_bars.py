from hypothesis import given
from hypothesis import strategies as st

from oomkit.render.bars import bar, by_column, column_of, sparkline

_SHARE = st.floats(allow_nan=True, allow_infinity=True)


@given(_SHARE, st.integers(0, 60), st.booleans())
def test_a_bar_is_always_as_long_as_asked(share: float, cells: int, unicode: bool) -> None:
    drawn = bar(share, cells, unicode=unicode)
    assert len(drawn) == cells
    assert unicode or drawn.isascii()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.booleans())
def test_a_larger_share_never_draws_less(shares: list[float], unicode: bool) -> None:
    filled = [len(bar(s, 40, unicode=unicode).rstrip(" .")) for s in sorted(shares)]
    assert filled == sorted(filled)


def test_eighths_of_a_cell_are_drawn() -> None:
    assert bar(0.5, 4) == "██  "
    assert bar(9 / 32, 4) == "█▏  "
    assert bar(0.5, 4, unicode=False) == "##.."


@given(st.lists(st.none() | _SHARE, max_size=50), st.booleans())
def test_a_sparkline_has_a_character_for_each_share(
    shares: list[float | None], unicode: bool
) -> None:
    assert len(sparkline(shares, unicode=unicode)) == len(shares)


def test_the_least_above_nothing_is_seen() -> None:
    assert sparkline([None, 0.0, 0.001, 0.5, 1.0]) == "  ▁▄█"
    assert sparkline([0.0, 0.001, 1.0], unicode=False) == " .@"


def test_columns_take_the_extreme_and_keep_the_last_value() -> None:
    t_s, values = [0.0, 1.0, 2.0, 9.0], [5.0, 1.0, 3.0, 7.0]
    assert by_column(t_s, values, 10.0, 5, min) == [1.0, 3.0, 3.0, 3.0, 7.0]
    assert by_column(t_s, values, 10.0, 2, max) == [5.0, 7.0]
    assert by_column([6.0], [2.0], 10.0, 2, max) == [None, 2.0]


@given(st.floats(-10, 1e9), st.floats(-1, 1e9), st.integers(1, 200))
def test_every_time_has_a_column(t: float, end_s: float, columns: int) -> None:
    assert 0 <= column_of(t, end_s, columns) < columns
