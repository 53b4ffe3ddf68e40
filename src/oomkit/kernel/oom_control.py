"""What one OOM decision works with, the counterpart of the kernel's ``struct oom_control``."""

from collections.abc import Sequence

from oomkit.kernel.decision import Constraint
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task


class OomControl:
    """A snapshot, a request and the rules, with the look-ups that the rules need.

    Args:
        snapshot: the machine.
        allocation: the request that could not be met.
        rules: the kernel's rules.
        constraint: what confines it.
        total_pages: what badness is measured against; None for the classic rules.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        allocation: Allocation,
        rules: RuleSet,
        constraint: Constraint = "CONSTRAINT_NONE",
        total_pages: int | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.rules = rules
        self.allocation = allocation
        self.constraint: Constraint = constraint
        self.total_pages = total_pages
        # Look-ups are made when they are first asked for.
        self._by_pid: dict[int, Task] | None = None
        self._by_ppid: dict[int, list[Task]] | None = None
        self._by_mm: dict[int, list[Task]] | None = None
        self._by_path: dict[str, Memcg] | None = None
        self._nodes_matter: bool | None = None

    @property
    def by_pid(self) -> dict[int, Task]:
        """Tasks by pid."""
        if self._by_pid is None:
            self._by_pid = {task.pid: task for task in self.snapshot.tasks}
        return self._by_pid

    @property
    def current(self) -> Task | None:
        """The task that asks; None where it is not in the snapshot."""
        pid = self.allocation.pid
        return None if pid is None else self.by_pid.get(pid)

    @property
    def nodes_matter(self) -> bool:
        """Whether a task can be out of reach because of its memory nodes.

        Not on most machines; so the selection loop need not ask that of every task.
        """
        if self._nodes_matter is None:
            self._nodes_matter = self._do_nodes_matter()
        return self._nodes_matter

    def _do_nodes_matter(self) -> bool:
        rule = self.rules.node_overlap
        if rule in ("ignored", "eighth"):
            return False
        if rule == "unkillable_not_memcg" and self.allocation.memcg is not None:
            return False
        if self.constraint == "CONSTRAINT_MEMORY_POLICY" and rule != "skipped":
            return self.allocation.nodemask is not None
        return self.current is not None and self.current.mems_allowed is not None

    def children(self, task: Task) -> list[Task]:
        """The task's children in the order they were made."""
        if self._by_ppid is None:
            self._by_ppid = {}
            for one in self.snapshot.tasks:
                self._by_ppid.setdefault(one.ppid, []).append(one)
        return self._by_ppid.get(task.pid, [])

    def sharers(self, task: Task) -> list[Task]:
        """Other processes that use the task's address space."""
        if task.mm_id is None:
            return []
        if self._by_mm is None:
            self._by_mm = {}
            for one in self.snapshot.tasks:
                if one.mm_id is not None and one.has_mm:
                    self._by_mm.setdefault(one.mm_id, []).append(one)
        return [other for other in self._by_mm.get(task.mm_id, ()) if other.pid != task.pid]

    @property
    def last_of_equals(self) -> bool:
        """Whether of equals the one met last is chosen; else it is the first."""
        if self.rules.ties == "last_not_memcg":
            return self.allocation.memcg is None
        return self.rules.ties == "last"

    @property
    def memcg(self) -> Memcg | None:
        """The memory cgroup that ran out; None for the machine."""
        path = self.allocation.memcg
        return None if path is None else self.find_memcg(path)

    def find_memcg(self, path: str) -> Memcg:
        """The memory cgroup of that path; one without limits if the snapshot lacks it."""
        if self._by_path is None:
            self._by_path = {memcg.path: memcg for memcg in self.snapshot.memcgs}
        return self._by_path.get(path) or Memcg(path=path)

    def candidates(self) -> Sequence[Task]:
        """The tasks the selection loop walks, in its order."""
        path = self.allocation.memcg
        if path is None:
            return self.snapshot.tasks
        members = [
            task
            for task in self.snapshot.tasks
            if in_memcg(task.cgroup, path) and not is_hidden(task, self.rules)
        ]
        if self.rules.memcg_scan == "tree":
            order = {memcg.path: i for i, memcg in enumerate(self.snapshot.memcgs)}
            members.sort(key=lambda task: order.get(task.cgroup, len(order)))
        return members


def is_hidden(task: Task, rules: RuleSet) -> bool:
    """Whether a walk through a cgroup's tasks passes over one (``css_task_iter_advance()``)."""
    all_threads = task.threads == 1 or task.victim or task.fatal_signal
    return rules.memcg_hides_exiting and task.exiting and all_threads


def in_memcg(cgroup: str, path: str) -> bool:
    """Whether a cgroup is ``path`` or below it."""
    return path == "/" or cgroup == path or cgroup.startswith(path + "/")


def share_mm(one: Task, other: Task) -> bool:
    """Whether two tasks use one address space."""
    return one.mm_id is not None and one.mm_id == other.mm_id


def nodes_overlap(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    """Whether two sets of NUMA nodes have one in common; None stands for all nodes."""
    return one is None or other is None or not set(one).isdisjoint(other)
