"""The watcher: starts the tasks when their time comes, samples, and sees which ones exit."""

from __future__ import annotations

import heapq
import mmap
import os
import select
import signal
import time

from . import groups
from .memory import PAGE, Area, filler
from .probe import Probe
from .report import Report
from .samples import Sampler, keyed, slot_of
from .task import FOREVER, SLOT, World, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .beside import Beside

_SAMPLING_SHARE = 5.0
"""Minimum distance between samples, as a multiple of the time one takes."""

_MEASURED = 16 << 20
_ROUNDS = 3
_COST_S = 1.0
"""How often the agent reports what it costs."""

_LOOKS = 500

FORKS = 4096
"""Slots reserved for forked copies."""


class Watch:
    """Plays one plan.

    Attributes:
        living: pid to the pidfd that is readable at its end.
        slots_of: pid to its place in the shared progress table.
        beside: what else runs and is to be listened to; None: nothing.
    """

    def __init__(self, plan: dict[str, Any], out: int, control: int) -> None:
        self.plan = plan
        self.report = Report(out)
        self.control = control
        self.pipe, writer = os.pipe()
        os.set_blocking(self.pipe, False)
        count = plan["slots"]
        self.slots = mmap.mmap(-1, (count + 1 + FORKS) * SLOT.size)
        SLOT.pack_into(self.slots, count * SLOT.size, 0, FORKS)
        filled = filler(plan["incompressible"]) if plan["incompressible"] else b""
        self.world = World(Report(writer), self.slots, plan["files"], plan["tmpfs"], count, filled)
        self.poll = select.poll()
        self.poll.register(self.pipe, select.POLLIN)
        if control >= 0:
            self.poll.register(control, select.POLLIN)
        self.living: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.pidfds: dict[int, int] = {}
        self.slots_of: dict[int, int] = {}
        self.plans: dict[int, dict[str, Any]] = {}
        self.timers: list[tuple[float, int, str, Any]] = []
        self.counted = 0
        self.pending = 0
        self.kmsg = -1
        self.t0 = 0.0
        self.buffer = b""
        self.probe: Probe | None = None
        self.beside: Beside | None = None
        self.cost_due = 0.0

    def at(self, when: float, what: str, subject: Any = None) -> None:
        """Schedule a call at a time in seconds after the start."""
        self.counted += 1
        heapq.heappush(self.timers, (self.t0 + when, self.counted, what, subject))

    def run(self) -> str:
        """Play the plan; returns how it ended."""
        self._get_ready()
        self._begin()
        end = self.t0 + self.plan["duration"]
        while True:
            why = self._over(end)
            if why:
                self.sampler.sample(self._sampled())
                self._report_notes()
                self._report_cost()
                if self.beside is not None:
                    self.beside.close()
                self.report.say("done", why)
                return why
            self._wait(end)

    def _get_ready(self) -> None:
        if self.plan["kmsg"]:
            self.kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.kmsg, 0, os.SEEK_END)
            self.poll.register(self.kmsg, select.POLLIN)
        groups.make(self.plan["groups"])
        if self.plan["probe"]:
            self.probe = Probe(self.plan["probe"], self.plan["programs"])
        self.sampler = Sampler(self.report, self.slots, self.plan["sources"])
        for path, value in self.plan["sysctl"]:
            groups.write(path, value)
        self._measure()

    def _begin(self) -> None:
        if self.beside is not None:
            for fd in self.beside.streams:
                self.poll.register(fd, select.POLLIN)
        self.t0 = time.monotonic()
        if self.plan["mark"]:
            # The console's clock and ours meet in this line.
            groups.write("/dev/kmsg", f"<6>oomkit: start {self.t0:.4f}\n")
        self.report.say("begin")
        for task in self.plan["tasks"]:
            self.pending += 1
            self.at(task["start"], "start", task)
        for event in self.plan["at"]:
            self.at(event["t"], "change", event)
        self.at(0.0, "sample")
        if self.plan["clock"] is not None:
            self.at(0.0, "clock")
        if self.probe is not None:
            self.probe.start(self.t0)

    def _report_notes(self) -> None:
        """Report what others noted into shared memory."""
        if self.beside is not None:
            self.beside.report_notes()
        if self.probe is not None:
            self.probe.report_rounds(self.report)

    def end(self) -> None:
        """Kill the tasks that still live; those of cgroups are killed with them."""
        for fd in self.living.values():
            try:  # noqa: SIM105 - contextlib would cost each task 0.6 MB
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _measure(self) -> None:
        """Report what the machine is before anything runs, and what a task weighs by itself."""
        self._weigh()
        with open("/proc/meminfo", "rb") as file:
            meminfo = keyed(file.read())
        size = max(min(_MEASURED, meminfo[b"MemFree"] * 1024 // 8 // PAGE * PAGE), _MEASURED // 2)
        rate = max(self._fault_in(size) for _ in range(_ROUNDS))
        with open("/proc/meminfo", "rb") as file:
            meminfo = keyed(file.read())
        free_kb = meminfo[b"MemFree"] + _held_by_cpus_kb()
        cached_kb = meminfo.get(b"Cached", 0)
        self.report.say("machine", meminfo[b"MemTotal"], free_kb, cached_kb, round(rate))

    def _fault_in(self, size: int) -> float:
        """How many bytes a second memory is faulted in."""
        began = time.monotonic()
        area = Area(size, mmap.MAP_PRIVATE, anon=True, thp=0)
        area.touch(0, size)
        rate = size / (time.monotonic() - began)
        area.map.close()
        return rate

    def _weigh(self) -> None:
        """Report what a task of this agent holds before its first step."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            groups.write("/proc/self/comm", "weighed")
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        try:
            with open(f"/proc/{pid}/comm", "rb") as file:
                for _ in range(_LOOKS):
                    file.seek(0)
                    if file.read() == b"weighed\n":
                        break
                    time.sleep(0.01)
            with open(f"/proc/{pid}/status", "rb") as file:
                status = keyed(file.read())
        finally:
            os.close(writer)
            os.waitpid(pid, 0)
        commit = status.get(b"VmData", 0) + status.get(b"VmStk", 0)
        self.report.say("weight", status[b"VmRSS"], status.get(b"RssAnon", 0), commit)

    def _report_cost(self) -> None:
        with open("/proc/self/status", "rb") as file:
            status = keyed(file.read())
        self.report.say("cost", f"{time.process_time():.4f}", status[b"VmRSS"],
                        status.get(b"VmLck", 0))  # fmt: skip

    def _over(self, end: float) -> str:
        """Why the run is over; empty while it is not."""
        now = time.monotonic()
        if now >= end:
            return "duration"
        if self.pending or self.plans.keys() - self.names.keys():
            return ""
        if not self.living:
            return "ended"
        if now - self.t0 <= self.plan["at_end"]:
            return ""
        slots = (self.slots_of[pid] for pid in self.living)
        return "holding" if all(slot_of(self.slots, s)[0] == FOREVER for s in slots) else ""

    def _sampled(self) -> dict[int, int]:
        return {pid: self.slots_of[pid] for pid in self.living}

    def _wait(self, end: float) -> None:
        due = min(end, self.timers[0][0]) if self.timers else end
        timeout = max(due - time.monotonic(), 0.0)
        for fd, _ in self.poll.poll(min(timeout * 1000 + 0.5, 1000)):
            if fd == self.pipe:
                self._hear()
            elif fd == self.control:
                if not os.read(fd, 4096):
                    raise SystemExit(0)
            elif fd == self.kmsg:
                self._relay()
            elif fd in self.pidfds:
                self._ended(self.pidfds[fd], fd)
            elif self.beside is not None and not self.beside.hear(fd):
                self.poll.unregister(fd)
        self._reap()
        while self.timers and self.timers[0][0] <= time.monotonic():
            _, _, what, subject = heapq.heappop(self.timers)
            self._do(what, subject)

    def _do(self, what: str, subject: Any) -> None:
        if what == "start":
            self.pending -= 1
            self._start(subject)
        elif what == "sample":
            began = time.monotonic()
            self.sampler.sample(self._sampled())
            self._report_notes()
            if began >= self.cost_due:
                self.cost_due = began + _COST_S
                self._report_cost()
            took = time.monotonic() - began
            step = max(self.plan["sample_s"], took * _SAMPLING_SHARE)
            self.at(time.monotonic() - self.t0 - took + step, "sample")
        elif what == "change":
            self._change(subject)
        elif what == "clock":
            # Whoever slows our disks down has to know how our clock goes beside theirs.
            self.report.say("clock")
            self.at(time.monotonic() - self.t0 + self.plan["clock"], "clock")

    def _start(self, task: dict[str, Any]) -> None:
        try:
            pid = spawn(self.world, task)
        except OSError as error:
            self.report.say("unstarted", task["name"], error.errno)
            self.pending += 1
            self.at(time.monotonic() - self.t0 + 0.5, "start", task)
            return
        self.plans[pid] = task

    def _hear(self) -> None:
        try:
            self.buffer += os.read(self.pipe, 65536)
        except BlockingIOError:
            return
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            words = line.decode().split(" ")
            os.write(self.report.fd, line + b"\n")
            if words[0] == "start":
                self._born(int(words[2]), words[3], int(words[5]))

    def _born(self, pid: int, name: str, slot: int) -> None:
        self.slots_of[pid] = slot
        self.names[pid] = name
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.report.say("gone", pid)
            return
        self.living[pid] = fd
        self.pidfds[fd] = pid
        self.poll.register(fd, select.POLLIN)

    def _ended(self, pid: int, fd: int) -> None:
        self.poll.unregister(fd)
        os.close(fd)
        del self.living[pid], self.pidfds[fd]
        self.report.say("gone", pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self.beside is not None and pid == self.beside.pid:
                self.report.say("daemon_end", os.waitstatus_to_exitcode(status))
                continue
            task = self.plans.pop(pid, None)
            self.report.say("exit", pid, os.waitstatus_to_exitcode(status))
            if task is not None and task["restart"] is not None:
                self.pending += 1
                self.at(time.monotonic() - self.t0 + task["restart"], "start", task)

    def _change(self, event: dict[str, Any]) -> None:
        for path, value in event["writes"]:
            self._try(path, value)
        for name, fields in event["tasks"]:
            for pid in self.living:
                if self.names[pid] != name:
                    continue
                if fields.get("oom_score_adj") is not None:
                    self._try(f"/proc/{pid}/oom_score_adj", str(fields["oom_score_adj"]))
                if fields.get("nice") is not None:
                    try:  # noqa: SIM105 - contextlib would cost each task 0.6 MB
                        os.setpriority(os.PRIO_PROCESS, pid, fields["nice"])
                    except ProcessLookupError:
                        pass

    def _try(self, path: str, value: str) -> None:
        try:
            groups.write(path, value)
        except OSError as error:
            self.report.say("unchanged", path, error.errno)

    def _relay(self) -> None:
        """Pass on what the kernel says, stamped with our clock as it comes."""
        while True:
            try:
                record = os.read(self.kmsg, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # the ring was overwritten under us; go on with what is left
            except OSError:
                return
            text = record.partition(b";")[2].split(b"\n", 1)[0].decode("utf-8", "replace")
            self.report.say("kernel", text)


def _held_by_cpus_kb() -> int:
    """Free pages that CPUs hold back for themselves, which MemFree leaves out.

    What was measured has just given its own back to them, and the first task takes them.
    """
    try:
        with open("/proc/zoneinfo", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    pages = [int(line.split()[1]) for line in lines if line.split()[:1] == [b"count:"]]
    return sum(pages) * (PAGE // 1024)
