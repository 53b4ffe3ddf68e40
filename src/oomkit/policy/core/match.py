"""Which processes a policy's words are about."""

import re

from oomkit.policy.core.candidate import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS = ("comm", "exe", "cmdline", "user", "cgroup", "unit", "container")
"""What a pattern can be held against; ``user`` also matches the number."""


class Matcher:
    """Fields and the patterns that all of them have to match in full.

    Args:
        patterns: names of fields and regular expressions.
    """

    __slots__ = ("_patterns",)

    def __init__(self, patterns: "Iterable[tuple[str, str]]") -> None:
        self._patterns = [(field, re.compile(pattern, re.DOTALL)) for field, pattern in patterns]

    def matches(self, candidate: Candidate) -> bool:
        """Whether it is about this process; what was not looked up matches nothing."""
        for field, pattern in self._patterns:
            value = getattr(candidate, field)
            if value is not None and pattern.fullmatch(value):
                continue
            if field != "user" or not _number(pattern, candidate):
                return False
        return True


def _number(pattern: "re.Pattern[str]", candidate: Candidate) -> bool:
    return candidate.uid is not None and pattern.fullmatch(str(candidate.uid)) is not None
