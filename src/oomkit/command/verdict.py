"""Was it memory, and whose: what the counters before and after a command say; pure."""

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from oomkit.command.evidence import Level, Reading, Seen

NONE = "none"
KERNEL_HERE = "kernel_here"
KERNEL_ABOVE = "kernel_above"
KERNEL_MACHINE = "kernel_machine"
OOMD = "oomd"
SIGKILL = "sigkill"
"""The killer. ``sigkill``: origin unknown, and nothing shows that it was for memory."""


class LogKill:
    """A kill in the kernel's log.

    Attributes:
        pid: the victim.
        comm: its name.
        rss_bytes: what it had in memory; None: the line does not say.
        total_vm_bytes: what it had mapped; None likewise.
        cgroup: the group that ran out; None: the machine did.
        task_cgroup: the victim's group; None: the log does not say.
    """

    def __init__(
        self,
        pid: int,
        comm: str,
        *,
        rss_bytes: int | None = None,
        total_vm_bytes: int | None = None,
        cgroup: str | None = None,
        task_cgroup: str | None = None,
    ) -> None:
        self.pid = pid
        self.comm = comm
        self.rss_bytes = rss_bytes
        self.total_vm_bytes = total_vm_bytes
        self.cgroup = cgroup
        self.task_cgroup = task_cgroup


class Verdict:
    """What became of a command.

    Attributes:
        killer: ``none`` where no process of it is known to have been killed, or one of the others.
        kills: how many processes were killed for memory; None: not counted.
        shared: the counters are of a group that others are in, too, so the kills may be theirs.
        itself: the command's own process was killed by SIGKILL.
        whole: the whole group was killed at once (``memory.oom.group``).
        limit: the limit that was met, in bytes; None: none, or not known.
        limit_of: the group whose limit that is.
        victims: those that the kernel's log names.
        seen: processes at the fullest moment, the largest first.
        evidence: what was looked at, a few words each.
    """

    def __init__(self) -> None:
        self.killer = NONE
        self.kills: int | None = None
        self.shared = False
        self.itself = False
        self.whole = False
        self.limit: int | None = None
        self.limit_of: str | None = None
        self.victims: list[LogKill] = []
        self.seen: list[Seen] = []
        self.evidence: list[str] = []

    def sufficed(self) -> tuple[int, int | None] | None:
        """Between which sizes the limit would have had to be: above the first, and at most the
        second, what the victims had mapped in all (None: not known). None: no limit was met.
        """
        if self.limit is None:
            return None
        mapped = [kill.total_vm_bytes for kill in self.victims if kill.total_vm_bytes is not None]
        others = sum(kill.rss_bytes or 0 for kill in self.victims)
        most = max(self.limit, self.limit - others + sum(mapped)) if mapped else None
        return self.limit, most

    def values(self) -> "dict[str, Any]":
        """The verdict as plain values, for JSON."""
        between = self.sufficed() if self.killer in (KERNEL_HERE, KERNEL_ABOVE) else None
        return {
            "killer": self.killer,
            "kills": self.kills,
            "shared": self.shared,
            "command_killed": self.itself,
            "whole_group": self.whole,
            "limit_bytes": self.limit,
            "limit_of": self.limit_of,
            "limit_needed_above_bytes": None if between is None else between[0],
            "limit_needed_at_most_bytes": None if between is None else between[1],
            "victims": [
                {
                    "pid": kill.pid,
                    "comm": kill.comm,
                    "rss_bytes": kill.rss_bytes,
                    "total_vm_bytes": kill.total_vm_bytes,
                }
                for kill in self.victims
            ],
            "seen": [{"pid": s.pid, "comm": s.comm, "rss_bytes": s.rss} for s in self.seen],
            "evidence": self.evidence,
        }


def judge(
    before: "Reading",
    after: "Reading",
    number: int,
    pid: int,
    log: "Sequence[LogKill] | None",
    seen: "Sequence[Seen]" = (),
) -> Verdict:
    """Say whether memory ended a command, and what killed it.

    Args:
        before: counters before it began.
        after: counters after it ended.
        number: the signal that ended it; 0: none.
        pid: its process.
        log: kills in the kernel's log meanwhile; None: the log could not be read.
        seen: its processes at the fullest moment.
    """
    verdict = Verdict()
    verdict.seen = list(seen)
    verdict.itself = number == signal.SIGKILL
    own = _increase(before, after, 0, "kills")
    verdict.kills = own
    verdict.shared = bool(after.levels) and not after.levels[0].made
    verdict.evidence = _evidence(after, log)
    oomd = (after.oomd or 0) - (before.oomd or 0)
    named = _named(after, log or (), pid)
    if own or named:
        verdict.victims = named
        verdict.whole = bool(_increase(before, after, 0, "group_kills"))
        _blame(verdict, before, after, named)
    elif oomd > 0:
        verdict.killer, verdict.kills = OOMD, oomd
    elif verdict.itself and own is None and _machine(before, after):
        verdict.killer = KERNEL_MACHINE
    elif verdict.itself:
        verdict.killer = SIGKILL
    return verdict


def _increase(before: "Reading", after: "Reading", index: int, name: str) -> int | None:
    if len(after.levels) <= index or len(before.levels) <= index:
        return None
    first, last = getattr(before.levels[index], name), getattr(after.levels[index], name)
    return None if first is None or last is None else last - first


def _machine(before: "Reading", after: "Reading") -> bool:
    if before.machine_kills is None or after.machine_kills is None:
        return False
    return after.machine_kills > before.machine_kills


def _named(after: "Reading", log: "Sequence[LogKill]", pid: int) -> list[LogKill]:
    """The kills of the log that were of the command."""
    own = after.levels[0] if after.levels else None
    found = []
    for kill in log:
        inside = own is not None and own.made and _ends_with(kill.task_cgroup, own.path)
        if kill.pid == pid or inside:
            found.append(kill)
    return found


def _ends_with(path: str | None, own: str) -> bool:
    """Whether a path of the kernel's log is the group's, which may be seen from a namespace."""
    if path is None or own == "/":
        return False
    return path == own or path.endswith(own) or f"{own}/" in path


def _blame(
    verdict: Verdict, before: "Reading", after: "Reading", named: "Sequence[LogKill]"
) -> None:
    """Whose limit it was: by the log, else by which group counts that it ran out."""
    if named and all(kill.cgroup is None for kill in named):
        verdict.killer = KERNEL_MACHINE
        return
    for index, level in enumerate(after.levels):
        logged = any(_ends_with(kill.cgroup, level.path) for kill in named)
        if logged or (not named and _ran_out(before, after, index)):
            verdict.killer = KERNEL_ABOVE if index else KERNEL_HERE
            verdict.limit, verdict.limit_of = level.limit, level.path
            return
    if named:
        verdict.killer = KERNEL_ABOVE
        verdict.limit_of = named[0].cgroup
        return
    # Nothing that is seen from here ran out. Inside a namespace that may be a group above it.
    verdict.killer = KERNEL_MACHINE


def _ran_out(before: "Reading", after: "Reading", index: int) -> bool:
    level = after.levels[index]
    if level.ooms is not None:
        return bool(_increase(before, after, index, "ooms"))
    return level.was_full()


def _evidence(after: "Reading", log: "Sequence[LogKill] | None") -> list[str]:
    found = []
    if after.levels:
        level: Level = after.levels[0]
        kind = "its own" if level.made else "the one it is in"
        counted = "counts kills" if level.kills is not None else "does not count kills"
        found.append(f"cgroup {level.path} ({kind}; {counted})")
    else:
        found.append("no memory cgroup is seen")
    if log is None:
        found.append("the kernel's log cannot be read")
    else:
        found.append("the kernel's log")
    return found
