"""Which lines of a text are a program's: lists, comments, here documents, long texts."""

import pytest

from oomkit.klog.lines.code import is_code
from oomkit.klog.lines.program import program_lines

STATEMENT = "assert x"
KILLED = "Killed process 7 (x)"
QUOTED = f'  "{KILLED}",'


def found(*lines: str) -> list[int]:
    return sorted(program_lines("\n".join(lines)))


# -- blocks --------------------------------------------------------------------------------------


def test_a_block_with_a_statement_is_a_programs_up_to_a_blank_line() -> None:
    assert found(STATEMENT, QUOTED, "", QUOTED) == [2]
    assert found(QUOTED, "", STATEMENT, QUOTED, "", QUOTED) == [4]
    assert found(QUOTED, "", QUOTED) == []
    assert found(QUOTED, STATEMENT) == [1]
    assert found("", STATEMENT, QUOTED) == [3]


def test_a_fence_of_a_language_holds_blank_lines_too() -> None:
    fenced = ("```python", STATEMENT, "", QUOTED, "```")
    assert found(*fenced) == [4]
    assert found("```", *fenced[1:]) == []
    assert found(*fenced, QUOTED) == [4]
    assert found(*fenced, "```python", QUOTED, "```") == [4]
    assert found("~~~ js", STATEMENT, "", QUOTED, "~~~") == [4]
    # What closes a fence opens none.
    assert found("```", STATEMENT, "```python", QUOTED, "", QUOTED) == []


@pytest.mark.parametrize(
    ("line", "is_text"),
    [
        (QUOTED, True), ("  'x',", True), ("`x`", True), ('f"x"', True), ('key: "x"', True),
        ('"key": "x",', True), ("return 'x'", True), ('("x"),', True), ('+  "x",', True),
        ('"x".strip(),', True), ('"x", // why', True), ('{ text: "x" },', True),
        ("pid: 7,", True), ("'pid' = -7", True), ("# words", True), ("// words", True),
        ("-- words", True), ("#words", False), ("words", False), ('words "x"', False),
        ('"x" words', False), ("pid: x", False), (KILLED, False),
    ],
)  # fmt: skip
def test_lines_of_a_program_that_are_texts(line: str, is_text: bool) -> None:
    assert found(STATEMENT, line) == ([2] if is_text else [])


# -- texts over several lines --------------------------------------------------------------------


@pytest.mark.parametrize("mark", ['"""', "'''", "`"])
def test_a_text_over_several_lines(mark: str) -> None:
    text = (STATEMENT, f"x = {mark}", KILLED, mark, KILLED)
    assert found(*text) == [2, 3, 4]
    assert found(*text, f"y = {mark}", KILLED, mark) == [2, 3, 4, 6, 7, 8]
    assert found(STATEMENT, f"x = {mark}{KILLED}", f"{KILLED}{mark}", KILLED) == [2, 3]
    # One that is closed where it begins, or nowhere.
    closed = found(STATEMENT, f"x = {mark}{KILLED}{mark}", KILLED, mark)
    assert 3 not in closed
    assert 3 not in found(STATEMENT, f"x = {mark}", KILLED)
    assert found(f"x = {mark}", KILLED, mark) == []


@pytest.mark.parametrize(("long", "is_one"), [(399, True), (400, False)])
def test_a_text_has_no_more_than_400_lines(long: int, is_one: bool) -> None:
    lines = found(STATEMENT, 'x = """', *[KILLED] * long, '"""', KILLED)
    assert set(range(3, long + 3)) & set(lines) == (set(range(3, long + 3)) if is_one else set())
    assert long + 4 not in lines


# -- here documents ------------------------------------------------------------------------------


def test_what_a_script_feeds_to_its_commands() -> None:
    script = ("#!/bin/sh", "cat <<EOF", KILLED, KILLED, "EOF", KILLED)
    assert found(*script) == [3, 4]
    assert found(*script, "cat <<-'END'", KILLED, "  END", KILLED) == [3, 4, 8]
    assert found("set -e", "cat <<EOF", KILLED, "EOF") == [3]
    # Without its end it has none.
    assert found("#!/bin/sh", "cat <<EOF", KILLED, KILLED) == []
    assert found("#!/bin/sh", "$ cat <<EOF", KILLED, "EOF") == []
    assert found("#!/bin/sh", "echo EOF", KILLED, "EOF") == []


# -- comments ------------------------------------------------------------------------------------


def test_comments_of_commands() -> None:
    block = ("```bash", f"# {KILLED}", "free -m", f"#{KILLED}", "```", f"# {KILLED}")
    assert found(*block) == [2]
    assert found("```", *block[1:]) == []
    assert found(*block, *block) == [2, 8]
    assert found("~~~ yaml", f"  # {KILLED}", "~~~", "~~~", f"# {KILLED}", "~~~") == [2]


def test_comments_behind_asterisks_have_one_alone() -> None:
    block = ("/*", " * words", " *", f" * {KILLED}", " */")
    assert found(*block) == [2, 3, 4, 5]
    assert found(*block, "code", *block) == [2, 3, 4, 5, 8, 9, 10, 11]
    assert found(" * a", " * b", f" * {KILLED}") == []
    assert found(" *", f" * {KILLED}") == []
    assert found(" *", f" * {KILLED}", " * a") == [1, 2, 3]
    assert found("words", " *", f" * {KILLED}", " * a", "words") == [2, 3, 4]


# -- code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (r"a\d+b", True), (r"a\s*b", True), (r"a\w{2}", True), (r"a\d", True), (r"a\d b", False),
        (r"\(x", True), ("a (.*) b", True), ("a (.+) b", True), ("(?P<x>", False),
        (r"(?P<x>\.", True), (r"[^a]\x", True), ("[^a]", False), (r"C:\dir", False),
        ("words (.) x", False), ("oom = 'Killed'", True), ("val oom = Killed", True),
        ("oom=Killed", False), ("oom := (Killed)", True), ("# `Killed`", True),
        ("oom='Killed'", True), ('oom="Killed"', False),
        ("return (x)", True), ("return x", False), ("// Killed", True), ("/ Killed", False),
        ('x("Killed")', True), ("x(Killed)", False), ("Error('Killed')", False),
        ("x.Error('Killed')", True), ("x(a, 'Killed')", True), ("x(a, b, c, 'Killed')", False),
    ],
)  # fmt: skip
def test_whether_a_line_is_code(line: str, code: bool) -> None:
    assert is_code(line) is code
