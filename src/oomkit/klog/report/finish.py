"""What a report lacks, noted when it is over."""

from oomkit.klog.report.builder import Builder


def note_missing(report: Builder) -> None:
    """Add a problem for each part that a whole report would have."""
    _note_head(report)
    _note_table(report)
    _note_end(report)


def _note_head(report: Builder) -> None:
    if report.header is None:
        report.problem("no_header", "the line that opens the report is missing")
        return
    if report.header.order is None or (
        report.header.oom_score_adj is None
        and report.header.oom_adj is None
        and report.header.form not in {"2.6.11", "2.6.13"}
    ):
        report.problem("line_damaged", "the line that opens the report is cut", report.first.number)


def _note_table(report: Builder) -> None:
    if not report.has_table:
        report.problem("no_table", "the task table is missing")
        return
    if report.columns is None:
        report.problem("table_header_missing", "the head of the task table is missing")
        return
    if not report.tasks:
        report.problem("table_truncated", "the task table has no rows", report.table_at)
        return
    tgids = {row.tgid for row in report.tasks} | {row.pid for row in report.tasks}
    if _is_excerpt(report, tgids):
        report.problem("table_excerpt", "the task table is an excerpt: others must stand in it")
    wanted = report.selected or report.summary or (report.killed[0] if report.killed else None)
    if wanted is None or wanted.pid is None or "allocating_task" in (report.kill_text or ""):
        return
    if report.selected is not None and report.selected.tgid is not None:
        return
    if wanted.pid not in tgids:
        text = f"the chosen process {wanted.pid} is not in the task table"
        report.problem("row_missing", text)


def _is_excerpt(report: Builder, tgids: set[int]) -> bool:
    """Whether rows were left out without a mark.

    A post of the head, rows and the end leaves out the memory part between them as well.
    What shows it then is the asker: it has to stand in the table of its shortage, unless it is a
    thread of the kernel's or named otherwise than its process.
    """
    header = report.header
    if header is None or not (report.memory.empty and report.memcg.empty):
        return False
    asker = header.pid or (report.caller.pid if report.caller is not None else None)
    comm = header.comm or ""
    return asker not in tgids and not any(row.comm in comm for row in report.tasks)


def _note_end(report: Builder) -> None:
    if report.ended or report.would_have:
        return
    if report.selected is not None:
        report.problem(
            "no_kill_line",
            "the line that names the victim is missing; the chosen process or a child of it died",
        )
        return
    if report.summary is not None and report.summary.comm is not None:
        report.problem("no_kill_line", "the line of the kill is missing; its choice is named")
    else:
        report.problem("no_kill_line", "no line names the victim")
    if report.tasks and report.summary is None and report.selected is None:
        report.problem(
            "table_truncated", "the report ends inside its task table", report.last.number
        )
