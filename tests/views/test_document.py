"""One document in a window and on a page: the same words, and nothing of others sent on."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from oomkit.printable import printable
from oomkit.render.document import Bar, Bars, Command, Document, Field, Gauge, Part, Table, Text
from oomkit.render.html import part_of_page
from oomkit.render.layout import Column, Terminal
from oomkit.render.terminal import plain_lines, to_text

WORDS = st.text(st.characters(max_codepoint=0x2FF), min_size=1, max_size=9).map(
    lambda text: printable(text).strip() or "x"
)
SHARES = st.integers(0, 100)


def _table(cells: list[str]) -> Table:
    columns = [Column(heading="name", cells=cells, folds=True)]
    return Table(columns=columns, styles=["bold red"] * len(cells), marks=["killed"] * len(cells))


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS, st.sampled_from(("", "dim", "bold red"))),
    st.builds(Field, WORDS, st.lists(WORDS, min_size=1, max_size=3).map(tuple)),
    st.builds(Field, WORDS, st.lists(WORDS, min_size=1, max_size=3).map(tuple), mark=st.just("- ")),
    st.lists(WORDS, min_size=1, max_size=3).map(_table),
    st.builds(
        lambda label, size: Bars([Bar(label=label, size=size, whole=100, text=f"{size} B")]),
        WORDS,
        SHARES,
    ),
    st.builds(lambda text, share: Gauge(share=share / 100, text=text), WORDS, SHARES),
    st.builds(lambda word: Command((word,), "until the next boot"), WORDS),
)


def _letters(text: str) -> str:
    return re.sub(r"\s|\\|#", "", text)


def _said(part: Part) -> list[str]:
    if isinstance(part, Field):
        return [part.name, *part.texts]
    if isinstance(part, Table):
        return [*part.columns[0].cells, "killed"]
    if isinstance(part, Bars):
        return [part.rows[0].label, part.rows[0].text]
    if isinstance(part, Command):
        return [*part.words, part.lasts]
    assert isinstance(part, (Text, Gauge))
    return [part.text]


@given(st.lists(PARTS, min_size=1, max_size=5), st.integers(60, 200))
def test_a_window_and_a_page_say_the_same(parts: list[Part], width: int) -> None:
    shown = _letters("".join(plain_lines(parts, Terminal(width=width))))
    page = part_of_page(parts)
    there = _letters(html.unescape(re.sub(r"<[^>]*>", "", page)))
    for part in parts:
        for text in _said(part):
            assert _letters(text) in shown
            assert _letters(text)[1:] in there  # a name begins with a capital on a page


@given(WORDS)
def test_what_looks_like_markup_is_text(word: str) -> None:
    evil = f"<script>{word}</script>"
    page = Document(Text(evil))
    page.field(evil, [evil], mark="- ")
    page.field(evil, [evil], parts=[_table([evil]), Text(evil)])
    page.add(Command((evil,), evil), Gauge(share=0.5, text=evil))
    page.add(Bars([Bar(label=evil, size=1, whole=2, text=evil, more=evil, apart=True)]))
    assert "<script" not in part_of_page(page)


def test_a_terminal_gets_colours_a_file_none() -> None:
    parts: list[Part] = [Text("dead", "bold red"), _table(["one"])]
    assert "\x1b" not in to_text(parts, Terminal())
    coloured = to_text(parts, Terminal(colour=True))
    assert "\x1b[1;31mdead\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == to_text(parts, Terminal())


def test_ascii_alone_where_nothing_else_can_be_shown() -> None:
    parts: list[Part] = [Gauge(share=0.5, text="half"), Text("čaj …")]
    assert to_text(parts, Terminal(unicode=False)).isascii()


def test_a_narrow_window_leaves_words_out_before_it_cuts_numbers() -> None:
    bar = Bar(label="swap", size=1, whole=2, text="1.00 GiB of 2.00 GiB", more=" in use")
    assert "in use" in to_text([Bars([bar])], Terminal(width=100))
    narrow = to_text([Bars([bar])], Terminal(width=70))
    assert "in use" not in narrow
    assert "1.00 GiB of 2.00 GiB" in narrow
