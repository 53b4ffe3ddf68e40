"""Stall times and their averages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model.psi import Psi


def test_psi_averages_are_the_kernels() -> None:
    """A constant 100 % gives these averages after each period (integer percents)."""
    psi = Psi(250)
    seen = []
    for _ in range(7):
        psi.advance(psi.period_s, 1.0, 0.0)
        seen.append(round(psi.avg10()[0]))
    assert seen == [18, 33, 45, 55, 63, 70, 75]
    assert psi.avg10()[1] == 0.0
    assert psi.some_total_s == pytest.approx(7 * psi.period_s)


@given(st.lists(st.tuples(st.floats(0.001, 50), st.floats(0, 1)), max_size=20))
def test_psi_does_not_depend_on_how_time_is_cut(pieces: list[tuple[float, float]]) -> None:
    whole, cut = Psi(250), Psi(250)
    for seconds, some in pieces:
        whole.advance(seconds, some, 0.0)
        cut.advance(seconds / 2, some, 0.0)
        cut.advance(seconds / 2, some, 0.0)
    assert whole.some_total_s == pytest.approx(cut.some_total_s)
    assert whole.avg10()[0] == pytest.approx(cut.avg10()[0], abs=1.5)
