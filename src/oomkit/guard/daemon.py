"""The daemon: runs the policy's loop, sleeps in between, and looks after itself."""

import os
import time

from oomkit.guard.actions import Actions
from oomkit.guard.event_loop import SIGHUP, EventLoop, IdleLoop, most_looks
from oomkit.guard.hooks import Hooks
from oomkit.guard.identity import units_root
from oomkit.guard.killer import Killer
from oomkit.guard.messages import NOTICE, WARNING, evidence
from oomkit.guard.own_program import Learning, Reload, Reloads
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.reaper import Reaper
from oomkit.guard.recheck import Recheck
from oomkit.guard.records import Origin, StopRecord
from oomkit.guard.reporter import (
    SAMPLED,
    Reporter,
    report_error,
    report_level,
    report_limits,
    report_reload,
    report_start,
)
from oomkit.guard.reserve import Reserve
from oomkit.guard.sensors import SAFETY_S, Sensors
from oomkit.host.sdnotify import ServiceManager
from oomkit.policy.engine.conditions import SOFT, WARN
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.driver import ACTED, NO_CANDIDATE, REFUSED, PolicyDriver
from oomkit.policy.engine.starts import Starts, from_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.guard.config import Settings
    from oomkit.guard.event_loop import Poll
    from oomkit.policy.engine.decider import Assessment
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import Reading

SAMPLE_S = 0.1
"""The flight recorder takes no more samples than this when memory is short."""


class Daemon:
    """One guard at work.

    Args:
        settings: how it shall run.
        reserve: descriptors for the acting path; None: they are opened now.
        clock: the monotonic one, by which everything is decided.
        wall: seconds since the epoch, which are only written down.
        poll: sleeps instead of ``poll.poll``, as in a test.

    Attributes:
        starts: what starts of services took.

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
        poll: "Poll | None" = None,
    ) -> None:
        # First of all: numbers taken early are there whatever limit comes later.
        self._reserve = reserve or Reserve(bounded=settings.files_bounded)
        pending = PendingKills(settings.state or None)
        self._settings = settings
        self._clock = clock
        self._wall = wall
        # With the commands that run, and without the exporter, which may be killed.
        self._own_pids = {os.getpid()}
        self._event_loop = EventLoop(settings.places.pressure, poll)
        self.starts = Starts(from_values(settings.starts))
        self._reporter = Reporter(settings, clock, wall, self.starts.killed)
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
        self._actions = Actions(
            killer, pending, self._hooks, self._reporter, clock, wall, settings.places
        )
        self._killer, self._pending = killer, pending
        self._reloads = Reloads(settings.compile_argv, clock)
        self._learning = Learning(settings.learn_argv, self.starts, self._reporter.line, clock)
        self._level = 0
        self._sampled_s = float("-inf")
        self._stopping = False
        self._taken_in = -1
        self._reserve.spare(self._spare_files)
        self._install(settings.plan)

    def run(self) -> None:
        """Guard until stopped."""
        self.start()
        next_s = 0.0
        while not self._stopping:
            self.sleep(next_s)
            next_s = self.turn()
            next_s = min(next_s, self._survived(self._attend))
        self.close()

    def sleep(self, next_s: float) -> None:
        """Sleep until something happens, or for a number of seconds, after which a turn is due."""
        waits = self._killer.fds()
        if self._sensors.sources.news_fd >= 0:
            waits.append(self._sensors.sources.news_fd)
        for program in (self._reloads.current, self._learning.current):
            if program is not None:
                waits.append(program.fd)
                next_s = min(next_s, program.left_s)
                self._idle_loop.forbid()
        self._event_loop.wait(next_s, waits, self._idle_loop)

    def turn(self) -> float:
        """Look once and do what has to be done; returns how soon to look again, in seconds.

        Internal errors are logged instead of ending the guard.
        """
        return self._survived(self._turn)

    def _attend(self) -> float:
        """Go on with reading the policy, and do what signals ask for; how soon to look again."""
        next_s = self._longest_s
        done = self._reloads.ended()
        if done is not None:
            self._reloaded(done)
            next_s = 0.0
            if self._reloads.owed:
                self._begin_reload()
        self._learning.attend()
        if self._event_loop.asked:
            self._obey()
        return next_s

    def _survived(self, part: "Callable[[], float]") -> float:
        """Run a part of a turn; internal errors are logged instead of ending the guard."""
        try:
            return part()
        except Exception as error:
            if os.environ.get("OOMKIT_DEBUG"):
                raise
            self._complain(f"internal error, please report it: {type(error).__name__}: {error}")
            return 1.0

    def _turn(self) -> float:
        if self._actions.ongoing_acts:
            with self._reserve:
                self._actions.see_deaths()
        dozed = self._idle_loop.last()
        if dozed is not None:
            self._driver.decider.watch.recall(*dozed)
        look = self._driver.look(self._clock())
        if look is None:
            # A drill's files are opened again when they are replaced.
            with self._reserve:
                look = self._driver.look(self._clock())
        reading = self._driver.reading
        if look is None or reading is None:
            self._complain("meminfo can't be read, so nothing can be decided")
            return 1.0
        self._sensors.hold_back(look, reading)
        if look.signals or look.choose or look.sizes or look.ease:
            self._perform(look)
        next_s = self._driver.decider.next_look_s(reading, psi_wakes=self._event_loop.by_pressure)
        next_s = min(next_s, self._actions.next_s(reading.t_s), self._longest_s)
        if not look.choose:
            self._keep_warm(look, reading, next_s)
        self._actions.settle(reading, short=look.state.level >= SOFT)
        if self._actions.is_easing:
            with self._reserve:
                self._actions.tend(reading)
        self._report(look, reading)
        self._tend(look, reading)
        if look.state.level < WARN and not look.state.warm and self.is_idle:
            self._sensors.keep_ready(self._driver.decider.growth, reading)
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

    @property
    def is_idle(self) -> bool:
        """Nothing is under way, and nothing is kept for a shortage."""
        acts = self._actions.ongoing_acts or self._actions.is_easing or self._hooks.busy()
        reads = self._reloads.current is not None or self._learning.current is not None
        waits = not self._sensors.warm.is_cold or not self._reporter.are_written
        return not (acts or reads or waits)

    def _install(self, plan: "Plan") -> None:
        """Take a plan to work with; what is under way goes on under it."""
        self._plan = plan
        self._origin = Origin(plan.name, dry_run=self._settings.dry_run)
        with self._reserve:
            root = units_root(self._settings.places)
        self._sensors = Sensors(
            plan,
            self._settings,
            root=root,
            untouchable=self._actions.untouchable,
            under_way=self._actions.under_way,
            reserve=self._reserve,
        )
        self._idle_loop = IdleLoop(
            plan,
            self._sensors.sources,
            self._reporter.log_news,
            cpus=os.cpu_count(),
            longest_s=self._longest_s,
            looks=most_looks(
                told=bool(self._settings.status or self._settings.recording),
                sees_log=self._reporter.sees_log,
                bounded=self._reserve.bounded,
            ),
            alive=self._alive if self._manager.watchdog_s is not None else None,
            clock=self._clock,
        )
        decider = self._new_decider(plan)
        recheck = Recheck(
            decider.chooser,
            self._settings.places,
            self._sensors.fields,
            self._sensors.users,
            root=root,
            files_of=self._sensors.warm.files_of,
        )
        self._actions.serve(plan, decider, self._sensors, recheck, dry_run=self._settings.dry_run)
        self._killer.draw_on(self._sensors.warm.pidfd_of)
        self._driver = PolicyDriver(decider, self._sensors, self._actions)

    def _perform(self, look: "Assessment") -> None:
        """Do what a look called for, with room for all that takes to open."""
        with self._reserve:
            outcome = self._driver.perform(look)
        if outcome == ACTED and self._sensors.warm.is_blind:
            self._sensors.blind_act_s = look.state.t_s
        if outcome == NO_CANDIDATE:
            self._complain(f"no eligible process although {evidence(look.state)}")
        elif outcome == REFUSED:
            self._complain("each process that was chosen was protected when it was read again")

    def _keep_warm(self, look: "Assessment", reading: "Reading", next_s: float) -> None:
        growth = self._driver.decider.growth
        awaited = self.starts.awaits(reading.t_s)
        if look.state.warm or look.state.level >= WARN or awaited:
            with self._reserve:
                self._sensors.keep_warm(growth, look, reading, next_s, awaited=awaited)
        else:
            self._sensors.keep_warm(growth, look, reading, next_s)

    def _report(self, look: "Assessment", reading: "Reading") -> None:
        """Report what this moment was like; what it called for is done by now."""
        before, self._level = self._level, look.state.level
        became_low = report_level(self._reporter, self._origin, look.state, before)
        if became_low and self._plan.response.notify:
            self._hooks.notify("Low memory", evidence(look.state))
        if look.obstacle:
            self._reporter.repeat(NOTICE, f"low memory, but {look.obstacle}")
        self._reporter.kernel_kills()
        if reading.t_s - self._sampled_s >= (SAMPLE_S if look.state.warm else SAFETY_S / 2):
            self._sampled_s = reading.t_s
            self._sensors.learn(self.starts, self._wall(), SAMPLED)
            self._reporter.sample(reading, self._sensors.warm.top)

    def _tend(self, look: "Assessment", reading: "Reading") -> None:
        """Look after what is not about memory."""
        if self._hooks.any():
            self._hooks.collect()
        for text in self._hooks.failures():
            self._reporter.line(WARNING, text)
        report_limits(self._reporter, self._origin, self._sensors)
        if self._sensors.warm.is_blind:
            self._reserve.bounded = True
        self._reserve.fill()
        self._event_loop.set_trigger()
        self._alive()
        self._reporter.check()
        loop, acts = self._event_loop, self._actions.ongoing_acts
        self._reporter.status(
            self._origin, look.state.level, reading, looks=loop.count, under_way=len(acts)
        )

    def _alive(self) -> None:
        self._manager.send(b"WATCHDOG=1")

    def _spare_files(self) -> None:
        """Give back descriptors, so that a victim can be taken hold of."""
        self._sensors.warm.shed()

    def _complain(self, text: str) -> None:
        report_error(self._reporter, self._origin, text)

    def start(self) -> None:
        """Take up what another guard left, rehearse, and report the start."""
        self._rehearse()
        with self._reserve:
            self._actions.take_over()
        policy, mode = self._plan.name, "dry run" if self._settings.dry_run else "armed"
        report_start(
            self._reporter, self._origin, self._settings, len(self._actions.ongoing_acts),
            filter(None, (self._pending.doubt(), self._reserve.doubt(), *self._settings.missing)),
        )  # fmt: skip
        self._manager.send(f"READY=1\nSTATUS=policy {policy}, {mode}".encode())
        with self._reserve:
            self._learning.begin()

    def _rehearse(self) -> None:
        """Go the whole way but for the signal, so that all it needs is in memory by then."""
        decider = self._new_decider(self._plan)  # its decisions are not carried out
        reading = self._sensors.reading(self._clock())
        if reading is not None:
            decider.look(reading)
            with self._reserve:
                decider.rank(*self._sensors.candidates(reading, decider.growth))
                self._killer.rehearse(os.getpid())
                self._sensors.warm.forget()

    def _new_decider(self, plan: "Plan") -> Decider:
        return Decider(
            plan,
            own_pids=self._own_pids,
            dry_run=self._settings.dry_run,
            cpus=os.cpu_count(),
            starts=self.starts,
        )

    def _obey(self) -> None:
        """Do what signals ask for."""
        asked, self._event_loop.asked[:] = list(self._event_loop.asked), []
        for number in asked:
            if number != SIGHUP:
                self._stopping = True
            elif self._settings.compile_argv:
                self._reporter.reopen()
                if self._reloads.ask():
                    self._begin_reload()

    def _begin_reload(self) -> None:
        self._manager.send(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))
        try:
            with self._reserve:
                self._reloads.begin()
        except OSError as error:
            self._end_reload(f"it can't be read: {error.strerror}")

    def _reloaded(self, reload: Reload) -> None:
        if reload.plan is None:
            self._end_reload(reload.fault)
            return
        old = self._sensors
        old.warm.forget()
        with self._reserve:
            self._install(reload.plan)
            self._sensors.blind_act_s = old.blind_act_s
            old.close()
        self._end_reload()

    def _end_reload(self, fault: str = "") -> None:
        report_reload(self._reporter, self._origin, fault)
        self._manager.send(b"READY=1")

    def close(self) -> None:
        """Report the end, write what can be written soon, and close everything."""
        self._manager.send(b"STOPPING=1")
        self._reloads.close()
        self._learning.close()
        self._actions.close()
        self._reporter.kernel_kills(final=True)
        self._reporter.record(StopRecord(self._origin, len(self._actions.ongoing_acts)))
        self._reporter.line(NOTICE, "stopped")
        self._reporter.close()
        self._reserve.close()
        self._killer.close()
        self._sensors.close()
        self._event_loop.close()
        self._pending.close()
        self._manager.close()
