"""A run's processes and cgroups as a policy sees them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from oomkit.kernel.badness import oom_score, score_control
from oomkit.kernel.state import OOM_DISABLE, OOM_SCORE_ADJ_MIN
from oomkit.model.boot import UPTIME_AT_START_S
from oomkit.model.machine import Machine
from oomkit.model.sensors import KB, limit_kb, working_set_kb
from oomkit.model.snapshot import INIT, take_snapshot
from oomkit.model.tasks import Proc
from oomkit.policy.engine.candidate import Candidate, Growth
from oomkit.policy.engine.reading import CgroupReading

TICKS: Final = 100
"""Clock ticks a second of ``/proc`` (USER_HZ)."""


class SizeKey(NamedTuple):
    """The key of a size in a policy's ``Growth``: a process id and a start time."""

    pid: int
    start_time: int


def start_time(proc: Proc) -> int:
    """When a process started, in clock ticks after boot."""
    return int((UPTIME_AT_START_S + proc.start_s) * TICKS)


def memory_key(proc: Proc) -> SizeKey:
    """The key of a process's own memory in ``Growth``."""
    return SizeKey(proc.pid, start_time(proc))


def tmpfs_key(proc: Proc) -> SizeKey:
    """The key of what a process wrote to tmpfs.

    These pages belong to no process, but growth is measured over the same windows. No process has
    a negative id, so the two can't be mistaken for each other.
    """
    return SizeKey(-proc.pid, start_time(proc))


def memory_kb(proc: Proc) -> float:
    """A process's anonymous, shared and locked memory, resident or swapped."""
    return (proc.mm.footprint() + proc.mm.locked + proc.mm.lazy_rss()) * KB


def sizes(machine: Machine) -> dict[tuple[int, int], float]:
    """What growth is measured over, kB, by :func:`memory_key` and :func:`tmpfs_key`."""
    alive = [proc for proc in machine.procs if proc.alive]
    found: dict[tuple[int, int], float] = {memory_key(proc): memory_kb(proc) for proc in alive}
    for proc in alive:
        if proc.tmpfs_written:
            found[tmpfs_key(proc)] = proc.tmpfs_written * KB
    return found


def candidates(machine: Machine, growth: Growth, *, with_scores: bool) -> list[Candidate]:
    """All processes, init included.

    Args:
        machine: the machine.
        growth: the sizes noted before.
        with_scores: work out the kernel's ``oom_score`` too.
    """
    scores = _scores(machine) if with_scores else {}
    found = [
        Candidate(1, 0, 0, INIT.comm, anon_kb=(INIT.anon_rss_pages or 0) * KB, uid=0, cgroup="/")
    ]
    found += (
        _candidate(machine, proc, growth, scores.get(proc.pid))
        for proc in machine.procs
        if proc.alive
    )
    return found


def _candidate(machine: Machine, proc: Proc, growth: Growth, score: int | None) -> Candidate:
    mm = proc.mm
    shared = mm.cow_rss() if mm.cow_views else 0.0
    text = proc.program.resident if proc.program is not None else 0.0
    return Candidate(
        proc.pid,
        start_time(proc),
        proc.ppid,
        proc.spec.name[:15],
        anon_kb=(mm.anon.resident + mm.locked + shared + mm.lazy_rss()) * KB,
        shmem_kb=mm.shmem_rss() * KB,
        shmem_sole_kb=mm.shmem_sole() * KB,
        file_kb=(text + mm.BASE_RSS) * KB,
        swap_kb=mm.swap() * KB,
        pgtables_kb=mm.tables * KB,
        oom_score_adj=_adj(machine, proc),
        oom_score=score,
        cpu_s=proc.cpu_s,
        age_s=machine.now - proc.start_s,
        growth_kb=growth.of(*memory_key(proc), memory_kb(proc)),
        tmpfs_growth_kb=growth.of(*tmpfs_key(proc), proc.tmpfs_written * KB),
        uid=proc.spec.uid,
        cmdline=proc.spec.name,
        cgroup=f"/{proc.spec.cgroup or ''}",
        mm_id=mm.mm_id if mm.users > 1 else None,
        dying=proc.state == "exiting",
    )


def _adj(machine: Machine, proc: Proc) -> int:
    """Its ``oom_score_adj``; kernels with ``oom_adj`` alone exempt a process by that."""
    if machine.rules.badness == "classic" and proc.oom_adj == OOM_DISABLE:
        return OOM_SCORE_ADJ_MIN
    return proc.oom_score_adj


def _scores(machine: Machine) -> dict[int, int]:
    snapshot = take_snapshot(machine)
    control = score_control(snapshot, machine.rules)
    return {task.pid: oom_score(task, control) for task in snapshot.tasks}


def cgroup_readings(machine: Machine, scanned: Mapping[str, float]) -> list[CgroupReading]:
    """The cgroups, as a policy needs them to see how far a kill reaches.

    Args:
        machine: the machine.
        scanned: pages that reclaim has scanned in each, by path.
    """
    return [
        CgroupReading(
            f"/{g.name}",
            g.usage * KB,
            limit_kb(g),
            g.swap_usage * KB,
            pgscan_pages=scanned.get(f"/{g.name}"),
            oom_group=g.oom_group,
            working_set_kb=working_set_kb(machine, g),
            request_kb=g.request_pages * KB,
            priority=g.priority,
        )
        for g in machine.groups.values()
    ]
