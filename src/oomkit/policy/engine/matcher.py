"""Whether a process is meant by patterns."""

import re

from oomkit.policy.engine.candidate import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS = ("comm", "exe", "cmdline", "user", "cgroup", "unit", "container")
"""What a pattern can be held against; ``user`` also matches the number."""

NESTED = ("unit", "container")
"""Fields whose values may read ``outer/inner``: the owner of the outer one made the inner."""
_MORE = frozenset((*NESTED, "user"))
"""Fields that can be matched in another way than by their value."""


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
        # Asked of each candidate and each rule: a field has a value that decides, as a rule.
        for field, pattern in self._patterns:
            value = getattr(candidate, field)
            if value is not None and pattern.fullmatch(value):
                continue
            if field not in _MORE or not _holds(field, pattern, candidate):
                return False
        return True

    def unsure_of(self, candidate: Candidate) -> str:
        """The fields for whose sake it can't be ruled out that it is about this process.

        Empty where it is, or surely is not.
        """
        unsure = []
        for field, pattern in self._patterns:
            if field in candidate.unknown:
                unsure.append(field)
            elif not _holds(field, pattern, candidate):
                return ""
        return ", ".join(unsure)


def _holds(field: str, pattern: "re.Pattern[str]", candidate: Candidate) -> bool:
    value = getattr(candidate, field)
    if value is not None:
        if pattern.fullmatch(value):
            return True
        if field in NESTED and "/" in value and pattern.fullmatch(value.partition("/")[0]):
            return True
    return field == "user" and _number(pattern, candidate)


def _number(pattern: "re.Pattern[str]", candidate: Candidate) -> bool:
    return candidate.uid is not None and pattern.fullmatch(str(candidate.uid)) is not None
