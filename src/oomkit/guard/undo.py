"""What softer acts are done to, looked at before and meanwhile, and what it takes to undo one.

That is kept in the state file, so that a guard that is started again can; their records are here.
"""

import errno

from oomkit.guard.act_record import reason
from oomkit.guard.records import Origin, Record, VictimRecord, why_now
from oomkit.host.cgroup_control import HeldCgroup
from oomkit.host.pidfd import Held, start_ticks_of
from oomkit.host.procfs import GONE, NO_FILES, read_single, stat_fields
from oomkit.policy.engine.easing import FREEZE, RECLAIM, THROTTLE
from oomkit.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from oomkit.guard.config import Places
    from oomkit.guard.killer import Key, Killer
    from oomkit.policy.engine.easing import Ease

MOST_PROCESSES = 512
"""A cgroup with more is left alone: all of them are looked at before an act."""


class Targets:
    """Looks at what an act is done to.

    Args:
        killer: looks at processes.
        places: where processes and cgroups are.
    """

    __slots__ = ("_killer", "_places")

    def __init__(self, killer: "Killer", places: "Places") -> None:
        self._killer = killer
        self._places = places

    def refusal(self, held: HeldCgroup, pid: int | None = None) -> str:
        """Why nothing may be done to a cgroup; empty where it may.

        Args:
            held: the cgroup.
            pid: a process that has to be in it; None: none has.
        """
        pids = held.pids()
        if pid is not None and pid not in pids:
            return f"process {pid} is not in it any more"
        if len(pids) > MOST_PROCESSES:
            return f"{len(pids)} processes are in it, more than are looked at"
        if 0 in pids:
            return "a process in it can't be seen from this pid namespace"
        for one in pids:
            started = start_ticks_of(one, self._places.proc)
            found = self._killer.check([(one, started)], keep=False) if started else None
            if found is not None:
                return f"process {one} in it: {found[1]}"
        return ""

    def protected(self, undo: "Undo") -> str:
        """Why what is in force must not be so any more; empty where it may."""
        if not undo.file:
            found = self._killer.check(undo.keys, keep=False)
            return "" if found is None else f"process {found[0][0]}: {found[1]}"
        try:
            held = HeldCgroup(self._places.cgroups, undo.place, undo.identity)
        except OSError as error:
            return "" if error.errno in NO_FILES else "it is gone"
        with held:
            try:
                return self.refusal(held)
            except OSError as error:
                return "" if error.errno in NO_FILES else error.strerror or str(error)

    def pids_in(self, undo: "Undo") -> set[int]:
        """Those that an act is in force on; empty where its cgroup is gone or can't be read."""
        if not undo.file:
            return {pid for pid, _ in undo.keys}
        try:
            with HeldCgroup(self._places.cgroups, undo.place, undo.identity) as held:
                return set(held.pids())
        except OSError:
            return set()

    def freed_kb(self, place: str, usage_kb: float) -> int | None:
        """How much less a cgroup uses than it did, kB; None where that can't be read."""
        try:
            with HeldCgroup(self._places.cgroups, place) as held:
                return max(int(usage_kb - int(held.read("memory.current")) / 1024), 0)
        except (OSError, ValueError):
            return None

    def stopped(self, keys: "Sequence[Key]") -> str:
        """Which of some processes stands still already; empty where none does."""
        for pid, _ in keys:
            if _state_of(pid, self._places.proc) in (b"T", b"t"):
                return f"process {pid} is stopped already"
        return ""


def _state_of(pid: int, proc: str) -> bytes:
    try:
        return stat_fields(read_single(f"{proc}/{pid}/stat"), 1)[0]
    except (OSError, IndexError):
        return b""


_SIGCONT = 18
FILES = {THROTTLE: "memory.high", FREEZE: "cgroup.freeze", RECLAIM: "memory.reclaim"}
"""What is written in a cgroup for each act."""
TAKEN_BACK, LEFT, NOT_THERE = "taken back", "left", "gone"
OUTCOMES = {
    TAKEN_BACK: "taken back",
    LEFT: "left as it is, since something else changed it",
    NOT_THERE: "over, since it is gone",
}
"""How taking back ends, in words."""


class EaseRecord(Record):
    """A softer act, for the journal.

    Attributes:
        act: ``reclaim``, ``throttle`` or ``freeze``.
        place: the cgroup that it is done to; empty: processes.
        before: what the cgroup's file said before.
        value: what was written.
        lasts_s: it is taken back after that.
        outcome: how it ended: ``done``, ``taken back``, ``left`` (another one had changed it),
            ``gone``, ``refused``, ``dry_run``; None: it is in force.
        text: why.
        freed_kb: of a reclaim: how much less the cgroup uses.
        after_ms: how long it was in force.
    """

    __slots__ = (
        "act", "after_ms", "before", "freed_kb", "id", "lasts_s", "mono_s", "origin", "outcome",
        "place", "reason", "text", "time_s", "value", "victim", "why_now",
    )  # fmt: skip
    kind = "ease"

    def __init__(self, ease: "Ease", origin: Origin, time_s: float) -> None:
        one, step = ease.choice.candidate, ease.step
        self.act = step.kind
        self.place = ease.cgroup
        self.origin = origin
        self.id = f"{step.kind}-{one.pid}-{one.start_time}-{ease.state.t_s:.3f}"
        self.time_s = round(time_s, 6)
        self.mono_s = round(ease.state.t_s, 6)
        self.why_now = why_now(ease.state)
        self.victim = VictimRecord.of(ease.choice).to_values()
        self.reason = reason(ease.ranked)
        self.lasts_s = step.lasts_s
        self.before = self.value = self.text = ""
        self.outcome: str | None = None
        self.freed_kb: int | None = None
        self.after_ms: float | None = None

    def to_values(self) -> "dict[str, Any]":
        """Return the record as plain values; what is not known yet is left out."""
        values: dict[str, Any] = {
            "kind": self.kind, "act": self.act, "level": "ease", **self.why_now,
            "victim": self.victim, "reason": self.reason, "place": self.place,
            "before": self.before, "value": self.value, "lasts_s": self.lasts_s, "id": self.id,
            "time_s": self.time_s, "mono_s": self.mono_s, **self.origin.to_values(),
        }  # fmt: skip
        for name in ("outcome", "text", "freed_kb", "after_ms"):
            known = getattr(self, name)
            if known is not None and known != "":
                values[name] = known
        return values


def ease_words(ease: "Ease") -> str:
    """What is done, to what, in words."""
    one, step = ease.choice.candidate, ease.step
    of = f"{ease.cgroup} (for {one.comm}[{one.pid}])" if ease.cgroup else f"{one.comm}[{one.pid}]"
    also = len(ease.choice.members) - 1
    if not ease.cgroup and also:
        of += f" and {also} more"
    return f"{step.kind} {of}"


class LeftRecord(Record):
    """A softer act that a guard left that was killed, taken back by the next one.

    Attributes:
        values: its record, as that guard kept it.
        outcome: how it ended.
    """

    __slots__ = ("outcome", "values")
    kind = "ease"
    TEXT = "the guard that did it was killed"

    def __init__(self, values: "dict[str, Any]", outcome: str) -> None:
        self.values = values
        self.outcome = outcome

    def to_values(self) -> "dict[str, Any]":
        """Return the record as plain values."""
        return {**self.values, "outcome": self.outcome, "text": self.TEXT}


class Undo:
    """What it takes to take a throttle or a freeze back.

    Attributes:
        file: the file of a cgroup that was written; empty: processes were stopped.
        place: the cgroup.
        identity: which one.
        before: what the file said before.
        value: what was written.
        keys: the processes that were stopped.
    """

    __slots__ = ("before", "file", "identity", "keys", "place", "value")

    def __init__(
        self,
        *,
        file: str = "",
        place: str = "",
        identity: tuple[int, int] = (0, 0),
        before: str = "",
        value: str = "",
        keys: "tuple[Key, ...]" = (),
    ) -> None:
        self.file = file
        self.place = place
        self.identity = identity
        self.before = before
        self.value = value
        self.keys = keys

    def to_values(self) -> "dict[str, Any]":
        """As plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_values(cls, values: "dict[str, Any]") -> "Undo":
        """Again.

        Raises:
            KeyError, TypeError, ValueError: they are none.
        """
        file, (device, inode) = str(values["file"]), values["identity"]
        if file not in ("", *FILES.values()):
            raise ValueError(file)
        return cls(
            file=file,
            place=str(values["place"]),
            identity=(int(device), int(inode)),
            before=str(values["before"]),
            value=str(values["value"]),
            keys=tuple((int(pid), int(start)) for pid, start in values["keys"]),
        )

    def run(self, places: "Places") -> str:
        """Take it back; returns how that ended.

        Raises:
            OSError: it can't be done now.
        """
        if not self.file:
            return self._let_go_on(places)
        try:
            with HeldCgroup(places.cgroups, self.place, self.identity) as held:
                found = held.read(self.file)
                if found not in (self.before, self.value):
                    return LEFT
                held.write(self.file, self.before)
        except OSError as error:
            if error.errno in (*GONE, errno.ENODEV):
                return NOT_THERE
            raise
        return TAKEN_BACK

    def _let_go_on(self, places: "Places") -> str:
        outcome = NOT_THERE
        for pid, start_time in self.keys:
            try:
                held = Held(pid, start_time, places.proc)
            except ProcessLookupError:
                continue
            try:
                held.send(_SIGCONT)
                outcome = TAKEN_BACK
            except ProcessLookupError:
                continue
            finally:
                held.close()
        return outcome


def left_behind(values: "dict[str, Any]", places: "Places") -> tuple[str, str, str]:
    """Take back what a guard left that was killed.

    Args:
        values: one of those that its state file keeps.
        places: where processes and cgroups are.

    Returns:
        how it ended, empty where it did not; why it can't be done, empty where it was or where
        this is nothing to take back; what it is, in words.
    """
    try:
        undo, record = Undo.from_values(values["undo"]), values["record"]
        victim = record["victim"]
        of = undo.place or f"{victim['comm']}[{victim['pid']}]"
        said = printable(f"{record['act']} {of}")
    except (KeyError, TypeError, ValueError):
        return "", "", ""
    try:
        return undo.run(places), "", said
    except OSError as error:
        return "", error.strerror or str(error), said
