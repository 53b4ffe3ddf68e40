"""Regular expressions that are compiled when they are first used.

A log needs few of all that lines are tried with, and to compile the others takes longer than to
read most logs. A module that imports this one as ``re`` writes them as with :mod:`re`.
"""

import re
from re import IGNORECASE, MULTILINE, VERBOSE, Match, Pattern, escape, match, search
from typing import Any, AnyStr, cast

__all__ = [
    "IGNORECASE", "MULTILINE", "VERBOSE", "Match", "Pattern", "compile", "escape", "match",
    "search",
]  # fmt: skip


def compile(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:  # noqa: A001  # as in ``re``
    """An expression that is compiled with its first use.

    A mistake in it is found by that (:class:`re.error`), not here.
    """
    return cast("re.Pattern[AnyStr]", _Expression(pattern, flags))


_NAMES = ("match", "search", "fullmatch", "findall", "finditer", "sub", "split", "groupindex")


class _Expression:
    """Stands for an expression, and has all of its own that is used, once it is compiled."""

    def __init__(self, pattern: str | bytes, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(name)
        compiled = re.compile(self.pattern, self.flags)
        for other in _NAMES:
            setattr(self, other, getattr(compiled, other))
        return getattr(compiled, name)
