"""Words of a line are found alike with ahocorasick-rs and without it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.klog.lines import search

aho = pytest.importorskip("oomkit.klog.lines.aho", reason="needs ahocorasick-rs")

WORD = st.text("ab\u00e9x", min_size=1, max_size=3)


@settings(max_examples=300)
@given(st.lists(WORD, min_size=1, unique=True), st.text("ab\u00e9x"))
def test_words_of_a_line(words: list[str], text: str) -> None:
    ours, theirs = search.Words(words), aho.Words(words)
    assert ours.is_in(text) == theirs.is_in(text)
    assert ours.all_in(text) == theirs.all_in(text)
