"""POSIX expressions mean in Python what they mean to the C library."""

import ctypes
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.policy.peers.expressions import from_posix

_LIBC = ctypes.CDLL(None)
_EXTENDED_NOSUB = 1 | 8
"""REG_EXTENDED | REG_NOSUB of glibc, as earlyoom compiles its expressions."""
_SIGNS = st.sampled_from(
    [*"ab1.^$*+?{}(),|[]\\-:/ ", "[:alpha:]", "[^", "\\<", "\\>", "\\w", "{1,2}", "(a|b)"]
)


def c_library(expression: str, name: str) -> bool | None:
    """Whether it is found there; None: it is no expression."""
    compiled = ctypes.create_string_buffer(256)
    if _LIBC.regcomp(compiled, expression.encode(), _EXTENDED_NOSUB):
        return None
    try:
        return bool(_LIBC.regexec(compiled, name.encode(), 0, None, 0) == 0)
    finally:
        _LIBC.regfree(compiled)


@pytest.mark.skipif(not hasattr(_LIBC, "gnu_get_libc_version"), reason="not the GNU C library")
@settings(max_examples=400, deadline=None)
@given(st.lists(_SIGNS, min_size=1, max_size=8), st.text("ab1-/ w", max_size=6))
def test_an_expression_finds_what_the_c_library_finds(signs: list[str], name: str) -> None:
    expression = "".join(signs)
    expected = c_library(expression, name)
    try:
        found = re.search(from_posix(expression), name) is not None
    except ValueError:
        # More may be refused than by the C library, but nothing that it refuses is taken.
        return
    assert found == expected


@pytest.mark.parametrize(
    ("expression", "name", "found"),
    [
        (r"(^|/)(init|X|sshd|firefox)$", "sshd", True),
        (r"(^|/)(init|X|sshd|firefox)$", "sshd2", False),
        (r"^[[:alpha:]]+[0-9]*$", "java8", True),
        (r"^[]a]+$", "]a", True),
        (r"\<ssh", "my ssh", True),
        (r"a{2,3}$", "baaa", True),
        ("Web Content", "Web Content", True),
        ("a.c", "a\nc", True),
        (r"^(a|b)\1$", "bb", True),
        (r"^(a|b)\1$", "ba", False),
        (r"^(a)\11$", "aa1", True),
        ("^[a.]+$", "a.a", True),
        ("^[b=]+$", "b=b", True),
        ("^[.=:]+$", ":=.", True),
        ("^[[:digit:].]+$", "1.5", True),
    ],
)
def test_what_people_write_means_what_it_should(expression: str, name: str, found: bool) -> None:
    assert (re.search(from_posix(expression), name) is not None) is found


@pytest.mark.parametrize("wrong", ["(a", "[a", "a{1", "*?{", "[[:word:]]", "a\\", "[z-a]"])
def test_what_is_none_is_refused_in_words(wrong: str) -> None:
    if wrong == "*?{":
        assert c_library(wrong, "") is None
    with pytest.raises(ValueError, match=r"expression|range|\[:"):
        from_posix(wrong)
