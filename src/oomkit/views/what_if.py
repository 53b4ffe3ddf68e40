"""What was changed of a machine, and what that changes."""

from typing import Any

from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import asker_dies
from oomkit.kernel.state import Snapshot
from oomkit.posture.asked import Comparison, WhatIf
from oomkit.posture.whatif import Change
from oomkit.printable import printable
from oomkit.render.document import Command, Document
from oomkit.render.quantities import human_bytes
from oomkit.views.decision import outcome


def change_text(change: Change) -> str:
    """``machine.swap: 2.00 GiB -> 4.00 GiB (what is in swap stays there)``."""
    was, now = (_value(value, change) for value in (change.was, change.now))
    remark = f" ({change.remark})" if change.remark else ""
    if not change.differs:
        return f"{change.what}: {now}, as it is{remark}"
    return f"{change.what}: {was} -> {now}{remark}"


def _value(value: int | None, change: Change) -> str:
    if value is None:
        return "unlimited" if change.unit == "bytes" else "various"
    return human_bytes(value) if change.unit == "bytes" else str(value)


def whatif_object(found: WhatIf) -> dict[str, Any]:
    """What was changed and what that changes, for JSON."""
    return {
        "changed": [
            {
                "key": change.key,
                "what": change.what,
                "was": change.was,
                "now": change.now,
                "unit": change.unit,
                "cgroup": change.cgroup,
                "text": change_text(change),
                "advice": [advice.as_object() for advice in change.advice],
            }
            for change in found.changes
        ],
        "rules": {"was": found.rules[0], "now": found.rules[1]},
        "decisions": [
            {
                "cgroup": item.of,
                "before": _summary(item, item.machine, item.before),
                "after": _summary(item, item.changed, item.after),
                "altered": item.altered,
            }
            for item in found.compared
        ],
    }


def _summary(item: Comparison, machine: Snapshot, decision: Decision) -> dict[str, Any]:
    victims = [{"pid": victim.pid, "comm": victim.comm} for victim in decision.victims]
    return {
        "action": decision.action,
        "asker_dies": asker_dies(machine, decision, item.asker),
        "victims": victims,
        "panic": decision.panic,
    }


def add_whatif(page: Document, found: WhatIf, after: Snapshot) -> None:
    """Add what was changed, the outcome before and after, and what to type to have it so."""
    for change in found.changes:
        verb = "changed" if change.differs else "asked for"
        page.text(printable(f"{verb} {change_text(change)}"))
    before, now = found.rules
    if before != now:
        page.text(f"changed rules of the kernel: {before} -> {now}")
    for item in found.compared:
        where = "" if item.of is None else f"if {item.of} reaches its limit: "
        was = outcome(item.before, item.machine, item.asker)
        then = outcome(item.after, after, item.asker)
        if item.altered:
            text = f"{where}as it is, {was}; so changed, {then}"
        else:
            text = f"{where}{then}, as without the change"
        page.text(printable(text), "bold")
    for change in (change for change in found.changes if change.differs):
        for advice in change.advice:
            page.add(Command(advice.words, advice.lasts, 2))
