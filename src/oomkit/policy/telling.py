"""Evidence, ranks and acts as lines of text."""

from oomkit.policy.core import levels
from oomkit.policy.core.conditions import Evidence
from oomkit.policy.core.decider import Act
from oomkit.policy.core.how import Signal
from oomkit.policy.core.ranked import Ranked

SHOWN = 3
"""So many of those that could have been chosen are told."""


def amount(value: float, unit: str) -> str:
    """A measured value with its unit."""
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "s":
        return "never" if value == float("inf") else f"{value:.1f} s"
    per = "/s" if unit == "kb/s" else ""
    for name, scale in (("TiB", 2**30), ("GiB", 2**20), ("MiB", 2**10)):
        if abs(value) >= 0.9765 * scale:  # 1000 of the smaller unit
            return f"{value / scale:.3g} {name}{per}"
    return f"{value:.0f} KiB{per}"


def evidence_line(evidence: Evidence) -> str:
    """One condition: ``available 38 MiB <= 40 MiB, for 0.2 s``."""
    of = f" of {evidence.cgroup}" if evidence.cgroup is not None else ""
    over = f" over {evidence.over_s:g} s" if evidence.over_s else ""
    if evidence.measured is None:
        return f"{evidence.name}{of}: not known"
    falls = evidence.name in ("available", "swap_free", "limit_left", "empty_within")
    sign = ("<=" if falls else ">=") if evidence.holds else (">" if falls else "<")
    measured, threshold = (
        amount(v, evidence.unit) for v in (evidence.measured, evidence.threshold)
    )
    held = f", for {evidence.held_s:.1f} s" if evidence.held_s > 0.0 else ""
    return f"{evidence.name}{of} {measured}{over} {sign} {threshold}{held}"


def ranked_line(one: Ranked) -> str:
    """One that could be chosen: what its score is made of."""
    c = one.candidate
    with_it = f" and {len(one.members) - 1} more ({one.level})" if len(one.members) > 1 else ""
    if one.verdict:
        return f"{c.comm}[{c.pid}]{with_it}: {one.verdict}"
    parts = [
        amount(value, "kb") if name == "gain_kb" else f"{name} {value:.3g}"
        for name, value in one.factors
    ]
    note = f" ({one.note})" if one.note else ""
    return f"{c.comm}[{c.pid}]{with_it}: {' x '.join(parts)} = {one.score:.0f}{note}"


def signal_line(signal: Signal, comm: str) -> str:
    """A signal that is sent."""
    return f"SIG{signal.name} to {comm}[{signal.pid}]: {signal.why}"


def act_lines(name: str, act: Act) -> tuple[str, ...]:
    """Why now, and why this one."""
    state = act.state
    where = f" in {state.cgroup}" if state.cgroup is not None else ""
    evidence = " and ".join(evidence_line(e) for e in state.evidence)
    could = [one for one in act.ranked if not one.verdict]
    lines = [f"{name}: {levels.NAMES[state.level]}{where}: {evidence}"]
    lines += [
        f"{'chosen' if one is act.choice else f'rank {i}'}: {ranked_line(one)}"
        for i, one in enumerate(could[:SHOWN], 1)
    ]
    if len(could) > SHOWN:
        lines.append(f"{len(could) - SHOWN} more could be chosen")
    if act.command is not None:
        lines.append(f"runs {' '.join(act.command)} instead of a signal")
    return tuple(lines)
