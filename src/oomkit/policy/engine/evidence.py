"""Evidence, ranks and acts as lines of text."""

from collections.abc import Sequence

from oomkit.policy.engine import conditions
from oomkit.policy.engine.candidate import Ranked
from oomkit.policy.engine.conditions import Evidence
from oomkit.policy.engine.decider import Act
from oomkit.policy.engine.escalation import Signal
from oomkit.render.quantities import kb, time_share

SHOWN = 3
"""Number of other candidates listed."""

_SIZES = ("gain_kb", "rss", "swap", "growth", "over_request")
"""What scores in kB begin with."""


def amount(value: float, unit: str) -> str:
    """A measured value with its unit."""
    if unit == "share":
        return time_share(value)
    if unit == "s":
        return "never" if value == float("inf") else f"{value:.1f} s"
    per = "/s" if unit == "kb/s" else ""
    return kb(value) + per


def plain(value: float) -> str:
    """A number without an exponent: three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def span(seconds: float) -> str:
    """A configured time, in the largest unit that divides it."""
    for name, scale in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= scale and seconds % scale == 0.0 and (scale > 60.0 or seconds >= 120.0):
            return f"{plain(seconds / scale)} {name}"
    return f"{plain(seconds)} s"


def score_words(one: Ranked) -> str:
    """A score in the unit of what it is made of: a size, or points."""
    first = one.factors[0][0] if one.factors else ""
    return amount(one.score, "kb") if first in _SIZES else plain(one.score)


def factors_words(one: Ranked) -> str:
    """What a score is made of."""
    parts = []
    for i, (name, value) in enumerate(one.factors):
        size = i == 0 and name in _SIZES
        number = amount(value, "kb") if size else plain(value)
        parts.append(number if name == "gain_kb" else f"{name} {number}")
    joined = {"oom_score": " + ", "over_request": ", "}
    return joined.get(one.factors[0][0] if one.factors else "", " x ").join(parts)


def evidence_line(evidence: Evidence) -> str:
    """One condition: ``available 38 MiB <= 40 MiB, for 0.2 s``."""
    of = f" of {evidence.cgroup}" if evidence.cgroup is not None else ""
    kind = evidence.kind
    over = f" over {evidence.over_s:g} s" if evidence.over_s else ""
    if evidence.measured is None:
        return f"{kind.name}{of}: not known"
    lower = kind.lower_is_worse
    sign = ("<=" if lower else ">=") if evidence.holds else (">" if lower else "<")
    measured, threshold = (amount(v, kind.unit) for v in (evidence.measured, evidence.threshold))
    held = f", for {evidence.held_s:.1f} s" if evidence.held_s > 0.0 else ""
    return f"{kind.name}{of} {measured}{over} {sign} {threshold}{held}"


def ranked_line(one: Ranked) -> str:
    """One that could be chosen: what its score is made of."""
    c = one.candidate
    of = f" of {one.cgroup}" if one.tier and one.cgroup is not None else ""
    with_it = f" and {len(one.members) - 1} more ({one.level})" if len(one.members) > 1 else ""
    with_it += of
    if one.verdict:
        return f"{c.comm}[{c.pid}]{with_it}: {one.verdict}"
    note = f" ({one.note})" if one.note else ""
    total = f" = {score_words(one)}" if len(one.factors) > 1 and not one.tier else ""
    return f"{c.comm}[{c.pid}]{with_it}: {factors_words(one)}{total}{note}"


def start_words(name: str, cost_s: float, times: int) -> str:
    """What was learnt of a service's starts."""
    seen = "once" if times == 1 else f"{plain(times)} times"
    return f"{name} took {plain(cost_s)} s of CPU to start, seen {seen}"


def start_lines(some: Sequence[Ranked]) -> tuple[str, ...]:
    """What was learnt of the services that some take, each once."""
    found = {start.name: start for one in some for start in one.starts}
    return tuple(start_words(one.name, one.cost_s(), one.times) for one in found.values())


def signal_line(signal: Signal, comm: str) -> str:
    """A signal that is sent."""
    return f"SIG{signal.name} to {comm}[{signal.pid}]: {signal.why}"


def act_lines(name: str, act: Act) -> tuple[str, ...]:
    """Why now, and why this one."""
    state = act.state
    where = f" in {state.cgroup}" if state.cgroup is not None else ""
    evidence = " and ".join(evidence_line(e) for e in state.evidence)
    could = [one for one in act.ranked if not one.verdict]
    lines = [f"{name}: {conditions.NAMES[state.level]}{where}: {evidence}"]
    lines += [
        f"{'chosen' if one is act.choice else f'rank {i}'}: {ranked_line(one)}"
        for i, one in enumerate(could[:SHOWN], 1)
    ]
    lines += start_lines(could[:SHOWN])
    if len(could) > SHOWN:
        lines.append(f"{len(could) - SHOWN} more could be chosen")
    if act.command is not None:
        lines.append(f"runs {' '.join(act.command)} instead of a signal")
    return tuple(lines)
