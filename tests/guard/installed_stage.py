"""What a guest plays attacks on its guard with: processes, cgroups, made figures of memory."""

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from tests.guard import actors
from tests.real.in_guest import PATIENCE_S, UNIT, run, say, until

JOURNAL = "/var/lib/oomkit/journal.jsonl"
POLICY = "/etc/oomkit/policy.toml"
SETTINGS = "/etc/default/oomkit-guard"
METRICS = "/run/oomkit/metrics"
DRILL = "/var/drill"
CGROUPS = "/sys/fs/cgroup"
ATTACK = f"{CGROUPS}/attack"
COMMON, SHELTERED, GROUPED, FROZEN = (
    f"{ATTACK}/{name}" for name in ("common", "sheltered", "grouped", "frozen")
)
OWN_UNIT = f"{CGROUPS}/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service"
TOTAL_KB = 1 << 20
HELD_MIB = 16
MEMORY = "MemTotal: {total} kB\nMemAvailable: {left} kB\nAnonPages: {used} kB\nShmem: {shmem} kB\n"
ATTACKER = 1000
LOW, SOFT, HARD = 0.15, 0.08, 0.02


class Actor:
    """A process that takes part: an actor of :mod:`tests.guard.actors`, in a cgroup."""

    def __init__(
        self,
        actor: str,
        *arguments: object,
        cgroup: str = COMMON,
        uid: int = 0,
        program: str = "",
    ) -> None:
        there, here = os.pipe()
        words = [str(one) for one in arguments]
        self.name = words[0]
        self.pid = os.fork()
        if not self.pid:
            try:
                os.setsid()
                os.dup2(here, 1)
                enter(cgroup, os.getpid())
                if uid:
                    os.setgid(uid)
                    os.setuid(uid)
                if program:
                    os.execv(program, [program, "-IS", actors.__file__, actor, *words])
                sys.stdout = os.fdopen(1, "w")
                getattr(actors, actor)(*words)
            except BaseException as error:
                sys.stderr.write(f"{actor} {words[:1]}: {error!r}\n")
            finally:
                os._exit(1)
        os.close(here)
        self._pipe = os.fdopen(there)
        EVERYBODY.append(self)
        self.said: Any = self.ready()

    def ready(self) -> object:
        """What it says when it is as it should be, and again when it is another program."""
        if not select.select([self._pipe], [], [], PATIENCE_S)[0]:
            raise TimeoutError(f"{self.name} is not ready")
        line = self._pipe.readline()
        if not line:
            raise ChildProcessError(f"{self.name} has ended")
        return json.loads(line)

    def lives(self) -> bool:
        return living(self.pid)

    def is_gone(self) -> bool:
        return not self.lives()

    def end(self) -> None:
        """Kill it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


EVERYBODY: list[Actor] = []


def living(pid: int) -> bool:
    """Some thread of a process lives; a pidfd says so even while threads come and go."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([pidfd], [], [], 0)[0]
    finally:
        os.close(pidfd)


def end_all() -> None:
    while EVERYBODY:
        EVERYBODY.pop().end()


def enter(cgroup: str, pid: int) -> None:
    actors.write(f"{cgroup}/cgroup.procs", str(pid))


def memory(available: float, shmem: float = 0.0, *, in_place: bool = False) -> None:
    """Say how much memory is left, in a file that takes the place of the one before.

    Or in that one, as the guard has it open and may be unable to open another.
    """
    left = int(TOTAL_KB * available)
    text = MEMORY.format(
        total=TOTAL_KB, left=left, used=TOTAL_KB - left, shmem=int(TOTAL_KB * shmem)
    )
    if in_place:
        fd = os.open(f"{DRILL}/meminfo", os.O_WRONLY)
        os.pwrite(fd, text.ljust(200).encode(), 0)
        os.close(fd)
        return
    actors.write(f"{DRILL}/new", text)
    os.rename(f"{DRILL}/new", f"{DRILL}/meminfo")


class _Journal:
    """The guard's journal, of which each look reads what is new."""

    def __init__(self) -> None:
        self.at = 0
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.acts: dict[int, dict[str, Any]] = {}

    def read(self) -> None:
        if not os.path.exists(JOURNAL):
            return
        with open(JOURNAL, "rb") as file:
            file.seek(self.at)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.at += len(whole)
        for line in whole.splitlines():
            record = json.loads(line)
            self.records.setdefault(record["kind"], []).append(record)
            if record["kind"] == "act":
                self.acts[record["id"]] = record


_JOURNAL = _Journal()


def records(kind: str = "act") -> list[dict[str, Any]]:
    _JOURNAL.read()
    return list(_JOURNAL.records.get(kind, []))


def acts(since: int = 0) -> list[dict[str, Any]]:
    """What is known of each act at last, in the order of the choices."""
    _JOURNAL.read()
    return list(_JOURNAL.acts.values())[since:]


def recovered() -> None:
    """Memory is back, and all acts have ended."""
    memory(0.9)
    until(lambda: all("outcome" in act for act in acts()), 0.05)
    end_all()


def warned(available: float = LOW, shmem: float = 0.0) -> None:
    """The guard knows that memory gets low, and has ranked everybody."""
    before = len(records("warn"))
    memory(available, shmem)
    until(lambda: len(records("warn")) > before, 0.05)
    time.sleep(0.5)


def has_hold(guard: int, pid: int) -> bool:
    """The guard has a pidfd of a process."""
    for name in os.listdir(f"/proc/{guard}/fdinfo"):
        with contextlib.suppress(OSError):
            if f"\nPid:\t{pid}\n" in actors.read(f"/proc/{guard}/fdinfo/{name}"):
                return True
    return False


def verdict(name: str, *, held: bool, why: object = "") -> None:
    say(f"verdict: {name}", True if held else f"{why or 'no'}")


def reload(text: str) -> None:
    """Another policy is taken."""
    before = len(records("reload"))
    actors.write(POLICY, text)
    run("systemctl", "reload", UNIT)
    until(lambda: len(records("reload")) > before, 0.05)


def started(before: int) -> bool:
    return until(lambda: len(records("start")) > before, 0.1)
