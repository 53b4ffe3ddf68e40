"""Words are found alike with ahocorasick-rs and without it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oomkit.klog.lines import search
from oomkit.klog.lines.scan import KERNEL_NEEDLES
from oomkit.klog.userspace.needles import NEEDLES

aho = pytest.importorskip("oomkit.klog.lines.aho", reason="needs ahocorasick-rs")

ALL = tuple(dict.fromkeys((*KERNEL_NEEDLES, *NEEDLES)))
FEW = st.lists(st.binary(min_size=1, max_size=4).map(lambda b: bytes(c % 3 + 97 for c in b)))


@settings(max_examples=500)
@given(FEW.filter(bool), st.lists(st.sampled_from(b"abcx")).map(bytes), st.integers(0, 9))
@example([b"ab", b"abc", b"bc"], b"xabcbcab", 0)
@example([b"abc", b"ab", b"b"], b"ababcb", 1)
def test_needles_of_few_letters(needles: list[bytes], text: bytes, start: int) -> None:
    """They begin alike, hold and overlap each other: the first of the list counts."""
    needles = list(dict.fromkeys(needles))
    buffer = bytearray(text)
    end = max(len(buffer) - 2, start)
    found = list(search.Needles(needles).find(buffer, start, end))
    assert found == list(aho.Needles(needles).find(buffer, start, end))
    buffer += b"\n"  # nothing holds on to the buffer


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(ALL) | st.sampled_from(ALL).map(lambda n: n[:-1]) | st.binary(max_size=6)
    ).map(b"".join)
)
def test_needles_of_reports(text: bytes) -> None:
    buffer = bytearray(text)
    theirs = list(aho.Needles(ALL).find(buffer, 0, len(buffer)))
    assert list(search.Needles(ALL).find(buffer, 0, len(buffer))) == theirs


WORD = st.text("ab\u00e9x", min_size=1, max_size=3)


@settings(max_examples=300)
@given(st.lists(WORD, min_size=1, unique=True), st.text("ab\u00e9x"))
def test_words_of_a_line(words: list[str], text: str) -> None:
    ours, theirs = search.Words(words), aho.Words(words)
    assert ours.is_in(text) == theirs.is_in(text)
    assert ours.all_in(text) == theirs.all_in(text)
