"""What others do, on purpose or not, so that a guard would end the wrong process."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from oomkit.guard.config import Places
from oomkit.guard.killer import Killer
from oomkit.host.cgroups import find_hierarchy
from tests.guard.arena import Arena
from tests.guard.policies import SOFT

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def may_lower_adjustments() -> bool:
    effective = Path("/proc/self/status").read_text().partition("CapEff:")[2].split(None, 1)[0]
    return bool(int(effective, 16) & 1 << 24)


NEVER = '[whom]\nnever = [{{ {} = "{}" }}]\n'
BEFORE = SOFT + 'before = ["/bin/sh", "-c", "{}"]\n'


def never(field: str, pattern: str) -> str:
    return NEVER.format(field, pattern)


def enter(arena: Arena, group: Path, pid: int) -> None:
    arena.ask("write", str(group / "cgroup.procs"), str(pid))


@ROOT
def test_sizes_behind_hundreds_of_groups_are_found(arena: Arena) -> None:
    large, _ = arena.play("in_groups", "large", 60, 2000)
    small = arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert (act["victim"]["pid"], act["outcome"]) == (large, "died")
    assert arena.alive(small)


def test_who_lost_its_leading_thread_is_killed(arena: Arena) -> None:
    large, _ = arena.play("leaderless", "large", 60)
    small = arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert (act["victim"]["pid"], act["outcome"]) == (large, "died")
    assert act["victim"]["expected_kb"] == pytest.approx(60 << 10, rel=0.3)
    assert arena.alive(small)


def test_who_lost_its_leading_thread_is_still_protected(arena: Arena) -> None:
    large, _ = arena.play("leaderless", "large", 60)
    small = arena.victim("small", 20)
    arena.guard(SOFT + never("cmdline", "*leaderless*"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.living(large)


def test_who_moves_into_a_protected_cgroup_is_spared(group: Path, arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    arena.guard(SOFT + never("cgroup", f"*/{group.name}"))
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.until_ranked(large)
    enter(arena, group, large)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)


def test_who_leaves_a_protected_cgroup_is_protected_no_longer(group: Path, arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    enter(arena, group, large)
    arena.guard(SOFT + never("cgroup", f"*/{group.name}"))
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.until_ranked(large)
    enter(arena, group.parent, large)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    assert arena.alive(small)


def test_who_is_protected_as_the_signal_is_due_is_spared_and_another_is_chosen(
    group: Path, arena: Arena
) -> None:
    """The command before the signal moves the victim into a protected cgroup."""
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    move = f"echo {large} > {group}/cgroup.procs"
    arena.guard(BEFORE.format(move) + never("cgroup", f"*/{group.name}"))
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    arena.memory(available=0.5)
    first, second = arena.ended_acts(2)
    assert arena.alive(large)
    assert (first["victim"]["pid"], first["outcome"]) == (large, "protected")
    assert f"never: cgroup */{group.name}" in first["signals"][0]["error"]
    assert first["spared"][0]["pid"] == large
    assert (second["victim"]["pid"], second["outcome"]) == (small, "died")


def test_no_command_is_run_instead_of_or_after_a_signal_that_may_not_be_sent(
    group: Path, arena: Arena
) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    ran = arena.directory / "ran"
    record = f'["/bin/sh", "-c", "echo {{pid}} >> {ran}"]'
    arena.guard(
        BEFORE.format(f"echo {large} > {group}/cgroup.procs")
        + f"after = {record}\ninstead = [{{ comm = 'large', command = {record} }}]\n"
        + never("cgroup", f"*/{group.name}")
    )
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    arena.memory(available=0.5)
    arena.until(lambda: ran.exists() and bool(ran.read_text()), "a command is run")
    assert arena.alive(large)
    assert ran.read_text() == f"{small}\n"


@pytest.mark.parametrize("how", ["cgroup", "policy"])
def test_who_is_protected_after_sigterm_gets_no_sigkill(
    group: Path, arena: Arena, how: str
) -> None:
    large = arena.victim("large", 60, term="ignore")
    policy = SOFT.replace('"1s"', '"3s"') + never("cgroup", f"*/{group.name}")
    guard = arena.guard(policy)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "SIGTERM is sent")
    if how == "cgroup":
        enter(arena, group, large)
    else:
        arena.policy(policy.replace("{ cgroup", '{ comm = "large" }, { cgroup'))
        arena.ask("kill", guard, signal.SIGHUP)
        arena.until_said("policy reloaded")
    arena.until_said("is not signalled: never:")
    (act,) = arena.ended_acts()
    assert act["outcome"] == "protected"
    assert [one["name"] for one in act["signals"]] == ["TERM", "KILL"]
    assert "never: " in act["signals"][1]["error"]
    assert arena.alive(large)


def test_who_is_protected_by_a_later_policy_is_not_killed_by_the_guard_that_takes_over(
    arena: Arena,
) -> None:
    large = arena.victim("large", 60, term="ignore")
    policy = SOFT.replace('"1s"', '"5s"')
    guard = arena.guard(policy)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "SIGTERM is sent")
    arena.ask("kill", guard, signal.SIGKILL)
    arena.until(lambda: not arena.alive(guard), "the guard ends")
    arena.guard(SOFT + never("comm", "large"))
    arena.until_said("no eligible process although")
    (act,) = arena.ended_acts()
    assert act["outcome"] == "protected"
    assert [one["name"] for one in act["signals"]] == ["TERM"]
    assert arena.alive(large)


@ROOT
def test_names_of_users_come_with_a_policy_that_is_read_again(arena: Arena) -> None:
    large, _ = arena.play("drops", "large", 60, 1)
    arena.ask("kill", large, signal.SIGUSR1)
    small = arena.victim("small", 20)
    guard = arena.guard(SOFT)
    arena.policy(SOFT + never("user", "daemon"))
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until_said("policy reloaded")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)


@ROOT
def test_who_becomes_a_protected_user_is_spared(arena: Arena) -> None:
    large, _ = arena.play("drops", "large", 60, 1)
    small = arena.victim("small", 20)
    arena.guard(BEFORE.format(f"kill -USR1 {large}; sleep 0.2") + never("user", "daemon"))
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)


@pytest.mark.skipif(not may_lower_adjustments(), reason="needs CAP_SYS_RESOURCE")
def test_whose_adjustment_is_lowered_as_the_signal_is_due_is_spared(arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    arena.guard(BEFORE.format(f"echo -1000 > /proc/{large}/oom_score_adj"))
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)


@pytest.fixture
def perl(tmp_path: Path) -> Path:
    found = shutil.which("perl")
    if found is None:
        pytest.skip("needs perl")
    (tmp_path / "safe").mkdir()
    return Path(shutil.copy(os.path.realpath(found), tmp_path / "safe/prog"))


BIG = '$x = "x" x 60000000; sleep 600'


def test_a_program_that_is_replaced_on_disk_is_still_the_same(arena: Arena, perl: Path) -> None:
    large = int(arena.ask("start", [str(perl), "-e", BIG]))
    small = arena.victim("small", 20)
    arena.until(lambda: _rss_kb(arena, large) > 50_000, "it holds its memory")
    perl.unlink()
    arena.guard(SOFT + never("exe", str(perl)))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.alive(large)


@pytest.mark.parametrize("into", ["protected", "unprotected"])
def test_what_runs_another_program_of_the_same_name_is_what_it_runs(
    arena: Arena, perl: Path, into: str
) -> None:
    """The one before was, or was not, protected by its path."""
    pattern = str(perl) if into == "protected" else "*python*"
    large, _ = arena.play("becomes", "prog", perl, "-e", BIG)
    small, _ = arena.play("plain", "small", 20)
    arena.guard(SOFT + never("exe", pattern))
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.until_ranked(large)
    arena.ask("kill", large, signal.SIGUSR1)
    # More than the program before it ever held.
    arena.until(lambda: _rss_kb(arena, large) > 60_000, "it is the other program")
    arena.memory(available=0.02)
    dies, stays = (small, large) if into == "protected" else (large, small)
    arena.until(lambda: not arena.alive(dies), "the victim dies")
    assert arena.alive(stays)


def _rss_kb(arena: Arena, pid: int) -> int:
    text = arena.ask("read", f"/proc/{pid}/status")
    return int(text.partition("VmRSS:")[2].split(None, 1)[0]) if "VmRSS:" in text else 0


def test_a_word_far_back_in_a_command_line_protects(arena: Arena) -> None:
    large, _ = arena.play("plain", "large", 60)
    long, _ = arena.play("padded", "long", 60, "x" * 100_000, "y" * 20_000, "--precious")
    arena.guard(SOFT + never("cmdline", "*--precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert [one["comm"] for one in act["victim"]["members"]] == ["large"]
    assert arena.alive(long)


def test_a_cgroup_whose_path_is_too_long_to_be_known_protects(group: Path, arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    with inside_of_many(group, 24):
        Path("cgroup.procs").write_text(str(_outer_pid(large)))
        arena.guard(SOFT + never("cgroup", f"/{group.name}/*"))
        arena.memory(available=0.02)
        arena.until(lambda: not arena.alive(small), "the victim dies")
        arena.memory(available=0.5)
        assert arena.alive(large)
        arena.ask("kill", large, signal.SIGKILL)
        arena.until(lambda: not arena.alive(large), "it is gone")


@contextlib.contextmanager
def inside_of_many(group: Path, count: int) -> Iterator[None]:
    """Work in a cgroup far below another one, and remove all in between afterwards."""
    name, before = "d" * 200, Path.cwd()
    os.chdir(group)
    try:
        for _ in range(count):
            os.mkdir(name)
            os.chdir(name)
        yield
    finally:
        end = time.monotonic() + 10
        while not os.path.samefile(".", group):
            os.chdir("..")
            while os.path.isdir(name):
                with contextlib.suppress(OSError):
                    os.rmdir(name)
                assert time.monotonic() < end
        os.chdir(before)


def _outer_pid(pid: int) -> int:
    """The number outside of its namespace of a process in the arena."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{name}/status").read_text(errors="replace")
            inner = status.partition("NSpid:")[2].partition("\n")[0].split()
            if len(inner) > 1 and inner[-1] == str(pid) and _is_below(int(name)):
                return int(name)
    raise AssertionError(f"{pid} is not seen")


def _is_below(pid: int) -> bool:
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid == os.getpid():
            return True
    return False


def test_a_cgroup_that_a_protected_one_enters_is_not_taken_whole(group: Path, arena: Arena) -> None:
    inside = [arena.victim("inside", mib) for mib in (40, 20)]
    precious = arena.victim("precious", 1)
    for pid in inside:
        enter(arena, group, pid)
    others = f'{{ cgroup = "re:(?!/{group.name}).*" }}, {{ comm = "precious" }}'
    move = f"echo {precious} > {group}/cgroup.procs"
    arena.guard(BEFORE.format(move) + f'[whom]\nlevel = "cgroup"\nleast = 0\nnever = [{others}]\n')
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(inside[0]), "the largest dies")
    arena.memory(available=0.5)
    arena.until(lambda: any("outcome" in act for act in arena.acts()), "its act ends")
    assert arena.alive(precious)


def test_a_process_that_a_tree_may_not_take_spares_all_but_its_root(
    group: Path, arena: Arena
) -> None:
    """The command before the signal protects a child: the tree is left, its root is chosen."""
    root, *children = arena.ask("tree", "browser", 20, 2)
    move = f"echo {children[0]} > {group}/cgroup.procs"
    arena.guard(
        BEFORE.format(move)
        + f'[whom]\nlevel = "tree"\nleast = 0\nnever = [{{ cgroup = "*/{group.name}" }}]\n'
    )
    arena.memory(available=0.08)
    arena.until(lambda: len(arena.acts()) > 1, "another choice is made")
    first, second, *_ = arena.acts()
    assert first["outcome"] == "protected"
    assert {one["pid"] for one in first["spared"]} == {root, *children}
    assert len(second["victim"]["members"]) == 1
    assert arena.alive(children[0])


def test_what_is_forked_into_a_dying_cgroup_dies_and_who_is_protected_there_does_not(
    group: Path, arena: Arena
) -> None:
    hierarchy = find_hierarchy("/proc")
    assert hierarchy is not None
    places = Places(cgroups=hierarchy.directory, cgroup_version=hierarchy.version)
    pids = [_outer_pid(arena.victim(f"f{i}", 1)) for i in range(4)]
    for pid in pids:
        (group / "cgroup.procs").write_text(str(pid))
    asked: list[int] = []

    class Protects:
        def refusal(self, pid: int) -> str:
            asked.append(pid)
            return "protected" if pid == pids[2] else ""

    killer = Killer(places, frozenset(), cast(Any, Protects()), None, lambda: None)
    killed = killer.sweep(f"/{group.name}", [(pids[0], 1)], 0)
    assert pids[0] not in asked, "it was meant, and has its signal"
    assert pids[2] in asked
    assert killed == asked.index(pids[2])
    assert _lives(pids[2])
    assert killer.sweep(f"/{group.name}", [(pids[1], 1)], 1 << 60) == 0, "they were there before"
    assert killer.keys == ()


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_an_init_takes_whom_it_must_not(arena: Arena) -> None:
    _, (init, inner) = arena.play("container", "init", 60, "precious", 5)
    small = arena.victim("small", 20)
    arena.guard(SOFT + never("comm", "precious"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(small), "the victim dies")
    assert arena.living(init)
    assert arena.living(inner)


def test_an_init_is_counted_with_all_who_die_with_it(arena: Arena) -> None:
    _, (init, inner) = arena.play("container", "init", 60, "inner", 5)
    other = arena.victim("other", 40)
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(init), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(other)
    assert act["victim"]["level"] == "pid namespace"
    assert {one["pid"] for one in act["victim"]["members"]} == {init, inner}
    sizes = {one["pid"]: one["anon_kb"] + one["pgtables_kb"] for one in act["candidates"]}
    assert act["victim"]["expected_kb"] == sizes[init] + sizes[inner]


@pytest.mark.parametrize("protected", [True, False])
def test_processes_that_share_their_memory_are_one(arena: Arena, protected: bool) -> None:
    large, other = arena.play("sharing", "large", 60, "precious")
    small = arena.victim("small", 20)
    arena.guard(SOFT + (never("comm", "precious") if protected else ""))
    arena.memory(available=0.02)
    if protected:
        arena.until(lambda: not arena.alive(small), "the victim dies")
        assert arena.alive(large)
        assert arena.alive(other)
        return
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["victim"]["level"] == "address space"
    assert {one["pid"] for one in act["victim"]["members"]} == {large, other}
    assert act["victim"]["expected_kb"] == pytest.approx(60 << 10, rel=0.3)
    assert arena.alive(small)


@pytest.mark.parametrize("actor", ["mapped", "memfd", "segment"])
@pytest.mark.parametrize("noted", [False, True])
def test_shared_memory_from_before_the_shortage_counts_as_well(
    group: Path, arena: Arena, actor: str, noted: bool
) -> None:
    small = arena.victim("small", 20)
    enter(arena, group, small)
    large, _ = arena.play(actor, "large", 120, group / "cgroup.procs")
    arena.guard(SOFT)
    if noted:
        arena.memory(available=0.2, shmem=0.12)
        arena.until_said("low memory")
    arena.memory(available=0.02, shmem=0.12)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    assert arena.alive(small)


@pytest.mark.parametrize("actor", ["mapped", "memfd", "segment"])
def test_shared_memory_counts_for_who_alone_holds_it(group: Path, arena: Arena, actor: str) -> None:
    small = arena.victim("small", 20)
    enter(arena, group, small)
    arena.guard(SOFT)
    arena.memory(available=0.2)
    arena.until_said("low memory: ")
    arena.until_ranked(small)
    large, _ = arena.play(actor, "large", 120, group / "cgroup.procs")
    arena.memory(available=0.02, shmem=0.12)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["victim"]["pid"] == large
    assert arena.alive(small)


def test_a_users_own_unit_is_not_the_systems(group: Path, arena: Arena) -> None:
    own = group / "user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service"
    own.mkdir(parents=True)
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    enter(arena, own, large)
    arena.guard(SOFT + never("unit", "sshd.service"))
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    assert arena.alive(small)
