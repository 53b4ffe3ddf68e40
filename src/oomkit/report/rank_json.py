"""The kill order as JSON; field names are part of the interface (docs/json.md)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from oomkit.kernel.adj import task_oom_adj
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.rank import Ranked, others_are_hidden, rank, within
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.why import why
from oomkit.posture.advice import counterfactual


def rank_object(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    top: int | None,
    why_pid: int | None,
) -> dict[str, Any]:
    """Return the object that ``oomkit rank --json`` prints.

    Args:
        snapshot: the machine.
        allocation: the request.
        rules: the kernel's rules.
        decision: what they decide.
        top: at most so many tasks; None or 0 for all.
        why_pid: add the reasons for this process's fate.
    """
    ranked = within(rank(snapshot, rules, allocation), allocation)
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
        "tasks": _tasks(ranked[:top] if top else ranked, rules),
        "missing": list(snapshot.missing),
    }
    if why_pid is not None:
        reasons = why(snapshot, allocation, rules, decision, why_pid)
        answer["why"] = msgspec.to_builtins(reasons)
        found = reasons.counterfactuals
        answer["why"]["counterfactuals"] = _with_advice(snapshot, found, rules)
    return answer


def _with_advice(
    snapshot: Snapshot, found: Sequence[Counterfactual], rules: RuleSet
) -> list[dict[str, Any]]:
    return [
        {
            **msgspec.to_builtins(change),
            "advice": [advice.as_object() for advice in counterfactual(snapshot, change, rules)],
        }
        for change in found
    ]


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
            **msgspec.to_builtins(place(row.task.cgroup)),
            "cmdline": row.task.cmdline,
        }
        for row in ranked
    ]
