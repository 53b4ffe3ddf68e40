"""The posture of a machine: the next victim, how close that is, what needs attention."""

from typing import Literal

from oomkit.kernel.alloc import decide
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.overcommit import commit_limit_pages
from oomkit.kernel.rank import Ranked, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.posture.attention import Attention, attention
from oomkit.records import Record


class CommitState(Record, frozen=True, kw_only=True):
    """Promised memory against its limit.

    Attributes:
        mode: ``vm.overcommit_memory``.
        limit_pages: CommitLimit.
        committed_pages: Committed_AS.
        enforced: the limit is one (mode 2).
    """

    mode: int
    limit_pages: int
    committed_pages: int
    enforced: bool


class Posture(Record, frozen=True, kw_only=True):
    """Everything the posture screen shows.

    Attributes:
        kernel: release.
        rules: name of the rule set.
        memory_left_pages: what can still be had before a global OOM: MemAvailable and free
            swap.
        commit: promised memory.
        decision: what a global OOM would do now.
        counterfactuals: what would alter that.
        first: the candidate that is chosen; None if there is none.
        runner_up: the next candidate; None if there is none.
        attention: what deserves attention, worst first.
        state: ``critical`` if any of it is.
    """

    kernel: str
    rules: str
    memory_left_pages: int
    commit: CommitState
    decision: Decision
    counterfactuals: tuple[Counterfactual, ...]
    first: Ranked | None
    runner_up: Ranked | None
    attention: tuple[Attention, ...]
    state: Literal["fine", "warning", "critical"]


def assess(snapshot: Snapshot, rules: RuleSet) -> Posture:
    """Judge a machine by the rules of its kernel."""
    allocation = Allocation()
    decision = decide(snapshot, allocation, rules)
    ranked = rank(snapshot, allocation, rules)
    eligible = [row for row in ranked if row.eligible]
    commit = _commit_state(snapshot, rules)
    items = attention(snapshot, rules, decision, ranked, commit.limit_pages)
    return Posture(
        kernel=snapshot.kernel,
        rules=rules.name,
        memory_left_pages=memory_left_pages(snapshot),
        commit=commit,
        decision=decision,
        counterfactuals=counterfactuals(snapshot, allocation, rules, decision),
        first=eligible[0] if eligible else None,
        runner_up=eligible[1] if len(eligible) > 1 else None,
        attention=items,
        state=items[0].severity if items and items[0].severity != "info" else "fine",
    )


def available_pages(snapshot: Snapshot) -> int:
    """MemAvailable; free pages and cache before 3.14."""
    memory = snapshot.memory
    if memory.available_pages is not None:
        return memory.available_pages
    return memory.free_pages + max(memory.file_pages - memory.shmem_pages, 0)


def memory_left_pages(snapshot: Snapshot) -> int:
    """What :func:`available_pages` says, and free swap."""
    return available_pages(snapshot) + snapshot.memory.free_swap_pages


def _commit_state(snapshot: Snapshot, rules: RuleSet) -> CommitState:
    limit = snapshot.memory.commit_limit_pages
    if limit is None:
        limit = commit_limit_pages(
            snapshot.memory, snapshot.sysctl, rules, page_size=snapshot.page_size
        )
    mode = snapshot.sysctl.overcommit_memory
    return CommitState(
        mode=mode,
        limit_pages=limit,
        committed_pages=snapshot.memory.committed_pages,
        enforced=mode == 2,
    )
