"""Lines of a text that are no log's: examples that are asked for, programs; wrapped messages."""

from typing import TYPE_CHECKING

import pytest

from oomkit.klog.lines.code import is_code
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.program import program_lines
from oomkit.klog.lines.prose import asked_lines, explains, has_other_script, supposes, words_in
from oomkit.klog.userspace.wrapped import Wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

ASKS = "You should look for a message like this:"
STAMPED = "[    1.5] Out of memory: Killed process 7 (x)"


def numbers(found: "Iterable[int]") -> list[int]:
    return sorted(found)


# -- examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n \n\n"])
def test_a_sentence_with_nothing_below_asks_for_nothing(end: str) -> None:
    assert asked_lines(ASKS + end) == frozenset()


def test_an_example_ends_with_a_blank_line() -> None:
    assert numbers(asked_lines(f"{ASKS}\n{STAMPED}\nmore\n\n{STAMPED}")) == [2, 3]
    assert numbers(asked_lines(f"{ASKS}\n\n\n{STAMPED}")) == [4]


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_in_a_fence_it_ends_with_the_fence(fence: str) -> None:
    text = f"{ASKS}\n\n{fence}\n{STAMPED}\n\n{STAMPED}\n{fence}\n{STAMPED}"
    assert numbers(asked_lines(text)) == [3, 4, 5, 6]


@pytest.mark.parametrize(("count", "is_example"), [(4, True), (5, False)])
def test_a_longer_piece_of_a_log_is_no_example(count: int, is_example: bool) -> None:
    found = asked_lines("\n".join([ASKS, *[STAMPED] * count]))
    assert numbers(found) == (list(range(2, count + 2)) if is_example else [])


@pytest.mark.parametrize(
    "sentence",
    [
        "Look for the following:", "If dmesg shows this:", "It would look like:",
        "A typical kernel message is:", "something similar:", "**Expected output:**",
        "you will see an entry:", "Lines similar to these:", "## What dmesg shows",
        "### Example", "# Sample log",
    ],
)  # fmt: skip
def test_what_asks_for_the_lines_below(sentence: str) -> None:
    assert numbers(asked_lines(f"{sentence}\n{STAMPED}")) == [2]


@pytest.mark.parametrize(
    "sentence",
    [
        "This is what dmesg shows:", "My log of last night:", "Here is the output of dmesg:",
        "# Log", "## Steps to reproduce", "What dmesg shows", "Look for the following",
    ],
)  # fmt: skip
def test_what_does_not(sentence: str) -> None:
    assert asked_lines(f"{sentence}\n{STAMPED}") == frozenset()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("137 means that it was killed.", False),
        ("137 means that it was killed: 128 + 9.", True),
        ("Symptoms\nSolution\n", False),
        ("Symptoms\nSolution\nCommon causes\n", True),
        ("Symptoms\nHow to fix it\n", False),
        ("Best practices\nTroubleshooting\n", True),
    ],
)
def test_two_marks_make_a_text_one_that_explains(text: str, is_one: bool) -> None:
    assert explains(text) is is_one


def test_only_what_stands_before_supposes() -> None:
    text = "the pod was killed if it swaps"
    assert not supposes(text, len("the pod was killed"))
    assert supposes(text, len(text))


def test_words_are_neither_paths_nor_numbers_nor_names_of_fields() -> None:
    assert words_in("It was (probably) killed, see /var/log and anon-rss:4kB at 12:00.") == 7


@pytest.mark.parametrize(
    ("text", "other"), [("内存不足", True), ("m\u00e9moire", True), ("m", False)]
)
def test_letters_of_other_scripts(text: str, other: bool) -> None:
    assert has_other_script(text) is (other and text != "m\u00e9moire")


# -- programs ------------------------------------------------------------------------------------

STATEMENT = "assert x"
QUOTED = '  "Killed process 7 (x)",'


def test_a_quoted_text_among_statements_is_a_programs() -> None:
    assert numbers(program_lines(f"{STATEMENT}\n{QUOTED}\n\n{QUOTED}")) == [2]
    assert program_lines(f"{QUOTED}\n{QUOTED}") == frozenset()


@pytest.mark.parametrize(
    ("statements", "others", "whole"), [(6, 40, True), (6, 60, False), (5, 5, False)]
)
def test_many_statements_make_a_text_a_program(statements: int, others: int, whole: bool) -> None:
    """Six of them, and an eighth of its lines that are not blank."""
    text = "\n".join([*[STATEMENT] * statements, *["line"] * others, "", QUOTED])
    assert (statements + others + 2 in program_lines(text)) is whole


def test_an_eighth_is_enough() -> None:
    def last_is_taken(lines: int) -> bool:
        text = "\n".join([*[STATEMENT] * 6, *["line"] * (lines - 7), "", QUOTED])
        return lines + 1 in program_lines(text)

    assert last_is_taken(48)
    assert not last_is_taken(49)


def test_in_fences_only_those_of_a_language_are_a_program() -> None:
    text = "```python\nassert x\n\n" + QUOTED + "\n```\n\n" + QUOTED
    assert numbers(program_lines(text)) == [4]
    plain = "```\nassert x\n\n" + QUOTED + "\n```"
    assert program_lines(plain) == frozenset()


def test_comments_between_commands() -> None:
    text = "```bash\n# Killed process 7 (x)\nls\n```\n# Killed process 7 (x)"
    assert numbers(program_lines(text)) == [2]


def test_comments_behind_asterisks() -> None:
    assert numbers(program_lines(" * one\n *\n * three\nx")) == [1, 2, 3]
    assert program_lines(" * one\n *\nx") == frozenset()
    assert program_lines(" * one\n * two\n * three\nx") == frozenset()


def test_what_a_script_feeds_to_a_command() -> None:
    script = "#!/bin/sh\ncat <<EOF\nKilled process 7 (x)\nEOF\nKilled process 8 (y)"
    assert numbers(program_lines(script)) == [3]
    typed = "$ cat <<EOF\nKilled process 7 (x)\nEOF"
    assert program_lines(typed) == frozenset()
    assert program_lines("#!/bin/sh\ncat <<EOF\nKilled process 7 (x)") == frozenset()


def test_a_text_of_several_lines() -> None:
    text = f'{STATEMENT}\nx = """\nKilled process 7 (x)\n"""\nKilled process 8 (y)'
    assert numbers(program_lines(text)) == [2, 3, 4]
    at_once = f'{STATEMENT}\nx = """one"""\nKilled process 8 (y)'
    assert numbers(program_lines(at_once)) == [2]


@pytest.mark.parametrize(
    "line",
    [
        'log("Killed process")', "  // Out of memory", "val x = oom", "# 'Killed process'",
        '[OOM] = "Killed"', "if (line.contains('Killed'))", "x := `Killed`",
        r"Killed process \d+", "return 'Killed'", "> +   say('Killed')",
    ],
)  # fmt: skip
def test_code(line: str) -> None:
    assert is_code(line)


@pytest.mark.parametrize(
    "line",
    [
        STAMPED, "Killed process 7 (x) total-vm:4kB", 'msg="Killed process 7 (x)" level=info',
        "Error: OOMKilled (exit code 137)", "http://host/Killed", "a = b killed",
    ],
)  # fmt: skip
def test_no_code(line: str) -> None:
    assert not is_code(line)


# -- messages of several lines -------------------------------------------------------------------

BEGINS = "Memory on the node (IP: 10.0.0.5, ID: 1) was 15.2GB"
AWAITED = "Ray killed this worker (ID: 7)"


@pytest.mark.parametrize(("between", "found"), [(9, True), (10, False)])
def test_a_wrapped_message_ends_within_ten_lines(between: int, found: bool) -> None:
    wrapped = Wrapped()
    assert wrapped.join(Line(number=1, text=BEGINS), known=False) is None
    for number in range(2, between + 2):
        assert wrapped.join(Line(number=number, text="more"), known=False) is None
    whole = wrapped.join(Line(number=between + 2, text=AWAITED), known=False)
    assert (whole is not None) is found
    if whole is not None:
        assert (whole.number, whole.text) == (1, " ".join([BEGINS, *["more"] * between, AWAITED]))
    assert wrapped.join(Line(number=between + 3, text=AWAITED), known=False) is None


def test_a_line_that_is_read_by_itself_ends_it() -> None:
    wrapped = Wrapped()
    assert wrapped.join(Line(number=1, text=BEGINS), known=True) is None
    assert wrapped.join(Line(number=2, text=AWAITED), known=False) is None
    wrapped.join(Line(number=3, text=BEGINS), known=False)
    assert wrapped.join(Line(number=4, text="other"), known=True) is None
    assert wrapped.join(Line(number=5, text=AWAITED), known=False) is None
