"""What was changed of a machine, and what that changes."""

from oomkit.kernel.state import Snapshot
from oomkit.posture.compared import WhatIf
from oomkit.printable import printable
from oomkit.report.advice_text import show_advice
from oomkit.report.decision_text import outcome
from oomkit.report.terminal import Page
from oomkit.report.whatif_json import change_text


def show_whatif(page: Page, found: WhatIf, after: Snapshot) -> None:
    """Print what was changed, the outcome before and after, and what to type to have it so."""
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
            show_advice(page, advice, 2)
