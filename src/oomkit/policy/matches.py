"""Reading which processes a table is about."""

import fnmatch
import re
from typing import Any, get_args

from oomkit.policy.format import Field, Match
from oomkit.toml.table import Table, text

FIELDS: tuple[Field, ...] = get_args(Field)

COMM_BYTES = 15
"""The kernel cuts names (TASK_COMM_LEN, include/linux/sched.h)."""


def read_match(table: Table) -> Match:
    """A match from the fields of a table; other keys are left to the caller."""
    patterns = []
    for field in FIELDS:
        parse = _comm_patterns if field == "comm" else _patterns
        texts = table.take(field, parse, ())
        if texts:
            patterns.append((field, texts))
    if not any(field in table.raw for field in FIELDS):
        table.fault("", f"expected at least one of {', '.join(FIELDS)}")
    return Match(patterns=tuple(patterns))


def _patterns(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise ValueError('a pattern such as "sshd", "java*", "re:postgres(: .*)?", or several')
    return tuple(pattern(one) for one in texts)


def pattern(value: Any) -> str:
    """A glob, or ``re:`` and a regular expression.

    Raises:
        ValueError: neither; the text says what was expected.
    """
    one = text(value)
    if one.startswith("re:"):
        try:
            re.compile(one.removeprefix("re:"))
        except re.error as error:
            raise ValueError(f"a regular expression after re: ({error})") from None
    return one


def _comm_patterns(value: Any) -> tuple[str, ...]:
    texts = _patterns(value)
    for one in texts:
        literal = re.sub(r"\[[^]]*\]", "?", one).replace("*", "")
        if not one.startswith("re:") and len(literal.encode()) > COMM_BYTES:
            raise ValueError(
                f"a name of at most {COMM_BYTES} bytes, which is all the kernel keeps of it "
                "(match exe or cmdline instead)"
            )
    return texts


def glob_matches(glob: str, value: str) -> bool:
    """Whether a glob or ``re:`` pattern matches a whole text."""
    if glob.startswith("re:"):
        return re.fullmatch(glob.removeprefix("re:"), value, re.DOTALL) is not None
    return fnmatch.fnmatchcase(value, glob)
