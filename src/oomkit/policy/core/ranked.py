"""What ranking gives: whom it would take, why so high, and why not."""

from oomkit.policy.core.candidate import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Ranked:
    """One choice: a process, or one with all that would die with it.

    Attributes:
        candidate: the process it is about.
        members: everybody who dies: it, first, and whom it takes along.
        weighed: those of them whose sizes make the score; who dies along with the init of a pid
            namespace is no reason to choose it.
        level: ``process``, ``namesakes``, ``tree``, ``cgroup``, ``address space`` (who shares its
            memory) or ``pid namespace`` (whose init it is): how far it really reaches.
        factors: what the score was made of, in order: names and values.
        score: higher dies earlier.
        equal_kb: among equal scores the larger goes first.
        freed_kb: what their deaths give back.
        gain_kb: the same with what they would have gone on to take; 0 where that is not weighed.
        verdict: why it can't be chosen; empty where it can.
        note: why it reaches less far than the policy asks; empty otherwise.
    """

    __slots__ = (
        "candidate",
        "equal_kb",
        "factors",
        "freed_kb",
        "gain_kb",
        "level",
        "members",
        "note",
        "score",
        "verdict",
        "weighed",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.members: tuple[Candidate, ...] = (candidate,)
        self.weighed: tuple[Candidate, ...] = (candidate,)
        self.level = "process"
        self.factors: tuple[tuple[str, float], ...] = ()
        self.score = 0.0
        self.freed_kb = 0.0
        self.equal_kb = 0.0
        self.gain_kb = 0.0
        self.verdict = ""
        self.note = ""


def memories(members: "Sequence[Candidate]") -> "Sequence[Candidate]":
    """Those of the members whose memory counts: of several that share an address space, one."""
    if all(one.mm_id is None for one in members):
        return members
    counted, seen = [], set()
    for one in members:
        if one.mm_id is None or one.mm_id not in seen:
            seen.add(one.mm_id)
            counted.append(one)
    return counted
