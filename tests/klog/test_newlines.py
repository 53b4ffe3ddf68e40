"""Lines are counted alike with stringzilla and without."""

import importlib
import itertools
import random
import sys
from collections.abc import Iterator

import pytest

from oomkit.klog.lines import scan


@pytest.fixture(params=["stringzilla", "plain"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "stringzilla":
        pytest.importorskip("stringzilla")
    else:
        monkeypatch.setitem(sys.modules, "stringzilla", None)
    importlib.reload(scan)
    yield
    monkeypatch.undo()
    importlib.reload(scan)


@pytest.mark.usefixtures("counting")
def test_stretches_of_a_log_are_counted_whole() -> None:
    rng = random.Random(1)
    data = bytearray(rng.choices(b"\nab\x8a", k=200_000))
    cuts = sorted(rng.choices(range(len(data)), k=40))
    counts = [scan.count_newlines(data, a, b) for a, b in itertools.pairwise(cuts)]
    assert sum(counts) == data.count(b"\n", cuts[0], cuts[-1])
    data += b"\n"  # nothing holds on to the buffer
    assert scan.count_newlines(data, 0, len(data)) == data.count(b"\n")
    assert scan.count_newlines(data, 7, 7) == 0
