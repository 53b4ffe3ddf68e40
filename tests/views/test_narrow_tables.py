"""Tables of kernels and of the history in a narrow window: whole numbers, whole words."""

import re

import pytest
from msgspec import convert

from oomkit.history.records import Act
from oomkit.kernel.versions import history as rule_ranges
from oomkit.render.layout import Terminal, unbroken
from oomkit.render.terminal import to_text
from oomkit.views.history import candidates_table, history_table
from oomkit.views.kernels import kernels_table

ACT = convert(
    {
        "kind": "act",
        "time_s": 1764126255.0,
        "policy": "default",
        "victim": {"pid": 23817, "comm": "convert"},
        "candidates": [
            {
                "pid": 23817,
                "comm": "convert",
                "freed_kb": 2 << 20,
                "oom_score_adj": 0,
                "score": 2097152,
                "factors": {"gain_kb": 2097152, "growth": 1.0},
            }
        ],
    },
    Act,
)


def lines(width: int, what: str) -> list[str]:
    terminal = Terminal(width=width)
    if what == "kernels":
        return to_text([kernels_table(rule_ranges(), terminal)], terminal).splitlines()
    if what == "history":
        return to_text([history_table([(2, ACT)])], terminal).splitlines()
    return to_text([candidates_table(ACT)], terminal).splitlines()


def words(of: list[str]) -> set[str]:
    found = {word.strip(":;,") for word in " ".join(of).split()}
    return found - {"meaning"}


@pytest.mark.parametrize("what", ["kernels", "history", "candidates"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_broken_inside_a_word_or_before_a_unit(width: int, what: str) -> None:
    found = lines(width, what)
    assert max(map(len, found)) <= width
    assert words(found) - words(lines(400, what)) == set()
    assert what == "kernels" or not any(re.search(r"(?:^| {2})[KMG]iB", line) for line in found)


def test_a_number_and_its_unit_are_unbroken() -> None:
    assert unbroken("took 3 s of 1.47 GiB | rest") == "took 3\xa0s of 1.47\xa0GiB\xa0| rest"
    assert unbroken("2 swaps, 5 big ones") == "2 swaps, 5 big ones"
