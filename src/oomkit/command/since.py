"""What memory did to a cgroup since it was made: kills, limits, peak, victims in the log."""

import os

import msgspec

from oomkit.command.kernel_log import kills_in
from oomkit.command.verdict import LogKill
from oomkit.host.cgroups import Hierarchy
from oomkit.host.memcg_stat import oomd_kills, read_memcg_stat
from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Snapshot
from oomkit.klog.lines.sources import LogError, running_kernel_log


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the cgroup that the kernel's log says it killed.

    Attributes:
        pid: its process.
        comm: its name.
        rss_bytes: what it had in memory; None: not said.
        cgroup: the cgroup that ran out; None: the machine did.
    """

    pid: int
    comm: str
    rss_bytes: int | None
    cgroup: str | None


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a cgroup since it was made.

    Attributes:
        path: the cgroup.
        stat: what the kernel counts of it.
        kills: processes of it killed for memory; None: this kernel does not count them.
        own_ooms: how often its limit or one below it was met with nothing to reclaim; None: not
            counted (version 1).
        oomd: processes that systemd-oomd notes to have killed in it; None: no note.
        victims: those that the kernel's log names; None: it can't be read, or names cgroups
            otherwise than they are seen here.
    """

    path: str
    stat: MemcgStat
    kills: int | None
    own_ooms: int | None
    oomd: int | None
    victims: tuple[Victim, ...] | None


_INITIAL_NAMESPACE = "cgroup:[4026531835]"
"""``PROC_CGROUP_INIT_INO`` (include/linux/proc_ns.h)."""


def since(hierarchy: Hierarchy, snapshot: Snapshot, path: str, proc: str = "/proc") -> Since | None:
    """Look what happened to a cgroup; None: it can't be read."""
    stat = read_memcg_stat(hierarchy, path)
    if stat is None:
        return None
    kills = stat.events.get("oom_kill")
    if stat.version == 1:  # which counts each group alone
        below = [m.path for m in snapshot.memcgs if m.path != path and in_memcg(m.path, path)]
        for each in below:
            found = read_memcg_stat(hierarchy, each)
            if found is not None and kills is not None:
                kills += found.events.get("oom_kill", 0)
    # Version 1's counters go with their groups; the log may still name victims in those.
    logged = None if path == "/" and _in_namespace(proc) else _logged()
    victims = None if logged is None else tuple(_of(path, logged))
    if stat.version == 1 and kills is not None and victims:
        kills = max(kills, len(victims))
    return Since(
        path=path,
        stat=stat,
        kills=kills,
        own_ooms=stat.events.get("oom"),
        oomd=oomd_kills(hierarchy, path),
        victims=victims,
    )


def _logged() -> list[LogKill] | None:
    try:
        return kills_in(running_kernel_log())
    except (OSError, LogError):
        return None


def _in_namespace(proc: str) -> bool:
    """Whether paths here are not those of the log, which are the machine's."""
    try:
        return os.readlink(f"{proc}/self/ns/cgroup") != _INITIAL_NAMESPACE
    except OSError:
        return False


def _of(path: str, kills: list[LogKill]) -> list[Victim]:
    """Those of a cgroup and the groups below it."""
    return [
        Victim(pid=kill.pid, comm=kill.comm, rss_bytes=kill.rss_bytes, cgroup=kill.cgroup)
        for kill in kills
        if kill.task_cgroup is not None and in_memcg(kill.task_cgroup, path)
    ]
