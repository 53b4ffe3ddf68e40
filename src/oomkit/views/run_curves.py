"""The curves of a run, made ready to be shown: task by task, and memory by its use."""

from collections.abc import Sequence
from operator import add

from oomkit.records import Record
from oomkit.render.bars import column_of
from oomkit.scenario import Kill, Run, Scenario
from oomkit.scenario.record import TaskSamples

PROBE = "probe/0"
PING = "ping/0"
_ANSWERING = (PROBE, PING)
_MB = 2**20


class Curve(Record, frozen=True, kw_only=True):
    """One task's part of the samples.

    Attributes:
        key: ``name/instance``.
        name: the task's name.
        instance: which of the tasks of this name, from 0.
        rss_mb: resident memory at each sample.
        swap_mb: swapped memory at each sample.
        progress: share of its steps done at each sample.
        first: index of the first sample that shows it.
        last: index of the last one.
        start_s: when it started: the last sample that does not show it yet.
        end_s: when it had ended: the first sample that does not show it any more; None: it was
            there at the end.
        kill: how it was killed; None: it was not.
    """

    key: str
    name: str
    instance: int
    rss_mb: Sequence[float]
    swap_mb: Sequence[float]
    progress: Sequence[float]
    first: int
    last: int
    start_s: float
    end_s: float | None
    kill: Kill | None

    @property
    def peak_mb(self) -> float:
        """The most memory and swap it had."""
        there = slice(self.first, self.last + 1)
        return max(map(add, self.rss_mb[there], self.swap_mb[there]), default=0.0)


class Uses(Record, frozen=True, kw_only=True):
    """What memory is used for at each sample, in MB; the four add up to ``total_mb``.

    Attributes:
        t_s: times.
        total_mb: what they add up to.
        kernel_mb: what was used beside the tasks when they were smallest.
        tasks_mb: what else is neither free nor page cache: tasks' anonymous memory, page tables.
        cache_mb: page cache, shared memory and tmpfs.
        free_mb: free memory.
        swap_used_mb: used swap.
        swap_total_mb: all swap.
    """

    t_s: Sequence[float]
    total_mb: float
    kernel_mb: Sequence[float]
    tasks_mb: Sequence[float]
    cache_mb: Sequence[float]
    free_mb: Sequence[float]
    swap_used_mb: Sequence[float]
    swap_total_mb: float


def curves(run: Run) -> list[Curve]:
    """The tasks that the samples show, in order of their first appearance."""
    dead = {(kill.task, kill.instance): kill for kill in run.kills if not kill.would_have}
    found = []
    t_s = run.samples.t_s
    for key, samples in run.samples.tasks.items():
        if key in _ANSWERING:
            continue
        name, _, number = key.rpartition("/")
        first, last = _shown(samples)
        if last < 0 or last >= len(t_s):
            continue
        instance = int(number) if number.isascii() and number.isdigit() else 0
        curve = Curve(
            key=key,
            name=name or key,
            instance=instance,
            rss_mb=samples.rss_mb,
            swap_mb=samples.swap_mb,
            progress=samples.progress,
            first=first,
            last=last,
            start_s=t_s[max(first - 1, 0)],
            end_s=t_s[last + 1] if last + 1 < len(t_s) else None,
            kill=dead.get((name, instance)),
        )
        found.append(curve)
    found.sort(key=lambda curve: curve.first)
    return found


def _shown(samples: TaskSamples) -> tuple[int, int]:
    """The first and the last sample in which a task has memory; -1 where it never has."""
    rss, swap = samples.rss_mb, samples.swap_mb
    count = min(len(rss), len(swap))
    first = 0
    while first < count and not (rss[first] > 0 or swap[first] > 0):
        first += 1
    last = count - 1
    while last >= first and not (rss[last] > 0 or swap[last] > 0):
        last -= 1
    return first, last if last >= first else -1


def swap_total_mb(run: Run, scenario: Scenario | None) -> float:
    """All swap: what the scenario says, or the most that was ever free."""
    machine = scenario.machine if scenario is not None else None
    declared = (machine.swap_bytes + machine.zram_bytes) / _MB if machine is not None else 0.0
    later = [at.swap_bytes / _MB for at in scenario.at if at.swap_bytes] if scenario else []
    return max([declared, *later, *run.samples.swap_free_mb], default=0.0)


def uses(run: Run, scenario: Scenario | None = None) -> Uses:
    """Split memory by its use.

    Args:
        run: the record.
        scenario: what was played; without it the memory's size is taken for the most that was
            ever seen in use and free together.
    """
    samples = run.samples
    resident = [0.0] * len(samples.t_s)
    for key, task in samples.tasks.items():
        if key not in _ANSWERING:
            rest = resident[len(task.rss_mb) :]
            resident = [*map(add, resident, task.rss_mb), *rest]
    rows = list(
        zip(samples.t_s, samples.free_mb, samples.cached_mb, samples.swap_free_mb, strict=False)
    )
    total = scenario.machine.ram_bytes / _MB if scenario is not None else 0.0
    if scenario is None:
        total = max(
            (free + cached + resident[i] for i, (_, free, cached, _) in enumerate(rows)),
            default=0.0,
        )
    total = max([total, *(free + cached for _, free, cached, _ in rows)])
    swap_total = swap_total_mb(run, scenario)
    used = [total - free - cached for _, free, cached, _ in rows]
    # Resident memory counts shared text and shmem again for each task, so its sum says least
    # wrong where it is smallest: what is used beside it there is the kernel's.
    least = min(range(len(rows)), key=resident.__getitem__, default=0)
    kernel = max(used[least] - resident[least], 0.0) if rows else 0.0
    tasks = [max(most - kernel, 0.0) for most in used]
    return Uses(
        t_s=[t for t, _, _, _ in rows],
        total_mb=total,
        kernel_mb=[most - mine for most, mine in zip(used, tasks, strict=True)],
        tasks_mb=tasks,
        cache_mb=[cached for _, _, cached, _ in rows],
        free_mb=[free for _, free, _, _ in rows],
        swap_used_mb=[max(swap_total - left, 0.0) for _, _, _, left in rows],
        swap_total_mb=swap_total,
    )


def answers(run: Run, key: str) -> tuple[int, float] | None:
    """How often a probe (:data:`PROBE`) or ping (:data:`PING`) answered, and when last.

    Returns:
        None when the run has no such task.
    """
    task = run.samples.tasks.get(key)
    if task is None or not task.progress:
        return None
    total = max(task.progress)
    last = 0.0
    before = 0.0
    for t, count in zip(run.samples.t_s, task.progress, strict=False):
        if count > before:
            before, last = count, t
    return int(total), last


def freeze_marks(run: Run, end_s: float, cells: int, *, unicode: bool) -> str:
    """A band in a line of so many cells wherever the machine was frozen."""
    marks = [" "] * cells
    for freeze in run.frozen:
        first = column_of(freeze.from_s, end_s, cells)
        for i in range(first, max(column_of(freeze.to_s, end_s, cells), first) + 1):
            marks[i] = "░" if unicode else "%"
    return "".join(marks)
