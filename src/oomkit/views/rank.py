"""The whole answer of ``oomkit rank`` for a terminal."""

from oomkit.kernel.why import why
from oomkit.posture.asked import Asked
from oomkit.posture.groups import grouped
from oomkit.render.terminal import Page
from oomkit.views.groups import groups_table
from oomkit.views.rank_text import rank_table, show_heading, show_why, shown_rows


def show_rank(page: Page, asked: Asked, top: int, *, local_users: bool) -> None:
    """Print what was changed, what is decided and why, and the kill order.

    Args:
        page: where to.
        asked: the question and its answer.
        top: how many processes, or groups; 0 for all.
        local_users: user ids are this machine's, and may be shown as names.
    """
    snapshot, rules = asked.snapshot, asked.rules
    if asked.whatif is not None:
        from oomkit.views.what_if import show_whatif

        show_whatif(page, asked.whatif, snapshot)
        page.line("")
    ranked = asked.ranked()
    # With a change asked for, its own commands are enough.
    advise = asked.why_pid is None and asked.whatif is None
    show_heading(page, asked, ranked, advise=advise)
    page.line("")
    if asked.why_pid is not None:
        allocation, decision = asked.allocation, asked.decision
        reasons = why(snapshot, allocation, rules, decision, asked.why_pid)
        show_why(page, snapshot, reasons, rules)
        return
    if asked.by is not None:
        groups = grouped(snapshot, ranked, asked.by)
        shown, size = groups[: top or None], snapshot.page_size
        left_out = len(groups) - len(shown)
        table = groups_table(shown, asked.by, size, page.width, local_users=local_users)
    else:
        rows, left_out = shown_rows(ranked, top)
        table = rank_table(snapshot, rules, rows, page.width, local_users=local_users)
    for line, style in table:
        page.line(line, style)
    if left_out:
        page.line(f"({left_out} more; --top 0 shows all)")
