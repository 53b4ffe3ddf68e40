"""The mechanism of a kernel version for a page: flow charts, and a snapshot that walks through."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oomkit.errors import OomkitError
from oomkit.kernel.alloc import decide
from oomkit.kernel.badness import adj_step, counted_pgtable_pages, unadjusted_points
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import RuleRange, history, rules_for
from oomkit.lab import flow_rows
from oomkit.lab.changes_zh import IN_CHINESE
from oomkit.lab.chinese import spoken
from oomkit.lab.ranking import decoded
from oomkit.posture.whatif import changed
from oomkit.printable import printable
from oomkit.views.decision import label

KNOBS: dict[str, tuple[int, ...]] = {
    "panic_on_oom": (0, 1, 2),
    "oom_kill_allocating_task": (0, 1),
    "overcommit_memory": (0, 1, 2),
}
"""Of ``vm.``, with their values."""
_ADJ_STEPS = (-1000, -500, 0, 500, 1000)
_ARTICLE = "2.6.32-article"
_SCANS = ("select_bad_process",)
_AFTER = ("oom_kill_process", "oom_kill_task", "__oom_kill_process")


class MechanismError(OomkitError):
    """The version has no such way."""


def versions() -> list[dict[str, Any]]:
    """Every rule set, the oldest first: name, range, what changed and what it means."""
    return [
        {
            "name": row.rules.name,
            "range": _range(row),
            "changes": [
                {
                    "what": [what, IN_CHINESE[what]],
                    "meaning": meaning and [meaning, IN_CHINESE[meaning]],
                }
                for what, meaning in _changes(row)
            ],
            "vendor": row.variant is not None,
        }
        for row in history()
    ]


def _range(row: RuleRange) -> tuple[str, str]:
    """The versions, in English and Chinese."""
    since, until = row.rules.since, row.rules.until
    if row.variant is None and until.removesuffix(" and later") != since:
        until = f"{since} to {until}"
    return until, until.replace(" to ", " 至 ").replace(" and later", " 及以后")


def _changes(row: RuleRange) -> list[tuple[str, str]]:
    """What changed, and what that means to users; empty where they can't notice."""
    if row.variant is not None:
        return [(row.variant.what, row.variant.meaning)]
    return [(change.what, change.meaning) for change in row.changes]


def mechanism(
    snapshot: str,
    kernel: str,
    settings: Sequence[str] = (),
    asker: int | None = None,
    memcg: str | None = None,
    language: str = "en",
) -> dict[str, Any]:
    """The flow charts of a kernel, and how a machine that runs out goes through them.

    Args:
        snapshot: JSON, as ``oomkit snapshot`` prints it.
        kernel: a version or rule set.
        settings: changes such as ``vm.panic_on_oom=1``.
        asker: pid of the task whose request fails; None: not known.
        memcg: path of the memory cgroup that is at its limit; None: the machine runs out.
        language: ``en`` or ``zh``, of the steps.

    Returns:
        The charts, function by function; the steps of the decision, each with the chart and row
        that it belongs to; the outcome; the victim's badness term by term; what each value of
        each knob would lead to; the memory cgroups that have a limit.

    Raises:
        SnapshotError: it is no snapshot.
        UnknownKernelError: no rules are known for the kernel.
        SetError: a change can't be made.
        MechanismError: the version has no memory cgroups.
    """
    as_it_is = decoded(snapshot)
    rules = rules_for(kernel)
    if memcg is not None and not _has_memcgs(rules):
        raise MechanismError(f"Linux {rules.name}: memory cgroups came with 2.6.25")
    machine, _ = changed(as_it_is, settings, rules)
    allocation = Allocation(pid=asker, memcg=memcg)
    decision = decide(machine, allocation, rules)
    drawn = _charts(rules, memcg=memcg is not None)
    return {
        "charts": drawn,
        "steps": [_step(line, drawn, language) for line in decision.trace],
        "action": decision.action,
        "victim": _victim(decision),
        "terms": _terms(machine, allocation, rules, decision),
        "knobs": _knobs(as_it_is, settings, allocation, rules),
        "adjusted": _adjusted(as_it_is, settings, allocation, rules, decision),
        "memcgs": sorted(m.path for m in machine.memcgs if m.limit_pages is not None),
        "tasks": [
            {"pid": task.pid, "comm": printable(task.comm)}
            for task in machine.tasks
            if task.has_mm and not task.global_init
        ],
    }


def _has_memcgs(rules: RuleSet) -> bool:
    # They came with the table of tasks.
    return rules.log_table != "none"


def _knobs(
    as_it_is: Snapshot, settings: Sequence[str], allocation: Allocation, rules: RuleSet
) -> list[dict[str, Any]]:
    """Each knob with each of its values: what this version would do."""
    found = []
    for knob, values in KNOBS.items():
        key = f"vm.{knob}"
        others = [one for one in settings if not one.startswith(f"{key}=")]
        outcomes = []
        for value in values:
            machine, _ = changed(as_it_is, [*others, f"{key}={value}"], rules)
            decision = decide(machine, allocation, rules)
            outcomes.append(
                {"value": value, "action": decision.action, "victim": _victim(decision)}
            )
        machine, _ = changed(as_it_is, settings, rules)
        found.append(
            {
                "knob": knob,
                "now": getattr(machine.sysctl, knob),
                "exists": _exists(knob, rules),
                "outcomes": outcomes,
            }
        )
    return found


def _exists(knob: str, rules: RuleSet) -> bool:
    if knob == "panic_on_oom":
        return rules.panic_on_oom != "none"
    if knob == "oom_kill_allocating_task":
        return rules.allocating_task != "none"
    return True


def _adjusted(
    as_it_is: Snapshot,
    settings: Sequence[str],
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
) -> dict[str, Any] | None:
    """What the chosen process's ``oom_score_adj`` would change; None before it was there."""
    key = next((one.partition("=")[0] for one in settings if one.startswith("task.")), None)
    if key is None and decision.chosen_pid is not None:
        key = f"task.{decision.chosen_pid}.oom_score_adj"
    if key is None or rules.adj_files == "oom_adj":
        return None
    pid = int(key.split(".")[1])
    task = next((one for one in as_it_is.tasks if one.pid == pid), None)
    if task is None:
        return None
    others = [one for one in settings if not one.startswith(key)]
    now, _ = changed(as_it_is, settings, rules)
    outcomes = []
    for value in _ADJ_STEPS:
        machine, _ = changed(as_it_is, [*others, f"{key}={value}"], rules)
        made = decide(machine, allocation, rules)
        outcomes.append({"value": value, "action": made.action, "victim": _victim(made)})
    return {
        "pid": pid,
        "comm": printable(task.comm),
        "now": next(one.oom_score_adj for one in now.tasks if one.pid == pid),
        "outcomes": outcomes,
    }


def victims(
    snapshot: str,
    settings: Sequence[str] = (),
    asker: int | None = None,
    memcg: str | None = None,
) -> list[dict[str, Any]]:
    """What each rule set, the oldest first, would do to a machine that runs out.

    Args:
        snapshot: JSON.
        settings: changes such as ``vm.panic_on_oom=1``.
        asker: pid of the task whose request fails; None: not known.
        memcg: path of the memory cgroup that is at its limit; None: the machine runs out. A
            version without memory cgroups has the action ``absent``.

    Raises:
        SnapshotError: it is no snapshot.
        SetError: a change can't be made.
    """
    as_it_is = decoded(snapshot)
    found: list[dict[str, Any]] = []
    for row in history():
        if memcg is not None and not _has_memcgs(row.rules):
            found.append({"action": "absent", "victim": None})
            continue
        machine, _ = changed(as_it_is, settings, row.rules)
        decision = decide(machine, Allocation(pid=asker, memcg=memcg), row.rules)
        found.append({"action": decision.action, "victim": _victim(decision)})
    return found


def _victim(decision: Decision) -> str | None:
    if decision.action == "panic":
        return decision.panic
    if not decision.victims:
        return None
    return printable(label(decision.victims[0]))


def _charts(rules: RuleSet, *, memcg: bool = False) -> list[dict[str, Any]]:
    """The functions on the way from the request to the kill."""
    found = [*_charge(rules)] if memcg else [*_request(rules)]
    name = "badness" if rules.badness == "classic" else "oom_badness"
    found.append(_chart("score", name, flow_rows.score(rules)))
    found.append(_chart("kill", "oom_kill_process", flow_rows.kill(rules)))
    return found


def _request(rules: RuleSet) -> Iterator[dict[str, Any]]:
    """From the allocator to ``out_of_memory()``."""
    gate = rules.chain[-1] if "may_oom" in rules.chain[-1] else None
    way = [name for name in rules.chain if name != gate]
    for name in way[:-1]:
        yield _chart("chain", name, ())
    before = [*flow_rows.slowpath(rules)]
    if gate is None:
        before += flow_rows.may_oom(rules)
    yield _chart("chain", way[-1], before)
    if gate is not None:
        yield _chart("chain", gate, flow_rows.may_oom(rules))
    yield _chart("oom", "out_of_memory", flow_rows.out_of_memory(rules))
    split = rules.pagefault == "__out_of_memory" or rules.name == _ARTICLE
    if rules.badness == "classic" and split:
        yield _chart("oom", "__out_of_memory", flow_rows.scan(rules))


def _charge(rules: RuleSet) -> Iterator[dict[str, Any]]:
    """From a charge to a memory cgroup to its OOM killer."""
    at_limit = flow_rows.Row(
        text=("the cgroup is at its limit, and reclaim found nothing",
              "cgroup 已达限额，回收没有得到内存"),
        said="is at its limit",
    )  # fmt: skip
    on = flow_rows.Row(text=("calls on", "继续调用"), said="calls on")
    *before, last = rules.memcg_chain
    for i, name in enumerate(before):
        yield _chart("chain", name, [at_limit] if i == 0 else [on])
    rows = [*flow_rows.charge(rules)]
    yield _chart("chain", last, [*rows, on] if before else [at_limit, *rows])
    if rules.memcg_at_fault_end:
        done = flow_rows.Row(
            text=("the page fault ends: now the kill is done", "缺页结束时才杀进程"),
            said="as the page fault ends",
        )
        yield _chart("chain", "mem_cgroup_oom_synchronize", [done])
    name = "mem_cgroup_out_of_memory" if rules.badness == "classic" else "out_of_memory"
    yield _chart("oom", name, flow_rows.confined(rules))


def _chart(kind: str, function: str, rows: Iterable[flow_rows.Row]) -> dict[str, Any]:
    return {"kind": kind, "function": function, "rows": list(rows)}


def _step(line: str, drawn: Sequence[dict[str, Any]], language: str) -> dict[str, Any]:
    """A line of the trace, and the chart and row it belongs to, by index."""
    function, _, _ = line.partition(": ")
    names = [chart["function"] for chart in drawn]
    chart = next((i for i, name in enumerate(names) if name == function), None)
    if chart is None:
        chart = _place(function, drawn)
    rows = drawn[chart]["rows"]
    row = next((i for i, one in enumerate(rows) if _is_about(one, line)), None)
    passed = row is not None and bool(rows[row].passed) and rows[row].passed in line
    said = spoken(printable(line), language)
    return {"text": said, "chart": chart, "row": row, "passed": passed}


def _is_about(row: flow_rows.Row, line: str) -> bool:
    return any(part and part in line for part in (row.said, row.passed))


def _place(function: str, drawn: Sequence[dict[str, Any]]) -> int:
    """The chart of a function that has none of its own: of the kill, or of its caller."""
    names = [chart["function"] for chart in drawn]
    if function in _AFTER:
        return names.index("oom_kill_process")
    if function in _SCANS and "__out_of_memory" in names:
        return names.index("__out_of_memory")
    return next(i for i, chart in enumerate(drawn) if chart["kind"] == "oom")


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
