"""Shares of the CPUs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model import cpu


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.floats(0, 8), st.floats(15, 90000)), max_size=30),
)
def test_cpu_shares_are_bounded_and_waste_nothing(
    cpus: int, needs: list[tuple[float, float]]
) -> None:
    given_ = cpu.fair_shares(cpus, [need for need, _ in needs], [weight for _, weight in needs])
    assert all(0 <= got <= need + 1e-9 for got, (need, _) in zip(given_, needs, strict=True))
    wanted = sum(need for need, _ in needs)
    assert sum(given_) == pytest.approx(min(wanted, cpus))


def test_nice_is_worth_a_factor_of_a_quarter() -> None:
    low, high = cpu.fair_shares(1, [1.0, 1.0], [cpu.nice_weight(1), cpu.nice_weight(0)])
    assert high / low == pytest.approx(1.25)
