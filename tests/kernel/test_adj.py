"""``oom_adj`` and ``oom_score_adj``: every value, both ways, in every era."""

import pytest

from oomkit.kernel.adj import is_disabled, oom_adj_of, oom_score_adj_of, task_oom_adj
from oomkit.kernel.state import Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import versions

WRITTEN = {
    -17: -1000, -16: -941, -15: -882, -14: -823, -13: -764, -12: -705, -11: -647, -10: -588,
    -9: -529, -8: -470, -7: -411, -6: -352, -5: -294, -4: -235, -3: -176, -2: -117, -1: -58,
    0: 0, 1: 58, 2: 117, 3: 176, 4: 235, 5: 294, 6: 352, 7: 411, 8: 470, 9: 529, 10: 588,
    11: 647, 12: 705, 13: 764, 14: 823, 15: 1000,
}  # fmt: skip


def test_what_writing_oom_adj_stores() -> None:
    """R3: all 33 values from -17 to 15, by C division toward zero."""
    assert {adj: oom_score_adj_of(adj) for adj in range(-17, 16)} == WRITTEN


@pytest.mark.parametrize("value", [-18, 16, 1000, -1000])
def test_oom_adj_out_of_range_is_refused(value: int) -> None:
    """R3: outside -17..15 the kernel says EINVAL."""
    with pytest.raises(ValueError, match=r"-17\.\.15"):
        oom_score_adj_of(value)


@pytest.mark.parametrize("value", [-1001, 1001])
def test_oom_score_adj_out_of_range_is_refused(value: int) -> None:
    """R3: outside -1000..1000 the kernel says EINVAL."""
    with pytest.raises(ValueError, match=r"-1000\.\.1000"):
        oom_adj_of(value, rules_for("6.18"))


def _toward_zero(dividend: int, divisor: int) -> int:
    return (abs(dividend) // divisor) * (1 if dividend >= 0 else -1)


@pytest.mark.parametrize("version", versions("2.6.36", "3.6"))
def test_oom_adj_written_along_in_2_6_36_to_3_6(version: str) -> None:
    """R3: -1000 is -17, else fifteen thousandths, toward zero."""
    rules = rules_for(version)
    assert oom_adj_of(-1000, rules) == -17
    for value in range(-999, 1001):
        assert oom_adj_of(value, rules) == _toward_zero(value * 15, 1000)
    assert oom_adj_of(1000, rules) == 15
    assert oom_adj_of(-999, rules) == -14


@pytest.mark.parametrize("version", versions("3.7", "6.18"))
def test_oom_adj_read_from_3_7_on(version: str) -> None:
    """R3: 1000 is 15, else seventeen thousandths; up to 5.9 that may print 16."""
    rules = rules_for(version)
    capped = version in versions("5.10", "6.18")
    for value in range(-1000, 1000):
        expected = _toward_zero(value * 17, 1000)
        if capped:
            expected = min(expected, 15)
        assert oom_adj_of(value, rules) == expected
    assert oom_adj_of(1000, rules) == 15
    assert oom_adj_of(-1000, rules) == -17
    assert oom_adj_of(941, rules) == 15
    assert oom_adj_of(942, rules) == (15 if capped else 16)
    assert oom_adj_of(999, rules) == (15 if capped else 16)


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.35"))
def test_classic_kernels_get_an_oom_adj_in_range(version: str) -> None:
    """R3: a what-if on a kernel that has oom_adj alone stays within -17..15."""
    rules = rules_for(version)
    values = [oom_adj_of(value, rules) for value in range(-1000, 1001)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (-17, 15)


def test_writing_then_reading_loses_at_most_one_step() -> None:
    """R3: both files are kept in step; division toward zero may cost one."""
    for version in ("3.7", "4.4", "6.18"):
        for adj, stored in WRITTEN.items():
            back = oom_adj_of(stored, rules_for(version))
            assert back in {adj, adj - (adj > 0) + (adj < 0)}
            assert (adj == -17) == (back == -17)


def test_the_stored_oom_adj_goes_before_the_derived_one() -> None:
    """R3: 2.6.36-3.6 keep two values; the one that was stored is the one shown."""
    task = Task(pid=1, comm="t", oom_score_adj=300, oom_adj=3)
    assert task_oom_adj(task, rules_for("2.6.36")) == 3
    assert task_oom_adj(Task(pid=1, comm="t", oom_score_adj=300), rules_for("2.6.36")) == 4


@pytest.mark.parametrize("version", versions("2.6.11", "6.18"))
def test_who_is_protected(version: str) -> None:
    """R3: -17 protects since 2.6.12 (2.6.11 only shifts by it), -1000 since 2.6.36."""
    rules = rules_for(version)
    classic = version in versions("2.6.11", "2.6.35")
    by_oom_adj = Task(pid=1, comm="t", oom_adj=-17)
    assert is_disabled(by_oom_adj, rules) == (classic and version != "2.6.11")
    assert not is_disabled(Task(pid=1, comm="t", oom_adj=-16, oom_score_adj=-999), rules)
    by_score_adj = Task(pid=1, comm="t", oom_score_adj=-1000)
    assert is_disabled(by_score_adj, rules) == (version != "2.6.11")
