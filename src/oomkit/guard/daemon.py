"""The daemon: looks, has the policy decide, has the hand act, and looks after itself."""

import os
import time

from oomkit.guard.actions import Actions
from oomkit.guard.event_loop import SIGHUP, EventLoop
from oomkit.guard.hooks import Hooks
from oomkit.guard.identity import units_root
from oomkit.guard.idle_loop import BLIND_LOOKS, LOOKS, TOLD_LOOKS, IdleLoop
from oomkit.guard.killer import Killer
from oomkit.guard.messages import ERROR, NOTICE, WARNING, evidence
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.reaper import Reaper
from oomkit.guard.recheck import Recheck
from oomkit.guard.records import (
    ErrorRecord,
    Origin,
    ReloadRecord,
    StartRecord,
    StopRecord,
    WarnRecord,
)
from oomkit.guard.reload import Reload
from oomkit.guard.reporter import Reporter
from oomkit.guard.reserve import LEAST, Reserve
from oomkit.guard.sensors import SAFETY_S, Sensors
from oomkit.host.sdnotify import ServiceManager
from oomkit.policy.engine.conditions import NAMES, SOFT, WARN
from oomkit.policy.engine.decider import Decider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oomkit.guard.config import Settings
    from oomkit.policy.engine.decider import Look
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import Reading

REPEAT_S = 60.0
"""What does not change is said again no sooner."""
CHOICES = 4
"""How often is chosen again at once, where the choice turned out to be protected."""
SHORT_OF_FILES = "file descriptors are short, so fewer processes are kept at hand"
ENOUGH_FILES = 384
"""Five for each process that is kept at hand, and the daemon's own."""
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
        pending = PendingKills(settings.state or None)
        self._settings = settings
        self._clock = clock
        self._wall = wall
        # With the commands that run, and without the exporter, which may be killed.
        self._own_pids = {os.getpid()}
        self._event_loop = EventLoop(settings.places.pressure)
        self._reporter = Reporter(settings, clock, wall)
        self._hooks = Hooks(clock=clock, own_pids=self._own_pids)
        if settings.exporter:
            self._hooks.adopt(settings.exporter, "metrics")
        self._manager = ServiceManager()
        watchdog_s = self._manager.watchdog_s
        self._longest_s = SAFETY_S if watchdog_s is None else min(SAFETY_S, watchdog_s / 3)
        reaper = None if settings.dry_run else Reaper()
        killer = Killer(
            settings.places, self._own_pids, None, reaper, self._spare_files, clock,
            self._reserve.ample,
        )  # fmt: skip
        self._actions = Actions(killer, pending, self._hooks, self._reporter, clock, wall)
        self._killer, self._pending = killer, pending
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
            waits = self._killer.fds()
            if self._sensors.sources.news_fd >= 0:
                waits.append(self._sensors.sources.news_fd)
            if self._reload is not None:
                waits.append(self._reload.fd)
                next_s = min(next_s, self._reload.left_s)
                self._idle_loop.forbid()
            self._event_loop.wait(next_s, waits, self._idle_loop)
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
        if self._event_loop.asked:
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
        if self._actions.ongoing_acts:
            with self._reserve:
                self._actions.see_deaths()
        dozed = self._idle_loop.last()
        if dozed is not None:
            self._decider.watch.recall(*dozed)
        reading = self._sensors.reading(self._clock())
        if reading is None:
            self._complain("meminfo can't be read, so nothing can be decided")
            return 1.0
        look = self._decider.look(reading)
        if look.signals:
            with self._reserve:
                self._actions.escalate(look.signals)
        if look.choose:
            self._choose(look, reading)
        next_s = self._next_s(reading)
        if not look.choose:
            self._keep_warm(look, reading, next_s)
        self._actions.settle(reading, short=look.state.level >= SOFT)
        self._tell(look, reading)
        self._tend(look, reading)
        if look.state.level < WARN and not look.state.warm and self._is_idle():
            self._idle_loop.allow(reading)
            self._take_in()
        else:
            self._idle_loop.forbid()
        return next_s

    def _take_in(self) -> None:
        """Have the journal's full files taken into the history, at the start and after each."""
        if self._settings.take_in_argv and self._reporter.full_files != self._taken_in:
            self._taken_in = self._reporter.full_files
            self._hooks.take_in(self._settings.take_in_argv)

    def _is_idle(self) -> bool:
        """Nothing is under way, and nothing is kept for a shortage."""
        return (
            not (self._actions.ongoing_acts or self._reload is not None or self._hooks.busy())
            and self._sensors.warm.is_cold
            and self._reporter.are_written
        )

    def _install(self, plan: "Plan") -> None:
        """Take a plan to work with; what is under way goes on under it."""
        self._plan = plan
        self._origin = Origin(plan.name, dry_run=self._settings.dry_run)
        with self._reserve:
            root = units_root(self._settings.places)
        self._sensors = Sensors(plan, self._settings, root=root)
        if self._settings.status or self._settings.recording:
            looks = TOLD_LOOKS
        else:
            looks = LOOKS if self._reporter.sees_log else BLIND_LOOKS
        self._idle_loop = IdleLoop(
            plan,
            self._sensors.sources,
            self._reporter.log_news,
            cpus=os.cpu_count(),
            longest_s=self._longest_s,
            looks=looks,
            alive=self._alive if self._manager.watchdog_s is not None else None,
        )
        self._decider = self._new_decider(plan)
        recheck = Recheck(
            self._decider.chooser,
            self._settings.places,
            self._sensors.fields,
            self._sensors.users,
            root=root,
        )
        self._actions.serve(plan, self._decider, recheck, dry_run=self._settings.dry_run)

    def _choose(self, look: "Look", reading: "Reading") -> None:
        """Find a victim and have it dealt with, with room for all that takes to open."""
        with self._reserve:
            for _ in range(CHOICES):
                if self._choose_once(look, reading):
                    break
            else:
                self._complain("each process that was chosen was protected when it was read again")
            if look.sizes:
                self._sensors.note(self._decider, reading)

    def _choose_once(self, look: "Look", reading: "Reading") -> bool:
        """Choose; False where the choice turned out to be protected as its signal was due."""
        self._sensors.refresh(self._decider, reading, keep=self._reserve.ample())
        candidates, groups = self._sensors.candidates(reading)
        refused = self._actions.untouchable
        if refused:
            candidates = [c for c in candidates if (c.pid, c.start_time) not in refused]
        holding = self._sensors.holding
        act = self._decider.choose(
            candidates, groups, check=lambda choice: self._actions.check(choice, holding)
        )
        acted = act is not None and self._actions.act(act, reading)
        for pid in self._actions.stale():
            self._sensors.warm.drop(pid)
        if act is None:
            self._complain(f"nobody can be chosen, although {evidence(look.state)}")
        return acted or act is None

    def _keep_warm(self, look: "Look", reading: "Reading", next_s: float) -> None:
        if look.state.warm or look.state.level >= WARN:
            with self._reserve:
                self._sensors.keep_warm(self._decider, look, reading, next_s)
        else:
            self._sensors.keep_warm(self._decider, look, reading, next_s)

    def _next_s(self, reading: "Reading") -> float:
        next_s = self._decider.next_look_s(reading, psi_wakes=self._event_loop.by_pressure)
        return min(next_s, self._actions.next_s(reading.t_s), self._longest_s)

    def _tell(self, look: "Look", reading: "Reading") -> None:
        """Say and record what this moment was like; it has been acted by now."""
        level, before = look.state.level, self._level
        self._level = level
        if level == WARN and before < WARN:
            self._reporter.record(WarnRecord(self._origin, look.state))
            self._reporter.line(WARNING, f"memory gets short: {evidence(look.state)}")
            if self._plan.response.notify:
                self._hooks.notify("Memory gets short", evidence(look.state))
        elif level < WARN <= before:
            self._reporter.line(NOTICE, "memory is no longer short")
        if look.obstacle:
            self._say_again(NOTICE, f"memory is short, but {look.obstacle}")
        self._reporter.kernel_kills()
        if reading.t_s - self._sampled_s >= (SAMPLE_S if look.state.warm else SAFETY_S / 2):
            self._sampled_s = reading.t_s
            self._reporter.sample(reading, self._sensors.warm.top)

    def _tend(self, look: "Look", reading: "Reading") -> None:
        """Look after what is not about memory."""
        if self._hooks.any():
            self._hooks.collect()
        for text in self._hooks.failures():
            self._reporter.line(WARNING, text)
        if self._sensors.sources.pressure_came_or_went():
            if self._sensors.sources.sees_pressure:
                self._reporter.line(NOTICE, "pressure (PSI) can be read again")
            else:
                self._complain("pressure (PSI) can't be read any more: rules about it do not hold")
        if self._sensors.warm.short_of_files:
            self._say_again(NOTICE, SHORT_OF_FILES)
        self._reserve.fill()
        self._event_loop.set_trigger()
        self._alive()
        self._reporter.check()
        self._reporter.status(self._status(look, reading))

    def _status(self, look: "Look", reading: "Reading") -> "dict[str, Any]":
        return {
            **self._origin.to_values(),
            "time_s": self._wall(),
            "mono_s": reading.t_s,
            "pid": os.getpid(),
            "level": look.state.level,
            "level_name": NAMES[look.state.level],
            "looks": self._event_loop.count,
            "cpu_s": time.process_time(),
            "under_way": len(self._actions.ongoing_acts),
            "mem_total_kb": reading.mem_total_kb,
            "available_kb": reading.available_kb,
            "swap_total_kb": reading.swap_total_kb,
            "swap_free_kb": reading.swap_free_kb,
            "psi_us": {"some": reading.psi_some_us, "full": reading.psi_full_us},
        }

    def _alive(self) -> None:
        self._manager.send(b"WATCHDOG=1")

    def _spare_files(self) -> None:
        """Give back descriptors, so that a victim can be taken hold of."""
        self._sensors.warm.shed()

    def _complain(self, text: str) -> None:
        if self._say_again(ERROR, text):
            self._reporter.record(ErrorRecord(self._origin, text))

    def _say_again(self, priority: int, text: str) -> bool:
        """Say what may hold for long, but not over and over."""
        what, t_s = text[:24], self._clock()
        if t_s - self._said_s.get(what, float("-inf")) < REPEAT_S:
            return False
        self._said_s[what] = t_s
        self._reporter.line(priority, text)
        return True

    def _start(self) -> None:
        """Take up what another guard left, rehearse, and say that we are there."""
        self._rehearse()
        with self._reserve:
            self._actions.take_over()
        policy, mode = self._plan.name, "dry run" if self._settings.dry_run else "armed"
        self._reporter.record(
            StartRecord(
                self._origin,
                self._settings.source,
                self._settings.missing,
                resumed=len(self._actions.ongoing_acts),
            )
        )
        self._reporter.line(NOTICE, f"guarding by policy {policy} ({mode})")
        if self._pending.fault:
            self._reporter.line(
                WARNING,
                f"state {self._settings.state}: {self._pending.fault}; "
                "nothing is known of what was under way, and nothing is kept",
            )
        if 0 < os.sysconf("SC_OPEN_MAX") < ENOUGH_FILES:
            self._say_again(NOTICE, SHORT_OF_FILES)
        if self._reserve.held < LEAST:
            self._reporter.line(
                WARNING,
                f"only {self._reserve.held} more files can be opened, of {LEAST} that a choice and "
                "a kill take (RLIMIT_NOFILE): it may not be able to act",
            )
        for sentence in self._settings.missing:
            self._reporter.line(WARNING, sentence)
        self._manager.send(f"READY=1\nSTATUS=policy {policy}, {mode}".encode())

    def _rehearse(self) -> None:
        """Go the whole way but for the signal, so that all it needs is in memory by then."""
        decider = self._new_decider(self._plan)  # whose decisions nobody carries out
        reading = self._sensors.reading(self._clock())
        if reading is not None:
            decider.look(reading)
            with self._reserve:
                self._sensors.refresh(decider, reading, keep=False)
                decider.rank(*self._sensors.candidates(reading))
                self._killer.rehearse(os.getpid())
                self._sensors.warm.forget()

    def _new_decider(self, plan: "Plan") -> Decider:
        return Decider(
            plan,
            own_pids=self._own_pids,
            dry_run=self._settings.dry_run,
            cpus=os.cpu_count(),
        )

    def _obey(self) -> None:
        """Do what signals ask for."""
        asked, self._event_loop.asked[:] = list(self._event_loop.asked), []
        for number in asked:
            if number != SIGHUP:
                self._stopping = True
            elif self._settings.compile_argv:
                self._reporter.reopen()
                if self._reload is None:
                    self._begin_reload()
                else:
                    # What it reads may have been read before the change that this one is about.
                    self._reload_again = True

    def _begin_reload(self) -> None:
        self._manager.send(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))
        try:
            with self._reserve:
                self._reload = Reload(self._settings.compile_argv, self._clock)
        except OSError as error:
            self._refuse(f"it can't be read: {error.strerror}")

    def _reloaded(self, reload: Reload) -> None:
        if reload.plan is None:
            self._refuse(reload.fault)
            return
        old = self._sensors
        old.warm.forget()
        with self._reserve:
            self._install(reload.plan)
            old.close()
        self._reporter.record(ReloadRecord(self._origin))
        self._reporter.line(NOTICE, f"guarding by policy {self._plan.name}, read again")
        self._manager.send(b"READY=1")

    def _refuse(self, fault: str) -> None:
        self._reporter.record(ReloadRecord(self._origin, fault))
        self._reporter.line(ERROR, f"the old policy stays: {fault}")
        self._manager.send(b"READY=1")

    def _stop(self) -> None:
        self._manager.send(b"STOPPING=1")
        if self._reload is not None:
            self._reload.close()
        self._reporter.kernel_kills(final=True)
        self._reporter.record(StopRecord(self._origin, len(self._actions.ongoing_acts)))
        self._reporter.line(NOTICE, "stopped guarding")
        self._reporter.close()
        self._reserve.close()
        self._killer.close()
        self._sensors.close()
        self._event_loop.close()
        self._pending.close()
        self._manager.close()
