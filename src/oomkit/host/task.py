"""From the parsed files of one process to its record.

Not to be had from ``/proc``, and so left at their defaults: which process was an OOM victim
before (``victim``), ``oom_origin``, ``frozen``, ``traced_exit`` and the nodes of a memory policy.
"""

import msgspec

from oomkit.host.procfs import text
from oomkit.host.stat import PF_DUMPCORE, PF_EXITING, PF_KTHREAD, Stat, Status
from oomkit.kernel.adj import oom_score_adj_of
from oomkit.kernel.state import Task


class Machine(msgspec.Struct, frozen=True):
    """What is the same for all processes, and needed to convert units.

    Attributes:
        page_size: bytes in a page.
        user_hz: ticks in a second of ``/proc`` (USER_HZ).
        hz: jiffies in a second (CONFIG_HZ).
        nodes: the NUMA nodes that have memory.
        summed_rss: badness uses exact sums of resident pages, which status shows and stat does not.
    """

    page_size: int
    user_hz: int
    hz: int
    nodes: frozenset[int] = frozenset()
    summed_rss: bool = False


class Readings(msgspec.Struct, gc=False):
    """What one look at a process gave; None for what was refused or does not exist."""

    stat: Stat
    status: Status | None = None
    oom_score_adj: int | None = None
    oom_adj: int | None = None
    oom_score: int | None = None
    leader_cpu_ticks: int | None = None


_NOTHING = Status()


def build_task(
    pid: int, readings: Readings, cgroup: str, machine: Machine, *, initial_namespace: bool
) -> Task:
    """Return the record of a process.

    Args:
        pid: its thread group id.
        readings: the parsed files.
        cgroup: path of its memory cgroup.
        machine: units.
        initial_namespace: these are the processes of the initial pid namespace, so that
            process 1 is the one that is never killed.
    """
    stat = readings.stat
    status = readings.status or _NOTHING
    kb = machine.page_size // 1024
    kthread = bool(stat.flags & PF_KTHREAD)
    pmd_kb = status.pmd_kb
    leader_ticks = readings.leader_cpu_ticks
    return Task(
        pid=pid,
        comm=text(stat.comm),
        ppid=stat.ppid,
        uid=status.uid,
        euid=None if status.euid == status.uid else status.euid,
        rss_pages=_rss_pages(stat, status, machine),
        anon_rss_pages=None if status.anon_kb is None else status.anon_kb // kb,
        file_rss_pages=None if status.file_kb is None else status.file_kb // kb,
        shmem_rss_pages=None if status.shmem_kb is None else status.shmem_kb // kb,
        swap_pages=(status.swap_kb or 0) // kb,
        pgtable_pages=(status.pte_kb + (pmd_kb or 0)) // kb,
        pte_pages=None if pmd_kb is None else status.pte_kb // kb,
        pmd_pages=None if pmd_kb is None else pmd_kb // kb,
        total_vm_pages=stat.vsize_bytes // machine.page_size,
        locked_vm_pages=status.locked_kb // kb,
        oom_score_adj=_score_adj(readings),
        oom_adj=readings.oom_adj,
        cpu_jiffies=stat.cpu_ticks * machine.hz // machine.user_hz,
        leader_cpu_jiffies=(
            None if leader_ticks is None else leader_ticks * machine.hz // machine.user_hz
        ),
        start_s=stat.start_ticks // machine.user_hz,
        nice=stat.nice,
        threads=stat.threads,
        cap_sys_admin=status.cap_sys_admin,
        cap_sys_resource=status.cap_sys_resource,
        cap_sys_rawio=status.cap_sys_rawio,
        has_mm=stat.vsize_bytes > 0 and not kthread,
        kthread=kthread,
        global_init=pid == 1 and initial_namespace,
        exiting=bool(stat.flags & PF_EXITING),
        fatal_signal=status.fatal_signal,
        coredump=status.coredump or bool(stat.flags & PF_DUMPCORE),
        cgroup=cgroup,
        mems_allowed=_mems_allowed(status.mems_allowed, machine.nodes),
        kernel_oom_score=readings.oom_score,
    )


def _rss_pages(stat: Stat, status: Status, machine: Machine) -> int:
    """Resident pages as this kernel's badness reads them; see ``RuleSet.rss_counters``."""
    parts = (status.anon_kb, status.file_kb, status.shmem_kb)
    if not machine.summed_rss or None in parts:
        return stat.rss_pages
    return sum(part or 0 for part in parts) * 1024 // machine.page_size


def _score_adj(readings: Readings) -> int:
    """``oom_score_adj``; before 2.6.36 what writing ``oom_adj`` would have set it to."""
    if readings.oom_score_adj is not None:
        return readings.oom_score_adj
    return oom_score_adj_of(readings.oom_adj or 0)


def _mems_allowed(listed: bytes, nodes: frozenset[int]) -> tuple[int, ...] | None:
    """The nodes with memory that a cpuset allows; None if that is all of them."""
    if len(nodes) < 2 or not listed:
        return None
    allowed = nodes.intersection(parse_list(listed))
    return None if allowed == nodes else tuple(sorted(allowed))


def parse_list(listed: bytes) -> frozenset[int]:
    """Parse a list of numbers as the kernel prints bitmaps: ``0-3,8``.

    Raises:
        ValueError: it is not such a list.
    """
    numbers: set[int] = set()
    for part in listed.split(b","):
        if part.strip():
            first, _, last = part.partition(b"-")
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
