"""Tables in the width there is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.render.document import Table, Text
from oomkit.render.layout import Column, Terminal
from oomkit.render.terminal import plain_lines, to_text

_CELLS = st.text(alphabet="0123456789.", min_size=1, max_size=9)


@given(
    st.lists(st.tuples(_CELLS, st.integers(1, 9)), max_size=8),
    st.integers(40, 120),
    st.text(alphabet="abcdefgh ", min_size=1, max_size=60),
)
def test_no_number_is_cut_and_what_is_left_out_is_named(
    cells: list[tuple[str, int]], width: int, key: str
) -> None:
    columns = [
        Column(heading="key", cells=[key], words=True),
        *(
            Column(heading=f"h{i}", cells=[cell], leaves=leaves, right=True)
            for i, (cell, leaves) in enumerate(cells)
        ),
    ]
    terminal = Terminal(width=width)
    shown = to_text([Table(columns=columns)], terminal)
    table, _, note = shown.partition("(no room for ")
    assert max(map(len, shown.splitlines())) <= width
    heads = table.splitlines()[0].split()
    out = re.findall(r"h\d+", note)
    assert heads[0] == "key"
    assert sorted([*heads[1:], *out]) == sorted(f"h{i}" for i in range(len(cells)))
    kept = [cell for i, (cell, _) in enumerate(cells) if f"h{i}" in heads]
    assert re.findall(r"[\d.]+", "\n".join(table.splitlines()[1:])) == kept
    words = re.findall(r"[a-h]+", "\n".join(table.splitlines()[1:]))
    assert "".join(words) == "".join(key.split())
    if out:
        most_out = max(cells[int(name[1:])][1] for name in out)
        assert all(cells[int(name[1:])][1] >= most_out for name in heads[1:])


@pytest.mark.parametrize("width", [12, 20, 60, 200])
@pytest.mark.parametrize("text", ["#1 mysqld[6576] was killed", "#10 mysqld[6576] was killed", "a"])
def test_a_folded_line_loses_no_blank(text: str, width: int) -> None:
    parts = plain_lines([Text(text[3:], first=text[:3], rest="   ")], Terminal(width=width))
    assert all(len(part) <= width for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert parts[0].startswith(text.split(maxsplit=1)[0] + (" " if " " in text else ""))
