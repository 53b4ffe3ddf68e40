"""Open files: which are held back for a kill, and when they are lent."""

import errno
import os
from collections.abc import Callable

import pytest

from oomkit.guard.reserve import AMPLE, MIN, WANTED, Reserve
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many files can be open."""
    sysconf = os.sysconf

    def limit(files: int) -> None:
        monkeypatch.setattr(
            os, "sysconf", lambda name: files if name == "SC_OPEN_MAX" else sysconf(name)
        )

    return limit


class Scarce:
    """``os.open`` of ``/dev/null`` while there are so many left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 100
        self.open = os.open
        monkeypatch.setattr(os, "open", self)

    def __call__(self, path: str, *rest: int, **named: int) -> int:
        if path == "/dev/null":
            if not self.left:
                raise OSError(errno.EMFILE, "Too many open files")
            self.left -= 1
        return self.open(path, *rest, **named)


def test_a_reserve_is_lent_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    reserve = Reserve()
    assert (reserve.held, MIN, WANTED) == (MIN, 6, 8)
    assert Fds().since(before) == MIN
    reserve.fill()
    assert reserve.held == WANTED
    with reserve:
        assert (reserve.held, Fds().since(before)) == (0, 0)
        with reserve:
            reserve.fill()
            assert reserve.held == 0, "it is lent"
        assert reserve.held == 0, "still lent"
    assert reserve.held == MIN
    reserve.fill()
    reserve.fill()
    assert reserve.held == WANTED
    reserve.close()
    assert (reserve.held, Fds().since(before)) == (0, 0)


def test_what_is_needed_less_makes_room_for_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce = Scarce(monkeypatch)
    reserve = Reserve()
    made: list[int] = []

    def make_room() -> None:
        made.append(reserve.held)
        scarce.left += 3

    scarce.left = MIN
    with reserve:
        pass
    assert made == []
    scarce.left = 2
    with reserve:
        pass
    assert reserve.held == 2
    reserve.spare(make_room)
    scarce.left = 1
    with reserve:
        pass
    assert (made, reserve.held) == ([1], 4)
    scarce.left = MIN
    with reserve:
        pass
    assert made == [1]
    reserve.close()


@pytest.mark.parametrize(("bounded", "limit", "count", "ample"), [
    (True, 1 << 20, 0, False), (False, AMPLE, 0, True), (False, AMPLE - 1, 0, False),
    (False, -1, 0, True), (False, -1, 10**9, True), (False, AMPLE, 512, True),
    (False, AMPLE, 513, False), (False, 2000, 1488, True), (False, 2000, 1489, False),
])  # fmt: skip
def test_with_very_many_files_none_has_to_be_lent(
    limited: Callable[[int], None], bounded: bool, limit: int, count: int, ample: bool
) -> None:
    limited(limit)
    reserve = Reserve(bounded=bounded)
    assert reserve.ample(count) is ample
    with reserve:
        assert reserve.held == (MIN if reserve.ample() else 0)
    reserve.close()
    assert AMPLE == 1024
