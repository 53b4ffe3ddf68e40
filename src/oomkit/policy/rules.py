"""Reading one ``[[when]]``: conditions, and the level they call for."""

from typing import Any, cast, get_args

from oomkit.policy.format import By, Condition, Kind, Level, Rule
from oomkit.policy.matches import pattern
from oomkit.policy.values import amount, positive, seconds, share
from oomkit.toml import units
from oomkit.toml.table import Table, choice

AMOUNTS: tuple[Kind, ...] = ("available", "swap_free", "swap_used", "zram", "limit_left")
PRESSURE: tuple[Kind, ...] = ("psi_some", "psi_full")
RATES: tuple[Kind, ...] = ("refault", "swap_in", "reclaim")

OF_CGROUPS: tuple[Kind, ...] = ("limit_left", "psi_some", "psi_full", "reclaim")
"""What can be measured of a cgroup; the rest is always the machine's."""

PLENTY = 0.5
"""With more than this share available nobody is killed, whatever a file says."""


def read_rule(table: Table) -> Rule:
    """A rule from its table."""
    rule = Rule(
        level=cast(Level, table.require("level", choice(*get_args(Level)), "warn")),
        conditions=tuple(_conditions(table)),
        over_s=table.take("over", _window, Rule(level="warn", conditions=()).over_s),
        for_s=table.take("for", seconds, 0.0),
        cgroup=table.take("cgroup", pattern, None),
        by=cast(By | None, table.take("by", choice(*get_args(By)), None)),
    )
    table.done()
    _check(table, rule)
    return rule


def _conditions(table: Table) -> list[Condition]:
    found = []
    for kind in AMOUNTS:
        value = table.take(kind, amount, None)
        if value is not None:
            found.append(Condition(kind=kind, threshold=value[0], share=value[1]))
    for kinds, parse in ((PRESSURE, _above_zero), (RATES, _rate_kb)):
        for kind in kinds:
            threshold = table.take(kind, parse, None)
            if threshold is not None:
                found.append(Condition(kind=kind, threshold=threshold))
    within_s = table.take("empty_within", positive, None)
    if within_s is not None:
        found.append(Condition(kind="empty_within", threshold=within_s))
    return found


def _above_zero(value: Any) -> float:
    part = share(value)
    if part <= 0.0:
        raise ValueError('a share of time such as "10%", above 0')
    return part


def _rate_kb(value: Any) -> float:
    return units.rate(value) / 1024


def _window(value: Any) -> float:
    window_s = seconds(value)
    if not 0.1 <= window_s <= 600.0:
        raise ValueError('a duration from "100ms" to "10m"')
    return window_s


def _check(table: Table, rule: Rule) -> None:
    """Refuse rules that can't hold, and those that would kill while memory is plentiful."""
    kinds = {c.kind for c in rule.conditions}
    known = (*AMOUNTS, *PRESSURE, *RATES, "empty_within")
    if not kinds and not any(key in table.raw for key in known):
        table.fault("", f"expected at least one condition: {', '.join(known)}")
    if "limit_left" in kinds and rule.cgroup is None:
        table.fault("limit_left", "expected a cgroup beside it: the machine has no limit")
    if rule.cgroup is not None and kinds and not kinds & set(OF_CGROUPS):
        table.fault("cgroup", f"expected one of {', '.join(OF_CGROUPS)} beside it")
    if rule.level == "warn":
        return
    if kinds and kinds <= set(PRESSURE):
        table.fault(
            "", "expected more than pressure for a kill: memory, swap, refault, swap_in or reclaim"
        )
    for condition in rule.conditions:
        if condition.kind == "available" and condition.share and condition.threshold > PLENTY:
            table.fault("available", 'expected at most "50%" for a kill')
