"""Supervisors: processes on which others depend; they go behind these, and cost a start."""

from oomkit.policy.engine.candidate import leads
from oomkit.policy.engine.matcher import Matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomkit.policy.engine.candidate import Candidate, Ranked, Start
    from oomkit.policy.engine.plan import Selection
    from oomkit.policy.engine.plan_parts import Supervisor
    from oomkit.policy.engine.starts import Starts

SESSION = "session"
"""All processes of its user depend on it, not only those below it."""
_BEHIND = 0.99
_DEPTH = 64


class Supervisors:
    """Finds supervisors among candidates, and what depends on each.

    Args:
        selection: of the plan.
        starts: what starts took; None: nothing is known of any.
    """

    __slots__ = ("_entries", "_starts")

    def __init__(self, selection: "Selection", starts: "Starts | None" = None) -> None:
        self._starts = starts
        self._entries = [(Matcher(one.match.patterns), one) for one in selection.supervisors]

    def meant(self, candidates: "Iterable[Candidate]") -> "list[Candidate]":
        """Those that could be supervisors, whether or not they lead what they are in."""
        return [c for c in candidates if any(matcher.matches(c) for matcher, _ in self._entries)]

    def among(self, candidates: "Sequence[Candidate]") -> "dict[int, Supervised]":
        """Supervisors by pid, with what depends on each."""
        found: dict[int, Supervised] = {}
        if not self._entries or not (meant := self.meant(candidates)):
            return found
        by_pid = {c.pid: c for c in candidates}
        for one in meant:
            entry = self._entry_of(one, by_pid)
            if entry is not None:
                start = self._starts.of(one) if self._starts is not None else None
                found[one.pid] = Supervised(entry, start)
        for c in candidates:
            above = ancestors(c, by_pid)
            place = user_slice(c.cgroup)
            for pid, supervised in found.items():
                if pid == c.pid:
                    continue
                if pid in above or (
                    supervised.entry.takes == SESSION
                    and place
                    and c.pid not in found
                    and place == user_slice(by_pid[pid].cgroup)
                ):
                    supervised.dependants.append(c)
        return found

    def _entry_of(self, one: "Candidate", by_pid: "dict[int, Candidate]") -> "Supervisor | None":
        for matcher, entry in self._entries:
            if matcher.matches(one) and (not entry.leads or leads(one, by_pid)):
                return entry
        return None


class Supervised:
    """A supervisor at one moment.

    Attributes:
        entry: what the policy says of it.
        start: what its starts took; None: that is not known, and what the policy says counts.
        dependants: the candidates that depend on it.
    """

    __slots__ = ("dependants", "entry", "start")

    def __init__(self, entry: "Supervisor", start: "Start | None" = None) -> None:
        self.entry = entry
        self.start = start
        self.dependants: list[Candidate] = []

    def cost_s(self, members: "Iterable[Candidate]") -> float:
        """CPU seconds to have it back: its start, and the work of what depends on it.

        Args:
            members: that die with it, whose work counts already.
        """
        counted = {one.pid for one in members}
        lost = (one.cpu_s for one in self.dependants if one.pid not in counted)
        start_s = self.entry.restart_s if self.start is None else self.start.cost_s()
        return start_s + sum(lost, 0.0)


def stand_behind(ranked: "Sequence[Ranked]", supervised: "dict[int, Supervised]") -> None:
    """Put each supervisor behind the first of its dependants that could be chosen.

    No further than by the factor of its entry: a supervisor that is the culprit by itself is
    still chosen, and none can hide behind processes that it starts.

    Args:
        ranked: all candidates, weighed; scores and factors of supervisors are changed.
        supervised: what :meth:`Supervisors.among` found.
    """
    scores = {one.candidate.pid: one.score for one in ranked if not one.verdict}
    moved: set[int] = set()
    # A supervisor below another one is put behind first, so that the other one follows.
    below = sorted(
        (one for one in ranked if one.candidate.pid in supervised and not one.verdict),
        key=lambda one: len(supervised[one.candidate.pid].dependants),
    )
    for one in below:
        found = supervised[one.candidate.pid]
        members = {member.pid for member in one.members}
        others = [c.pid for c in found.dependants if c.pid not in members and c.pid in scores]
        first = max((scores[pid] for pid in others), default=0.0)
        if first <= 0.0:
            continue
        first = min((first, *(scores[pid] for pid in others if pid in moved)))
        score = min(one.score, max(_BEHIND * first, one.score / found.entry.factor))
        if score < one.score:
            moved.add(one.candidate.pid)
            one.factors = (*one.factors, ("supervisor", score / one.score))
            one.score = scores[one.candidate.pid] = score


def ancestors(one: "Candidate", by_pid: "dict[int, Candidate]") -> "tuple[int, ...]":
    """Pids of the processes above it, as far as they are known, without init."""
    if one.above:
        return one.above
    found: list[int] = []
    pid = one.ppid
    while pid > 1 and len(found) < _DEPTH and pid not in found:
        found.append(pid)
        parent = by_pid.get(pid)
        if parent is None:
            break
        pid = parent.ppid
    return tuple(found)


def user_slice(cgroup: str | None) -> str:
    """The slice of a user that a cgroup is in; empty where it is in none."""
    parts = (cgroup or "").split("/")
    for i, part in enumerate(parts):
        if part.startswith("user-") and part.endswith(".slice"):
            return "/".join(parts[: i + 1])
    return ""
