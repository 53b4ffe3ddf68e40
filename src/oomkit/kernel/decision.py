"""Records the rules return: a decision with its trace, its victims, and what would alter it."""

from typing import Literal

from oomkit.records import Record

Action = Literal["kill", "would_kill", "panic", "none"]
"""``would_kill`` names a victim and spares it; ``none`` kills no process and says why."""

Scope = Literal["global", "memcg", "cpuset", "mempolicy", "sysrq"]

Constraint = Literal[
    "CONSTRAINT_NONE", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY", "CONSTRAINT_MEMCG"
]

Reason = Literal["selected", "child", "allocating_task", "mm_sharer", "oom_group", "already_dying"]
"""How a victim came to be one."""


class Victim(Record, frozen=True, kw_only=True):
    """A process that dies by a decision.

    Attributes:
        pid: thread group id.
        comm: its name.
        badness: what the chosen rule set's badness gave it; None where it was not computed.
        freed_pages: pages its death gives back: anonymous memory, swap and page tables.
        reason: how it came to be a victim.
    """

    pid: int
    comm: str
    badness: int | None
    freed_pages: int
    reason: Reason


class Counterfactual(Record, frozen=True, kw_only=True):
    """The smallest single change that would alter a decision.

    Attributes:
        kind: what would be changed.
        text: the change and its consequence, one sentence.
        pid: the task it is about; None for knobs.
        knob: field or sysctl to change.
        now: its value now.
        needed: the value nearest to ``now`` at which the decision alters.
        then: the pid that would die instead; None if none would.
    """

    kind: Literal["oom_score_adj", "memory", "sysctl", "oom_group"]
    text: str
    knob: str
    now: int
    needed: int
    pid: int | None = None
    then: int | None = None


class Decision(Record, frozen=True, kw_only=True):
    """What the kernel does about one allocation that could not be met.

    Attributes:
        action: what is done.
        scope: where the candidates were.
        constraint: the kernel's own word for the scope.
        rules: name of the rule set that decided.
        total_pages: ``totalpages``, what badness is measured against; None where the rule
            set has no such term.
        chosen_pid: what ``select_bad_process()`` chose; with child sacrifice not the victim.
        points: badness of the chosen one; None if none was chosen by points.
        victims: the processes that die, in the order of the signals.
        freed_pages: what all of them give back.
        message: the text that opens the kill line ("Out of memory"); None without a victim.
        panic: the panic's text; None without a panic.
        retry: the allocation is tried again (else it fails).
        trace: the steps that led here, in the kernel's own terms.
    """

    action: Action
    scope: Scope
    constraint: Constraint
    rules: str
    total_pages: int | None = None
    chosen_pid: int | None = None
    points: int | None = None
    victims: tuple[Victim, ...] = ()
    freed_pages: int = 0
    message: str | None = None
    panic: str | None = None
    retry: bool = True
    trace: tuple[str, ...] = ()
