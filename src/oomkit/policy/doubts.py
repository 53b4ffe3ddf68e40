"""Patterns of a policy that are right as texts and still may not do what was meant."""

import re
from collections.abc import Iterator, Sequence

from oomkit.policy.compile import SEARCH, expression_of, match_text, parted
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.records import Field, Match, Policy

COMM_BYTES = 15
_ANYBODYS = frozenset({"comm", "cmdline"})
"""A process says itself what these are."""


def doubts(policy: Policy, processes: Sequence[Candidate] = ()) -> tuple[str, ...]:
    """What deserves a second look in ``never``, ``prefer`` and ``avoid``, a line each.

    Args:
        policy: the policy.
        processes: all processes of this machine, with what the patterns are about; empty where
            that is not known.
    """
    lines = []
    for kind, match in _matches(policy):
        fields = {field for field, _ in match.patterns}
        if fields <= _ANYBODYS:
            effect = {"never": "is spared", "avoid": "dies later"}.get(kind, "dies earlier")
            lines.append(
                f"{kind} {match_text(match)}: any process can take that name, and {effect}; "
                "add user, unit or exe"
            )
        for field, texts in match.patterns:
            for text in texts:
                if parted(text)[0]:
                    lines += _about_expression(kind, field, text, processes)
    return tuple(lines)


def _matches(policy: Policy) -> Iterator[tuple[str, Match]]:
    for match in policy.whom.never:
        yield "never", match
    for preference in policy.whom.prefer:
        yield "prefer" if preference.factor >= 1.0 else "avoid", preference.match


def _about_expression(
    kind: str, field: Field, text: str, processes: Sequence[Candidate]
) -> Iterator[str]:
    what = f"{kind} {field} {text}"
    begin, expression = parted(text)
    if begin == SEARCH:
        if field == "comm" and _shortest(expression) > COMM_BYTES:
            yield (f"{what}: can never match, as the kernel keeps {COMM_BYTES} bytes of a name")
        elif processes and not _matches_any(field, text, processes):
            yield f"{what}: matches no process now"
        return
    if _only_empty(expression):
        yield (
            f"{what}: can only match an empty {field}; an expression has to match the whole of it, "
            "so end it with .*"
        )
        return
    if processes and not _matches_any(field, text, processes):
        yield f"{what}: matches no process now; an expression has to match the whole {field}"


def _matches_any(field: Field, text: str, processes: Sequence[Candidate]) -> bool:
    matcher = Matcher([(field, expression_of(field, (text,)))])
    return any(matcher.matches(one) for one in processes)


def _shortest(expression: str) -> int:
    """How short the shortest text is that an expression matches; 0 where that is not known."""
    parser = getattr(re, "_parser", None)  # not part of the module's interface
    return 0 if parser is None else int(parser.parse(expression).getwidth()[0])


def _only_empty(expression: str) -> bool:
    """Whether an expression has no room for even one character."""
    parser = getattr(re, "_parser", None)  # not part of the module's interface
    return parser is not None and parser.parse(expression).getwidth()[1] == 0
