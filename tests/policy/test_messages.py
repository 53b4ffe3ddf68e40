"""Amounts as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.engine.evidence import amount


@pytest.mark.parametrize(
    ("kb", "text"),
    [(0, "0 B"), (999, "999 KiB"), (1000, "1000 KiB"), (1 << 20, "1.00 GiB"),
     (1034240, "1010 MiB"), (3 << 30, "3.00 TiB")],
)  # fmt: skip
def test_sizes(kb: float, text: str) -> None:
    assert amount(kb, "kb") == text


@given(st.floats(0, 900 * 2**30))
def test_no_size_needs_an_exponent(kb: float) -> None:
    assert "e" not in amount(kb, "kb")
