"""What the live view shows above its table, of one process, of one cgroup and before a change."""

import msgspec

from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import label_in, row_name
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.posture.asked import Asked, Comparison, WhatIf
from oomkit.posture.assess import available_pages
from oomkit.posture.whatif import SetError, adjusted
from oomkit.printable import printable
from oomkit.render.document import Document, Text
from oomkit.render.quantities import count_of, human_bytes, label, percent, seconds
from oomkit.top.guard_state import GuardState
from oomkit.top.monitor import Group, Look, Trend
from oomkit.views.cgroup import anatomy_report
from oomkit.views.decision import outcome, reason
from oomkit.views.history import local_time, victim_of, what
from oomkit.views.posture import pressure_text, used_gauge
from oomkit.views.rank import rank_report
from oomkit.views.what_if import add_whatif

_MARGIN = 10
_SOON_S = 600.0
_DAY_S = 86400.0


def header(look: Look) -> Document:
    """What stands above the table, what matters most first."""
    page = Document()
    snapshot = look.snapshot
    _row(page, "left", trend_text(look.trend), _urgency(look.trend))
    _row(page, "next", outcome(look.decision, snapshot), "bold")
    eligible = [row for row in look.ranked if row.eligible][:2]
    if eligible:
        first, second = eligible[0], eligible[1] if len(eligible) > 1 else None
        for line in reason(snapshot, look.decision, first, second, ()):
            _row(page, "", line)
    memory, size = snapshot.memory, snapshot.page_size
    page.add(used_gauge("memory", available_pages(snapshot), memory.total_ram_pages, size))
    if memory.total_swap_pages:
        page.add(used_gauge("swap", memory.free_swap_pages, memory.total_swap_pages, size))
    else:
        _row(page, "swap", "none")
    _row(page, "pressure", pressure_text(snapshot.pressure))
    texts, style = guard_lines(look.guard)
    for i, text in enumerate(texts):
        _row(page, "" if i else "guard", text, style)
    return page


def _row(page: Document, heading: str, text: str, style: str = "") -> None:
    page.text(printable(text), style, first=heading.ljust(_MARGIN), rest=" " * _MARGIN)


def _urgency(trend: Trend) -> str:
    return "bold red" if trend.empty_s is not None and trend.empty_s < _SOON_S else "bold"


def trend_text(trend: Trend) -> str:
    """``1.2 GiB of memory and swap (14 %), falling by 3 MiB a second: ...``."""
    share = percent(trend.left_bytes / trend.total_bytes) if trend.total_bytes else "-"
    text = f"{human_bytes(trend.left_bytes)} of memory and swap ({share})"
    change = trend.change_bytes_s
    if change is None:
        return f"{text}; how it changes is not known yet"
    if trend.empty_s is None:
        return f"{text}, {'steady' if change <= 0 else 'not falling'}"
    left = "more than a day" if trend.empty_s > _DAY_S else seconds(trend.empty_s)
    return (
        f"{text}, falling by {human_bytes(-change)} a second: at that rate none is left in {left}"
    )


def guard_lines(guard: GuardState) -> tuple[list[str], str]:
    """The guard in a line or two, and their style."""
    if not guard.runs:
        lines, style = ["not running"], "dim"
    else:
        acts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in guard.acts.items())
        parts = [
            f"policy {guard.policy}" if guard.policy else "running",
            "dry run: it sends no signals" if guard.dry_run else "armed",
            guard.level,
            f"acts: {acts}" if acts else "no acts yet",
            f"{count_of(guard.under_way, 'act')} under way" if guard.under_way else "",
            f"can't write {', '.join(guard.faults)}" if guard.faults else "",
        ]
        lines = [", ".join(filter(None, parts))]
        style = "yellow" if guard.faults or guard.under_way or guard.level == "hard" else ""
    act = guard.last_act
    if act is not None:
        lines.append(f"last: {local_time(act.time_s)} {victim_of(act)} {what(act)}")
    return lines, style


def process_document(look: Look, pid: int, rules: RuleSet, command: str | None) -> Document:
    """How the decision falls on one process: what ``oomkit rank --why`` prints.

    Args:
        look: the machine.
        pid: the process.
        rules: the kernel's.
        command: its command line, as far as it could be read.
    """
    task = task_of(look.snapshot, pid)
    if task is None:
        return Document(Text(f"process {pid} has exited", "bold"))
    tasks = tuple(
        msgspec.structs.replace(one, cmdline=command) if one is task else one
        for one in look.snapshot.tasks
    )
    asked = Asked(
        snapshot=msgspec.structs.replace(look.snapshot, tasks=tasks),
        allocation=Allocation(),
        rules=rules,
        decision=look.decision,
        why_pid=pid,
    )
    page = Document(Text(label(task.comm, pid), "bold"))
    page.add(*rank_report(asked, 0, local_users=True))
    return page


def cgroup_document(look: Look, path: str, group: Group | None) -> Document:
    """What fills one cgroup: what ``oomkit cgroup PATH`` prints."""
    if group is None or group.row.found is None:
        why = "is gone, or its memory.stat can't be read by this user"
        return Document(Text(printable(f"{path} {why}"), "bold"))
    snapshot = look.snapshot
    return anatomy_report(
        group.row, group.findings, lambda one: row_name(snapshot, one), slabs=group.slabs
    )


def adjust_document(look: Look, pid: int, value: int, rules: RuleSet, key: str) -> Document:
    """Which process dies then, once the adjustment of one is another.

    Asked is an OOM of the machine and, where the process is in a cgroup with a limit, one of that.

    Args:
        look: the machine.
        pid: the process.
        value: the adjustment.
        rules: the kernel's.
        key: the file: ``oom_score_adj``, or ``oom_adj``.

    Raises:
        SetError: the process has exited, or the value is out of range.
    """
    snapshot = look.snapshot
    task = task_of(snapshot, pid)
    if task is None:
        raise SetError(f"process {pid} has exited")
    after, change = adjusted(snapshot, str(pid), value, rules, key)

    def compared(memcg: str | None) -> Comparison:
        allocation = Allocation(memcg=memcg)
        return Comparison(
            of=None if memcg is None else label_in(snapshot, memcg),
            machine=snapshot,
            before=decide(snapshot, allocation, rules),
            after=decide(after, allocation, rules),
            changed=after,
        )

    limited = [
        memcg.path
        for memcg in snapshot.memcgs
        if memcg.limit_pages is not None and memcg.path != "/" and in_memcg(task.cgroup, memcg.path)
    ]
    places = (None, *limited[-1:])  # parents come first: the last is the nearest
    found = WhatIf(
        changes=(change,),
        rules=(rules.name, rules.name),
        compared=tuple(compared(memcg) for memcg in places),
    )
    page = Document()
    add_whatif(page, found, after)
    return page


def task_of(snapshot: Snapshot, pid: int) -> Task | None:
    """The process of a pid; None: it is gone."""
    return next((task for task in snapshot.tasks if task.pid == pid), None)
