"""``/proc/PID/oom_score`` as each version prints it (fs/proc/base.c)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.badness import oom_score, score_control
from oomkit.kernel.state import Memory, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import ALL_RULES, INIT, mem, snap, snapshots, user, versions

TOTAL = 2621440


def score(version: str, task: Task, **world: Any) -> int:
    """What the file prints on a machine of 8 GiB and 2 GiB of swap."""
    world.setdefault("memory", mem())
    return oom_score(task, score_control(snap(task, **world), rules_for(version)))


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.35"))
def test_classic_score_is_badness(version: str) -> None:
    """R4: the classic file prints badness itself, for init too."""
    assert score(version, user(10, 123456)) == 123456
    assert score(version, user(10, 1000, nice=1, oom_adj=2)) == 8000
    assert score(version, INIT) > 0


PRINTED = [
    # first and last version, pages used, adj, printed
    (("2.6.36", "3.4"), 551000, 0, 210),
    (("2.6.36", "3.4"), 551000, 300, 510),
    (("2.6.36", "3.4"), 0, 0, 1),
    (("2.6.36", "3.4"), 0, -1000, 0),
    (("3.5", "5.8"), 551000, 0, 210),
    (("3.5", "5.8"), 551000, 300, 510),
    (("3.5", "5.8"), 0, 0, 0),
    (("3.5", "5.8"), 0, -999, 0),
    (("3.5", "5.8"), 0, -1000, 0),
    (("3.5", "5.8"), 2621440, 1000, 1999),
    (("5.9", "6.18"), 551000, 0, 806),
    (("5.9", "6.18"), 0, 0, 666),
    (("5.9", "6.18"), 0, -1000, 0),
    (("5.9", "6.18"), 0, -999, 1),
    (("5.9", "6.18"), 0, 1000, 1332),
    (("5.9", "6.18"), 2621440, 0, 1333),
    (("5.9", "6.18"), 2621440, 1000, 1999),
]


@pytest.mark.parametrize(("span", "pages", "adj", "printed"), PRINTED)
def test_printed_score(span: tuple[str, str], pages: int, adj: int, printed: int) -> None:
    """R4: thousandths, and from 5.9 on two thirds of a thousand more than that."""
    for version in versions(*span):
        assert score(version, user(10, pages, oom_score_adj=adj)) == printed, version


@pytest.mark.parametrize("version", versions("2.6.36", "6.18"))
def test_score_is_measured_against_the_whole_machine(version: str) -> None:
    """R4: a small memory cgroup or a small node does not change the printed score."""
    task = user(10, 551000, cgroup="/small", mems_allowed=(1,), mempolicy_nodes=(1,))
    assert score(version, task) == score(version, user(10, 551000))


@pytest.mark.parametrize("version", versions("2.6.36", "6.18"))
def test_score_of_whom_nothing_kills(version: str) -> None:
    """R4: init and the dead print 0 from 2.6.36 on."""
    assert score(version, INIT) == 0
    assert score(version, user(10, 5, has_mm=False)) == 0


@given(
    version=st.sampled_from(versions("3.5", "6.18")),
    pages=st.integers(0, 2**34),
    adj=st.integers(-999, 1000),
    ram=st.integers(1, 2**34),
)
def test_score_of_any_size(version: str, pages: int, adj: int, ram: int) -> None:
    """R4: the two formulas on random numbers, divisions toward zero."""
    total = ram + 5
    points = pages + adj * (total // 1000)
    if version in versions("5.9", "6.18"):
        inner = abs(points * 1000) // total
        sum_ = (1000 + (inner if points >= 0 else -inner)) * 2
        expected = abs(sum_) // 3 * (1 if sum_ >= 0 else -1)
    else:
        expected = max(points, 1) * 1000 % 2**64 // total
    memory = Memory(total_ram_pages=ram, total_swap_pages=5)
    assert score(version, user(10, pages, oom_score_adj=adj), memory=memory) == expected


@given(snapshot=snapshots(), rules=st.sampled_from(ALL_RULES))
def test_score_of_any_is_never_negative(snapshot: Any, rules: Any) -> None:
    """R4: every task of every machine has a printable score by every rule set."""
    oc = score_control(snapshot, rules)
    for task in snapshot.tasks:
        printed = oom_score(task, oc)
        assert printed >= 0
        if rules.badness == "permille":
            assert printed <= 1000
