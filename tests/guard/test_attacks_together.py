"""Attacks of several kinds at once, so that one defence stands in another one's way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oomkit.guard.cgroup_reader import descendants
from tests.guard.arena import Arena
from tests.guard.policies import SOFT
from tests.guard.test_attacks import BEFORE, ROOT, _outer_pid, enter, never

TREE = '[whom]\nlevel = "tree"\nleast = 0\n'


def test_few_files_and_a_tree_that_ignores_sigterm(arena: Arena) -> None:
    """More members than descriptors: all are signalled, and signalled again."""
    arena.ask("grove", "browser", 4, 14)
    pids = arena.ask("grown", "browser")
    assert len(pids) == 15
    small = arena.victim("other", 3)
    arena.guard(SOFT + TREE, files=20)
    arena.memory(available=0.08)
    arena.until(lambda: not any(map(arena.alive, pids)), "all of the tree die")
    arena.memory(available=0.5)
    act, *_ = arena.ended_acts()
    assert act["victim"]["level"] == "tree"
    assert len(act["victim"]["members"]) == 15
    assert arena.alive(small)
    assert "internal error" not in arena.log.read_text()


def test_few_files_and_a_tree_with_one_that_is_protected_as_the_signal_is_due(
    group: Path, arena: Arena
) -> None:
    """The last of more members than descriptors is protected: the tree is not taken."""
    root, *children = arena.ask("tree", "browser", 6, 14)
    move = f"echo {children[-1]} > {group}/cgroup.procs"
    whom = TREE + f'never = [{{ cgroup = "*/{group.name}" }}]\n'
    arena.guard(BEFORE.format(move) + whom, files=20)
    arena.memory(available=0.08)
    arena.until(lambda: len(arena.acts()) > 1, "another choice is made")
    first, second, *_ = arena.acts()
    assert first["outcome"] == "protected"
    assert not [one for one in first["signals"] if not one["error"]]
    assert len(second["victim"]["members"]) == 1
    assert arena.alive(children[-1])
    assert sum(map(arena.alive, (root, *children))) >= 14


def test_who_lost_its_leading_thread_in_a_protected_cgroup_is_spared(
    group: Path, arena: Arena
) -> None:
    large, _ = arena.play("leaderless", "large", 60)
    enter(arena, group, large)
    small = arena.victim("small", 20)
    arena.guard(SOFT + never("cgroup", f"*/{group.name}"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.living(large)


@pytest.mark.parametrize("protected", ["cgroup", "cmdline"])
def test_threads_that_come_and_go_without_a_leading_one_protect_and_hide_none(
    group: Path, arena: Arena, protected: str
) -> None:
    precious, _ = arena.play("relay", "precious", 60)
    other, _ = arena.play("relay", "other", 40)
    small = arena.victim("small", 10)
    if protected == "cgroup":
        enter(arena, group, precious)
        rule = never("cgroup", f"*/{group.name}")
    else:
        rule = never("cmdline", "*precious*")
    arena.guard(SOFT + rule)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(other), "the victim dies")
    arena.memory(available=0.5)
    assert arena.living(precious)
    assert arena.alive(small)


def test_two_without_a_leading_thread_do_not_share_their_memory(arena: Arena) -> None:
    """The kernel takes two that have no memory any more for sharers of the same."""
    precious, _ = arena.play("leaderless", "precious", 40)
    large, _ = arena.play("leaderless", "large", 60)
    small = arena.victim("small", 20)
    arena.guard(SOFT + never("comm", "precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["victim"]["level"] == "process"
    assert arena.living(precious)
    assert arena.alive(small)


def test_an_init_without_its_leading_thread_still_takes_all_along(arena: Arena) -> None:
    _, (init, inner) = arena.play("container", "init", 60, "precious", 5, "leaderless")
    small = arena.victim("small", 20)
    arena.guard(SOFT + never("comm", "precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.living(init)
    assert arena.living(inner)


@ROOT
@pytest.mark.parametrize("field", ["exe", "user", "comm"])
def test_a_sharer_that_is_protected_spares_all_of_its_memory(arena: Arena, field: str) -> None:
    large, other = arena.play("sharing", "large", 60, "precious", 1)
    small = arena.victim("small", 20)
    exe = os.path.realpath(f"/proc/{_outer_pid(large)}/exe")
    pattern = {"exe": exe, "user": "daemon", "comm": "precious"}[field]
    arena.guard(SOFT + never(field, pattern))
    arena.memory(available=0.02)
    if field == "exe":  # all here run that program
        arena.until_said("no eligible process although")
        assert arena.alive(small)
    else:
        arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)
    assert arena.alive(other)


def test_a_huge_made_up_command_line_costs_the_guard_nothing(arena: Arena) -> None:
    """A process may point the kernel at any of its memory as its arguments."""
    large, length = arena.play("forged", "large", 96, 64)
    if length != 64 << 20:
        pytest.skip(f"needs PR_SET_MM_MAP: {length}")
    small = arena.victim("small", 20)
    guard = arena.guard(SOFT + never("cmdline", "*--precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "another one dies, as it can't be ruled out")
    assert arena.alive(large)
    peak = arena.ask("read", f"/proc/{guard}/status").partition("VmHWM:")[2].split(None, 1)[0]
    assert int(peak) < 48 << 10


def test_who_has_thousands_of_threads_is_killed_as_others_are(arena: Arena) -> None:
    large, _ = arena.play("threads", "large", 60, 5000)
    small = arena.victim("small", 20)
    arena.guard(SOFT + TREE)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["outcome"] == "died"
    assert arena.alive(small)


def test_a_tree_is_the_same_however_many_threads_it_has() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as root:
        assert root.stdin is not None
        end = time.monotonic() + 20
        while not descendants("/proc", root.pid):
            assert time.monotonic() < end
            time.sleep(0.02)
        by_children = descendants("/proc", root.pid)
        assert len(by_children) == 1
        assert descendants("/proc", root.pid, most_threads=0) == by_children
        root.stdin.close()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", ") Z 1 (", "%s{pid}"])
def test_whatever_a_name_holds_its_process_is_chosen_and_the_log_is_text(
    arena: Arena, name: str
) -> None:
    large = arena.victim(name, 60)
    small = arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["victim"]["pid"] == large
    assert arena.alive(small)
    assert "\x1b" not in arena.log.read_text()


def test_forks_without_end_do_not_keep_the_largest_from_dying(arena: Arena) -> None:
    storm, _ = arena.play("storm", "storm")
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    arena.ended_acts()
    assert arena.alive(small)
    assert arena.living(storm)
    assert "internal error" not in arena.log.read_text()


@pytest.mark.parametrize("where", ["beside", "below"])
def test_one_protected_among_very_many_in_a_cgroup_spares_it_from_being_taken_whole(
    group: Path, arena: Arena, where: str
) -> None:
    pids = arena.ask("crowd", "member", 900)
    precious = arena.victim("precious", 1)
    largest = arena.victim("largest", 30)
    for pid in [*pids, precious, largest]:
        enter(arena, group, pid)
    if where == "below":
        (group / "below").mkdir()
        enter(arena, group / "below", precious)
    others = f'{{ cgroup = "re:(?!/{group.name}).*" }}, {{ comm = "precious" }}'
    arena.guard(
        SOFT + f'[whom]\nlevel = "cgroup"\nmost_processes = 5000\nleast = 0\nnever = [{others}]\n'
    )
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(largest), "the largest dies")
    arena.memory(available=0.5)
    assert arena.alive(precious)
    if where == "beside":
        assert all(map(arena.alive, pids))


def test_a_guard_that_takes_over_with_another_policy_leaves_a_tree_and_its_sharer(
    group: Path, arena: Arena
) -> None:
    """Killed between SIGTERM and SIGKILL; the next policy protects by cgroup."""
    large = arena.victim("large", 60, term="ignore")
    other = arena.victim("other", 20, term="ignore")
    guard = arena.guard(SOFT.replace('"1s"', '"5s"'))
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "SIGTERM is sent")
    enter(arena, group, large)
    arena.ask("kill", guard, signal.SIGKILL)
    arena.until(lambda: not arena.alive(guard), "the guard ends")
    arena.memory(available=0.02)
    arena.guard(SOFT + never("cgroup", f"*/{group.name}"), files=20)
    arena.until(lambda: not arena.alive(other), "another one is killed")
    assert arena.alive(large)
    assert arena.ended_acts()[0]["outcome"] == "protected"


def test_many_whose_protecting_word_is_far_back_leave_the_one_without(arena: Arena) -> None:
    long = [arena.play("padded", f"long{n}", 30, "x" * 100_000, "--precious")[0] for n in range(12)]
    other = arena.victim("other", 8)
    arena.guard(SOFT + never("cmdline", "*--precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "the victim dies")
    assert all(map(arena.alive, long))


def test_a_reload_in_the_middle_of_few_files_protects(arena: Arena) -> None:
    large = arena.victim("large", 60, term="ignore")
    small = arena.victim("small", 20)
    guard = arena.guard(SOFT.replace('"1s"', '"4s"'), files=20)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "SIGTERM is sent")
    arena.policy(SOFT + never("comm", "large"))
    for _ in range(5):
        arena.ask("kill", guard, signal.SIGHUP)
    arena.until_said("policy reloaded")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "another one is killed")
    assert arena.alive(large)
