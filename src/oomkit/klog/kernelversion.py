"""Which rule sets a report can have been decided by."""

from functools import lru_cache

import msgspec

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.versions import UnknownKernelError, history, parse_version, rules_for
from oomkit.klog.records import Report


def rule_sets(report: Report) -> tuple[RuleSet, ...]:
    """The rule sets to try, most likely first: one where the log names the kernel.

    A text that the named version does not print yet shows a vendor's backport, which then
    holds for the behaviour that came with it.
    """
    if report.kernel is not None:
        try:
            return (_backported(_rules_of(report.kernel), report),)
        except UnknownKernelError:
            pass
    if any(victim.uid is not None and report.selected is not None for victim in report.killed):
        return (rules_for("2.6.32-el6"),)
    low, high = report.kernel_range or _widest(report)
    return tuple(_backported(rules, report) for rules in _between(low, high))


def _widest(report: Report) -> tuple[str, str]:
    """Kill line and table contradict each other: a vendor's mixture; go by the table's age."""
    if report.selected is not None:
        return "4.15", "5.0"
    return "4.15", "5.3"


_rules_of = lru_cache(maxsize=64)(rules_for)


@lru_cache(maxsize=64)
def _between(low: str, high: str) -> tuple[RuleSet, ...]:
    first, last = parse_version(low), parse_version(high)
    found = [rules_for(low)]
    found.extend(
        row.rules
        for row in history()
        if row.variant is None and first < parse_version(row.rules.since) <= last
    )
    found.reverse()
    distinct: dict[tuple[object, ...], RuleSet] = {}
    for rules in found:
        distinct.setdefault(_ranking_key(rules), rules)
    return tuple(distinct.values())


def _ranking_key(rules: RuleSet) -> tuple[object, ...]:
    """The fields on which the ranking of a table depends."""
    return (
        rules.badness,
        rules.root_bonus,
        rules.pgtables,
        rules.arithmetic,
        rules.result,
        rules.memcg_total,
        rules.ties,
        rules.children == "none",
    )


def _backported(rules: RuleSet, report: Report) -> RuleSet:
    if rules.children == "none" or report.selected is not None or not report.killed:
        return rules
    if report.kill_text is None or rules.badness == "classic":
        return rules
    if report.killed[0].total_vm_kb is None or "allocating_task" in report.kill_text:
        return rules
    # One line "MSG: Killed process" came with the end of child sacrifice.
    return msgspec.structs.replace(rules, name=f"{rules.name}+children", children="none")
