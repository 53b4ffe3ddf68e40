"""Few file descriptors: the right one dies all the same."""

import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from oomkit.guard.config import Places
from oomkit.guard.identity import Users
from oomkit.guard.killer import Killer
from oomkit.guard.recheck import Recheck
from oomkit.guard.reserve import LIMIT, MIN, WANTED, Reserve
from oomkit.host.pidfd import start_ticks_of
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import policy_from
from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT


@pytest.mark.parametrize("files", [20, 24])
@pytest.mark.parametrize("more", [(), ("--record", "--status")])
def test_with_very_few_files_the_largest_dies(
    arena: Arena, files: int, more: tuple[str, ...]
) -> None:
    others = [arena.victim("small", 8) for _ in range(12)]
    large = arena.victim("large", 60)
    options = [word for name in more for word in (name, str(arena.directory / name[2:]))]
    arena.guard(SOFT, *options, files=files)
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["outcome"] == "died"
    assert act["considered"] >= 13, "nobody is left out"
    assert all(arena.alive(pid) for pid in others)
    said = arena.log.read_text()
    assert "few file descriptors are left" in said
    assert "internal error" not in said


def test_a_limit_that_comes_later_does_not_keep_it_from_a_second_kill(arena: Arena) -> None:
    """The numbers that the reserve holds are low ones, so they are below any limit."""
    small = [arena.victim("small", 8) for _ in range(30)]
    first = arena.victim("first", 80)
    second = arena.victim("second", 60)
    guard = arena.guard(BRISK)
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.ask("limit", guard, 20)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(first), "the first dies")
    arena.until(lambda: not arena.alive(second), "and the second, as memory stays short")
    arena.memory(available=0.5)
    assert sum(arena.alive(pid) for pid in small) >= len(small) - 1
    assert "internal error" not in arena.log.read_text()


def test_a_drills_file_that_is_replaced_is_read_though_no_more_can_be_opened(arena: Arena) -> None:
    for _ in range(30):
        arena.victim("small", 8)
    large = arena.victim("large", 60)
    guard = arena.guard(BRISK)
    for count in range(1, 4):  # each policy opens its files beside those of the one before
        arena.ask("kill", guard, signal.SIGHUP)
        arena.until_said("policy reloaded", count)
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.ask("limit", guard, 16)
    meminfo, new = arena.signals / "meminfo", arena.signals / "new"
    shutil.copy(meminfo, new)
    new.rename(meminfo)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    assert "can't be read" not in arena.log.read_text()


def test_a_limit_that_can_not_do_is_said_at_the_start(arena: Arena) -> None:
    with pytest.raises(AssertionError, match=rf"only 15 files can be open .* expected {LIMIT}"):
        arena.guard(SOFT, files=15)


def test_the_reserve_is_lent_and_taken_back() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    reserve = Reserve()
    assert opened() - before == reserve.held == MIN
    with reserve:
        assert opened() == before
    reserve.fill()
    assert opened() - before == WANTED
    reserve.close()
    assert opened() == before


def test_more_members_than_descriptors_all_get_the_signal() -> None:
    code = "import time; time.sleep(600)"
    members = [subprocess.Popen([sys.executable, "-S", "-I", "-c", code]) for _ in range(12)]
    try:
        who = [Candidate(one.pid, start_ticks_of(one.pid) or 0, 1, "python") for one in members]
        signals = [Signal(one, "KILL", "test") for one in who]
        own = frozenset((os.getpid(),))
        plan = compile_plan(policy_from({"name": "test", "whom": {"never": [{"exe": "/no"}]}}))
        recheck = Recheck(Chooser(plan, own_pids=own), Places(), frozenset({"exe"}), Users({}))
        killer = Killer(Places(), own, recheck, None, lambda: None)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        top = max(spare)
        for fd in spare[-6:]:
            os.close(fd)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1, limits[1]))
            sent = killer.send(signals)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for fd in spare[:-6]:
                os.close(fd)
        assert [one.error for one in sent] == [""] * len(members)
        gone: set[tuple[int, int]] = set()
        for one in members:
            assert one.wait(20) == -9
        gone.update(killer.dead())
        assert gone == {(signal.pid, signal.start_time) for signal in signals}
        killer.close()
    finally:
        for one in members:
            one.kill()
            one.wait()
