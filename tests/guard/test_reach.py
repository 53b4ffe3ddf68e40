"""Who dies with the victim, how clocks count, and what is said about it all."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.guard.config import Places, Settings
from oomkit.guard.daemon import Daemon
from oomkit.guard.machine_reader import MachineReader
from oomkit.guard.tmpfs import Tmpfs
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import find_policy
from tests.guard.arena import ACTORS, TOTAL_KB, Arena
from tests.guard.policies import BRISK, SOFT


def test_a_tree_dies_as_a_whole_and_no_other(arena: Arena) -> None:
    pids = arena.ask("tree", "browser", 20, 3)
    other = arena.victim("other", 30)
    arena.guard(SOFT + '[whom]\nlevel = "tree"\n')
    arena.memory(available=0.08)
    arena.until(lambda: not any(arena.alive(pid) for pid in pids), "all of the tree die")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(other)
    assert act["victim"]["level"] == "tree"
    assert {one["pid"] for one in act["victim"]["members"]} == set(pids)
    assert {one["pid"] for one in act["signals"]} == set(pids)


def test_a_tree_with_one_protected_in_it_is_spared_as_a_tree(arena: Arena) -> None:
    pids = arena.ask("tree", "browser", 20, 3)
    policy = SOFT + '[whom]\nlevel = "tree"\nnever = [{ comm = "browser" }]\n'
    arena.guard(policy)
    arena.memory(available=0.08)
    arena.until_said("no eligible process although")
    assert all(arena.alive(pid) for pid in pids)


def test_a_cgroup_dies_as_a_whole_and_no_other(group: Path, arena: Arena) -> None:
    inside = [arena.victim("inside", mib) for mib in (30, 10)]
    outside = arena.victim("outside", 35)
    for pid in inside:
        arena.ask("write", str(group / "cgroup.procs"), str(pid))
    only_it = f'never = [{{ cgroup = "re:(?!/{group.name}).*" }}]'
    arena.guard(SOFT + f'[whom]\nlevel = "cgroup"\n{only_it}\n')
    arena.memory(available=0.02)
    arena.until(lambda: not any(arena.alive(pid) for pid in inside), "all of it die")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(outside)
    assert act["victim"]["level"] == "cgroup"
    assert act["victim"]["cgroup"] == f"/{group.name}"
    assert {one["pid"] for one in act["victim"]["members"]} == set(inside)
    for pid in inside:
        arena.alive(pid)  # reaps


def test_of_many_that_grow_several_go_at_once(arena: Arena) -> None:
    other = arena.victim("other", 30)
    arena.guard(BRISK + 'most_a_minute = 1\n[whom]\ngrowth = 0.9\nlasts = "2s"\n')
    arena.memory(available=0.2)
    arena.until_ranked(other)  # sizes are noted, so that who comes later has grown
    arena.ask("tree", "bomb", 8, 12)
    arena.memory(available=0.02)
    (act,) = arena.ended_acts()
    arena.memory(available=0.5)
    assert arena.alive(other)
    assert act["victim"]["level"] == "namesakes"
    assert {one["comm"] for one in act["victim"]["members"]} == {"bomb"}
    assert len(act["victim"]["members"]) > 1
    assert len(act["signals"]) == len(act["victim"]["members"])
    arena.until_said("more of its name, which frees")


def test_kills_a_minute_are_bounded(arena: Arena) -> None:
    victims = [arena.victim(f"v{number}", 10) for number in range(6)]
    arena.guard(BRISK + "most_a_minute = 3\n")
    arena.memory(available=0.02)
    arena.until_said("kills in the last minute")
    time.sleep(1.0)
    assert sum(not arena.alive(pid) for pid in victims) == 3


def test_metrics_are_served_from_a_socket(arena: Arena) -> None:
    pytest.importorskip("prometheus_client")
    path = Path("/tmp") / f"oomkit-test-{os.getpid()}.sock"  # a socket's path has to be short
    status = arena.directory / "status"
    victim = arena.victim("large", 60)
    arena.guard(SOFT, "--status", str(status), "--metrics", f"unix:{path}")
    try:
        arena.until(path.exists, "the socket is there")
        arena.memory(available=0.08)
        arena.until(lambda: not arena.alive(victim), "the victim dies")
        arena.memory(available=0.5)
        arena.ended_acts()
        arena.until(lambda: json.loads(status.read_bytes())["acts"] == {"died": 1}, "it is counted")
        arena.until(lambda: _get(path) is not None, "metrics are served")
        text = _get(path) or ""
    finally:
        path.unlink(missing_ok=True)
    assert 'oomkit_guard_acts_total{outcome="died"} 1.0' in text
    assert 'oomkit_guard_signals_total{signal="TERM"} 1.0' in text
    assert f"oomkit_memory_total_bytes {float(TOTAL_KB * 1024):.9e}"[:24] in text


def _get(path: Path) -> str | None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def _drill(directory: Path, available: float) -> None:
    (directory / "meminfo").write_text(
        f"MemTotal: {TOTAL_KB} kB\nMemAvailable: {int(TOTAL_KB * available)} kB\n"
    )


@pytest.fixture
def candidate() -> Iterator[int]:
    """A process that may be chosen: a quiet machine need not have another one."""
    argv = [sys.executable, "-I", str(ACTORS), "plain", "candidate", "20"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.mark.usefixtures("candidate")
@pytest.mark.parametrize("step_s", [-86400.0, 86400.0])
def test_a_clock_that_is_set_changes_only_what_is_written_down(
    tmp_path: Path, step_s: float
) -> None:
    """A dry run in this process; its wall clock steps in the middle of a shortage."""
    _drill(tmp_path, 0.02)
    journal = tmp_path / "journal"
    (tmp_path / "policy.toml").write_text(SOFT + 'dry_run_pause = "10s"\n')
    plan = compile_plan(find_policy(str(tmp_path / "policy.toml")))
    settings = Settings(plan, places=Places(signals=str(tmp_path)), journal=str(journal))
    now, wall = [1000.0], [1_700_000_000.0]
    daemon = Daemon(settings, clock=lambda: now[0], wall=lambda: wall[0])
    try:
        daemon.turn()
        wall[0] += step_s
        for _ in range(9):
            now[0] += 1.0
            assert 0 < daemon.turn() <= 10
        now[0] += 1.5
        daemon.turn()
    finally:
        daemon.close()
    acts = [r for r in map(json.loads, journal.read_text().splitlines()) if r["kind"] == "act"]
    assert [act["mono_s"] for act in acts] == [1000.0, 1010.5]
    assert acts[1]["time_s"] - acts[0]["time_s"] == pytest.approx(step_s, abs=20)
    assert {act["outcome"] for act in acts} == {"dry_run"}


def test_the_writer_of_tmpfs_is_known_by_its_cgroup(tmp_path: Path) -> None:
    for name, pids in (("writer", "11\n12\n"), ("idle", "13\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "memory.stat").write_text("anon 1\nshmem 1048576\n")
        (tmp_path / name / "cgroup.procs").write_text(pids)
    tmpfs = Tmpfs(Places(cgroups=str(tmp_path), cgroup_version=2))
    assert tmpfs.writers(1e9, 1000) == {}, "nothing is known yet"
    tmpfs.note(2048)
    (tmp_path / "writer/memory.stat").write_text("anon 1\nshmem 105906176\n")
    assert tmpfs.writers(2500, 1000) == {}, "too little to look"
    assert tmpfs.writers(104448, 1000) == {11: 51200.0, 12: 51200.0}


def test_a_defect_of_ours_is_reported_once_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drill(tmp_path, 0.5)
    journal = tmp_path / "journal"
    plan = compile_plan(find_policy("default"))
    daemon = Daemon(Settings(plan, places=Places(signals=str(tmp_path)), journal=str(journal)))

    def broken(_: MachineReader, t_s: float) -> None:
        raise ZeroDivisionError(f"at {t_s > 0}")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(MachineReader, "read", broken)
            assert [daemon.turn(), daemon.turn()] == [1.0, 1.0]
        assert daemon.turn() > 0
    finally:
        daemon.close()
    kinds = [json.loads(line) for line in journal.read_text().splitlines()]
    (error,) = [record for record in kinds if record["kind"] == "error"]
    assert error["text"] == "internal error, please report it: ZeroDivisionError: at True"
