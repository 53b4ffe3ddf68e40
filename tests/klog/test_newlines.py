"""Lines are counted alike with stringzilla and without; test_needles has C of our own."""

import importlib.util
import itertools
import random
import sys
from collections.abc import Callable

import pytest

Counting = Callable[[bytearray, int, int], int]


@pytest.fixture(params=["stringzilla", "plain"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """The module's counter, of a copy of the module: others hold on to what is in the module."""
    monkeypatch.setitem(sys.modules, "oomkit.klog.lines.compiled", None)
    if request.param == "stringzilla":
        pytest.importorskip("stringzilla", reason="the extra fast is not installed")
    else:
        monkeypatch.setitem(sys.modules, "stringzilla", None)
    found = importlib.util.find_spec("oomkit.klog.lines.newlines")
    assert found is not None
    assert found.loader is not None
    copy = importlib.util.module_from_spec(found)
    found.loader.exec_module(copy)
    counter: Counting = copy.count_newlines
    return counter


def test_stretches_of_a_log_are_counted_whole(counting: Counting) -> None:
    rng = random.Random(1)
    data = bytearray(rng.choices(b"\nab\x8a", k=200_000))
    cuts = sorted(rng.choices(range(len(data)), k=40))
    counts = [counting(data, a, b) for a, b in itertools.pairwise(cuts)]
    assert sum(counts) == data.count(b"\n", cuts[0], cuts[-1])
    data += b"\n"  # nothing holds on to the buffer
    assert counting(data, 0, len(data)) == data.count(b"\n")
    assert counting(data, 7, 7) == 0
