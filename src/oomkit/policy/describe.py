"""A policy explained in words, and what it means for one process."""

from collections.abc import Iterator

from oomkit.policy.compile import compile_plan, match_text
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.conditions import KINDS
from oomkit.policy.engine.evidence import (
    amount,
    factors_words,
    plain,
    score_words,
    span,
    start_lines,
)
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.starts import Starts
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.records import Condition, How, Origin, Policy, Polling, Rule, Whom
from oomkit.render.quantities import count_of

_LEVELS = {
    "warn": "warns",
    "ease": "acts more softly than by a signal",
    "soft": "asks a victim to leave (SIGTERM)",
    "hard": "kills a victim (SIGKILL)",
}

_NO_BOUND = 1000
_NEVER_S = 3600.0
"""So long a wait for SIGKILL means that it does not follow by time."""

_BY = {
    "freed": "what its death gives back: anonymous memory, swap, page tables, shared memory of "
    "its own",
    "oom_score": "the kernel's oom_score; of equals the larger rss",
    "rss": "its resident memory",
    "swap": "its swap",
    "reclaim": "the pages scanned in its cgroup",
    "reclaim_rate": "the pages scanned in its cgroup in the last second, then its usage",
    "growth": "its growth since the shortage began",
    "over_request": "whether its cgroup's working set is above what it requested, then low "
    "priority, then how far above it is",
}


def explain(policy: Policy) -> tuple[str, ...]:
    """The policy in words, a line each; lines of a section are indented."""
    lines = [f"{policy.name}: {policy.about}" if policy.about else policy.name]
    lines.append("when it acts")
    lines += [f"  {rule_words(rule, policy)}" for rule in policy.when] or [
        "  never: the kernel's own OOM killer is left to it"
    ]
    if policy.when:
        lines += ["how often it looks", *(f"  {line}" for line in _polling(policy.look))]
        lines += ["which victim it chooses", *(f"  {line}" for line in _whom(policy.whom))]
        lines += ["how it acts", *(f"  {line}" for line in _how(policy.how))]
    return tuple(lines)


def origin_words(origin: Origin) -> tuple[str, ...]:
    """Where a daemon's configuration was read, what of it is left out, and its traps."""
    lines = [f"read from {', '.join(origin.files)}"] if origin.files else []
    lines.append(f"by the rules of {origin.daemon} {origin.version}".rstrip())
    if origin.left_out:
        lines += ["what has no counterpart here", *(f"  {one}" for one in origin.left_out)]
    if origin.traps:
        lines += ["traps in this configuration", *(f"  {one}" for one in origin.traps)]
    return tuple(lines)


def rule_words(rule: Rule, policy: Policy) -> str:
    """One rule as a sentence."""
    level = _LEVELS[rule.level]
    if rule.level == "soft" and not policy.how.term:
        level = _LEVELS["hard"]
    where = f" in each cgroup {rule.cgroup}" if rule.cgroup is not None else ""
    conditions = " and ".join(_condition(c, rule) for c in rule.conditions)
    held = f", for {span(rule.for_s)}" if rule.for_s else ""
    by = f"; ranks by {_BY[rule.by]}" if rule.by is not None and rule.by != policy.whom.by else ""
    return f"{level}{where} when {conditions}{held}{by}{''.join(_choice(rule))}"


def _choice(rule: Rule) -> Iterator[str]:
    """What a rule says of its choice."""
    if rule.whole:
        yield "; the cgroup dies with all that is in it"
    if rule.among:
        yield f"; chooses in {_several(rule.among)}"
    if rule.least is not None:
        least = rule.least
        size = f"{100 * least.value:g} %" if least.share else amount(least.value, "kb")
        yield f"; only what holds more than {size}{' of swap' if least.share else ' of it'}"
    if rule.spare:
        yield f"; never {_several(rule.spare)}"
    if rule.last:
        yield f"; after all others {_several(rule.last)}"
    if rule.pause_s is not None:
        yield f"; {span(rule.pause_s)} after the last victim at the soonest"


def _several(patterns: tuple[str, ...]) -> str:
    return " or ".join(patterns)


def _condition(condition: Condition, rule: Rule) -> str:
    over_s = rule.over_s
    kind, threshold = KINDS[condition.kind], condition.threshold
    if kind.unit == "s":
        return f"{kind.text} at {'most' if kind.lower_is_worse else 'least'} {span(threshold)}"
    if condition.share and kind.whole is not None:
        value = f"{100 * threshold:g} % {kind.whole.text}"
    elif kind.is_pressure and rule.decaying:
        value = f"{100 * threshold:g} % of time, averaged with a decay of {over_s:g} s"
    elif kind.is_pressure:
        value = f"{100 * threshold:g} % of the last {over_s:g} s"
    elif kind.over_a_window:
        value = f"{amount(threshold, kind.unit)} over {over_s:g} s"
    else:
        value = amount(threshold, kind.unit)
    return f"{kind.text} is at or {'below' if kind.lower_is_worse else 'above'} {value}"


def _polling(polling: Polling) -> tuple[str, ...]:
    if polling.min_interval_s == polling.max_interval_s:
        return (f"every {span(polling.min_interval_s)}",)
    fill, swap_fill = (amount(rate, "kb/s") for rate in (polling.fill_kb_s, polling.swap_fill_kb_s))
    if polling.fill_cpu_kb_s is not None:
        fill = f"{amount(polling.fill_cpu_kb_s, 'kb/s')} by each CPU"
    soon = f"as soon as a rule could hold if memory filled at {fill} and swap at {swap_fill}"
    return (
        f"every {span(polling.min_interval_s)} to {span(polling.max_interval_s)}, {soon}",
        f"with {100 * polling.warm:g} % of RAM available or less the ranking is kept at hand",
    )


def _whom(whom: Whom) -> list[str]:
    reach = {
        "process": "a process",
        "tree": "a process with all below it",
        "cgroup": "all processes of a cgroup",
    }
    lines = [f"{reach[whom.level]}, ranked by {_BY[whom.by]}"]
    if whom.by == "freed":
        if whom.growth:
            lines.append(
                f"a process that did not grow in the shortage counts x {1 - whom.growth:g}"
            )
        if whom.work:
            lines.append(
                f"CPU time that would be lost counts down to x {1 - whom.work:g}, half of it at "
                "600 s"
            )
        if whom.adj:
            lines.append(
                f"oom_score_adj 1000 counts x {1 + whom.adj:g}, -500 counts x 0.5, others in "
                "between"
            )
    lines += _which_cgroups(whom)
    lines.append("never init, kernel threads, oomkit itself, nor oom_score_adj -1000")
    lines += [f"never {match_text(match)}" for match in whom.never]
    lines.append(
        "nor a process that shares its memory with one of these, nor the init of a pid namespace "
        "with one of them in it; all of it is read again before each signal"
    )
    lines += _preferred(whom)
    lines += _supervised(whom)
    if whom.least_kb:
        lines.append(f"no process that would free less than {amount(whom.least_kb, 'kb')}")
    if whom.oom_group:
        lines.append("cgroups with memory.oom.group are killed as a whole")
    if whom.lasts_s:
        lines.append(
            "others of its name that grow are killed with it, until memory lasts "
            f"{span(whom.lasts_s)} against the growth of the rest"
        )
    if whom.level != "process" or whom.oom_group or whom.lasts_s:
        lines.append(
            f"at most {plain(whom.most_processes)} processes at once; else one process alone"
        )
    return lines


def _supervised(whom: Whom) -> list[str]:
    """What is said of supervisors, and why each is one."""
    lines = []
    if whom.supervisors and whom.by != "freed":
        lines.append("supervisors count only where a rule ranks by what a death gives back:")
    for one in whom.supervisors:
        which = f"{match_text(one.match)}{', the first process there' if one.leads else ''}"
        takes = "what is below it" if one.takes == "children" else "all of its user's processes"
        back = f", {span(one.restart_s)} to have it back" if one.restart_s and whom.work else ""
        lines.append(
            f"{which}: after {takes}, by x 1/{plain(one.factor)} at most{back}: {one.because}"
        )
    return lines


def _preferred(whom: Whom) -> list[str]:
    lines = []
    for preference in whom.prefer:
        if whom.by == "oom_score":
            effect = f"{preference.points:+,.0f} points"
        elif whom.by == "rss" and preference.size_kb is not None:
            sign = "-" if preference.size_kb < 0 else "+"
            effect = f"{sign}{amount(abs(preference.size_kb), 'kb')}"
        else:
            effect = f"x {plain(preference.factor)}"
        but = ", unless its oom_score_adj is lowered" if preference.unless_lowered else ""
        lines.append(f"{match_text(preference.match)}: {effect}{but}")
    if whom.raised_adj:
        lines.append(
            f"{100 * whom.raised_adj:.3g} % of a raised oom_score_adj is taken off its score"
        )
    if whom.least_score is not None:
        lines.append(f"no process that scores less than {plain(whom.least_score)}")
    return lines


def _which_cgroups(whom: Whom) -> list[str]:
    lines = []
    if whom.cgroup is not None:
        lines.append(f"only cgroups {whom.cgroup}, each with all that is in it")
    if whom.spared_priority is not None:
        lines.append(f"no cgroup of priority {plain(whom.spared_priority)} or above")
    return lines


def _how(how: How) -> list[str]:
    lines = []
    if how.term and how.term_wait_s >= _NEVER_S and not how.insist:
        lines.append(
            f"SIGTERM, and SIGKILL once the level is hard, {span(how.term_least_s)} later at the "
            "soonest"
        )
    elif how.term:
        still = "" if how.insist else " if memory is still low"
        lines.append(
            f"SIGTERM, and SIGKILL {span(how.term_wait_s)} later{still}, or "
            f"{span(how.term_least_s)} later if the level is hard"
        )
    else:
        lines.append("SIGKILL at once")
    lines.append(f"{span(how.give_up_s)} after SIGKILL it stops waiting for a process to exit")
    together = " (not at level hard, counting memory still to be freed)" if how.together else ""
    lines.append(f"the next victim is chosen when the last has exited{together}")
    lines.append(
        f"{span(how.pause_s)} between two kills, {span(how.hard_pause_s)} at level hard; "
        f"{_bound(how)}"
    )
    lines += _eases(how)
    lines += [
        f"{match_text(one.match)}: runs {' '.join(one.command)} instead of SIGTERM"
        for one in how.instead
    ]
    if how.evict:
        lines.append("victims are not started again, and their files in memory are removed")
    if how.before:
        lines.append(f"runs {' '.join(how.before)} before the signal")
    if how.after:
        lines.append(f"runs {' '.join(how.after)} when the victim has exited")
    if how.notify:
        lines.append("sends a desktop notification")
    return lines


def _eases(how: How) -> list[str]:
    """The softer acts, in their order."""
    lines = []
    for one in how.easements():
        share = f"{100 * one.amount.value:g} %" if one.amount.share else ""
        size = amount(one.amount.value, "kb")
        if one.kind == "reclaim":
            size = f"{share} of the memory" if share else size
            what = f"reclaims {size} of the cgroup of what would die first (memory.reclaim)"
        elif one.kind == "throttle":
            what = (
                f"slows the cgroup of what would die first down above "
                f"{f'{share} of what it uses' if share else size} (memory.high), for "
                f"{span(one.lasts_s)}"
            )
        else:
            what = f"has what would die first stand still, for {span(one.lasts_s)}"
        lines.append(f"softer than by a signal: {what}; the next {span(one.wait_s)} later")
    if lines:
        lines.append(
            "each is done to what would die first and to no cgroup with a protected process in it, "
            "in that order, and taken back, also after a crash"
        )
    return lines


def _bound(how: How) -> str:
    """So large a number means no limit."""
    if how.most_a_minute >= _NO_BOUND:
        return "as many a minute as it takes"
    return f"at most {plain(how.most_a_minute)} a minute"


def missing_words(policy: Policy, reading: Reading) -> tuple[str, ...]:
    """Which signals this machine does not have, and which rules therefore never hold."""
    missing = Watch(compile_plan(policy)).missing(reading)
    lines = []
    for kind in missing:
        lines.append(f"{kind} ({KINDS[kind].text}) can't be measured on this machine")
        lines += [
            f"  so this never happens: {rule_words(rule, policy)}"
            for rule in policy.when
            if any(c.kind == kind for c in rule.conditions)
        ]
    if reading.swap_total_kb <= 0.0:
        kinds = {c.kind for rule in policy.when for c in rule.conditions}
        if "swap_free" in kinds:
            lines.append("there is no swap: conditions on free swap always hold")
        if "swap_used" in kinds:
            lines.append("there is no swap: conditions on swap in use never hold")
    return tuple(lines)


def effective(
    policy: Policy,
    candidate: Candidate,
    *,
    processes: tuple[Candidate, ...] = (),
    groups: tuple[CgroupReading, ...] = (),
    own_pids: frozenset[int] = frozenset(),
    starts: Starts | None = None,
) -> tuple[str, ...]:
    """What a policy means for one process, a line each.

    Args:
        policy: the policy.
        candidate: the process.
        processes: all processes, it included, to show its place and what is killed with it.
        groups: the memory cgroups.
        own_pids: the guard itself.
        starts: what starts of services took; None: nothing is known.
    """
    who = f"{candidate.comm}[{candidate.pid}]"
    plan = compile_plan(policy)
    chooser = Chooser(plan, own_pids=own_pids, starts=starts)
    ranked = chooser.rank(processes or (candidate,), groups=groups)
    own = next((one for one in ranked if candidate.pid == one.candidate.pid), None)
    own = own or next((r for r in ranked if candidate.pid in {m.pid for m in r.members}), None)
    own = own or next((r for r in ranked if _same_memory(r.candidate, candidate)), None)
    if own is None:
        return (f"{who} is not known",)
    if own.verdict:
        return (f"{who} is never chosen: {own.verdict}",)
    could = [one for one in ranked if not one.verdict]
    place = could.index(own) + 1
    first = "would be chosen first" if place == 1 else "can be chosen"
    lines = [f"{who} {first}: number {place} of {len(could)} that could be"]
    lines.append(f"it is ranked by {_BY[policy.whom.by]}: {factors_words(own)}{_total(own)}")
    lines += start_lines([own])
    if place > 1:
        ahead = could[place - 2]
        lines.append(
            f"one place before it: {ahead.candidate.comm}[{ahead.candidate.pid}] with "
            f"{score_words(ahead)}"
        )
    if not policy.when:
        lines.append(f"but {policy.name} has no rule, and never acts")
    if policy.when:
        lines.append(f'[[whom.never]] comm = "{candidate.comm}" in the policy would spare it')
    lines += _radius(own)
    lines += [
        f"SIGTERM is replaced by running {' '.join(instead.command)}"
        for instead in plan.response.instead
        if Matcher(instead.match.patterns).matches(candidate)
    ][:1]
    return tuple(lines)


def _same_memory(one: Candidate, other: Candidate) -> bool:
    return one.mm_id is not None and one.mm_id == other.mm_id


def _total(one: Ranked) -> str:
    return f" = {score_words(one)}" if len(one.factors) > 1 else ""


def _radius(one: Ranked) -> list[str]:
    if len(one.members) < 2:
        return [one.note] if one.note else []
    names = sorted({m.comm for m in one.members})
    shown = ", ".join(names[:8]) + (
        f" and {count_of(len(names) - 8, 'more name')}" if len(names) > 8 else ""
    )
    count, freed = len(one.members), amount(one.freed_kb, "kb")
    return [f"{count} processes die together ({one.level}): {shown}; {freed} come free"]
