"""The total that badness is measured against: printed, bounded by a score, or not in the log."""

from oomkit.kernel.rules import RuleSet
from oomkit.klog.records import Report, TaskRow
from oomkit.klog.snapshot import pgtable_pages
from oomkit.records import Record

_ROOT_SHARE = 0.97
"""What is left of a task's memory when root's bonus of 3 % is taken off."""


class Bounds(Record, frozen=True, kw_only=True):
    """Between which sizes a total lies, in pages.

    Attributes:
        least: it is more than this.
        most: it is no more than this.
    """

    least: int
    most: int

    def hold(self, pages: int) -> bool:
        """Whether a total can be of that size."""
        return self.least < pages <= self.most


def total_is_printed(report: Report) -> bool:
    """Whether the report shows all of which the total is made: RAM or the limit, and swap."""
    if not base_is_printed(report):
        return False
    memory, part = report.memory, report.memcg
    swap = memory is not None and memory.total_swap_kb is not None
    if report.scope != "memcg" or part is None or part.memory is None:
        return swap
    if part.swap is not None and part.swap.limit_kb == 0:
        return True
    memsw = part.memsw
    return swap or (memsw is not None and memsw.limit_kb == part.memory.limit_kb)


def base_is_printed(report: Report) -> bool:
    """Whether the report shows RAM, or the memory cgroup's limit: the total without swap."""
    memory, part = report.memory, report.memcg
    if report.scope == "memcg":
        return part is not None and part.memory is not None and part.memory.limit_kb is not None
    if memory is None:
        return False
    sizes = [zone.managed_kb or zone.present_kb for zone in memory.zones]
    return memory.ram_pages is not None or (bool(sizes) and None not in sizes)


def bounds_by_score(report: Report, rules: RuleSet) -> Bounds | None:
    """Between which sizes the total lies by the score of the chosen process; None without one.

    The kill line prints thousandths of the total, cut to a whole number, where badness is in pages.
    """
    selected = report.selected
    if selected is None or not selected.score or rules.badness != "pages":
        return None  # 0 is what any small or much lowered badness comes to
    pids = {selected.pid, selected.tgid}
    row = next((row for row in report.tasks if row.tgid in pids or row.pid in pids), None)
    if row is None or row.swapents is None:
        return None
    held, score = _held(row, rules, report), selected.score - (row.oom_score_adj or 0)
    least_held = held
    if row.uid == 0 and rules.root_bonus not in ("none", "quarter"):
        # Whether it has CAP_SYS_ADMIN, and with it the bonus, no report shows.
        least_held = int(held * _ROOT_SHARE)
    if held <= 0 or score <= 0:
        return None
    return Bounds(least=least_held * 1000 // (score + 1), most=held * 1000 // score)


def _held(row: TaskRow, rules: RuleSet, report: Report) -> int:
    tables = 0 if rules.pgtables == "none" else pgtable_pages(row, report.page_kb)
    return row.rss_pages + (row.swapents or 0) + tables
