"""One task: becomes what the scenario says it is, then goes through its steps."""

from __future__ import annotations

import _thread
import errno
import os
import resource
import signal
import struct
import time
import zlib

from . import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

    from .report import Report

FOREVER = -1.0
"""In a slot: the task has come to a step that never ends by itself."""

SLOT = struct.Struct("dd")
"""A task's progress in memory it shares with its watcher: loops done, position in its steps."""

_WORK_SLICE_S = 0.02
_PROGRAM_S = 0.1
"""A working task comes by all of its program's text so often."""

_BUSY = bytes(64 * 1024)


class World:
    """What all tasks of a run share.

    Attributes:
        report: where to report what happens.
        slots: shared memory, one :data:`SLOT` a task.
        files: directory of the files they read and write.
        tmpfs: directory of the files in tmpfs.
        fork_slots: first slot free for forked copies, counted up by the task that forks.
        filler: what they write into their memory; empty: a byte a page.
    """

    def __init__(
        self,
        report: Report,
        slots: mmap.mmap,
        files: str,
        tmpfs: str,
        fork_slots: int,
        filler: bytes,
    ) -> None:
        self.report = report
        self.slots = slots
        self.files = files
        self.tmpfs = tmpfs
        self.fork_slots = fork_slots
        self.filler = filler


def spawn(world: World, plan: dict[str, Any]) -> int:
    """Fork a task; returns its pid. Only the parent returns."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = _become(world, plan)
    except OSError as error:
        if error.errno != errno.EPIPE:
            world.report.say("broken", os.getpid(), plan["name"], plan["instance"],
                             error.errno or 0, str(error).replace(" ", "_"))  # fmt: skip
    except Exception as error:  # whatever it is, the run is not what was asked for
        world.report.say("broken", os.getpid(), plan["name"], plan["instance"], 0,
                         f"{type(error).__name__}:_{error}".replace(" ", "_"))  # fmt: skip
    finally:
        os._exit(code)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _become(world: World, plan: dict[str, Any]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if plan["delay"]:
        time.sleep(plan["delay"])
    for path in plan["cgroup_procs"]:
        _write(path, "0")
    _write("/proc/self/comm", plan["name"][:15])
    _write("/proc/self/oom_score_adj", str(plan["oom_score_adj"]))
    if plan["nice"]:
        os.setpriority(os.PRIO_PROCESS, 0, plan["nice"])
    if plan["lock"] and plan["uid"]:
        # Root's locked memory has no limit.
        most = resource.RLIM_INFINITY
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
        except ValueError:  # without CAP_SYS_RESOURCE; what there is was found to be enough
            _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
    world.report.say("start", os.getpid(), plan["name"], plan["instance"], plan["slot"])
    # While still root: children have a group, an adjustment and a uid of their own to take on.
    for child in plan["children"]:
        spawn(world, child)
    if plan["uid"]:
        os.setgroups([])
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    return Task(world, plan).run()


class Task:
    """Goes through the steps of a plan."""

    def __init__(self, world: World, plan: dict[str, Any]) -> None:
        self.world = world
        self.plan = plan
        self.memory = memory.Memory(thp=plan["thp"], filler=world.filler)
        self.program: memory.FileArea | None = None
        if plan["program"] is not None:
            self.program = memory.FileArea(f"{world.files}/{plan['program']}")
            self.program.run_through()
        self.slot = plan["slot"]
        self.at = 0
        self.loop = 0

    def progress(self, share: float) -> None:
        """Note how much of the current step is done."""
        SLOT.pack_into(self.world.slots, self.slot * SLOT.size, self.loop, self.at + share)

    def forever(self) -> None:
        """Note that nothing more comes of this task by itself."""
        SLOT.pack_into(self.world.slots, self.slot * SLOT.size, FOREVER, self.at)

    def run(self) -> int:
        """Go through the steps as often as the plan says; returns the exit status."""
        steps = self.plan["steps"]
        while True:
            while self.at < len(steps):
                step = steps[self.at]
                if step["verb"] == "exit":
                    return self._end(step["code"])
                try:
                    self._step(step)
                except (OSError, MemoryError) as error:
                    if not self._denied(step, error):
                        return self._end(1)
                self.at += 1
                self.progress(0.0)
            self.loop += 1
            if self.plan["loops"] is not None and self.loop >= self.plan["loops"]:
                return self._end(0)
            self.at = 0

    def _end(self, code: int) -> int:
        self.world.report.say("end", os.getpid(), code)
        return code

    def _denied(self, step: dict[str, Any], error: OSError | MemoryError) -> bool:
        """Report a refusal; returns whether the task goes on, as it does after a failed fork."""
        number = getattr(error, "errno", None) or errno.ENOMEM
        if number not in (errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT):
            raise error
        call = "fork" if step["verb"] == "fork" else "write" if step["verb"] in (
            "tmpfs", "write") else "mmap"  # fmt: skip
        self.world.report.say("denied", os.getpid(), call, step["size"] or 0,
                              errno.errorcode.get(number, str(number)))  # fmt: skip
        return call == "fork"

    def _step(self, step: dict[str, Any]) -> None:
        verb, size, rate = step["verb"], step["size"], step["rate"]
        if verb in ("reserve", "touch", "peek", "share", "lock", "free"):
            self._anonymous(step)
        elif verb == "tmpfs":
            name = f"{self.plan['name']}-{os.getpid()}-{self.loop}-{self.at}"
            path = f"{self.world.tmpfs}/{name}"
            memory.write_file(path, size, rate, self.progress, self.world.filler)
        elif verb == "read":
            memory.read_file(f"{self.world.files}/{step['file']}", size, rate, self.progress)
        elif verb == "write":
            memory.write_file(f"{self.world.files}/{step['file']}", size, rate, self.progress)
        elif verb == "hold":
            self._hold(step["seconds"])
        elif verb == "work":
            self._work(step)
        elif verb == "fork":
            self._fork(step["count"])

    def _anonymous(self, step: dict[str, Any]) -> None:
        verb, size, rate = step["verb"], step["size"], step["rate"]
        if step["scatter"]:
            self.memory.scatter(size, step["scatter"], shared=verb == "share")
        elif step["hugetlb"]:
            self.memory.hugetlb(size, rate, self.progress)
        elif verb == "reserve":
            self.memory.reserve(size, shared=step["shared"])
        elif verb in ("touch", "peek", "share"):
            self.memory.go_over(verb, size, rate, step["stride"] or memory.PAGE, self.progress)
        elif verb == "lock":
            self.memory.lock(size, rate, self.progress)
        elif step["lazy"]:
            self.memory.free_lazily(size)
        else:
            self.memory.free(size)

    def _hold(self, seconds: float | None) -> None:
        if seconds is None:
            self.forever()
            while True:
                signal.pause()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            self.progress(1 - left / seconds)

    def _fork(self, count: int) -> None:
        for _ in range(count):
            # The slot is taken by the parent, so that copies of copies never share one.
            slot = _take_slot(self.world)
            if os.fork() == 0:
                self.slot = slot
                self.world.report.say("start", os.getpid(), self.plan["name"], "-", slot)
                return

    def _work(self, step: dict[str, Any]) -> None:
        workers = [Worker(self, step) for _ in range(self.plan["threads"])]
        for worker in workers[1:]:
            _thread.start_new_thread(worker.run, ())
        workers[0].run()
        while any(not worker.done for worker in workers):
            time.sleep(0.02)


def _take_slot(world: World) -> int:
    """The next slot for a forked copy; the last one is shared when all are taken."""
    at = world.fork_slots * SLOT.size
    taken, last = SLOT.unpack_from(world.slots, at)
    SLOT.pack_into(world.slots, at, min(taken + 1, last), last)
    return world.fork_slots + 1 + int(min(taken, last - 1))


class Worker:
    """One thread's share of a ``work`` step: CPU time, over the task's working set."""

    def __init__(self, task: Task, step: dict[str, Any]) -> None:
        self.task = task
        self.seconds: float | None = step["seconds"]
        self.areas = task.memory.walk(step["set"])
        whole = sum(length for _, length in self.areas)
        self.file: memory.FileArea | None = None
        if step["file"] is not None:
            self.file = memory.FileArea(f"{task.world.files}/{step['file']}")
            whole += self.file.size
        # Without a rate it comes by everything once a CPU second.
        self.rate = (step["rate"] or float(whole)) / task.plan["threads"]
        self.through = 0.0
        self.done = False

    def run(self) -> None:
        """Work until the CPU time is used up."""
        try:
            self._run()
        finally:
            self.done = True

    def _run(self) -> None:
        began = time.thread_time()
        walked, cursor = 0.0, self._cursor()
        while self.seconds is None or time.thread_time() - began < self.seconds:
            until = time.thread_time() + _WORK_SLICE_S
            while time.thread_time() < until:
                zlib.crc32(_BUSY)  # large enough to run without the interpreter's lock
            used = time.thread_time() - began
            if self.task.program is not None and used >= self.through:
                self.through = used + _PROGRAM_S
                self.task.program.run_through()
            while cursor is not None and walked < used * self.rate:
                walked += next(cursor)
            if self.seconds is not None:
                self.task.progress(min(used / self.seconds, 1.0))

    def _cursor(self) -> Any:
        return self._walk() if self.areas or self.file is not None else None

    def _walk(self) -> Any:
        piece = 1 << 18
        while True:
            for area, length in self.areas:
                for at in range(0, length, piece):
                    end = min(at + piece, length)
                    area.touch(at, end)
                    yield end - at
            if self.file is not None:
                yield from self.file.walk(piece)
