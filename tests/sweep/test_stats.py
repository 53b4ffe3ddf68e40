"""Intervals against published tables."""

import pytest

from oomkit.sweep.answer import mean_of, share, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_students_t_is_near_the_table(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=0.01)


def test_a_mean_has_an_interval() -> None:
    found = mean_of(100, 10.0, 5.0)
    assert (found.low, found.high) == pytest.approx((9.008, 10.992), abs=0.002)
    alone = mean_of(1, 10.0, 0.0)
    assert (alone.low, alone.high) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (5, 10, 0.237, 0.763), (81, 263, 0.255, 0.366)],
)
def test_wilsons_interval_is_as_published(k: int, n: int, low: float, high: float) -> None:
    found = share(k, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.001)
