"""Guards beside a scenario: what is taken along, what is measured, and what is told of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model import play as play_model
from oomkit.real import companions, packages
from oomkit.real.agent import heartbeat, samples, swap
from oomkit.real.agent.beside import Beside
from oomkit.real.agent.memory import PAGE, Area, filler
from oomkit.real.agent.report import Report
from oomkit.real.cgroup_limits import for_guest
from oomkit.real.companion import Companion, NoDaemonError
from oomkit.real.initramfs import initramfs
from oomkit.real.kills import kills_of
from oomkit.real.observe import Observation
from oomkit.real.packages import interpreter, is_elf, libraries, loaded_part
from oomkit.real.run_record import assemble, reaction
from oomkit.scenario import read_scenario, scenario_from
from oomkit.scenario.read import walk_tasks
from tests.cli.test_run import oomkit

LOADS = sorted((Path(__file__).parents[2] / "scenarios" / "guard").glob("*.toml"))
SIGTERM_AT = "signal 9 12.5: 15 0 7 3"
KERNEL_AT = "signal 9 13.0: 9 128 7 7"


def seen(*lines: str) -> Observation:
    found = Observation()
    found.push(("begin 10\nstart 10 7 hog 0 0\n" + "".join(f"{line}\n" for line in lines)).encode())
    assert found.faults == []
    return found


def test_a_reaction_is_measured_from_low_to_signal_to_memory_back() -> None:
    measured = reaction(
        seen("meter 12.1 12.0 1", SIGTERM_AT, "meter 13 12.9 0", "meter 14 13.5 1",
             "locked 14 13.6 0.05", "ordinary 14 13.7 0.4", "ordinary 14 9.9 5"),
        4.0,
        "earlyoom",
    )  # fmt: skip
    assert (measured.low_s, measured.signal_s, measured.back_s) == (2.0, 2.5, 2.9)
    assert measured.short_s == pytest.approx(0.9 + 0.5)
    assert (measured.longest_locked_gap_s, measured.longest_gap_s) == (0.05, 0.4)
    assert [(s.by, s.number, s.task) for s in measured.signals] == [("earlyoom", 15, "hog")]


def test_who_acts_before_memory_is_low_needs_no_memory_back() -> None:
    measured = reaction(seen(SIGTERM_AT, "meter 14 13.5 1"), 4.0, "earlyoom")
    assert (measured.signal_s, measured.back_s, measured.low_s) == (2.5, 2.5, 3.5)


def test_requests_that_were_late_or_never_answered_are_not_in_time() -> None:
    late = ("service 13 11.55 0.4", "service 13 9.9 0.2", "service 14 13.95 3")
    ended = reaction(seen(*late, "done 14 ended"), 4.0, None)
    assert (ended.requests, ended.requests_in_time) == (78, 77)
    silent = reaction(seen(*late, "meter 12 12.0 1"), 6.0, None)
    assert (silent.requests, silent.requests_in_time) == (118, 77)


def test_none_acted() -> None:
    measured = reaction(seen("meter 12 12.0 1"), 4.0, None)
    assert (measured.signal_s, measured.back_s, measured.short_s) == (None, None, 2.0)


@given(st.lists(st.tuples(st.floats(0, 9), st.booleans())))
def test_low_time_is_never_longer_than_the_run(changes: list[tuple[float, bool]]) -> None:
    lines = [f"meter 10 {10 + t} {float(low)}" for t, low in sorted(changes)]
    assert 0 <= reaction(seen(*lines), 5.0, None).short_s <= 5.0


def test_signals_tell_kernel_and_daemon_apart() -> None:
    measured = reaction(seen(SIGTERM_AT, KERNEL_AT), 4.0, "earlyoom")
    assert [s.by for s in measured.signals] == ["earlyoom", "kernel"]


def test_a_daemons_kill_has_its_signals_time_and_its_words() -> None:
    found = seen("sample 12 90 95 5 0 256 0 0 0.5", "task 12 7 60 4 1.5 0 .5", SIGTERM_AT,
                 "daemon 12.5 sending SIGTERM to process 7", "daemon 12.5 pid 70 lives",
                 "sample 12.6 90 95 5 0 256 0 0 0.5", "task 12.6 7 0 0 1.5 0 .5",
                 "exit 12.7 7 -15", "gone 12.7 7")  # fmt: skip
    (kill,) = kills_of([], found, "6.12", killer="earlyoom", adjs={"hog": 3})
    assert (kill.by, kill.t_s, kill.freed_mb, kill.oom_score_adj) == ("earlyoom", 2.5, 64, 3)
    assert kill.trace == ("sending SIGTERM to process 7",)


def test_of_a_grandchild_only_its_signal_tells() -> None:
    found = seen("signal 9 12.5: 15 0 7 3", "gone 12.7 7")
    (kill,) = kills_of([], found, "6.12", killer="earlyoom", adjs={})
    assert (kill.by, kill.t_s) == ("earlyoom", 2.5)
    assert kills_of([], seen("gone 12.7 7"), "6.12", killer="earlyoom", adjs={}) == ()


def test_what_the_daemon_says_is_in_the_log() -> None:
    scenario = scenario_from(
        {"name": "x", "machine": {"ram": "256M"}, "task": [{"name": "hog", "steps": []}]}
    )
    found = seen("daemon 11 hello", "daemon_end 12 -9", "done 13 ended")
    run = assemble(scenario, found, [], on="qemu", release="6.12", killer="mine", beats=True)
    assert run.log == (
        "[    1.000000] mine: hello",
        "[    2.000000] mine: (ended with status -9)",
    )
    assert run.reaction is not None


@contextlib.contextmanager
def beating(lane: heartbeat.Lane) -> Iterator[tuple[Callable[[float, float], None], list[float]]]:
    """Run a lane; gives what stops it and lets it go on, for a time each, and what it noted."""
    reader, writer = os.pipe()
    noted: list[float] = []

    def stop(still_s: float, on_s: float) -> None:
        os.kill(lane.pid, signal.SIGSTOP)
        time.sleep(still_s)
        if on_s:
            os.kill(lane.pid, signal.SIGCONT)
            time.sleep(on_s)
            lane.report_notes(Report(writer))
        else:
            lane.close(Report(writer))

    lane.start()
    try:
        yield stop, noted
    finally:
        os.kill(lane.pid, signal.SIGKILL)
        os.waitpid(lane.pid, 0)
        os.close(writer)
    with open(reader, encoding="ascii") as file:
        noted += [float(line.split()[3]) for line in file]


def test_a_heartbeat_notes_when_it_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat.Lane, "become", lambda _: None)
    lane = heartbeat.Lane("ordinary", heartbeat.Keystroke(""), locked=False)
    with beating(lane) as (stop, gaps):
        time.sleep(0.1)
        stop(0.3, 0.1)
        stop(0.2, 0.0)
    assert sum(gap >= 0.2 for gap in gaps) >= 2


def test_a_service_notes_requests_it_answers_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat.Lane, "become", lambda _: None)
    lane = heartbeat.Service("service", "")
    with beating(lane) as (stop, late):
        time.sleep(0.2)
        stop(0.5, 0.3)
        first = lane.reported
        stop(0.4, 0.0)
    assert first >= 5
    assert len(late) >= first + 3
    assert min(late) > heartbeat.ANSWER_S


def accompanied(code: str, ready: str) -> tuple[bool, list[str]]:
    """Start a program as a guest does; returns whether it got ready, and what was reported."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", code]
    guest = {"beats": False, "command": command, "ready": ready, "settle": 0.0}
    beside = Beside(Report(writer), {"guest": guest, "programs": ""})
    try:
        beside.start()
    finally:
        os.kill(beside.pid, signal.SIGKILL)
        os.waitpid(beside.pid, 0)
        os.close(beside.output)
        os.close(writer)
    with open(reader, encoding="utf-8") as file:
        return beside.ready, [line.split(" ", 2)[2].rstrip() for line in file]


def test_a_run_begins_when_the_daemon_is_ready() -> None:
    code = "import time; print('one', flush=True); time.sleep(.2); print('ready, go', flush=True)"
    code += "; time.sleep(60)"
    assert accompanied(code, "ready") == (True, ["one", "ready, go"])


def test_a_daemon_that_ends_is_not_waited_for() -> None:
    assert accompanied("raise SystemExit('no such option')", "ready") == (
        False,
        ["no such option"],
    )


def test_traced_signals_are_read_from_the_kernels_own_lines() -> None:
    reader, writer = os.pipe()
    guest = {"beats": False, "command": [], "ready": "", "settle": 0.0}
    beside = Beside(Report(writer), {"guest": guest, "programs": ""})
    for line in (
        (
            "            init-1       [001] d..1.    12.500000: signal_generate: sig=15 errno=0 "
            "code=0 comm=hog pid=7 grp=1 res=0"
        ),
        "CPU:0 [LOST 3 EVENTS]",
        (
            "      my-1 daemon-12   [000] d..2.    13.000000: signal_generate: sig=9 errno=0 "
            "code=128 comm=a b pid=7 grp=1 res=0"
        ),
    ):
        beside.note_signal(line)
    os.close(writer)
    found = Observation()
    found.push(b"begin 10\n")
    with open(reader, "rb") as file:
        found.push(file.read())
    assert found.faults == []
    assert [(s.t_s, s.number, s.from_kernel, s.pid, s.sender) for s in found.sent] == [
        (2.5, 15, False, 7, 1),
        (3.0, 9, True, 7, 12),
    ]


def test_the_meter_tells_changes_only(tmp_path: Path) -> None:
    meter = heartbeat.Meter(0.1)

    def look(available_kb: int, swap_free_kb: int) -> float | None:
        path = tmp_path / "meminfo"
        path.write_text(
            f"MemTotal: 1000 kB\nMemAvailable: {available_kb} kB\n"
            f"SwapTotal: 500 kB\nSwapFree: {swap_free_kb} kB\n"
        )
        meter.meminfo = samples.KernelFile(str(path))
        return meter.run()

    assert look(500, 0) is None
    slow = meter.every_s
    assert look(101, 0) is None
    assert meter.every_s < slow
    assert look(100, 51) is None
    assert look(100, 50) == 1.0
    assert look(0, 0) is None
    assert look(100, 60) == 0.0


def test_memory_that_does_not_compress_fills_every_page() -> None:
    content = filler(0.33)
    area = Area(4 * PAGE, 0x02, anon=True, thp=0, filler=content)
    area.touch(0, area.size)
    for at in range(0, area.size, PAGE):
        page = area.map[at : at + PAGE]
        assert len(set(page[:1351])) > 100
        assert not any(page[1351:])


def test_a_swap_header_is_the_kernels() -> None:
    page = swap.header(2048)
    assert len(page) == 4096
    assert page.endswith(b"SWAPSPACE2")


@pytest.mark.parametrize("path", LOADS, ids=lambda path: path.stem)
def test_every_load_runs_out_of_memory_and_can_be_played_in_a_guest(path: Path) -> None:
    scenario = read_scenario(str(path), overrides=["machine.swap=128M"])
    run = play_model(scenario)
    assert any(kill.by == "kernel" for kill in run.kills)
    assert for_guest(scenario) == []
    roles = {task.role for _, task in walk_tasks(scenario.tasks)}
    assert {"culprit", "innocent"} <= roles
    assert None not in roles


def test_binaries_bring_their_loader_and_libraries() -> None:
    program = os.path.realpath(sys.executable)
    loader = interpreter(program)
    assert loader is not None
    assert any("libc.so" in path for path in libraries(program, loader))
    assert is_elf(loaded_part(program))
    assert len(loaded_part(program)) <= os.path.getsize(program)
    assert interpreter(__file__) is None


def test_the_initramfs_carries_the_companion(tmp_path: Path) -> None:
    companion = Companion(
        name="x",
        command=("/opt/x",),
        files={"/opt/x": "/bin/sh"},
        texts={"/etc/x.conf": b"marked-text"},
        modules=("shlex",),
    )
    made = initramfs({}, str(tmp_path), companion)
    for part in (b"opt/x\0", b"marked-text", b"shlex.pyc\0", b"lib/libc.so.6\0"):
        assert part in made
    assert b"shlex.pyc\0" not in initramfs({}, str(tmp_path))
    with pytest.raises(OSError, match="no_such_module"):
        initramfs({}, str(tmp_path), Companion(name="x", command=(), modules=("no_such_module",)))


def test_daemons_are_found_where_they_were_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    peer = companions.Daemon(
        name="x",
        program="/usr/bin/no-such-daemon",
        companion=companions.PEERS["earlyoom"].companion,
    )
    monkeypatch.setitem(companions.PEERS, "x", peer)
    beside = read_scenario(str(LOADS[0]))
    with pytest.raises(NoDaemonError, match="oomkit daemons --fetch x"):
        companions.find("x", "", beside)
    program = tmp_path / "oomkit" / "daemons" / "x" / "usr" / "bin" / "no-such-daemon"
    program.parent.mkdir(parents=True)
    program.touch()
    found = companions.find("x", "", beside)
    assert str(tmp_path) in found.files["/usr/bin/earlyoom"]


def test_packages_are_unpacked_under_their_name(tmp_path: Path) -> None:
    try:
        packages.needs(("dpkg-deb",), "this test")
    except packages.PackageError as error:
        pytest.skip(str(error))
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: mine\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: x\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / "here").touch()
    package = tmp_path / "mine_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", tree, package], check=True, capture_output=True)
    assert packages.unpack([str(package)], str(tmp_path / "into")) == str(
        tmp_path / "into" / "mine"
    )
    assert (tmp_path / "into" / "mine" / "usr" / "here").exists()
    (tmp_path / "bad_1.deb").write_text("no package")
    with pytest.raises(packages.PackageError, match=r"bad_1\.deb"):
        packages.unpack([str(tmp_path / "bad_1.deb")], str(tmp_path / "into"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--guard", "none"), "--guard needs --on qemu"),
        (("--on", "cgroup", "--guard", "earlyoom"), "--guard needs --on qemu"),
    ],
)
def test_guards_that_can_not_be_are_refused(options: tuple[str, ...], says: str) -> None:
    done = oomkit("run", "scenarios/guard/fast-hog.toml", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_daemons_are_listed_and_unknown_ones_refused() -> None:
    done = oomkit("daemons")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "earlyoom",
        "nohang",
        "systemd-oomd",
    ]
    done = oomkit("daemons", "--fetch", "bustd")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected one of earlyoom, nohang, systemd-oomd" in done.stderr
