"""The acting hand: from a choice to the signal, and on until memory is back."""

import os
import time

from oomkit.guard.deeds import begun, resumed, take_up
from oomkit.guard.eyes import left_kb
from oomkit.guard.hooks import BEFORE_S
from oomkit.guard.say import ERROR, NOTICE, WARNING
from oomkit.guard.tell import acted, ended
from oomkit.policy.core.levels import HARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oomkit.guard.books import Books
    from oomkit.guard.deeds import Deed
    from oomkit.guard.hooks import Hooks
    from oomkit.guard.pending import Pending
    from oomkit.guard.strike import Key, Striker
    from oomkit.policy.core.decider import Act, Decider
    from oomkit.policy.core.how import Signal
    from oomkit.policy.core.reading import Reading

WATCH_DEATH_S = 0.02
"""While somebody is dying: how soon to see what came free."""
WATCH_SLOWLY_S = 0.25
_SLOW_S = 5.0


class Hand:
    """Carries out what the policy decides.

    Args:
        striker: sends the signals.
        pending: keeps what is under way for a guard that comes after this one.
        hooks: runs commands.
        books: is told.
        clock: the monotonic one.
        wall: seconds since the epoch.

    Attributes:
        deeds: the acts under way.
        untouchable: processes that we may not signal, and that are left out from then on.
    """

    __slots__ = (
        "_books", "_clock", "_decider", "_dry_run", "_hooks", "_how", "_named", "_pending",
        "_striker", "_wall", "deeds", "untouchable",
    )  # fmt: skip

    def __init__(
        self,
        striker: "Striker",
        pending: "Pending",
        hooks: "Hooks",
        books: "Books",
        clock: "Callable[[], float]",
        wall: "Callable[[], float]",
    ) -> None:
        self._striker = striker
        self._pending = pending
        self._hooks = hooks
        self._books = books
        self._clock = clock
        self._wall = wall
        self.deeds: list[Deed] = []
        self.untouchable: set[Key] = set()

    def serve(self, plan: "dict[str, Any]", decider: "Decider", *, dry_run: bool) -> None:
        """Act for a policy from now on; it waits for what is under way as if it were its own."""
        self._how: dict[str, Any] = plan["how"]
        self._named = {"policy": plan["name"], "dry_run": dry_run}
        self._dry_run = dry_run
        self._decider = decider
        for deed in self.deeds:
            if deed.alive:
                take_up(deed, decider.escalation, self._clock())

    def take_over(self) -> None:
        """Take up what a guard left that ended in the middle."""
        t_s = self._clock()
        for saved in self._pending.read():
            try:
                deed = resumed(saved)
            except (KeyError, TypeError, ValueError):
                continue
            for key in tuple(deed.alive):
                if self._striker.hold(key):
                    deed.died(key, t_s)
            self.deeds.append(deed)
            if deed.alive:
                take_up(deed, self._decider.escalation, t_s)

    def act(self, act: "Act", reading: "Reading") -> None:
        """Carry out a choice."""
        deed = begun(act, left_kb(reading), self._wall(), self._named)
        if self._dry_run:
            deed.abandon("dry_run")
            self._books.record(deed.record)
            self._books.line(WARNING, acted(act, dry_run=True))
            return
        self.deeds.append(deed)
        self._save()
        self._before(act)
        if act.command is not None:
            self._hooks.start(act.command, act.choice.candidate, "instead")
            for signal in act.signals:
                self._striker.hold((signal.pid, signal.start_time))
        else:
            self._send(act.signals, deed)
            if act.choice.level == "cgroup" and act.state.level >= HARD:
                self._sweep(act)
        self._save()
        self._books.record(deed.record)
        self._books.line(WARNING, acted(act, dry_run=False))
        if self._how["notify"]:
            self._hooks.notify("Memory is short", acted(act, dry_run=False))

    def escalate(self, signals: "tuple[Signal, ...]") -> None:
        """Signals to those who were told before, and did not go."""
        for signal in signals:
            key = (signal.pid, signal.start_time)
            deed = next((one for one in self.deeds if key in one.alive), None)
            if deed is not None:
                self._send((signal,), deed)
                self._books.line(WARNING, f"SIG{signal.name} to {signal.pid}: {signal.why}")
        self._save()

    def see_deaths(self) -> None:
        """Look who has died."""
        for key in self._striker.dead():
            self._died(key, self._clock())

    def settle(self, reading: "Reading", *, short: bool) -> None:
        """See what came free, and close the acts that are over."""
        for deed in list(self.deeds):
            over = "outcome" in deed.record or deed.settled(
                reading.t_s, left_kb(reading), short=short
            )
            if over:
                self.deeds.remove(deed)
                for key in deed.alive:
                    self._striker.let_go(key)
                # First the record, then the state: better told twice than never.
                self._books.record(deed.record)
                self._save()
                self._books.line(NOTICE, ended(deed.record))
                if self._how["after"]:
                    self._hooks.start(self._how["after"], deed.victim, "after")

    def next_s(self, t_s: float) -> float:
        """How soon to look at who is dying; infinity where nobody is."""
        if not self.deeds:
            return float("inf")
        fresh = any(t_s - deed.begun_s < _SLOW_S for deed in self.deeds)
        return WATCH_DEATH_S if fresh else WATCH_SLOWLY_S

    def _before(self, act: "Act") -> None:
        """Run the command before the signal, and wait for it a little, unless it is hard."""
        argv = self._how["before"]
        if argv:
            pid = self._hooks.start(argv, act.choice.candidate, "before")
            if pid is not None and act.state.level < HARD:
                self._hooks.wait(pid, BEFORE_S)

    def _sweep(self, act: "Act") -> None:
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME) - (self._clock() - act.state.t_s)
        pids = [one.pid for one in act.choice.members]
        path = act.choice.candidate.cgroup or ""
        self._striker.sweep(path, pids, int(boot_s * os.sysconf("SC_CLK_TCK")))

    def _send(self, signals: "tuple[Signal, ...]", deed: "Deed") -> None:
        sent = self._striker.send(signals)
        deed.sent(sent)
        t_s = self._clock()
        for signal, one in zip(signals, sent, strict=True):
            key = (signal.pid, signal.start_time)
            if one.error == "gone":
                self._died(key, t_s)
            elif one.error:
                self._books.line(ERROR, f"SIG{one.name} to {one.pid}: {one.error}")
                self.untouchable.add(key)
                self._decider.died(*key, t_s)
                deed.alive.discard(key)
        if not deed.alive and all(one.error for one in sent):
            deed.abandon("gone" if all(one.error == "gone" for one in sent) else "refused")

    def _died(self, key: "Key", t_s: float) -> None:
        self._striker.let_go(key)
        self._decider.died(*key, t_s)
        for deed in self.deeds:
            deed.died(key, t_s)

    def _save(self) -> None:
        self._pending.write([deed.saved() for deed in self.deeds])
