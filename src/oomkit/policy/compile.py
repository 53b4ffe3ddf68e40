"""From the records of a policy file to the plan that :mod:`oomkit.policy.engine` works with."""

import fnmatch

from oomkit.policy import records
from oomkit.policy.engine import conditions
from oomkit.policy.engine.matcher import NESTED
from oomkit.policy.engine.plan import Plan, Polling, Response, Rule, Selection
from oomkit.policy.engine.plan_parts import (
    Condition,
    Easement,
    Instead,
    Match,
    Preference,
    Supervisor,
)
from oomkit.policy.records import Field, Policy
from oomkit.records import as_dict

WHOLE = "re:"
"""Before a regular expression that has to match the whole value."""
SEARCH = "search:"
"""Before one that may match anywhere in it."""

_LEVELS = {
    "warn": conditions.WARN,
    "ease": conditions.WARN,
    "soft": conditions.SOFT,
    "hard": conditions.HARD,
}


def compile_plan(policy: Policy) -> Plan:
    """Return the plan of a policy."""
    selection = as_dict(policy.whom)
    if policy.whom.cgroup is not None:
        selection["cgroup"] = expression((policy.whom.cgroup,))
    selection["never"] = tuple(_match(one) for one in policy.whom.never)
    selection["prefer"] = tuple(
        Preference(_match(one.match), one.factor, one.points, one.size_kb, one.unless_lowered)
        for one in policy.whom.prefer
    )
    selection["supervisors"] = tuple(
        Supervisor(_match(one.match), one.leads, one.takes, one.restart_s, one.factor)
        for one in policy.whom.supervisors
    )
    response = as_dict(policy.how)
    for kind in ("reclaim", "throttle", "freeze"):
        del response[kind]
    response["easements"] = tuple(
        Easement(one.kind, one.amount.value, one.amount.share, one.lasts_s, one.wait_s)
        for one in policy.how.easements()
    )
    response["instead"] = tuple(
        Instead(_match(one.match), one.command) for one in policy.how.instead
    )
    return Plan(
        policy.name,
        Polling(**as_dict(policy.look)),
        tuple(_rule(rule) for rule in policy.when),
        Selection(**selection),
        Response(**response),
    )


def _rule(rule: records.Rule) -> Rule:
    return Rule(
        _LEVELS[rule.level],
        tuple(Condition(conditions.KINDS[c.kind], c.threshold, c.share) for c in rule.conditions),
        rule.over_s,
        rule.for_s,
        expression((rule.cgroup,)) if rule.cgroup is not None else None,
        rule.by,
        expression(rule.among) if rule.among else None,
        (rule.least.value, rule.least.share) if rule.least is not None else None,
        expression(rule.spare) if rule.spare else None,
        expression(rule.last) if rule.last else None,
        rule.whole,
        rule.pause_s,
        rule.level == "ease",
        rule.decaying,
    )


def _match(match: records.Match) -> Match:
    patterns = tuple((field, expression_of(field, texts)) for field, texts in match.patterns)
    return Match(match_text(match), patterns)


def match_text(match: records.Match) -> str:
    """A match as one line: ``comm sshd, user root``."""
    return ", ".join(f"{field} {' or '.join(texts)}" for field, texts in match.patterns)


def parted(text: str) -> tuple[str, str]:
    """What a pattern begins with if it is a regular expression, and that; else it is a glob."""
    for kind in (WHOLE, SEARCH):
        if text.startswith(kind):
            return kind, text.removeprefix(kind)
    return "", text


def expression_of(field: Field, texts: tuple[str, ...]) -> str:
    """The patterns of a field as one expression."""
    return expression(texts, outer=field in NESTED)


def expression(texts: tuple[str, ...], *, outer: bool = False) -> str:
    """Alternatives, each a glob or a regular expression, as one expression.

    Args:
        texts: the alternatives.
        outer: of values that read ``outer/inner`` only a text with a slash means the inner one.
    """
    parts = []
    for text in texts:
        kind, part = parted(text)
        if kind == SEARCH:
            part = f"(?s:.*)(?:{part})(?s:.*)"
        elif not kind:
            # Everything is matched in full, and a pattern may be continued to what is below.
            part = fnmatch.translate(text).removesuffix(r"\Z").removesuffix(r"\z")
        parts.append(f"(?!.*/)(?:{part})" if outer and "/" not in text else f"(?:{part})")
    return "|".join(parts)
