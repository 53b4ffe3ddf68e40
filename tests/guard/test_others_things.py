"""What others put in a guard's way is not followed, changed, run or waited for."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oomkit.guard import launch
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.guard.journal import Journal
from oomkit.guard.kernel_file import KernelFile
from oomkit.guard.kernel_kills import KernelKills
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.writer import Status
from oomkit.history.store import Store, StoreError
from tests.guard.arena import Arena
from tests.guard.policies import SOFT

OOMKIT = str(Path(sys.executable).with_name("oomkit"))
OTHER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make others' files")
OPTIONS = ("--journal", "--record", "--status", "--state")


def put(kind: str, path: Path, target: Path) -> None:
    """What waits at the path of a file of the guard's."""
    if kind == "link":
        target.write_text("precious\n")
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(target)
    elif kind == "hard link":
        target.write_text("precious\n")
        os.link(target, path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("precious\n")
        os.chown(path, OTHER, OTHER)


@needs_root
@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "fifo", "theirs"])
def test_none_of_its_files_is_others(arena: Arena, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o1777)
    paths = {name: place / name[2:] for name in OPTIONS}
    for path in (*paths.values(), place / "state.kmsg"):
        put(kind, path, tmp_path / f"target-{path.name}")
    arena.journal, arena.state = paths["--journal"], paths["--state"]
    large = arena.victim("large", 60)
    more = [word for name in ("--record", "--status") for word in (name, str(paths[name]))]
    guard = arena.guard(SOFT, *more)
    arena.until_said("journal /")
    arena.until_said("recording /")
    arena.until_said("status /")
    said = arena.log.read_text()
    assert f"state {paths['--state']}: " in said
    assert f"{place}/state.kmsg: " in said
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "it acts all the same")
    arena.ask("kill", guard, signal.SIGTERM)
    arena.until(lambda: not arena.alive(guard), "it ends")
    for path in (*paths.values(), place / "state.kmsg"):
        target = tmp_path / f"target-{path.name}"
        if kind == "dangling":
            assert not target.exists()
        elif kind == "theirs":
            assert path.read_text() == "precious\n"
            assert path.stat().st_uid == OTHER
        elif kind != "fifo":
            assert target.read_text() == "precious\n"


@needs_root
def test_a_state_in_a_directory_that_others_can_change_is_not_believed(
    arena: Arena, tmp_path: Path
) -> None:
    """It would name a process to be sent SIGKILL."""
    spared = arena.victim("spared", 60, term="ignore")
    guard = arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "somebody is asked to leave")
    arena.ask("kill", guard, signal.SIGKILL)
    arena.until(lambda: not arena.alive(guard), "the guard is gone")
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    saved = arena.state.read_bytes()
    arena.state = place / "state"
    arena.state.write_bytes(saved)
    os.chown(arena.state, OTHER, OTHER)
    arena.memory(available=0.9)
    arena.guard(SOFT.replace("[how]", '[whom]\nnever = [{ comm = "spared" }]\n[how]'))
    assert arena.records("start")[-1]["resumed"] == 0
    arena.memory(available=0.02)
    arena.until_said("no eligible process although")
    assert arena.alive(spared)
    assert arena.state.read_bytes() == saved


def test_the_pieces_refuse_one_by_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    path = tmp_path / "here"
    path.symlink_to(target)
    assert "not a link" in PendingKills(str(path)).fault
    assert "not a link" in str(FlightRecorder(str(path), 1 << 20).fault)
    assert "not a link" in str(Status(str(path)).fault)
    assert "not a link" in str(Journal(str(path)).fault)
    assert "not a link" in KernelKills(kmsg="/nonexistent", seen=str(path)).missing[0]
    assert not target.exists()


def test_a_file_that_is_no_recording_is_not_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("Dear Sir")
    assert FlightRecorder(str(path), 1 << 20).fault == "is no recording, and stays as it is"
    assert path.read_text() == "Dear Sir"


@needs_root
@pytest.mark.parametrize("suffix", ["", "-wal", "-journal", "-shm"])
def test_a_history_is_not_opened_through_links(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"store{suffix}").symlink_to(tmp_path / "target")
    with pytest.raises(StoreError, match=rf"store{suffix}: expected a regular file, not a link"):
        Store(str(tmp_path / "store"))
    assert not (tmp_path / "target").exists()


@needs_root
def test_a_history_where_others_can_put_files_is_not_opened(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StoreError, match="its directory can be written by all users"):
        Store(str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


MARKER = """
import os
open({marker!r}, "a").write(f"{{__name__}} as {{os.geteuid()}}\\n")
raise ImportError("from the wrong place")
"""


def trapped(directory: Path) -> Path:
    """Modules that say so when they are imported."""
    marker = directory / "marker"
    text = MARKER.format(marker=str(marker))
    for name in ("json", "argparse", "marshal", "tomllib", "msgspec", "sqlite3", "sitecustomize"):
        (directory / f"{name}.py").write_text(text)
    (directory / "oomkit").mkdir()
    (directory / "oomkit/__init__.py").write_text(text)
    return marker


def test_the_current_directory_is_no_place_to_run_code_from(arena: Arena, tmp_path: Path) -> None:
    place = tmp_path / "trap"
    place.mkdir()
    marker = trapped(place)
    status = tmp_path / "status"
    store = tmp_path / "store"
    guard = arena.guard(
        SOFT, "--status", str(status), "--metrics", f"unix:{tmp_path}/metrics", "--store",
        str(store), cwd=str(place),
    )  # fmt: skip
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: bool(arena.records("reload")), "the policy is read again")
    assert arena.records("reload")[0]["ok"] is True
    arena.until(store.exists, "the journal is taken in")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/metrics")
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"200 OK" in client.recv(100)
    assert not marker.exists(), marker.read_text()


@needs_root
def test_the_environment_says_nothing_of_what_root_runs(arena: Arena, tmp_path: Path) -> None:
    """But for the first program, which the person who starts it has in hand."""
    place = tmp_path / "trap"
    place.mkdir()
    marker = trapped(place)
    seen = tmp_path / "seen"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nenv > {seen}\n")
    hook.chmod(0o755)
    open_to_all = tmp_path / "bin"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    large = arena.victim("large", 60)
    startup = tmp_path / "startup.py"
    startup.write_text(f"open({str(marker)!r}, 'w')")
    path = f".:{open_to_all}::{os.environ['PATH']}"
    guard = arena.guard(
        SOFT + f'after = ["{hook}"]\n',
        environ={"PYTHONSTARTUP": str(startup), "BASH_ENV": str(startup), "PATH": path},
    )
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: bool(arena.records("reload")), "the policy is read again")
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "it acts")
    arena.memory(available=0.5)
    arena.until(lambda: seen.exists() and "OOMKIT_COMM" in seen.read_text(), "the hook has run")
    environ = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert environ["OOMKIT_COMM"] == "large"
    assert not [name for name in environ if name.startswith(("PYTHON", "BASH_ENV"))]
    assert str(open_to_all) not in environ["PATH"]
    assert all(part.startswith("/") for part in environ["PATH"].split(":"))
    assert not marker.exists()


def test_workers_do_not_import_from_the_current_directory(tmp_path: Path) -> None:
    marker = trapped(tmp_path)
    code = """
from oomkit.batch.pools import local_pool
import os
if __name__ == "__main__":
    with local_pool(1, preload=["oomkit.model"]) as pool:
        print(pool.executor.submit(os.getpid).result(60) != os.getpid())
    print("PYTHONSAFEPATH" in os.environ)
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    script = tmp_path / "bin" / "script"
    script.parent.mkdir()
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environ, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == "True\nFalse\n", done.stderr
    assert not marker.exists(), marker.read_text()


def test_a_builtin_policys_name_is_not_a_file_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "default").write_text('name = "trap"\n')
    monkeypatch.chdir(tmp_path)
    assert launch.compile_argv("default", ())[-1] == "default"
    assert launch.compile_argv("other.toml", ())[-1] == str(tmp_path / "other.toml")


def checked(policy: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OOMKIT, "guard", "--policy", str(policy), *more], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_a_policy_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    fifo, large = tmp_path / "fifo.toml", tmp_path / "large.toml"
    os.mkfifo(fifo)
    large.write_bytes(b"# nothing\n" * (1 << 20))
    for path, expected in (
        (fifo, "expected a regular file, not a FIFO"),
        (tmp_path, "Is a directory"),
        (large, "expected at most 8 MiB of TOML"),
        (Path("/dev/zero"), "expected a regular file, not a device"),
    ):
        done = checked(path, "--check")
        assert done.stderr == f"oomkit: {path}: {expected}\n"
        assert done.returncode == 2


@needs_root
def test_root_takes_no_policy_that_others_can_change(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(SOFT)
    path.chmod(0o666)
    done = checked(path)
    assert done.returncode == 2
    assert "can be written by all users" in done.stderr
    path.chmod(0o644)
    os.chown(path, OTHER, OTHER)
    done = checked(path)
    assert done.returncode == 2
    assert f"belongs to user {OTHER}" in done.stderr
    assert checked(path, "--check").returncode == 0


def test_a_reload_of_a_fifo_is_refused_and_the_next_one_is_taken(arena: Arena) -> None:
    large = arena.victim("large", 60)
    other = arena.victim("other", 40)
    guard = arena.guard(SOFT)
    policy = arena.directory / "policy.toml"
    policy.unlink()
    os.mkfifo(policy)
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: len(arena.records("reload")) == 1, "the first is refused")
    assert "not a FIFO" in arena.records("reload")[0]["text"]
    policy.unlink()
    arena.policy(SOFT.replace("[how]", '[whom]\nnever = [{ comm = "large" }]\n[how]'))
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: len(arena.records("reload")) == 2, "the second is read")
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(other), "it acts by the new policy")
    assert arena.alive(large)


def test_a_reload_while_one_runs_asks_for_another(arena: Arena) -> None:
    guard = arena.guard(SOFT)
    arena.ask("kill", guard, signal.SIGSTOP)
    arena.ask("kill", guard, signal.SIGHUP)
    arena.ask("kill", guard, signal.SIGCONT)
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: len(arena.records("reload")) >= 1, "it is read")
    arena.policy(SOFT.replace('name = "test"', 'name = "last"'))
    arena.ask("kill", guard, signal.SIGHUP)
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(
        lambda: [r["policy"] for r in arena.records("reload")][-1:] == ["last"], "the last holds"
    )


def test_sighup_in_the_first_moments_ends_nothing(tmp_path: Path) -> None:
    """From the first line of ours on it is held until the daemon can take it."""
    journal = tmp_path / "journal"
    argv = [OOMKIT, "guard", "--dry-run", "--journal", str(journal), "--state", f"{tmp_path}/state"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            held = f"/proc/{process.pid}/status"
            end = time.monotonic() + 20
            while not _holds_sighup(held):
                assert time.monotonic() < end
            process.send_signal(signal.SIGHUP)
            while not journal.exists() or '"reload"' not in journal.read_text():
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.02)
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(20)
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds.count("reload") == 1
    assert kinds[-1] == "stop"


def _holds_sighup(status: str) -> bool:
    for line in Path(status).read_text().splitlines():
        if line.startswith("SigBlk:"):
            return bool(int(line.split()[1], 16) & 1)
    return False


def test_a_drill_follows_files_that_are_replaced(arena: Arena) -> None:
    large = arena.victim("large", 60)
    arena.guard(SOFT)
    meminfo = arena.signals / "meminfo"
    text = meminfo.read_text()
    new = arena.signals / "new"
    new.write_text(text.replace(f"{int((1 << 20) * 0.9):>8} kB", f"{int((1 << 20) * 0.08):>8} kB"))
    assert new.read_text() != text
    new.rename(meminfo)
    arena.until(lambda: not arena.alive(large), "it looks at the new file")


def test_an_open_file_is_opened_again_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("old")
    kept, followed = KernelFile(str(path)), KernelFile(str(path), replaced=True)
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").rename(path)
    assert (kept.read(), followed.read()) == (b"old", b"new")
    path.unlink()
    assert followed.read() == b"new"
    kept.close()
    followed.close()


def test_a_stderr_that_is_not_read_keeps_nothing_back(arena: Arena) -> None:
    pipe = arena.directory / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        try:
            while True:
                os.write(reader, b"x" * 4096)
        except BlockingIOError:
            pass
        arena.policy(SOFT)
        argv = [
            OOMKIT, "guard", "--policy", str(arena.directory / "policy.toml"), "--drill",
            str(arena.signals), "--journal", str(arena.journal), "--state", str(arena.state),
            "--act",
        ]  # fmt: skip
        large = arena.victim("large", 60)
        guard = int(arena.ask("start", argv, out=str(pipe)))
        arena.until(lambda: bool(arena.records("start")), "it starts, and records that")
        arena.memory(available=0.08)
        arena.until(lambda: not arena.alive(large), "it acts")
        arena.memory(available=0.5)
        (act,) = arena.ended_acts()
        assert act["outcome"] == "died"
        began = time.monotonic()
        arena.ask("kill", guard, signal.SIGTERM)
        arena.until(lambda: not arena.alive(guard), "it ends")
        assert time.monotonic() - began < 10, "two seconds, and some for a busy machine"
        assert arena.records("stop")
    finally:
        os.close(reader)


@pytest.mark.parametrize("made", ["endless", "fifo", "huge", "directory"])
def test_what_can_not_stand_in_for_the_kernels_is_not_read(tmp_path: Path, made: str) -> None:
    path = tmp_path / "meminfo"
    if made == "endless":
        path.symlink_to("/dev/zero")
    elif made == "fifo":
        os.mkfifo(path)
    elif made == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.mkdir()
    file = KernelFile(str(path), replaced=True)
    assert file.read() is None
    good = tmp_path / "good"
    good.write_text("MemTotal: 1 kB\n")
    path.rename(tmp_path / "away")
    good.rename(path)
    assert file.read() == b"MemTotal: 1 kB\n"
    file.close()
