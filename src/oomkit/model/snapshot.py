"""The machine's state as the snapshot that the kernel's rules decide on."""

from typing import Final

from oomkit.kernel import state
from oomkit.model import accounting
from oomkit.model.boot import UPTIME_AT_START_S
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.model.tasks import Proc

INIT: Final = state.Task(
    pid=1,
    comm="init",
    rss_pages=400,
    anon_rss_pages=215,
    total_vm_pages=1200,
    pgtable_pages=12,
    cap_sys_admin=True,
    cap_sys_resource=True,
    cap_sys_rawio=True,
    global_init=True,
)


def take_snapshot(machine: Machine) -> state.Snapshot:
    """The whole machine at this moment; tasks in the order in which they were created."""
    return state.Snapshot(
        kernel=machine.spec.kernel,
        memory=accounting.memory(machine),
        sysctl=machine.sysctl,
        tasks=(INIT, *[task_record(machine, p) for p in machine.procs if p.alive]),
        memcgs=tuple(_memcg(group) for group in machine.groups.values()),
        hz=machine.spec.hz,
        cpus=machine.cpus,
        uptime_s=int(machine.uptime_s()),
    )


def task_record(machine: Machine, proc: Proc) -> state.Task:
    """One process as badness and overcommit see it."""
    mm = proc.mm
    root = proc.uid == 0
    rss, swap = mm.rss_and_swap()
    anon = mm.anon.resident + mm.locked + (mm.cow_rss() if mm.cow_views else 0.0)
    if mm.lazy is not None:
        anon += mm.lazy.resident
    text = proc.program.resident if proc.program is not None else 0.0
    return state.Task(
        pid=proc.pid,
        comm=proc.comm,
        ppid=proc.ppid,
        uid=proc.uid,
        rss_pages=round(rss + text) - mm.uncounted_anon - mm.uncounted_shmem,
        anon_rss_pages=round(anon) - mm.uncounted_anon,
        file_rss_pages=round(text) + mm.BASE_RSS,
        shmem_rss_pages=round(mm.shmem_rss() if mm.shared else mm.shmem.resident)
        - mm.uncounted_shmem,
        swap_pages=round(swap),
        pgtable_pages=round(mm.tables),
        total_vm_pages=round(mm.mapped),
        locked_vm_pages=round(mm.locked),
        oom_score_adj=proc.oom_score_adj,
        oom_adj=proc.oom_adj,
        cpu_jiffies=int(proc.cpu_s * machine.spec.hz),
        start_s=UPTIME_AT_START_S + int(proc.start_s),
        nice=proc.nice,
        threads=proc.threads,
        cap_sys_admin=root,
        cap_sys_resource=root,
        cap_sys_rawio=root,
        mm_id=mm.mm_id if mm.users > 1 else None,
        victim=proc.killed,
        exiting=proc.state == "exiting",
        fatal_signal=proc.killed,
        cgroup=proc.cgroup,
    )


def _memcg(group: Group) -> state.Memcg:
    return state.Memcg(
        path=f"/{group.name}",
        version=group.version,
        limit_pages=_limit(group.max_pages),
        memsw_limit_pages=_limit(group.memsw_pages),
        swap_max_pages=_limit(group.swap_max_pages),
        high_pages=_limit(group.high_pages),
        low_pages=int(group.low_pages),
        min_pages=int(group.min_pages),
        usage_pages=int(group.usage),
        swap_usage_pages=int(group.swap_usage),
        swappiness=group.swappiness,
        oom_group=group.oom_group,
        oom_kill_disable=group.oom_kill_disable,
    )


def _limit(pages: float) -> int | None:
    return None if pages == float("inf") else int(pages)
