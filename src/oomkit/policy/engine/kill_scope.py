"""How far a kill reaches: a process, its tree, its cgroup; and the bound on it."""

import re

from oomkit.policy.engine.candidate import Ranked

DYING = "already dying"
"""Why a dying process is refused; it does not spare what would be killed with it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.plan import Selection
    from oomkit.policy.engine.reading import CgroupReading


class Reach:
    """Makes choices of candidates.

    Args:
        selection: of the plan.
    """

    __slots__ = ("_level", "_most", "_oom_group", "_whole")

    def __init__(self, selection: "Selection") -> None:
        self._level = selection.level
        self._most = selection.most_processes
        self._oom_group = selection.oom_group
        self._whole = re.compile(selection.cgroup) if selection.cgroup is not None else None

    def choices(
        self,
        considered: "Sequence[Candidate]",
        processes: "Sequence[Candidate]",
        refused: dict[int, str],
        groups: "Sequence[CgroupReading]",
        *,
        tops: "Tops | None" = None,
        whole: bool = False,
    ) -> list[Ranked]:
        """One choice a candidate, or one a cgroup.

        Args:
            considered: the processes that may be chosen.
            processes: all that could be killed with them.
            refused: pid to why it must never be chosen; empty text where it may.
            groups: the memory cgroups.
            tops: the cgroups in which a rule chooses: no kill reaches beyond one.
            whole: each of those dies as a whole.
        """
        crowd = _Crowd(processes, groups if self._oom_group else ())
        refused = self._with_kill_scope(crowd, refused)
        considered = crowd.one_of_each_memory(considered)
        if self._level == "cgroup":
            return self._by_cgroup(considered, crowd, refused, tops, whole=whole)
        found = []
        for candidate in considered:
            one = Ranked(candidate)
            one.verdict = refused[candidate.pid]
            if not one.verdict:
                self._alone(one, crowd)
                self._extend(one, crowd, refused)
            found.append(one)
        return found

    def _with_kill_scope(self, crowd: "_Crowd", refused: dict[int, str]) -> dict[int, str]:
        """Refuse processes that can't be killed without a refused one, or without too many."""
        found = dict(refused)
        for candidate in crowd.inseparable:
            if found.get(candidate.pid):
                continue
            along = crowd.along(candidate)
            living = [one for one in along if refused.get(one.pid) != DYING]
            spared = next((one for one in living if refused.get(one.pid)), None)
            if spared is not None:
                shares = candidate.mm_id is not None and spared.mm_id == candidate.mm_id
                how = "shares its memory" if shares else "dies with it"
                found[candidate.pid] = f"{spared.comm}[{spared.pid}] {how}: {refused[spared.pid]}"
            elif len(living) > self._most:
                found[candidate.pid] = (
                    f"{len(living)} die together, at most {self._most} may die at once"
                )
        return found

    def _alone(self, one: Ranked, crowd: "_Crowd") -> None:
        """The minimum kill scope: the process and what is inevitably killed with it."""
        candidate = one.candidate
        if candidate.mm_id is not None or candidate.init_of is not None:
            one.members = tuple(c for c in crowd.along(candidate) if c is candidate or not c.dying)
            one.weighed = tuple(
                c for c in one.members
                if c is candidate or (c.mm_id is not None and c.mm_id == candidate.mm_id)
            )  # fmt: skip
            if len(one.members) > 1:
                one.level = "pid namespace" if candidate.init_of is not None else "address space"

    def _extend(self, one: Ranked, crowd: "_Crowd", refused: dict[int, str]) -> None:
        candidate = one.candidate
        group = crowd.oom_group(candidate)
        if group is not None:
            self._take(one, "cgroup", crowd.inside(group), refused, crowd)
        elif self._level == "tree":
            self._take(one, "tree", crowd.tree(candidate), refused, crowd)

    def _take(
        self,
        one: Ranked,
        level: str,
        members: "list[Candidate]",
        refused: dict[int, str],
        crowd: "_Crowd",
    ) -> None:
        """Widen a choice, if none in it is refused and it is not too many."""
        living = [m for m in crowd.with_all_along(members) if refused.get(m.pid) != DYING]
        spared = next((m for m in living if refused.get(m.pid)), None)
        if spared is not None:
            one.note = f"alone: {spared.comm}[{spared.pid}] in its {level}: {refused[spared.pid]}"
        elif len(living) > self._most:
            one.note = f"alone: {len(living)} in its {level}, at most {self._most} may die at once"
        elif len(living) > len(one.members):
            one.level = level
            rest = [m for m in living if m.pid != one.candidate.pid]
            one.members = one.weighed = (one.candidate, *sorted(rest, key=lambda m: m.pid))

    def _path(
        self, candidate: "Candidate", crowd: "_Crowd", tops: "Tops | None", *, whole: bool
    ) -> str | None:
        """The cgroup that a process is chosen with; None where it is not chosen."""
        if self._whole is None:
            top = tops.of(candidate.cgroup) if tops is not None else None
            return (top if whole else None) or crowd.oom_group(candidate, top) or candidate.cgroup
        path = ""
        for part in (candidate.cgroup or "").strip("/").split("/"):
            path += f"/{part}"
            if self._whole.fullmatch(path):
                return path
        return None

    def _by_cgroup(
        self,
        considered: "Sequence[Candidate]",
        crowd: "_Crowd",
        refused: dict[int, str],
        tops: "Tops | None",
        *,
        whole: bool,
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
                path = self._path(candidate, crowd, tops, whole=whole)
                if path is None:
                    one = Ranked(candidate)
                    one.verdict = "in no cgroup that is chosen"
                    found.append(one)
                    continue
                by_path.setdefault(path, []).append(candidate)
        for path, inside in by_path.items():
            largest = max(inside, key=lambda c: (c.freed_kb(), c.start_time, c.pid))
            one = Ranked(largest)
            self._alone(one, crowd)
            top = tops.of(path) if tops is not None else None
            below = whole or self._whole is not None or crowd.oom_group(largest, top) == path
            members = crowd.inside(path) if below else crowd.directly_in(path)
            self._take(one, "cgroup", members, refused, crowd)
            one.cgroup, one.place = None if one.note else path, path
            found.append(one)
        return found


def is_inside(path: str, top: str) -> bool:
    """Whether a cgroup is another one or below it."""
    return top == "/" or path == top or path.startswith(f"{top}/")


class Tops:
    """The cgroups in which a rule chooses.

    Args:
        within: the one that it is about; None: the machine.
        among: expression for those that it names; None: none.
    """

    __slots__ = ("_among", "_within")

    def __init__(self, within: str | None, among: str | None) -> None:
        self._within = within
        self._among = re.compile(among) if among is not None else None

    def of(self, path: str | None) -> str | None:
        """The outermost of them around a cgroup; None where it is in none."""
        if path is None or (self._within is not None and not is_inside(path, self._within)):
            return None
        if self._among is None:
            return self._within or "/"
        above = ""
        for part in path.strip("/").split("/"):
            above += f"/{part}"
            if self._among.fullmatch(above):
                return above
        return "/" if self._among.fullmatch("/") else None


class _Crowd:
    """Everybody, by parent, cgroup and address space."""

    __slots__ = ("_by_memory", "_children", "_oom_groups", "_processes", "inseparable")

    def __init__(self, processes: "Sequence[Candidate]", groups: "Sequence[CgroupReading]") -> None:
        self._processes = processes
        self._oom_groups = sorted(g.path for g in groups if g.oom_group and g.path != "/")
        self._children: dict[int, list[Candidate]] | None = None
        self.inseparable = [c for c in processes if c.mm_id is not None or c.init_of is not None]
        self._by_memory: dict[int, list[Candidate]] = {}
        for c in sorted(self.inseparable, key=lambda c: c.pid):
            if c.mm_id is not None:
                self._by_memory.setdefault(c.mm_id, []).append(c)

    def children(self, pid: int) -> "list[Candidate]":
        """The children of a process."""
        if self._children is None:
            self._children = {}
            for c in self._processes:
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

    def one_of_each_memory(self, considered: "Sequence[Candidate]") -> "list[Candidate]":
        """Of processes that share an address space the first alone: they are one choice."""
        seen: set[int] = set()
        found = []
        for c in sorted(considered, key=lambda c: c.pid) if self._by_memory else considered:
            if c.mm_id is None or c.mm_id not in seen:
                found.append(c)
            if c.mm_id is not None:
                seen.add(c.mm_id)
        return found

    def along(self, candidate: "Candidate") -> "list[Candidate]":
        """A process, first, and what is inevitably killed with it, by pid.

        Unless all that share its address space exit nothing is freed; the death of the init of a
        pid namespace is that of all in there.
        """
        return [candidate, *(c for c in self.with_all_along([candidate]) if c is not candidate)]

    def with_all_along(self, members: "Sequence[Candidate]") -> "list[Candidate]":
        """Members and all that is inevitably killed with them, each once."""
        if not self.inseparable:
            return list(members)
        found, seen = list(members), {m.pid for m in members}
        for member in found:
            along = list(self._by_memory.get(member.mm_id, ())) if member.mm_id is not None else []
            if member.init_of is not None:
                along += [c for c in self._processes if member.init_of in c.namespaces]
            for one in sorted(along, key=lambda c: c.pid):
                if one.pid not in seen:
                    seen.add(one.pid)
                    found.append(one)
        return found

    def oom_group(self, candidate: "Candidate", top: str | None = None) -> str | None:
        """The uppermost cgroup around it that has ``memory.oom.group``.

        Args:
            candidate: the process.
            top: only those below this one count; None: all do.
        """
        own = candidate.cgroup
        if own is None:
            return None
        around = (p for p in self._oom_groups if own == p or own.startswith(f"{p}/"))
        return next((p for p in around if top is None or (p != top and is_inside(p, top))), None)

    def directly_in(self, path: str) -> "list[Candidate]":
        """Everybody in a cgroup, and not in one below."""
        return [c for c in self._processes if c.cgroup == path]

    def inside(self, path: str) -> "list[Candidate]":
        """Everybody in a cgroup or below."""
        below = f"{path}/"
        return [
            c for c in self._processes
            if c.cgroup is not None and (c.cgroup == path or c.cgroup.startswith(below))
        ]  # fmt: skip


def take_along(
    choice: "Ranked",
    ranked: "Sequence[Ranked]",
    *,
    left_kb: float,
    falls_kb_s: float,
    lasts_s: float,
    share: float,
    most: int,
) -> None:
    """Widen a choice to others of its name that grow as well, in the order of their ranks.

    One of many that grow gives back little and hardly slows the fall; as many are killed as
    it takes for what is left, with what they give back, to last ``lasts_s`` against the growth
    of the rest. A single culprit has all the growth, and is killed alone.

    Args:
        choice: what was chosen; its ``members``, ``level`` and sums are changed.
        ranked: all candidates, in order.
        left_kb: available memory and free swap, with what is being freed.
        falls_kb_s: how fast that falls.
        lasts_s: how long it shall last.
        share: what deaths really give back, of what they should.
        most: maximum number of members.
    """
    grown_kb = {id(one): one.candidate.grown_kb() for one in ranked}
    all_kb = sum(grown_kb.values())
    if choice.level != "process" or all_kb <= 0.0:
        return
    members = {m.pid for m in choice.members}
    stays_kb = sum(
        grown_kb[id(one)]
        for one in ranked
        if not one.candidate.dying and one.candidate.pid not in members
    )
    needed_kb = falls_kb_s * lasts_s / all_kb
    taken = list(choice.members)
    for one in ranked:
        if left_kb + share * choice.freed_kb >= needed_kb * stays_kb or len(taken) >= most:
            break
        if one.verdict or one.candidate.pid in members or not _is_alike(one, choice):
            continue
        taken.append(one.candidate)
        choice.freed_kb += one.freed_kb
        choice.gain_kb += one.gain_kb
        choice.level = "namesakes"
        stays_kb -= grown_kb[id(one)]
    choice.members = tuple(taken)


def _is_alike(one: "Ranked", choice: "Ranked") -> bool:
    return (
        one.level == "process"
        and len(one.members) == 1
        and one.candidate.comm == choice.candidate.comm
        and one.candidate.grown_kb() > 0.0
    )
