"""How far a kill reaches: a process, its tree, its cgroup; and the bound on it."""

from oomkit.policy.core.ranked import Ranked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.reading import CgroupReading


class Reach:
    """Makes choices of candidates.

    Args:
        plan: the plan's ``whom``: ``level``, ``most_processes``, ``oom_group``.
    """

    __slots__ = ("_level", "_most", "_oom_group")

    def __init__(self, plan: "dict[str, Any]") -> None:
        self._level: str = plan["level"]
        self._most: int = plan["most_processes"]
        self._oom_group: bool = plan["oom_group"]

    def choices(
        self,
        considered: "Sequence[Candidate]",
        everybody: "Sequence[Candidate]",
        refused: dict[int, str],
        groups: "Sequence[CgroupReading]",
    ) -> list[Ranked]:
        """One choice a candidate, or one a cgroup.

        Args:
            considered: whom it may be about.
            everybody: who else could die with them.
            refused: pid to why it must never be chosen; empty text where it may.
            groups: the memory cgroups.
        """
        crowd = _Crowd(everybody, groups if self._oom_group else ())
        if self._level == "cgroup":
            return self._by_cgroup(considered, crowd, refused)
        found = []
        for candidate in considered:
            one = Ranked(candidate)
            one.verdict = refused[candidate.pid]
            if not one.verdict:
                self._extend(one, crowd, refused)
            found.append(one)
        return found

    def _extend(self, one: Ranked, crowd: "_Crowd", refused: dict[int, str]) -> None:
        candidate = one.candidate
        alone = crowd.sharers(candidate)
        one.members = tuple(alone)
        group = crowd.oom_group(candidate)
        if group is not None:
            self._take(one, "cgroup", crowd.inside(group), refused)
        elif self._level == "tree":
            self._take(one, "tree", crowd.tree(candidate), refused)

    def _take(
        self, one: Ranked, level: str, members: "list[Candidate]", refused: dict[int, str]
    ) -> None:
        """Widen a choice, if nobody in it is refused and it is not too many."""
        living = [m for m in members if refused.get(m.pid) != "already dying"]
        spared = next((m for m in living if refused.get(m.pid)), None)
        if spared is not None:
            one.note = f"alone: {spared.comm}[{spared.pid}] in its {level} is {refused[spared.pid]}"
        elif len(living) > self._most:
            one.note = f"alone: {len(living)} in its {level}, at most {self._most} may die at once"
        elif len(living) > len(one.members):
            one.level = level
            rest = [m for m in living if m.pid != one.candidate.pid]
            one.members = (one.candidate, *sorted(rest, key=lambda m: m.pid))

    def _by_cgroup(
        self, considered: "Sequence[Candidate]", crowd: "_Crowd", refused: dict[int, str]
    ) -> list[Ranked]:
        """One choice a cgroup, about its largest process."""
        by_path: dict[str, list[Candidate]] = {}
        found = []
        for candidate in considered:
            if refused[candidate.pid] or candidate.cgroup is None:
                one = Ranked(candidate)
                one.verdict = refused[candidate.pid] or "its cgroup is not known"
                found.append(one)
            else:
                path = crowd.oom_group(candidate) or candidate.cgroup
                by_path.setdefault(path, []).append(candidate)
        for path, inside in by_path.items():
            largest = max(inside, key=lambda c: (c.freed_kb(), c.start_time, c.pid))
            one = Ranked(largest)
            members = crowd.inside(path) if crowd.oom_group(largest) else inside
            self._take(one, "cgroup", members, refused)
            found.append(one)
        return found


class _Crowd:
    """Everybody, by parent, cgroup and address space."""

    __slots__ = ("_children", "_everybody", "_oom_groups")

    def __init__(self, everybody: "Sequence[Candidate]", groups: "Sequence[CgroupReading]") -> None:
        self._everybody = everybody
        self._oom_groups = sorted(g.path for g in groups if g.oom_group and g.path != "/")
        self._children: dict[int, list[Candidate]] | None = None

    def children(self, pid: int) -> "list[Candidate]":
        """The children of a process."""
        if self._children is None:
            self._children = {}
            for c in self._everybody:
                self._children.setdefault(c.ppid, []).append(c)
        return self._children.get(pid, [])

    def tree(self, root: "Candidate") -> "list[Candidate]":
        """A process and all below it."""
        found, seen = [root], {root.pid}
        for member in found:
            for child in self.children(member.pid):
                if child.pid not in seen:
                    seen.add(child.pid)
                    found.append(child)
        return found

    def sharers(self, candidate: "Candidate") -> "list[Candidate]":
        """A process and those who use its address space, without whom nothing comes free."""
        if candidate.mm_id is None:
            return [candidate]
        others = [c for c in self._everybody if c.mm_id == candidate.mm_id and c is not candidate]
        return [candidate, *sorted(others, key=lambda c: c.pid)]

    def oom_group(self, candidate: "Candidate") -> str | None:
        """The uppermost cgroup around it that has ``memory.oom.group``."""
        own = candidate.cgroup
        if own is None:
            return None
        return next((p for p in self._oom_groups if own == p or own.startswith(f"{p}/")), None)

    def inside(self, path: str) -> "list[Candidate]":
        """Everybody in a cgroup or below."""
        below = f"{path}/"
        return [
            c for c in self._everybody
            if c.cgroup is not None and (c.cgroup == path or c.cgroup.startswith(below))
        ]  # fmt: skip
