"""Lines are counted alike with numpy and without, however big the log."""

import itertools
import random
import sys

import pytest

from oomkit.klog import newlines
from oomkit.klog.newlines import NewlineCounter


@pytest.mark.parametrize("has_numpy", [True, False])
def test_stretches_of_a_big_log_are_counted_whole(
    monkeypatch: pytest.MonkeyPatch, has_numpy: bool
) -> None:
    if has_numpy:
        pytest.importorskip("numpy")
    else:
        monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(newlines, "WORTH_IMPORTING_BYTES", 50_000)
    rng = random.Random(1)
    data = bytearray(rng.choices(b"\nab\x8a", k=200_000))
    cuts = sorted(rng.choices(range(len(data)), k=40))
    counter = NewlineCounter()
    counts = [counter.count(data, start, end) for start, end in itertools.pairwise(cuts)]
    assert sum(counts) == data.count(b"\n", cuts[0], cuts[-1])
    data += b"\n"  # nothing holds on to the buffer
    assert counter.count(data, 0, len(data)) == data.count(b"\n")
