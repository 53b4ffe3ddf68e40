"""Sentences about what the daemon does, for a person who reads the log."""

from oomkit.policy.telling import amount, evidence_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oomkit.policy.core.decider import Act
    from oomkit.policy.core.ranked import Ranked
    from oomkit.policy.core.when import State

_ALSO = 2
"""So many of those who would have been next are named."""

_OF = {"namesakes": "name"}

_OUTCOMES = {
    "gone": "was gone before it could be signalled",
    "refused": "could not be signalled",
    "protected": "is protected by now, and was left alone",
    "spared": "memory came back, so it may take its time",
    "survived": "did not die within a minute",
}


def evidence(state: "State") -> str:
    """The conditions of the rule that holds."""
    return ", ".join(evidence_line(one) for one in state.evidence)


def acted(act: "Act", *, dry_run: bool) -> str:
    """Who was chosen, why now, and ahead of whom."""
    choice = act.choice
    one = choice.candidate
    who = f"{one.comm}[{one.pid}]"
    if len(choice.members) > 1:
        of = _OF.get(choice.level, choice.level)
        who += f" and {len(choice.members) - 1} more of its {of}"
    signal = f"SIG{act.signals[0].name}" if act.signals else "a signal"
    if dry_run:
        verb = f"would send {signal} to {who}"
    elif act.command is not None:
        verb = f"ran {act.command[0]} for {who} instead of {signal}"
    else:
        verb = f"sent {signal} to {who}"
    others = [r for r in act.ranked if not r.verdict and r is not choice][:_ALSO]
    behind = ", ".join(
        f"{r.candidate.comm}[{r.candidate.pid}] {amount(r.freed_kb, 'kb')}" for r in others
    )
    return (
        f"{verb}, {_gain(choice)}: {evidence(act.state)}"
        + (f"; next: {behind}" if behind else "")
        + (f"; {choice.note}" if choice.note else "")
    )


def _gain(choice: "Ranked") -> str:
    """What is expected of a choice."""
    wrote_kb = sum(one.tmpfs_growth_kb or 0.0 for one in choice.members)
    wrote = f" and wrote {amount(wrote_kb, 'kb')} to tmpfs" if wrote_kb else ""
    return f"which frees {amount(choice.freed_kb, 'kb')}{wrote}"


def ended(record: "dict[str, Any]") -> str:
    """How an act ended."""
    victim = record["victim"]
    who = f"{victim['comm']}[{victim['pid']}]"
    outcome = record["outcome"]
    if outcome == "died":
        after_ms, freed = record["died_after_ms"], amount(record["freed_kb"], "kb")
        return f"{who} is gone after {after_ms:.0f} ms; {freed} came free"
    return f"{who}: {_OUTCOMES.get(outcome, outcome)}"
