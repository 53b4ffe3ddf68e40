"""Softer acts than a signal at work: reclaim, throttle, freeze; and all of it taken back.

Before a throttle or a freeze begins, the state file says what was there before. It is taken back
when its time is over, when what must not be hit came in, when the guard ends, and, where that
was killed, by the next one or ``oomkit guard --undo``.
"""

import errno
import os
import time

from oomkit.guard.hooks import NOT_ASKED
from oomkit.guard.killer import GONE
from oomkit.guard.messages import ERROR, NOTICE, WARNING, evidence
from oomkit.guard.records import Origin
from oomkit.guard.undo import (
    FILES,
    NOT_THERE,
    OUTCOMES,
    EaseRecord,
    LeftRecord,
    Targets,
    Undo,
    ease_words,
    left_behind,
)
from oomkit.host.cgroup_control import HeldCgroup, SlowWrite, SlowWriter
from oomkit.host.procfs import NO_FILES
from oomkit.policy.engine.easing import FREEZE, RECLAIM
from oomkit.policy.engine.escalation import Signal
from oomkit.printable import printable
from oomkit.render.quantities import kb as kb_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from oomkit.guard.config import Places
    from oomkit.guard.hooks import Hooks
    from oomkit.guard.killer import Key, Killer
    from oomkit.guard.reporter import Reporter
    from oomkit.policy.engine.easing import Ease

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CHECK_S = 1.0
"""Between two looks at whether something protected came into what is slowed down or frozen."""
AGAIN_S = 5.0
"""What can't be taken back is tried again after that."""
CLOSE_S = 1.0
"""A guard that ends waits no longer for a write: what it sets is set when it begins."""
WATCH_S = 0.1
"""Between two looks at whether a reclaim is over."""
RESUME, END = "resume", "end"
"""What a desktop note about a frozen process can be answered with."""


class _InForce:
    __slots__ = ("begun_s", "checked_s", "ease", "job", "offer", "record", "undo", "until_s")

    def __init__(self, ease: "Ease", record: EaseRecord, undo: Undo | None, t_s: float) -> None:
        self.ease = ease
        self.record = record
        self.undo = undo
        self.begun_s = self.checked_s = t_s
        self.until_s = t_s + ease.step.lasts_s if undo is not None else float("inf")
        self.job: SlowWrite | None = None
        self.offer: int | None = None


class SoftActs:
    """Does softer acts, and takes them back.

    Args:
        killer: looks at processes, and stops them.
        places: where processes and cgroups are.
        hooks: sends notes.
        reporter: writes what is done.
        clock: the monotonic one.
        wall: seconds since the epoch.
        save: writes the state file; says whether it can be relied on.
    """

    __slots__ = (
        "_clock", "_hooks", "_in_force", "_killer", "_left", "_left_s", "_places", "_reporter",
        "_save", "_targets", "_wall", "_writer",
    )  # fmt: skip

    def __init__(
        self,
        killer: "Killer",
        places: "Places",
        hooks: "Hooks",
        reporter: "Reporter",
        clock: "Callable[[], float]",
        wall: "Callable[[], float]",
        save: "Callable[[], bool]",
    ) -> None:
        self._killer = killer
        self._places = places
        self._targets = Targets(killer, places)
        self._hooks = hooks
        self._reporter = reporter
        self._clock = clock
        self._wall = wall
        self._save = save
        self._in_force: list[_InForce] = []
        self._left: list[dict[str, Any]] = []
        self._left_s = 0.0
        self._writer = SlowWriter()

    @property
    def any(self) -> bool:
        """Something is in force, or under way."""
        return bool(self._in_force or self._left)

    def next_s(self, t_s: float) -> float:
        """Seconds until something has to be looked at; infinity where nothing has."""
        soonest = AGAIN_S if self._left else float("inf")
        for one in self._in_force:
            soonest = min(soonest, WATCH_S if one.job is not None else CHECK_S)
            soonest = min(soonest, max(one.until_s - t_s, 0.0))
        return soonest

    def saved(self) -> "list[dict[str, Any]]":
        """What a guard that is started after this one needs, in plain values."""
        return self._left + [
            {"record": one.record.to_values(), "undo": one.undo.to_values()}
            for one in self._in_force
            if one.undo is not None
        ]

    def begin(self, ease: "Ease", origin: Origin, *, notify: bool) -> bool:
        """Do a softer act; False where it can't or must not be done."""
        record = EaseRecord(ease, origin, self._wall())
        if origin.dry_run:
            record.outcome = "dry_run"
            self._reporter.record(record)
            self._reporter.line(WARNING, f"would {ease_words(ease)}: {evidence(ease.state)}")
            return True
        try:
            why = self._start(ease, record)
        except OSError as error:
            why = error.strerror or str(error)
        except ValueError as error:
            why = f"a file of its cgroup is not what it should be: {error}"
        if why:
            record.outcome, record.text = "refused", why
            self._reporter.record(record)
            self._reporter.line(NOTICE, f"can't {ease_words(ease)}: {why}")
            return False
        self._reporter.record(record)
        self._reporter.line(WARNING, f"softer act: {ease_words(ease)}: {evidence(ease.state)}")
        if notify:
            self._note(ease)
        return True

    def take_over(self, saved: "list[dict[str, Any]]") -> None:
        """Take back what a guard left that was killed; what can't be is tried again."""
        self._left = []
        self._left_s = self._clock()
        for values in saved:
            outcome, why, said = left_behind(values, self._places)
            if not outcome:
                if why:
                    self._left.append(values)
                    self._reporter.repeat(ERROR, f"can't take back {said}: {why}")
                continue
            record = LeftRecord(values["record"], outcome)
            self._reporter.record(record)
            self._reporter.line(NOTICE, f"{said}: {OUTCOMES[outcome]}, as {record.TEXT}")

    def _note(self, ease: "Ease") -> None:
        """Say it on the desktop; of what is frozen its user may say how it goes on."""
        one, body = ease.choice.candidate, printable(ease_words(ease))
        in_force = self._in_force[-1] if self._in_force else None
        if ease.step.kind == FREEZE and in_force is not None and one.uid is not None:
            actions = ((RESUME, "Let it go on"), (END, "End it"))
            in_force.offer = self._hooks.offer(
                one.uid, "Low memory", body, actions, longest_s=ease.step.lasts_s
            )
            if in_force.offer is not None:
                return
        self._hooks.notify("Low memory", body)

    def _start(self, ease: "Ease", record: EaseRecord) -> str:
        """Look at all that is hit, and do it; returns why it is not done."""
        if self._places.cgroup_version != 2 and ease.step.kind == FREEZE:
            record.place = ""
        elif self._places.cgroup_version != 2:
            return "there is no cgroup v2 here"
        if not record.place:
            return self._stop(ease, record)
        with HeldCgroup(self._places.cgroups, ease.cgroup) as held:
            why = self._targets.refusal(held, ease.choice.candidate.pid)
            return why or self._write(ease, record, held)

    def _write(self, ease: "Ease", record: EaseRecord, held: HeldCgroup) -> str:
        """Write the cgroup's file, where it does not say as much already."""
        step, t_s = ease.step, self._clock()
        file = FILES[step.kind]
        if step.kind == FREEZE:
            value, usage_kb = "1", 0.0
        else:
            usage_kb = int(held.read("memory.current")) / 1024
            pages = int(step.of_kb(usage_kb) * 1024 // PAGE_BYTES)
            value = str(max(pages, 1) * PAGE_BYTES)
        record.value = value
        if step.kind == RECLAIM:
            one = _InForce(ease, record, None, t_s)
            one.job = SlowWrite(held.open(file), value.encode(), usage_kb)
            self._in_force.append(one)
            self._writer.put(one.job)
            return ""
        before = record.before = held.read(file)
        if before == value or (step.kind != FREEZE and _is_lower(before, value)):
            return f"{file} is {before} already"
        fd = held.open(file)
        undo = Undo(
            file=file, place=ease.cgroup, identity=held.identity, before=before, value=value
        )
        kept = self._keep(_InForce(ease, record, undo, t_s))
        if kept is None:
            os.close(fd)
            return "there is no state file to keep in what has to be taken back"
        if step.kind == FREEZE:
            job = SlowWrite(fd, value.encode(), 0.0)
            job.run()
            return self._failed(kept, job)
        kept.job = SlowWrite(fd, value.encode(), usage_kb)
        self._writer.put(kept.job)
        return ""

    def _keep(self, one: _InForce) -> _InForce | None:
        """Put it into the state file; None, and as if nothing had been, where that can't be."""
        self._in_force.append(one)
        if self._save():
            return one
        self._in_force.remove(one)
        self._save()
        return None

    def _failed(self, one: _InForce, job: SlowWrite) -> str:
        """Forget an act whose write was refused; returns why."""
        if not job.error:
            return ""
        self._in_force.remove(one)
        self._save()
        return os.strerror(job.error)

    def _stop(self, ease: "Ease", record: EaseRecord) -> str:
        """Have processes stand still."""
        members = ease.choice.members
        keys = tuple((one.pid, one.start_time) for one in members)
        if why := self._targets.stopped(keys):
            return why
        held_before = set(self._killer.keys)
        found = self._killer.check(keys)
        if found is not None:
            self._let_go(keys, held_before)
            return f"process {found[0][0]}: {found[1]}"
        one = self._keep(_InForce(ease, record, Undo(keys=keys), self._clock()))
        if one is None:
            self._let_go(keys, held_before)
            return "there is no state file to keep in what has to be taken back"
        sent = self._killer.send([Signal(member, "STOP", "to stand still") for member in members])
        self._let_go(keys, held_before)
        record.value = "stopped"
        gone = all(signal.error == GONE for signal in sent)
        errors = [
            signal.error for signal in sent if signal.error and (gone or signal.error != GONE)
        ]
        if errors:
            self._run_undo(one)
            self._in_force.remove(one)
            self._save()
            return errors[0]
        return ""

    def _let_go(self, keys: "Iterable[Key]", held_before: "set[Key]") -> None:
        for key in keys:
            if key not in held_before:
                self._killer.let_go(key)

    def tend(self, t_s: float) -> "list[Ease]":
        """Take back what is over; returns those frozen whose users want them to end."""
        if self._left and t_s - self._left_s >= AGAIN_S:
            self.take_over(self._left)
            self._save()
        to_end = []
        for one in list(self._in_force):
            if one.job is not None and one.job.done:
                self._written(one, one.job, t_s)
            if one not in self._in_force or one.undo is None:
                continue
            answer = self._hooks.answer(one.offer) if one.offer is not None else None
            if answer is not None:
                one.offer = None
            if answer == NOT_ASKED:
                self._hooks.notify("Low memory", ease_words(one.ease))
            if answer in (RESUME, END):
                if answer == END:
                    to_end.append(one.ease)
                self._take_back(one, t_s, "its user wants it so")
            elif t_s >= one.until_s:
                self._take_back(one, t_s, "its time is over")
            elif t_s - one.checked_s >= CHECK_S:
                one.checked_s = t_s
                why = self._targets.protected(one.undo)
                if why:
                    self._take_back(one, t_s, why)
        return to_end

    def _written(self, one: _InForce, job: SlowWrite, t_s: float) -> None:
        """Note that a write is over."""
        one.job = None
        record = one.record
        # EAGAIN: less could be reclaimed than was asked for.
        if job.error and not (record.act == RECLAIM and job.error == errno.EAGAIN):
            record.outcome, record.text = "refused", os.strerror(job.error)
        elif one.undo is None:
            record.outcome = "done"
            record.freed_kb = self._targets.freed_kb(record.place, job.usage_kb)
        else:
            return
        record.after_ms = round((t_s - one.begun_s) * 1000, 1)
        self._in_force.remove(one)
        self._reporter.record(record)
        self._save()
        said = f"{kb_text(record.freed_kb)} less in use" if record.freed_kb is not None else ""
        self._reporter.line(
            NOTICE, f"{ease_words(one.ease)}: {record.text or said or record.outcome}"
        )

    def release(self, keys: "Iterable[Key]", t_s: float) -> None:
        """Let those go on that were signalled: what is frozen can't handle a signal."""
        signalled = set(keys)
        for one in list(self._in_force):
            if one.record.act != FREEZE or one.undo is None:
                continue
            pids = self._targets.pids_in(one.undo)
            if any(pid in pids for pid, _ in signalled):
                self._take_back(one, t_s, "it was signalled")

    def take_back_all(self) -> None:
        """Take everything back, as the guard ends."""
        for one in list(self._in_force):
            if one.undo is not None:
                end_s = self._clock() + CLOSE_S
                while not self._is_written(one) and self._clock() < end_s:
                    time.sleep(0.01)
                one.job = None
                self._take_back(one, self._clock(), "the guard ends")

    def _is_written(self, one: _InForce) -> bool:
        """Whether what is written for it is over, or will never be: it can be taken back."""
        return one.job is None or one.job.done or self._writer.cancel(one.job)

    def _take_back(self, one: _InForce, t_s: float, why: str) -> None:
        if not self._is_written(one):
            one.until_s = t_s + WATCH_S  # else that write might come after this one
            return
        record = one.record
        try:
            record.outcome = self._run_undo(one)
        except OSError as error:
            one.until_s = t_s + (CHECK_S if error.errno in NO_FILES else AGAIN_S)
            self._reporter.repeat(
                ERROR, f"can't take back ({ease_words(one.ease)}): {error.strerror or error}"
            )
            return
        record.text = why
        record.after_ms = round((t_s - one.begun_s) * 1000, 1)
        self._in_force.remove(one)
        # First the record, then the state: better reported twice than never.
        self._reporter.record(record)
        self._save()
        self._reporter.line(NOTICE, f"{ease_words(one.ease)}: {OUTCOMES[record.outcome]}, as {why}")

    def _run_undo(self, one: _InForce) -> str:
        return one.undo.run(self._places) if one.undo is not None else NOT_THERE


def _is_lower(before: str, value: str) -> bool:
    return before.isdigit() and int(before) <= int(value)
