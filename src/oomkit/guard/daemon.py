"""The daemon: looks, has the policy decide, has the hand act, and looks after itself."""

import os
import time

from oomkit.guard.books import Books
from oomkit.guard.describe import why_now
from oomkit.guard.doze import BLIND_LOOKS, LOOKS, TOLD_LOOKS, Doze
from oomkit.guard.eyes import SAFETY_S, Eyes
from oomkit.guard.hand import Hand
from oomkit.guard.hooks import Hooks
from oomkit.guard.identity import units_root
from oomkit.guard.pending import Pending
from oomkit.guard.reaper import Reaper
from oomkit.guard.recheck import Recheck
from oomkit.guard.reload import Reload
from oomkit.guard.reserve import LEAST, Reserve
from oomkit.guard.say import ERROR, NOTICE, WARNING
from oomkit.guard.strike import Striker
from oomkit.guard.tell import evidence
from oomkit.guard.wake import SIGHUP, Wake
from oomkit.host.sdnotify import ServiceManager
from oomkit.policy.core.decider import Decider
from oomkit.policy.core.levels import NAMES, SOFT, WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oomkit.guard.settings import Settings
    from oomkit.policy.core.decider import Look
    from oomkit.policy.core.reading import Reading

REPEAT_S = 60.0
"""What does not change is said again no sooner."""
CHOICES = 4
"""How often is chosen again at once, where the choice turned out to be protected."""
SHORT_OF_FILES = "file descriptors are short, so fewer processes are kept at hand"
ENOUGH_FILES = 320
"""Four for each process that is kept at hand, and the daemon's own."""
SAMPLE_S = 0.1
"""The flight recorder takes no more samples than this when memory is short."""


class Daemon:
    """One guard at work.

    Args:
        settings: how it shall run.
        reserve: descriptors for the acting path; None: they are opened now.
        clock: the monotonic one, by which everything is decided.
        wall: seconds since the epoch, which are only written down.

    Raises:
        BlockingIOError: another guard is at work with the same state file.
    """

    def __init__(
        self,
        settings: "Settings",
        reserve: Reserve | None = None,
        *,
        clock: "Callable[[], float]" = time.monotonic,
        wall: "Callable[[], float]" = time.time,
    ) -> None:
        # First of all: numbers taken early are there whatever limit comes later.
        self._reserve = reserve or Reserve()
        pending = Pending(settings.state or None)
        self._settings = settings
        self._clock = clock
        self._wall = wall
        # With the commands that run, and without the exporter, which may be killed.
        self._own_pids = {os.getpid()}
        self._wake = Wake(settings.places.pressure)
        self._books = Books(settings, clock, wall)
        self._hooks = Hooks(clock=clock, own_pids=self._own_pids)
        if settings.exporter:
            self._hooks.adopt(settings.exporter, "metrics")
        self._manager = ServiceManager()
        watchdog_s = self._manager.watchdog_s
        self._longest_s = SAFETY_S if watchdog_s is None else min(SAFETY_S, watchdog_s / 3)
        reaper = None if settings.dry_run else Reaper()
        striker = Striker(settings.places, self._own_pids, None, reaper, self._spare_files, clock)
        self._hand = Hand(striker, pending, self._hooks, self._books, clock, wall)
        self._striker, self._pending = striker, pending
        self._reload: Reload | None = None
        self._reload_again = False
        self._said_s: dict[str, float] = {}
        self._level = 0
        self._sampled_s = float("-inf")
        self._stopping = False
        self._taken_in = -1
        self._reserve.spare(self._spare_files)
        self._install(settings.plan)

    def run(self) -> None:
        """Guard until told to stop."""
        self._start()
        next_s = 0.0
        while not self._stopping:
            waits = self._striker.fds()
            if self._eyes.sources.news_fd >= 0:
                waits.append(self._eyes.sources.news_fd)
            if self._reload is not None:
                waits.append(self._reload.fd)
                next_s = min(next_s, self._reload.left_s)
                self._doze.forbid()
            self._wake.wait(next_s, waits, self._doze)
            next_s = self._turn()
            next_s = min(next_s, self._survived(self._attend))
        self._stop()

    def _turn(self) -> float:
        return self._survived(self.turn)

    def _attend(self) -> float:
        """Go on with reading the policy, and do what signals ask for; how soon to look again."""
        next_s = self._longest_s
        if self._reload is not None and self._reload.finished():
            done, self._reload = self._reload, None
            self._reloaded(done)
            next_s = 0.0
            if self._reload_again:
                self._reload_again = False
                self._begin_reload()
        if self._wake.asked:
            self._obey()
        return next_s

    def _survived(self, part: "Callable[[], float]") -> float:
        """A part of a turn; a defect of ours is told and survived: a guard has to stay."""
        try:
            return part()
        except Exception as error:
            if os.environ.get("OOMKIT_DEBUG"):
                raise
            self._complain(f"internal error, please report it: {type(error).__name__}: {error}")
            return 1.0

    def turn(self) -> float:
        """Look once and do what has to be done; returns how soon to look again, in seconds."""
        if self._hand.deeds:
            with self._reserve:
                self._hand.see_deaths()
        dozed = self._doze.last()
        if dozed is not None:
            self._decider.watch.recall(*dozed)
        reading = self._eyes.reading(self._clock())
        if reading is None:
            self._complain("meminfo can't be read, so nothing can be decided")
            return 1.0
        look = self._decider.look(reading)
        if look.signals:
            with self._reserve:
                self._hand.escalate(look.signals)
        if look.choose:
            self._choose(look, reading)
        next_s = self._next_s(reading)
        if not look.choose:
            self._keep_warm(look, reading, next_s)
        self._hand.settle(reading, short=look.state.level >= SOFT)
        self._tell(look, reading)
        self._tend(look, reading)
        if look.state.level < WARN and not look.state.warm and self._is_idle():
            self._doze.allow(reading)
            self._take_in()
        else:
            self._doze.forbid()
        return next_s

    def _take_in(self) -> None:
        """Have the journal's full files taken into the history, at the start and after each."""
        if self._settings.take_in_argv and self._books.full_files != self._taken_in:
            self._taken_in = self._books.full_files
            self._hooks.take_in(self._settings.take_in_argv)

    def _is_idle(self) -> bool:
        """Nothing is under way, and nothing is kept for a shortage."""
        return (
            not (self._hand.deeds or self._reload is not None or self._hooks.busy())
            and self._eyes.warm.is_cold
            and self._books.are_written
        )

    def _install(self, plan: "dict[str, Any]") -> None:
        """Take a plan to work with; what is under way goes on under it."""
        self._plan = plan
        self._named = {"policy": plan["name"], "dry_run": self._settings.dry_run}
        with self._reserve:
            root = units_root(self._settings.places)
        self._eyes = Eyes(plan, self._settings, root=root)
        if self._settings.status or self._settings.recording:
            looks = TOLD_LOOKS
        else:
            looks = LOOKS if self._books.sees_log else BLIND_LOOKS
        self._doze = Doze(
            plan,
            self._eyes.sources,
            self._books.log_news,
            cpus=os.cpu_count(),
            longest_s=self._longest_s,
            looks=looks,
            alive=self._alive if self._manager.watchdog_s is not None else None,
        )
        self._decider = self._new_decider(plan)
        recheck = Recheck(
            self._decider.chooser,
            self._settings.places,
            self._eyes.fields,
            self._eyes.users,
            root=root,
        )
        self._hand.serve(plan, self._decider, recheck, dry_run=self._settings.dry_run)

    def _choose(self, look: "Look", reading: "Reading") -> None:
        """Find a victim and have it dealt with, with room for all that takes to open."""
        with self._reserve:
            for _ in range(CHOICES):
                if self._choose_once(look, reading):
                    break
            else:
                self._complain("each process that was chosen was protected when it was read again")
            if look.sizes:
                self._eyes.note(self._decider, reading)

    def _choose_once(self, look: "Look", reading: "Reading") -> bool:
        """Choose; False where the choice turned out to be protected as its signal was due."""
        self._eyes.refresh(self._decider, reading, keep=False)
        candidates, groups = self._eyes.candidates(reading)
        refused = self._hand.untouchable
        if refused:
            candidates = [c for c in candidates if (c.pid, c.start_time) not in refused]
        holding = self._eyes.warm.holding
        act = self._decider.choose(
            candidates, groups, check=lambda choice: self._hand.check(choice, holding)
        )
        acted = act is not None and self._hand.act(act, reading)
        for pid in self._hand.stale():
            self._eyes.warm.drop(pid)
        if act is None:
            self._complain(f"nobody can be chosen, although {evidence(look.state)}")
        return acted or act is None

    def _keep_warm(self, look: "Look", reading: "Reading", next_s: float) -> None:
        if look.state.warm or look.state.level >= WARN:
            with self._reserve:
                self._eyes.keep_warm(self._decider, look, reading, next_s)
        else:
            self._eyes.keep_warm(self._decider, look, reading, next_s)

    def _next_s(self, reading: "Reading") -> float:
        next_s = self._decider.next_look_s(reading, psi_wakes=self._wake.by_pressure)
        return min(next_s, self._hand.next_s(reading.t_s), self._longest_s)

    def _tell(self, look: "Look", reading: "Reading") -> None:
        """Say and record what this moment was like; it has been acted by now."""
        level, before = look.state.level, self._level
        self._level = level
        if level == WARN and before < WARN:
            self._books.record({"kind": "warn", **self._named, **why_now(look.state)})
            self._books.line(WARNING, f"memory gets short: {evidence(look.state)}")
            if self._plan["how"]["notify"]:
                self._hooks.notify("Memory gets short", evidence(look.state))
        elif level < WARN <= before:
            self._books.line(NOTICE, "memory is no longer short")
        if look.obstacle:
            self._say_again(NOTICE, f"memory is short, but {look.obstacle}")
        self._books.kernel_kills()
        if reading.t_s - self._sampled_s >= (SAMPLE_S if look.state.warm else SAFETY_S / 2):
            self._sampled_s = reading.t_s
            self._books.sample(reading, self._eyes.warm.top)

    def _tend(self, look: "Look", reading: "Reading") -> None:
        """Look after what is not about memory."""
        if self._hooks.any():
            self._hooks.collect()
        for text in self._hooks.failures():
            self._books.line(WARNING, text)
        if self._eyes.sources.pressure_came_or_went():
            if self._eyes.sources.sees_pressure:
                self._books.line(NOTICE, "pressure (PSI) can be read again")
            else:
                self._complain("pressure (PSI) can't be read any more: rules about it do not hold")
        if self._eyes.warm.short_of_files:
            self._say_again(NOTICE, SHORT_OF_FILES)
        self._reserve.fill()
        self._wake.set_trigger()
        self._alive()
        self._books.check()
        self._books.status(self._status(look, reading))

    def _status(self, look: "Look", reading: "Reading") -> "dict[str, Any]":
        return {
            **self._named,
            "time_s": self._wall(),
            "mono_s": reading.t_s,
            "pid": os.getpid(),
            "level": look.state.level,
            "level_name": NAMES[look.state.level],
            "looks": self._wake.count,
            "cpu_s": time.process_time(),
            "under_way": len(self._hand.deeds),
            "mem_total_kb": reading.mem_total_kb,
            "available_kb": reading.available_kb,
            "swap_total_kb": reading.swap_total_kb,
            "swap_free_kb": reading.swap_free_kb,
            "psi_us": {"some": reading.psi_some_us, "full": reading.psi_full_us},
        }

    def _alive(self) -> None:
        self._manager.tell(b"WATCHDOG=1")

    def _spare_files(self) -> None:
        """Give back descriptors, so that a victim can be taken hold of."""
        self._eyes.warm.shed()

    def _complain(self, text: str) -> None:
        if self._say_again(ERROR, text):
            self._books.record({"kind": "error", "text": text, **self._named})

    def _say_again(self, priority: int, text: str) -> bool:
        """Say what may hold for long, but not over and over."""
        what, t_s = text[:24], self._clock()
        if t_s - self._said_s.get(what, float("-inf")) < REPEAT_S:
            return False
        self._said_s[what] = t_s
        self._books.line(priority, text)
        return True

    def _start(self) -> None:
        """Take up what another guard left, rehearse, and say that we are there."""
        self._rehearse()
        with self._reserve:
            self._hand.take_over()
        policy, mode = self._plan["name"], "dry run" if self._settings.dry_run else "armed"
        self._books.record(
            {
                "kind": "start",
                **self._named,
                "source": self._settings.source,
                "missing": self._settings.missing,
                "resumed": len(self._hand.deeds),
            }
        )
        self._books.line(NOTICE, f"guarding by policy {policy} ({mode})")
        if self._pending.fault:
            self._books.line(
                WARNING,
                f"state {self._settings.state}: {self._pending.fault}; "
                "nothing is known of what was under way, and nothing is kept",
            )
        if 0 < os.sysconf("SC_OPEN_MAX") < ENOUGH_FILES:
            self._say_again(NOTICE, SHORT_OF_FILES)
        if self._reserve.held < LEAST:
            self._books.line(
                WARNING,
                f"only {self._reserve.held} more files can be opened, of {LEAST} that a choice and "
                "a kill take (RLIMIT_NOFILE): it may not be able to act",
            )
        for sentence in self._settings.missing:
            self._books.line(WARNING, sentence)
        self._manager.tell(f"READY=1\nSTATUS=policy {policy}, {mode}".encode())

    def _rehearse(self) -> None:
        """Go the whole way but for the signal, so that all it needs is in memory by then."""
        decider = self._new_decider(self._plan)  # whose decisions nobody carries out
        reading = self._eyes.reading(self._clock())
        if reading is not None:
            decider.look(reading)
            with self._reserve:
                self._eyes.refresh(decider, reading, keep=False)
                decider.rank(*self._eyes.candidates(reading))
                self._striker.rehearse(os.getpid())
                self._eyes.warm.forget()

    def _new_decider(self, plan: "dict[str, Any]") -> Decider:
        return Decider(
            plan,
            own_pids=self._own_pids,
            dry_run=self._settings.dry_run,
            cpus=os.cpu_count(),
        )

    def _obey(self) -> None:
        """Do what signals ask for."""
        asked, self._wake.asked[:] = list(self._wake.asked), []
        for number in asked:
            if number != SIGHUP:
                self._stopping = True
            elif self._settings.compile_argv:
                self._books.reopen()
                if self._reload is None:
                    self._begin_reload()
                else:
                    # What it reads may have been read before the change that this one is about.
                    self._reload_again = True

    def _begin_reload(self) -> None:
        self._manager.tell(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))
        try:
            with self._reserve:
                self._reload = Reload(self._settings.compile_argv, self._clock)
        except OSError as error:
            self._refuse(f"it can't be read: {error.strerror}")

    def _reloaded(self, reload: Reload) -> None:
        if reload.plan is None:
            self._refuse(reload.fault)
            return
        old = self._eyes
        old.warm.forget()
        with self._reserve:
            self._install(reload.plan)
            old.close()
        self._books.record({"kind": "reload", **self._named, "ok": True})
        self._books.line(NOTICE, f"guarding by policy {self._plan['name']}, read again")
        self._manager.tell(b"READY=1")

    def _refuse(self, fault: str) -> None:
        self._books.record({"kind": "reload", **self._named, "ok": False, "text": fault})
        self._books.line(ERROR, f"the old policy stays: {fault}")
        self._manager.tell(b"READY=1")

    def _stop(self) -> None:
        self._manager.tell(b"STOPPING=1")
        if self._reload is not None:
            self._reload.close()
        self._books.kernel_kills(final=True)
        self._books.record({"kind": "stop", **self._named, "under_way": len(self._hand.deeds)})
        self._books.line(NOTICE, "stopped guarding")
        self._books.close()
        self._reserve.close()
        self._striker.close()
        self._eyes.close()
        self._wake.close()
        self._pending.close()
        self._manager.close()
