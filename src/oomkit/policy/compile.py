"""A policy as plain values: what :mod:`oomkit.policy.engine` works with.

A plan holds dictionaries, tuples, texts, numbers and None alone, so it can be handed to a small
process with :mod:`marshal`.
"""

import fnmatch
from typing import Any

import msgspec

from oomkit.policy.engine import conditions
from oomkit.policy.engine.victim import NESTED
from oomkit.policy.records import Field, Match, Policy, Rule

SCHEMA = 1

_LEVELS = {"warn": conditions.WARN, "soft": conditions.SOFT, "hard": conditions.HARD}


def compile_plan(policy: Policy) -> dict[str, Any]:
    """Return the plan of a policy."""
    whom = msgspec.structs.asdict(policy.whom)
    whom["never"] = tuple((told(m), _patterns(m)) for m in policy.whom.never)
    whom["prefer"] = tuple(
        (told(p.match), _patterns(p.match), p.factor, p.points) for p in policy.whom.prefer
    )
    how = msgspec.structs.asdict(policy.how)
    how["instead"] = tuple((_patterns(i.match), i.command) for i in policy.how.instead)
    return {
        "schema": SCHEMA,
        "name": policy.name,
        "look": msgspec.structs.asdict(policy.look),
        "rules": tuple(_rule(rule) for rule in policy.when),
        "whom": whom,
        "how": how,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "level": _LEVELS[rule.level],
        "for_s": rule.for_s,
        "over_s": rule.over_s,
        "cgroup": expression((rule.cgroup,)) if rule.cgroup is not None else None,
        "by": rule.by,
        "conditions": tuple((c.kind, c.threshold, c.share) for c in rule.conditions),
    }


def told(match: Match) -> str:
    """A match as one line: ``comm sshd, user root``."""
    return ", ".join(f"{field} {' or '.join(texts)}" for field, texts in match.patterns)


def _patterns(match: Match) -> tuple[tuple[str, str], ...]:
    return tuple((field, expression_of(field, texts)) for field, texts in match.patterns)


def expression_of(field: Field, texts: tuple[str, ...]) -> str:
    """The patterns of a field as one expression."""
    return expression(texts, outer=field in NESTED)


def expression(texts: tuple[str, ...], *, outer: bool = False) -> str:
    """Alternatives, each a glob or ``re:`` and a regular expression, as one expression.

    Args:
        texts: the alternatives.
        outer: of values that read ``outer/inner`` only a text with a slash means the inner one.
    """
    parts = []
    for text in texts:
        part = text.removeprefix("re:") if text.startswith("re:") else fnmatch.translate(text)
        parts.append(f"(?!.*/)(?:{part})" if outer and "/" not in text else f"(?:{part})")
    return "|".join(parts)
