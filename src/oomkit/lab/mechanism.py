"""The mechanism of a kernel version for a page: flow charts, and a snapshot that walks through."""

from collections.abc import Iterable, Sequence
from typing import Any

from oomkit.kernel.alloc import decide
from oomkit.kernel.badness import adj_step, counted_pgtable_pages, unadjusted_points
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import RuleRange, history, rules_for
from oomkit.lab import flow_rows
from oomkit.lab.ranking import decoded
from oomkit.posture.whatif import changed
from oomkit.printable import printable
from oomkit.views.decision import label

_ARTICLE = "2.6.32-article"
_SCANS = ("select_bad_process",)
_AFTER = ("oom_kill_process", "oom_kill_task", "__oom_kill_process")


def versions() -> list[dict[str, Any]]:
    """Every rule set, the oldest first: name, range, what changed and what it means."""
    return [
        {
            "name": row.rules.name,
            "range": _range(row),
            "what": _what(row),
            "meaning": _meaning(row),
            "vendor": row.variant is not None,
        }
        for row in history()
    ]


def _range(row: RuleRange) -> str:
    since, until = row.rules.since, row.rules.until
    if row.variant is not None or until.removesuffix(" and later") == since:
        return until
    return f"{since} to {until}"


def _what(row: RuleRange) -> list[str]:
    if row.variant is not None:
        return [row.variant.what]
    return [change.what for change in row.changes]


def _meaning(row: RuleRange) -> list[str]:
    if row.variant is not None:
        return [row.variant.meaning] if row.variant.meaning else []
    return [change.meaning for change in row.changes if change.meaning]


def mechanism(
    snapshot: str, kernel: str, settings: Sequence[str] = (), asker: int | None = None
) -> dict[str, Any]:
    """The flow charts of a kernel, and how a machine that runs out goes through them.

    Args:
        snapshot: JSON, as ``oomkit snapshot`` prints it.
        kernel: a version or rule set.
        settings: changes such as ``vm.panic_on_oom=1``.
        asker: pid of the task whose request fails; None: not known.

    Returns:
        The charts, function by function; the steps of the decision, each with the chart and row
        that it belongs to; the outcome; the victim's badness term by term.

    Raises:
        SnapshotError: it is no snapshot.
        UnknownKernelError: no rules are known for the kernel.
        SetError: a change can't be made.
    """
    as_it_is = decoded(snapshot)
    rules = rules_for(kernel)
    machine, _ = changed(as_it_is, settings, rules)
    allocation = Allocation(pid=asker)
    decision = decide(machine, allocation, rules)
    drawn = _charts(rules)
    return {
        "charts": drawn,
        "steps": [_step(line, drawn) for line in decision.trace],
        "action": decision.action,
        "victim": _victim(decision),
        "terms": _terms(machine, allocation, rules, decision),
        "tasks": [
            {"pid": task.pid, "comm": printable(task.comm)}
            for task in machine.tasks
            if task.has_mm and not task.global_init
        ],
    }


def victims(
    snapshot: str, settings: Sequence[str] = (), asker: int | None = None
) -> list[dict[str, Any]]:
    """What each rule set, the oldest first, would do to a machine that runs out.

    Args:
        snapshot: JSON.
        settings: changes such as ``vm.panic_on_oom=1``.
        asker: pid of the task whose request fails; None: not known.

    Raises:
        SnapshotError: it is no snapshot.
        SetError: a change can't be made.
    """
    as_it_is = decoded(snapshot)
    found = []
    for row in history():
        machine, _ = changed(as_it_is, settings, row.rules)
        decision = decide(machine, Allocation(pid=asker), row.rules)
        found.append({"action": decision.action, "victim": _victim(decision)})
    return found


def _victim(decision: Decision) -> str | None:
    if decision.action == "panic":
        return decision.panic
    if not decision.victims:
        return None
    return printable(label(decision.victims[0]))


def _charts(rules: RuleSet) -> list[dict[str, Any]]:
    """The functions on the way from the request to the kill."""
    gate = rules.chain[-1] if "may_oom" in rules.chain[-1] else None
    way = [name for name in rules.chain if name != gate]
    found = [_chart("chain", name, ()) for name in way[:-1]]
    before = [*flow_rows.slowpath(rules)]
    if gate is None:
        before += flow_rows.may_oom(rules)
    found.append(_chart("chain", way[-1], before))
    if gate is not None:
        found.append(_chart("chain", gate, flow_rows.may_oom(rules)))
    found.append(_chart("oom", "out_of_memory", flow_rows.out_of_memory(rules)))
    split = rules.pagefault == "__out_of_memory" or rules.name == _ARTICLE
    if rules.badness == "classic" and split:
        found.append(_chart("oom", "__out_of_memory", flow_rows.scan(rules)))
    name = "badness" if rules.badness == "classic" else "oom_badness"
    found.append(_chart("score", name, flow_rows.score(rules)))
    found.append(_chart("kill", "oom_kill_process", flow_rows.kill(rules)))
    return found


def _chart(kind: str, function: str, rows: Iterable[flow_rows.Row]) -> dict[str, Any]:
    return {"kind": kind, "function": function, "rows": list(rows)}


def _step(line: str, drawn: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A line of the trace, and the chart and row it belongs to, by index."""
    function, _, _ = line.partition(": ")
    names = [chart["function"] for chart in drawn]
    chart = next((i for i, name in enumerate(names) if name == function), None)
    if chart is None:
        chart = _place(function, drawn)
    rows = drawn[chart]["rows"]
    row = next((i for i, one in enumerate(rows) if one.said and one.said in line), None)
    return {"text": printable(line), "chart": chart, "row": row}


def _place(function: str, drawn: Sequence[dict[str, Any]]) -> int:
    """The chart of a function that has none of its own: of the kill, or of its caller."""
    names = [chart["function"] for chart in drawn]
    if function in _AFTER:
        return names.index("oom_kill_process")
    if function in _SCANS and "__out_of_memory" in names:
        return names.index("__out_of_memory")
    return names.index("out_of_memory")


def _terms(
    machine: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision
) -> list[dict[str, Any]]:
    """The chosen task's badness term by term, in the rules' unit; classic badness has none."""
    task = next((t for t in machine.tasks if t.pid == decision.chosen_pid), None)
    if task is None or decision.points is None or rules.badness == "classic":
        return []
    oc = control_for(machine, allocation, rules)
    unit = "pages" if rules.badness == "pages" else "thousandths"
    counted = task.rss_pages + task.swap_pages + counted_pgtable_pages(task, rules)
    points = unadjusted_points(task, oc)
    found = [
        {"name": "rss", "value": task.rss_pages, "unit": "pages"},
        {"name": "swap", "value": task.swap_pages, "unit": "pages"},
    ]
    if rules.pgtables != "none":
        pages = counted_pgtable_pages(task, rules)
        found.append({"name": "page tables", "value": pages, "unit": "pages"})
    if rules.badness == "permille" or points != counted:
        found.append({"name": "before oom_score_adj", "value": points, "unit": unit})
    name = f"oom_score_adj {task.oom_score_adj} \u00d7 {adj_step(oc)}"
    found.append({"name": name, "value": task.oom_score_adj * adj_step(oc), "unit": unit})
    found.append({"name": "badness", "value": decision.points, "unit": unit})
    return found
