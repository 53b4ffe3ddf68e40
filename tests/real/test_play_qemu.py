"""``oomkit run --on qemu``: a kernel boots and decides; panics and time-outs are results."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from oomkit.real import Place, RealError, companions, play, qemu
from oomkit.real.companion import Companion
from oomkit.real.kernels import Bootable
from oomkit.scenario import Run, Scenario, read_scenario
from oomkit.scenario.record import from_json
from tests.real.played import (
    HEEDING_INTERRUPTS,
    HOG_AND_BIG,
    OOMKIT,
    command,
    guests_of,
    is_alive,
    needs_kernel,
)

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def kernel() -> Bootable:
    return needs_kernel()


def scenario(text: str, tmp_path: Path) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return read_scenario(str(path))


def record(text: str, tmp_path: Path, kernel: Bootable) -> Run:
    return play(scenario(text, tmp_path), Place(world="qemu", kernel=kernel.image)).run


def test_the_record_is_the_models(kernel: Bootable, tmp_path: Path) -> None:
    """R1 on a booted kernel."""
    path = tmp_path / "hog.toml"
    path.write_text(HOG_AND_BIG.replace('"192M"', '"256M"'))
    done = command("run", str(path), "--on", "qemu", "--kernel", kernel.release, "--json")
    assert done.returncode == 1, done.stderr
    run = from_json(done.stdout.encode())
    assert (run.on, run.kernel, run.outcome) == ("qemu", kernel.release, "completed")
    assert {run.kills[0].task, run.kills[0].by} <= {"big", "hog", "kernel"}
    assert any(step.startswith("select_bad_process") for step in run.kills[0].trace)
    assert any("invoked oom-killer" in line for line in run.log)
    assert max(run.samples.tasks["big/0"].rss_mb) > 85
    assert run.samples.tasks["probe/0"].progress[-1] >= 1


def test_a_panic_is_a_result(kernel: Bootable, tmp_path: Path) -> None:
    """R1: panic_on_oom."""
    text = HOG_AND_BIG.replace("[[task]]", "[vm]\npanic_on_oom = 2\n[[task]]", 1)
    run = record(text, tmp_path, kernel)
    assert run.outcome == "panicked"
    assert run.kills == ()
    assert any("Kernel panic - not syncing: Out of memory" in line for line in run.log)


def test_cgroup_v2_swap_and_files_are_real(kernel: Bootable, tmp_path: Path) -> None:
    run = record(
        """
        name = "group"
        duration = "30s"
        [machine]
        ram = "320M"
        swap = "64M"
        disk = "80M/s"
        [[cgroup]]
        name = "box"
        max = "64M"
        swap_max = "16M"
        oom_group = true
        [[task]]
        name = "bystander"
        cgroup = "box"
        steps = [{ touch = "8M" }, { hold = "forever" }]
        [[task]]
        name = "hog"
        start = "300ms"
        cgroup = "box"
        steps = [{ touch = "100M", rate = "80M/s" }]
        [[task]]
        name = "reader"
        steps = [{ read = "40M", rate = "40M/s" }, { touch = "20M" }, { hold = "2s" }]
        """,
        tmp_path,
        kernel,
    )
    assert run.outcome == "completed"
    assert {kill.task for kill in run.kills} == {"bystander", "hog"}
    assert min(run.samples.swap_free_mb) < 64
    assert max(run.samples.cached_mb) - run.samples.cached_mb[0] > 30


def test_refused_memory_is_reported(kernel: Bootable, tmp_path: Path) -> None:
    """R2: overcommit 2 refuses instead of killing."""
    run = record(
        """
        name = "strict"
        duration = "10s"
        [machine]
        ram = "384M"
        [vm]
        overcommit_memory = 2
        overcommit_ratio = 50
        [[task]]
        name = "asks"
        steps = [{ reserve = "300M" }, { hold = "1s" }]
        """,
        tmp_path,
        kernel,
    )
    assert (run.outcome, run.kills) == ("completed", ())
    assert [(d.task, d.call, d.mb) for d in run.denied] == [("asks", "mmap", 300.0)]


def test_a_program_beside_the_scenario_is_distinguished(kernel: Bootable, tmp_path: Path) -> None:
    script = tmp_path / "killer.py"
    script.write_text(
        "import os, time\n"
        "while True:\n"
        "    time.sleep(0.05)\n"
        "    for pid in os.listdir('/proc'):\n"
        "        try:\n"
        "            if pid.isdigit() and open(f'/proc/{pid}/comm').read() == 'hog\\n':\n"
        "                os.kill(int(pid), 15)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    beside = Companion(
        name="killer.py",
        command=("/usr/bin/python3", "-SIB", "/opt/killer.py"),
        files={"/opt/killer.py": str(script)},
    )
    text = HOG_AND_BIG.replace('"192M"', '"224M"')
    run = qemu.play(scenario(text, tmp_path), kernel, companion=beside, beats=True).run
    assert [(kill.task, kill.by) for kill in run.kills] == [("hog", "killer.py")]
    assert run.outcome == "completed"
    assert run.reaction is not None
    (signal_sent,) = run.reaction.signals
    assert (signal_sent.number, signal_sent.by, signal_sent.task) == (15, "killer.py", "hog")
    assert run.reaction.signal_s == pytest.approx(run.kills[0].t_s, abs=0.01)
    assert run.reaction.longest_gap_s < run.ended_s


def test_a_daemon_that_does_not_start_is_reported(kernel: Bootable, tmp_path: Path) -> None:
    beside = Companion(
        name="broken",
        command=("/usr/bin/python3", "-SIB", "-c", "raise SystemExit('no such option')"),
        ready="never said",
    )
    with pytest.raises(qemu.QemuError, match=r"broken ended at once with status 1: no such option"):
        qemu.play(scenario(HOG_AND_BIG, tmp_path), kernel, companion=beside)


def test_earlyoom_acts_in_a_guest_with_zram(kernel: Bootable, tmp_path: Path) -> None:
    try:
        companions.find("earlyoom", "", scenario(HOG_AND_BIG, tmp_path))
    except RealError as error:
        pytest.skip(str(error))
    text = HOG_AND_BIG.replace('"192M"', '"224M"\nzram = "48M"')
    text = text.replace('"30M/s"', '"10M/s"')  # earlyoom looks ten times a second at most
    place = Place(world="qemu", kernel=kernel.image, guard="earlyoom")
    run = play(scenario(text, tmp_path), place).run
    assert {kill.by for kill in run.kills} == {"earlyoom"}
    assert any("earlyoom: sending SIG" in line for line in run.log)
    assert any("sending SIG" in line for line in run.kills[0].trace)
    assert max(run.samples.swap_free_mb) == pytest.approx(48, abs=1)
    assert min(run.samples.swap_free_mb) < 40
    assert run.reaction is not None
    assert run.reaction.signal_s is not None
    assert run.reaction.back_s is not None
    assert run.reaction.back_s >= run.reaction.signal_s


def test_the_guard_acts_in_a_guest(kernel: Bootable, tmp_path: Path) -> None:
    """A guest has its modules as byte code alone."""
    text = HOG_AND_BIG.replace('"192M"', '"224M"')
    place = Place(world="qemu", kernel=kernel.image, guard="oomkit")
    run = play(scenario(text, tmp_path), place).run
    assert {kill.by for kill in run.kills} == {"oomkit"}
    assert "hog" in {kill.task for kill in run.kills}
    assert run.reaction is not None
    assert run.reaction.signal_s is not None


def test_a_hanging_boot_is_reported(kernel: Bootable, tmp_path: Path) -> None:
    """Too little memory to unpack the kernel: one line, not a traceback."""
    path = tmp_path / "tiny.toml"
    path.write_text(HOG_AND_BIG.replace('"192M"', '"32M"'))
    done = command("run", str(path), "--on", "qemu", "--kernel", kernel.release)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did not come up" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_guest_is_left_after(number: signal.Signals, kernel: Bootable, tmp_path: Path) -> None:
    path = tmp_path / "hog.toml"
    path.write_text(HOG_AND_BIG)
    process = subprocess.Popen(
        [*HEEDING_INTERRUPTS, OOMKIT, "run", str(path), "--on", "qemu", "--kernel", kernel.release],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (guests := guests_of(process.pid)):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert "Traceback" not in err
    while any(is_alive(pid) for pid in guests):
        assert time.monotonic() < end
        time.sleep(0.05)
