"""Options and files of variables."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.peers.command_line import assignments, options

SHORT = "m:ng"
LONG = {"prefer": True, "pretend": False, "avoid": True}
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(WORDS, WORDS)
def test_an_argument_stands_behind_or_in_the_option(value: str, other: str) -> None:
    joined = options([f"-m{value}"] if value else ["-m", ""], SHORT, LONG)
    for argv in (
        ["-m", value],
        ["--avoid", other, "-m", value],
        [f"--avoid={other}", "-nm", value],
    ):
        last = options(argv, SHORT, LONG)[-1]
        assert (last.name, last.value) == ("-m", value)
    assert joined[0].value == value


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-q"], "an option that there is, not -q"),
        (["-m"], "an argument after -m"),
        (["--pre", "x"], "--prefer or --pretend"),
        (["--avoid"], "an argument after --avoid"),
        (["--pretend=1"], "--pretend without an argument"),
        (["what"], "an option, not 'what'"),
        (["--", "what"], "an option, not 'what'"),
    ],
)
def test_what_is_wrong_is_named(argv: list[str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected.replace("(", r"\(")):
        options(argv, SHORT, LONG)


def test_a_long_option_may_be_short_for_one() -> None:
    assert [one.name for one in options(["--avo", "x"], SHORT, LONG)] == ["--avoid"]


@given(st.lists(WORDS, max_size=4))
def test_what_a_shell_would_quote_is_read_back(words: list[str]) -> None:
    said, others = assignments(f"# a comment\nARGS={shlex.quote(shlex.join(words))}\n")
    assert not others
    assert shlex.split(said[0].value) == words
    assert said[0].line == 2


def test_quotes_comments_and_lines_that_go_on() -> None:
    text = 'A="x\\\n y" # why\n; no\nB=\'a "b"\'\nexport C=1\nif true\n'
    said, others = assignments(text)
    assert [(one.name, one.value, one.line) for one in said] == [
        ("A", "x y", 1), ("B", 'a "b"', 4), ("C", "1", 5),
    ]  # fmt: skip
    assert others == [(6, "if true")]


@pytest.mark.parametrize(("text", "values"), [
    ('A="a\\"b"\nB=c', {"A": 'a"b', "B": "c"}),  # the quote that is escaped closes nothing
    ("A='a\\'\nB=c", {"A": "a\\", "B": "c"}),  # in these a backslash is one
    ("A=a\\'b\nB=c", {"A": "a'b", "B": "c"}),
    ('A="a\\$b\\x"', {"A": "a$b\\x"}),
    ("A=a\\\nb\nB=c", {"A": "ab", "B": "c"}),
    ('A="a\nb"\nB=c', {"A": "a\nb", "B": "c"}),
    ("A=a#b # c\nB='# d'", {"A": "a#b", "B": "# d"}), ("A= # c", {"A": ""}),
])  # fmt: skip
def test_quotes_and_backslashes_mean_what_they_mean_to_a_shell(
    text: str, values: dict[str, str]
) -> None:
    said, others = assignments(text)
    assert {one.name: one.value for one in said} == values
    assert others == []
