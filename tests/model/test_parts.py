"""The parts of the model by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.versions import rules_for
from oomkit.model import cpu
from oomkit.model.psi import Psi
from oomkit.model.watermarks import default_min_free_kbytes, watermarks_for, zones

MODERN = rules_for("6.12")


@pytest.mark.parametrize(("gib", "kbytes"), [(1, 4096), (4, 8192), (16, 16384), (64, 32768)])
def test_default_min_free_kbytes_follows_the_root_of_ram(gib: int, kbytes: int) -> None:
    assert default_min_free_kbytes(gib * 2**18, MODERN, thp=False) == kbytes


def test_thp_raises_the_marks_as_khugepaged_does() -> None:
    assert default_min_free_kbytes(6171021, MODERN, thp=True) == 67584
    assert default_min_free_kbytes(2**18, MODERN, thp=True) == 45056


@given(st.integers(4096, 2**34), st.sampled_from(["2.6.32", "3.10", "4.6", "6.12"]))
def test_marks_are_ordered_and_leave_room(pages: int, kernel: str) -> None:
    found = watermarks_for(pages, rules_for(kernel), min_free_kbytes=0, scale_factor=10, thp=False)
    assert 0 < found.min_pages <= found.low_pages <= found.high_pages
    assert found.min_pages <= found.floor_pages < pages
    assert sum(zones(pages)) == pages


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


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.floats(0, 8), st.floats(15, 90000)), max_size=30),
)
def test_cpu_shares_are_bounded_and_waste_nothing(
    cpus: int, needs: list[tuple[float, float]]
) -> None:
    given_ = cpu.fair_shares(cpus, needs)
    assert all(0 <= got <= need + 1e-9 for got, (need, _) in zip(given_, needs, strict=True))
    wanted = sum(need for need, _ in needs)
    assert sum(given_) == pytest.approx(min(wanted, cpus))


def test_nice_is_worth_a_factor_of_a_quarter() -> None:
    low, high = cpu.fair_shares(1, [(1.0, cpu.nice_weight(1)), (1.0, cpu.nice_weight(0))])
    assert high / low == pytest.approx(1.25)
