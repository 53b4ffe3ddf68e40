"""What would have altered a decision: the smallest single changes."""

from functools import cached_property

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import label
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.oom_control import OomControl, in_memcg, share_mm
from oomkit.kernel.overcommit import OVERCOMMIT_NEVER, commit_limit_pages
from oomkit.kernel.rank import eligible_by_badness
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task, name
from oomkit.kernel.threshold import adj_now, extra_pages, losing_adj, with_adj
from oomkit.records import replace
from oomkit.render.quantities import human_pages


def counterfactuals(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision
) -> tuple[Counterfactual, ...]:
    """Find the smallest single changes after which the decision would be another.

    Args:
        snapshot: the machine.
        allocation: the request.
        rules: the kernel's rules.
        decision: what :func:`oomkit.kernel.alloc.decide` made of them.

    Returns:
        At most one change of each kind: an adjustment, another task's size, each knob.
    """
    world = _World(snapshot, allocation, rules, decision)
    found = [
        _adjustment(world),
        _child_adjustment(world),
        _other_grows(world),
        _unprotect(world),
        *_knobs(world),
        _strict_overcommit(world),
        _oom_group(world),
    ]
    return tuple(item for item in found if item is not None)


class _World:
    """A decision with what it was made of, and the same after one change."""

    def __init__(
        self, snapshot: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision
    ) -> None:
        self.snapshot = snapshot
        self.allocation = allocation
        self.rules = rules
        self.decision = decision
        self.oc: OomControl = control_for(snapshot, allocation, rules)
        self.ranked = eligible_by_badness(self.oc)

    @property
    def chosen(self) -> Task | None:
        """The task that the scan chose by points; None if there is none."""
        pid = self.decision.chosen_pid
        if pid is None or self.decision.points is None:
            return None
        return self.oc.by_pid.get(pid)

    def with_task(self, changed: Task) -> Decision:
        tasks = tuple(changed if t.pid == changed.pid else t for t in self.snapshot.tasks)
        return self._decide(replace(self.snapshot, tasks=tasks))

    def with_sysctl(self, **knobs: int) -> Decision:
        sysctl = replace(self.snapshot.sysctl, **knobs)
        return self._decide(replace(self.snapshot, sysctl=sysctl))

    def with_oom_group(self, path: str, *, value: bool) -> Decision:
        memcgs = tuple(
            replace(m, oom_group=value) if m.path == path else m for m in self.snapshot.memcgs
        )
        return self._decide(replace(self.snapshot, memcgs=memcgs))

    def _decide(self, snapshot: Snapshot) -> Decision:
        return decide(snapshot, self.allocation, self.rules)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {task.pid: place for place, task in enumerate(self.oc.candidates())}

    def wins_ties(self, task: Task, rival: Task) -> bool:
        """Whether ``task`` is taken before a rival of the same badness."""
        earlier = self._places[task.pid] < self._places[rival.pid]
        return earlier != self.oc.last_of_equals

    def is_altered(self, other: Decision) -> bool:
        return other.action != self.decision.action or _pids(other) != _pids(self.decision)


def _pids(decision: Decision) -> list[int]:
    return [victim.pid for victim in decision.victims]


def _first(decision: Decision) -> int | None:
    return decision.victims[0].pid if decision.victims else None


def _consequence(decision: Decision) -> str:
    if decision.action == "panic":
        return f"the machine panics ({decision.panic})"
    if not decision.victims:
        return "no process is killed"
    first = decision.victims[0]
    others = len(decision.victims) - 1
    victim = f"{first.comm}[{first.pid}]"
    if decision.action == "would_kill":
        return f"{victim} would be named"
    return f"{victim} and {others} more die" if others else f"{victim} dies"


def _knob_name(rules: RuleSet) -> str:
    return "oom_adj" if rules.badness == "classic" else "oom_score_adj"


def _adj_change(world: _World, task: Task, needed: int) -> Counterfactual | None:
    changed = with_adj(task, needed, world.rules)
    other = world.with_task(changed)
    if not world.is_altered(other):
        return None
    knob = _knob_name(world.rules)
    now = adj_now(task, world.rules)
    bound = "at" if needed in (-17, -1000) or needed > now else "at or below"
    return Counterfactual(
        kind="oom_score_adj",
        knob=knob,
        pid=task.pid,
        now=now,
        needed=needed,
        then=_first(other),
        text=f"with {knob} of {name(task)} {bound} {needed} (now {now}), {_consequence(other)}",
    )


def _adjustment(world: _World) -> Counterfactual | None:
    """How far the chosen task's adjustment must be lowered for the next one to be chosen."""
    chosen, points = world.chosen, world.decision.points
    if chosen is None or points is None:
        return None
    rival = next(((p, t) for p, t in world.ranked if t.pid != chosen.pid), None)
    levels: list[int | None] = [None]
    if rival is not None:
        rival_points, rival_task = rival
        first = rival_points - world.wins_ties(chosen, rival_task)
        # Chosen in its place, its parent still sacrifices it until a sibling is worse.
        siblings = {t.pid for t in world.oc.children(rival_task)} - {chosen.pid}
        worse = {p for p, t in world.ranked if t.pid in siblings}
        lower = {level for p in worse for level in (p, p - 1) if level < first}
        levels = [first, *sorted(lower, reverse=True), None]
    for level in levels:
        change = _adj_change(world, chosen, losing_adj(chosen, world.oc, level))
        if change is not None:
            return change
    return None


def _child_adjustment(world: _World) -> Counterfactual | None:
    """The same for a sacrificed child: where another child, or the parent, dies instead."""
    victims = world.decision.victims
    if world.chosen is None or not victims or victims[0].reason != "child":
        return None
    child = world.oc.by_pid[victims[0].pid]
    if world.rules.children == "first":
        return _adj_change(world, child, -17) if world.rules.kill_checks_disabled else None
    parent = world.chosen
    siblings = {
        t.pid
        for t in world.oc.children(parent)
        if not (world.rules.children_own_mm and share_mm(t, parent))
    }
    rivals = [(p, t) for p, t in world.ranked if t.pid in siblings and t.pid != child.pid]
    if not rivals:
        return _adj_change(world, child, losing_adj(child, world.oc, None))
    # Of equal children the first in the parent's list dies (OpenVZ: the last), whatever the
    # scan's tie-break.
    order = [t.pid for t in world.oc.children(parent)]
    if world.rules.children == "worst_last":
        order.reverse()
    points = max(p for p, _ in rivals)
    earliest = min(order.index(t.pid) for p, t in rivals if p == points)
    beaten_at = points - (order.index(child.pid) < earliest)
    return _adj_change(world, child, losing_adj(child, world.oc, beaten_at))


def _other_grows(world: _World) -> Counterfactual | None:
    """The fewest pages by which some other task would have to be larger to be chosen."""
    chosen, points = world.chosen, world.decision.points
    if chosen is None or points is None:
        return None
    best: tuple[int, Task] | None = None
    for other_points, other in world.ranked:
        if other.pid == chosen.pid:
            continue
        target = points + world.wins_ties(chosen, other)
        limit = None if best is None else best[0] - 1
        pages = extra_pages(other, world.oc, target, known=other_points, limit=limit)
        if pages is not None:
            best = (pages, other)
    if best is None:
        return None
    pages, other = best
    field = "total_vm_pages" if _grows_by_size(world.rules) else "rss_pages"
    now = getattr(other, field)
    decision = world.with_task(replace(other, **{field: now + pages}))
    if not world.is_altered(decision):
        return None
    return Counterfactual(
        kind="memory",
        knob=field,
        pid=other.pid,
        now=now,
        needed=now + pages,
        then=_first(decision),
        text=f"with {amount(pages, world.snapshot.page_size)} more in {name(other)}, "
        f"{_consequence(decision)}",
    )


def _grows_by_size(rules: RuleSet) -> bool:
    return rules.badness == "classic" and rules.classic_basis == "total_vm"


def _unprotect(world: _World) -> Counterfactual | None:
    """Where none can be killed: the largest protected task, its protection lowered by a step."""
    if world.decision.victims or world.chosen is not None or world.ranked:
        return None
    protected = [
        task
        for task in world.oc.candidates()
        if task.has_mm and not task.global_init and is_disabled(task, world.rules)
    ]
    if not protected:
        return None
    largest = max(protected, key=lambda task: task.rss_pages + task.swap_pages)
    return _adj_change(world, largest, -16 if world.rules.badness == "classic" else -999)


def _knobs(world: _World) -> list[Counterfactual | None]:
    return [
        _knob(world, "panic_on_oom", (1, 2) if world.decision.action != "panic" else (0,)),
        _knob(world, "oom_kill_allocating_task", (1,)),
        _knob(world, "would_have_oomkilled", (0,)),
        _knob(world, "oom_killer_disabled", (0,)),
    ]


def _knob(world: _World, knob: str, values: tuple[int, ...]) -> Counterfactual | None:
    now = getattr(world.snapshot.sysctl, knob)
    for value in values:
        if value == now:
            continue
        other = world.with_sysctl(**{knob: value})
        if world.is_altered(other):
            return Counterfactual(
                kind="sysctl",
                knob=knob,
                now=now,
                needed=value,
                then=_first(other),
                text=f"with {knob} = {value} (now {now}), {_consequence(other)}",
            )
    return None


def _strict_overcommit(world: _World) -> Counterfactual | None:
    """``overcommit_memory`` = 2 refuses memory beforehand where more is promised than its limit."""
    snapshot, rules = world.snapshot, world.rules
    now = snapshot.sysctl.overcommit_memory
    if now == OVERCOMMIT_NEVER or world.decision.scope == "memcg":
        return None
    limit = commit_limit_pages(
        snapshot.memory, snapshot.sysctl, rules, page_size=snapshot.page_size
    )
    over = snapshot.memory.committed_pages - limit
    if over <= 0:
        return None
    return Counterfactual(
        kind="sysctl",
        knob="overcommit_memory",
        now=now,
        needed=OVERCOMMIT_NEVER,
        text=f"with overcommit_memory = 2 (now {now}), the last "
        f"{amount(over, snapshot.page_size)} promised would have been refused with ENOMEM instead",
    )


def amount(pages: int, page_size: int) -> str:
    """Pages as a size, and to the last one."""
    return f"{human_pages(pages, page_size)} ({pages} pages)"


def _oom_group(world: _World) -> Counterfactual | None:
    """``memory.oom.group`` of the victim's cgroup, or of the ancestor that took it along."""
    victims = world.decision.victims
    if not victims or not world.rules.oom_group:
        return None
    victim = world.oc.by_pid[victims[0].pid]
    above = [m for m in world.snapshot.memcgs if in_memcg(victim.cgroup, m.path) and m.path != "/"]
    above.sort(key=lambda memcg: len(memcg.path), reverse=True)
    for memcg in above:
        if memcg.version != 2:
            continue
        other = world.with_oom_group(memcg.path, value=not memcg.oom_group)
        if world.is_altered(other):
            now, needed = int(memcg.oom_group), int(not memcg.oom_group)
            return Counterfactual(
                kind="oom_group",
                knob=f"{memcg.path}/memory.oom.group",
                now=now,
                needed=needed,
                then=_first(other),
                text=f"with memory.oom.group = {needed} on {label(memcg.path)} (now {now}), "
                f"{_consequence(other)}",
            )
    return None
