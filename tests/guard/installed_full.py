"""In the guest: a user takes every open file of the machine."""

from functools import partial

from tests.guard import actors
from tests.guard.installed_stage import (
    ATTACKER,
    HARD,
    HELD_MIB,
    LOW,
    SHELTERED,
    Actor,
    acts,
    enter,
    has_hold,
    memory,
    records,
    recovered,
    started,
    verdict,
)  # fmt: skip
from tests.real.in_guest import UNIT, main_pid, run, until

FILE_MAX = "/proc/sys/fs/file-max"
SPARE_FILES = 3000


def both_held(guard: int, *pids: int) -> bool:
    return all(has_hold(guard, pid) for pid in pids)


def has_acted(since: int) -> bool:
    return bool(acts(since))


def full_table() -> None:
    """A user takes every file of the machine, once memory is low, and before it is."""
    before = actors.read(FILE_MAX)
    in_use = int(actors.read("/proc/sys/fs/file-nr").split()[0])
    actors.write(FILE_MAX, str(in_use + SPARE_FILES))
    for name, early in (
        ("a user takes every file while memory is low", False),
        ("a user takes every file before memory is low", True),
    ):
        since = len(acts())
        moved = Actor("plain", "moved", 2 * HELD_MIB)
        large = Actor("plain", "large", HELD_MIB)
        small = [Actor("plain", "small", 4) for _ in range(4)]
        starts = len(records("start"))
        run("systemctl", "restart", UNIT)
        started(starts)
        if not early:
            memory(LOW, in_place=True)
        guard = main_pid()
        ready = until(partial(both_held, guard, moved.pid, large.pid), 0.05)
        user = Actor("grabs", "grabs", uid=ATTACKER)
        enter(SHELTERED, moved.pid)
        memory(LOW, in_place=True)
        memory(HARD, in_place=True)
        died = until(large.is_gone, 0.02)
        lives = moved.lives()
        why = f"ready {ready}, refused by {user.said}"
        user.end()
        until(partial(has_acted, since), 0.05)
        victims = [act["victim"]["pid"] for act in acts(since)][:1]
        verdict(name, held=died and victims == [large.pid], why=f"{why}, {victims}, {large.pid}")
        verdict(f"it moves into a protected cgroup as {name}", held=lives and died, why=why)
        recovered()
        del small
    actors.write(FILE_MAX, before)
    starts = len(records("start"))
    run("systemctl", "restart", UNIT)
    started(starts)
