"""The kill order as JSON; field names are part of the interface (docs/json.md)."""

from collections.abc import Sequence
from typing import Any

from oomkit.kernel.adj import task_oom_adj
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual
from oomkit.kernel.rank import Ranked, others_are_hidden
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Snapshot
from oomkit.kernel.why import why
from oomkit.posture.advice import counterfactual
from oomkit.posture.asked import Asked, Group, grouped
from oomkit.records import to_builtins


def rank_object(asked: Asked, top: int | None) -> dict[str, Any]:
    """Return the object that ``oomkit rank --json`` prints.

    Args:
        asked: the question and its answer.
        top: maximum number of tasks, or groups; None or 0 for all.
    """
    snapshot, allocation = asked.snapshot, asked.allocation
    rules, decision, why_pid = asked.rules, asked.decision, asked.why_pid
    ranked = asked.ranked()
    found = counterfactuals(snapshot, allocation, rules, decision)
    answer: dict[str, Any] = {
        "kernel": snapshot.kernel,
        "rules": rules.name,
        "scope": decision.scope,
        "cgroup": allocation.memcg,
        "total_pages": decision.total_pages,
        "page_size": snapshot.page_size,
        "decision": {
            "action": decision.action,
            "victims": [
                {
                    "pid": victim.pid,
                    "comm": victim.comm,
                    "reason": victim.reason,
                    "freed_pages": victim.freed_pages,
                }
                for victim in decision.victims
            ],
            "freed_pages": decision.freed_pages,
            "panic": decision.panic,
            "trace": list(decision.trace),
            "counterfactuals": _with_advice(snapshot, found, rules),
        },
        "others_hidden": others_are_hidden(snapshot, decision),
        "tasks": _tasks(ranked[:top] if top and asked.by is None else ranked, rules),
        "missing": list(snapshot.missing),
    }
    if asked.by is not None:
        groups = grouped(snapshot, ranked, asked.by)
        answer["by"] = asked.by
        answer["groups"] = [_group(group) for group in groups[: top or None]]
    if asked.whatif is not None:
        from oomkit.views.decision import whatif_object

        answer["what_if"] = whatif_object(asked.whatif)
    if why_pid is not None:
        reasons = why(snapshot, allocation, rules, decision, why_pid)
        answer["why"] = to_builtins(reasons)
        found = reasons.counterfactuals
        answer["why"]["counterfactuals"] = _with_advice(snapshot, found, rules)
    return answer


def _with_advice(
    snapshot: Snapshot, found: Sequence[Counterfactual], rules: RuleSet
) -> list[dict[str, Any]]:
    return [
        {
            **to_builtins(change),
            "advice": [advice.as_object() for advice in counterfactual(snapshot, change, rules)],
        }
        for change in found
    ]


def _group(group: Group) -> dict[str, Any]:
    fields = {name: getattr(group, name) for name in group.__struct_fields__}
    first = group.first
    fields["first"] = None
    if first is not None:
        fields["first"] = {
            "pid": first.task.pid,
            "comm": first.task.comm,
            "rank": first.rank,
            "badness": first.badness,
        }
    return fields


def _tasks(ranked: Sequence[Ranked], rules: RuleSet) -> list[dict[str, Any]]:
    return [
        {
            "rank": row.rank,
            "pid": row.task.pid,
            "comm": row.task.comm,
            "uid": row.task.uid,
            "rss_pages": row.task.rss_pages,
            "swap_pages": row.task.swap_pages,
            "pgtable_pages": row.task.pgtable_pages,
            "oom_score_adj": row.task.oom_score_adj,
            "oom_adj": task_oom_adj(row.task, rules),
            "badness": row.badness,
            "oom_score": row.oom_score,
            "kernel_oom_score": row.task.kernel_oom_score,
            "eligible": row.eligible,
            "reason": row.reason,
            "cgroup": row.task.cgroup,
            **to_builtins(place(row.task.cgroup)),
            "cmdline": row.task.cmdline,
        }
        for row in ranked
    ]
