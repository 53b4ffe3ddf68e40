"""What starts of services took, learnt from a recording, and used by the commands."""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.history import recording as module
from oomkit.history.recording import read_recording, starts_in
from oomkit.history.replay import replay
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import Reading
from oomkit.policy.engine.starts import MAX_AGE_S
from oomkit.policy.read import policy_from
from tests.guard.arena import Arena

GIB = 1 << 20
WALL_S = 1.7e9
UNIT = "nginx.service"
CGROUP = f"/system.slice/{UNIT}"
POLICY = """
name = "learning"
[[when]]
level = "soft"
available = "10%"
[whom]
work = 0.3
[[whom.supervisor]]
cgroup = "*"
comm = "nginx"
restart = "10m"
because = "requests wait while it starts"
"""


def nginx(pid: int, start_s: float, t_s: float, mib: float, cpu_s: float, **of: str) -> Candidate:
    named = {"unit": UNIT, "cgroup": CGROUP} | of
    return Candidate(
        pid, int(100 * start_s), 1, "nginx", anon_kb=mib * 1024, age_s=t_s - start_s, cpu_s=cpu_s,
        **named,  # type: ignore[arg-type]  # a test's own keywords
    )  # fmt: skip


def record(path: Path, *, starts: int = 3, wall_s: float = WALL_S, **of: str) -> Path:
    """A day on which a service that grows to 3 GiB in 20 s of CPU is killed and started again.

    Each start takes it 4 s of CPU for each of three seconds; then memory stands still, and in
    the end another process fills memory.
    """
    now_s = [0.0]
    ring = FlightRecorder(str(path), 1 << 19, wall=lambda: wall_s + now_s[0])
    database = Candidate(10, 1, 1, "mysqld", anon_kb=2 * GIB, age_s=1e5, cpu_s=1.0)
    for life in range(starts + 1):
        begin_s, pid = 200.0 * life, 100 + life
        for after_s in (*(float(s) for s in range(1, 60)), 100.0, 150.0, 190.0):
            t_s = now_s[0] = begin_s + after_s
            mib = 1024.0 * min(after_s, 3.0)
            one = nginx(pid, begin_s + 0.5, t_s, mib, 4.0 * min(after_s, 3.0) + after_s / 100, **of)
            ring.sample(Reading(t_s, 8 * GIB, 3.0 * GIB), [one, database])
        if life < starts:
            ring.mark(fmt.ACT, t_s + 5.0, pid, "nginx", by="p")
            ring.sample(Reading(t_s + 6.0, 8 * GIB, 6.0 * GIB), [database])
    leak = Candidate(20, 99_000, 1, "leak", anon_kb=1.9 * GIB, age_s=50.0)
    ring.sample(Reading(t_s + 9.0, 8 * GIB, 0.5 * GIB), [one, database, leak])
    ring.close()
    return path


def cost(path: Path, *, now_s: float = WALL_S) -> list[Any]:
    return [(one.name, one.times, one.cost_s()) for one in starts_in([str(path)], now_s=now_s)]


def test_a_recording_teaches_what_the_starts_in_it_took(tmp_path: Path) -> None:
    path = record(tmp_path / "r")
    # 4 s of CPU in each of three seconds, and what it had used besides by then.
    assert cost(path) == [(UNIT, 3, pytest.approx(12.03))]
    assert cost(record(tmp_path / "once", starts=1)) == [(UNIT, 1, pytest.approx(12.03))]
    assert cost(record(tmp_path / "never", starts=0)) == []


def test_one_that_is_old_or_not_to_be_believed_teaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "r")
    assert cost(path, now_s=WALL_S + MAX_AGE_S + 3600.0) == []
    assert cost(tmp_path / "missing") == []
    (tmp_path / "other").write_text("no recording")
    assert cost(tmp_path / "other") == []
    monkeypatch.setattr(module, "MAX_TAUGHT_BYTES", path.stat().st_size - 1)
    assert cost(path) == []
    monkeypatch.undo()
    path.chmod(0o666)
    assert cost(path) == [], "others can write it"
    path.chmod(0o600)
    os.link(path, tmp_path / "link")
    assert len(cost(path)) == 1
    assert len(starts_in([str(tmp_path / "missing"), str(path)], now_s=WALL_S)) == 1


def test_damage_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = record(tmp_path / "r")
    data = bytearray(path.read_bytes())
    for at in range(fmt.HEADER_BYTES + 60, len(data), 37 * fmt.SLOT_BYTES):
        data[at] ^= 0xFF
    path.write_bytes(data)
    assert read_recording(str(path)).damaged
    assert all(
        (name, times <= 3, cost_s < 15.0) == (UNIT, True, True)
        for name, times, cost_s in cost(path)
    )


def test_a_replay_knows_at_each_moment_what_was_seen_before(tmp_path: Path) -> None:
    policy = policy_from(tomllib.loads(POLICY), source="here")
    for starts in (0, 1, 3):
        recording = read_recording(str(record(tmp_path / f"r{starts}", starts=starts)))
        (would,) = replay(recording, policy).would_kill
        (row,) = [row for row in would.act["candidates"] if row["comm"] == "nginx"]
        lost_s = row["cpu_s"] + (12.03 if starts else 600.0)
        assert row["factors"]["work"] == pytest.approx(1 - 0.3 * lost_s / (lost_s + 600), abs=1e-3)
        assert [one.get("times") for one in row.get("starts", [])] == [starts] * bool(starts)
        assert "mysqld" in {row["comm"] for row in would.act["candidates"]}


def test_the_command_says_what_a_recorded_start_took(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    path = record(tmp_path / "r")
    done = subprocess.run(
        [Path(sys.executable).with_name("oomkit"), "run", path, "--policy", policy],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert f"\n          {UNIT} took 12 s of CPU to start, seen 3 times\n" in done.stdout


def test_a_guard_learns_from_its_recording(arena: Arena) -> None:
    pid = arena.victim("nginx", 30)
    first = arena.directory / "first"
    arena.guard(POLICY, "--record", str(first), act=False)
    arena.memory(available=0.05)
    arena.until(lambda: bool(arena.acts()), "it would act")
    assert not any("starts" in row for row in arena.acts()[0]["candidates"])
    arena.until(lambda: first.exists() and "nginx" in cgroups(first), "it is recorded")
    place = cgroups(first)["nginx"]
    if place == "/":
        pytest.skip("needs a memory cgroup of its own, not the root's")
    arena.ask("kill", arena.guard_pid, 15)
    arena.until(lambda: not arena.alive(arena.guard_pid), "the guard ends")
    arena.journal.unlink()
    taught = record(arena.directory / "taught", wall_s=time.time() - 3600.0, unit="", cgroup=place)
    sentence = f"{place} took 12 s of CPU to start, seen 3 times"
    out = arena.directory / "out"
    argv = [str(Path(sys.executable).with_name("oomkit")), "guard", "--check", "--record",
            str(taught), "--policy", str(arena.directory / "policy.toml")]  # fmt: skip
    arena.ask("start", [*argv, "--pid", str(pid)], out=str(out))
    arena.until(lambda: out.exists() and "number" in out.read_text(), "it is said")
    assert sentence in " ".join(out.read_text().split())
    arena.memory(available=0.5)
    arena.guard(POLICY, "--record", str(taught), "--record-size", "512K", act=False)
    arena.until_said("learnt from the recording what starts of one service took")
    arena.memory(available=0.05)
    arena.until(lambda: bool(arena.acts()), "it would act")
    (row,) = [row for row in arena.acts()[0]["candidates"] if row["pid"] == pid]
    assert [(one["service"], one["times"]) for one in row["starts"]] == [(place, 3)]
    assert row["factors"]["work"] == pytest.approx(1 - 0.3 * 12.03 / 612.03, abs=2e-3)


def cgroups(path: Path) -> dict[str, str]:
    try:
        samples = read_recording(str(path)).samples
    except module.RecordingError:
        return {}
    return {one.comm: one.cgroup for one in samples[-1].tasks if one.cgroup}
