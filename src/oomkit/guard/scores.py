"""The kernel's ``oom_score`` of recorded processes, by the rules of the kernel that ran."""

from collections.abc import Sequence

from oomkit.kernel.badness import oom_score, score_control
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Snapshot, Task
from oomkit.kernel.versions import UnknownKernelError, history, rules_for
from oomkit.policy.core.candidate import Candidate
from oomkit.policy.core.reading import Reading

_PAGE_KB = 4


def fill_in(candidates: Sequence[Candidate], reading: Reading, kernel: str) -> None:
    """Give a score to each candidate that has none.

    Args:
        candidates: recorded processes; changed in place.
        reading: the machine they ran on.
        kernel: its release; rules of the newest kernel if oomkit does not know it.
    """
    wanting = [one for one in candidates if one.oom_score is None]
    if not wanting:
        return
    tasks = tuple(_task(one) for one in wanting)
    memory = Memory(
        total_ram_pages=_pages(reading.mem_total_kb), total_swap_pages=_pages(reading.swap_total_kb)
    )
    control = score_control(
        Snapshot(kernel=kernel, memory=memory, tasks=tasks), rules_or_newest(kernel)
    )
    for one, task in zip(wanting, tasks, strict=True):
        one.oom_score = oom_score(task, control)


def rules_or_newest(kernel: str) -> RuleSet:
    """The rules of a release, or of the newest kernel where that is not known."""
    try:
        return rules_for(kernel)
    except UnknownKernelError:
        return [row.rules for row in history() if row.variant is None][-1]


def _task(one: Candidate) -> Task:
    return Task(
        pid=one.pid,
        comm=one.comm,
        ppid=one.ppid,
        uid=one.uid or 0,
        global_init=one.pid == 1,
        kthread=one.kthread,
        rss_pages=_pages(one.rss_kb()),
        swap_pages=_pages(one.swap_kb),
        pgtable_pages=_pages(one.pgtables_kb),
        oom_score_adj=one.oom_score_adj,
    )


def _pages(kb: float) -> int:
    return int(kb) // _PAGE_KB
