"""Reports of many logs, held without what only their own explanation needs.

Table, ranking and memory are nine tenths of a report; of a fleet's week they would fill any
machine's memory. A summary does without them, and what is shown in full is read again.
"""

from oomkit.klog.memory_records import Memory
from oomkit.klog.records import Report, Source, TaskRow
from oomkit.records import replace

_ROW = TaskRow(
    pid=0, uid=0, tgid=0, total_vm_pages=0, rss_pages=0, oom_score_adj=0, comm=""
)  # fmt: skip
_MEMORY = Memory()


def outline(report: Report) -> Report:
    """A report in which the parts that take much memory can be counted, and no more."""
    return replace(
        report,
        tasks=(_ROW,) * len(report.tasks),
        predicted=(),
        call_trace=(),
        memory=None if report.memory is None else _MEMORY,
    )


def restored(short: Report, whole: Report) -> Report:
    """An outline with what it lacks, from the report that was read again."""
    return replace(
        short,
        tasks=whole.tasks,
        predicted=whole.predicted,
        call_trace=whole.call_trace,
        memory=whole.memory,
    )


def place_of(report: Report) -> tuple[str, int, int]:
    """What finds a report again."""
    source: Source = report.source
    return source.file, source.line, source.end_line
