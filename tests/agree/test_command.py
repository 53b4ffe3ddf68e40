"""``oomkit agree`` and ``oomkit run --compare``: what they refuse, skip, and print of real runs."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.real.played import (
    HEEDING_INTERRUPTS,
    OOMKIT,
    command,
    guests_of,
    is_alive,
    needs_cgroup,
    needs_kernel,
)

BATTERY = Path(__file__).parents[2] / "scenarios" / "battery"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--json", "--markdown"], "--json and --markdown don't go together"),
        (["--kernel", "6.1"], "--kernel needs --on qemu"),
        (["--guests", "2"], "--guests needs --on qemu"),
        (["no-such.toml"], "no-such.toml"),
        ([str(BATTERY.parent.parent / "tests" / "data")], "expected scenarios (*.toml) in it"),
    ],
)
def test_misuse_is_one_line(oomkit: Command, args: list[str], says: str) -> None:
    done = oomkit("agree", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "costs.json: No such file"),
        ("[]", "costs.json: expected what oomkit agree --measure --json prints"),
        ('{"measured": []}', "costs.json: expected costs of a kernel, there are none in it"),
        ('{"measured": []}', "--costs needs --on qemu"),
    ],
)
def test_costs_have_to_be_what_was_measured(
    oomkit: Command, tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "costs.json"
    if text is not None:
        path.write_text(text)
    where = [] if "needs" in says else ["--on", "qemu"]
    done = oomkit("agree", str(BATTERY / "ties.toml"), *where, "--costs", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_costs_of_other_kernels_are_refused(oomkit: Command, tmp_path: Path) -> None:
    needs_kernel("6.12")
    found = {"total_mb": 200.0, "free_mb": 180.0, "cached_mb": 1.0, "fault_mb_s": 270.0}
    row = {"on": "qemu", "kernel": "9.99-other", "found": {**found, "costs": {"swap_in_s": 2e-5}}}
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({"measured": [row]}))
    done = oomkit("agree", str(BATTERY / "ties.toml"), "--on", "qemu", "--costs", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing was measured on" in done.stderr
    assert "9.99-other" in done.stderr


def test_a_missing_kernel_ends_it_or_is_skipped(oomkit: Command) -> None:
    args = ("agree", str(BATTERY / "ties.toml"), "--on", "qemu", "--kernel", "9.99")
    done = oomkit(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no kernel 9.99 to boot" in done.stderr
    done = oomkit(*args, "--skip-missing")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("oomkit: skipped qemu, kernel 9.99: no kernel 9.99 to boot")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "option", ["--check", "--all", "--log", "--free=1s", "--vs=vm.swappiness=0"]
)
def test_comparing_refuses_what_it_would_ignore(oomkit: Command, option: str) -> None:
    done = oomkit("run", str(BATTERY / "ties.toml"), "--compare", option)
    assert (done.returncode, done.stdout) == (2, "")
    assert "don't go together" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.cgroup
def test_a_scenario_in_a_cgroup_and_on_the_model() -> None:
    needs_cgroup()
    done = command("run", str(BATTERY / "big-and-small.toml"), "--compare")
    assert done.returncode == 1, done.stderr
    assert "real (cgroup)" in done.stdout
    assert "big/0" in done.stdout
    assert "real time / modelled time" in done.stdout


@pytest.mark.cgroup
def test_what_a_cgroup_cannot_show_is_listed_not_counted() -> None:
    needs_cgroup()
    names = ("container.toml", "panic-on-oom-1.toml")
    done = command("agree", *(str(BATTERY / name) for name in names), "--json")
    found = json.loads(done.stdout)
    played, refused = found["agreements"]
    assert played["victims"] == played["model_victims"] == ["worker/0"]
    assert played["outcome"] == played["model_outcome"] == "completed"
    assert "a panic would take this host down" in refused["refused"]
    (summary,) = found["summaries"]
    assert (summary["played"], summary["refused"], summary["failed"]) == (1, 1, 0)


@pytest.mark.qemu
def test_a_scenario_on_a_booted_kernel_and_on_the_model() -> None:
    kernel = needs_kernel()
    path = str(BATTERY / "panic-on-oom-1.toml")
    args = ("run", path, "--on", "qemu", "--kernel", kernel.release, "--compare", "--json")
    done = command(*args)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["first"]["on"], found["second"]["on"]) == ("qemu", "model")
    assert found["first"]["outcome"] == found["second"]["outcome"] == "panicked"
    assert found["agreement"]["kernel"] == kernel.release
    assert found["agreement"]["swap_error"] is None
    assert 0 < found["agreement"]["curve_error"] < 0.2


@pytest.mark.qemu
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_guests_that_run_side_by_side_go_with_the_command(number: signal.Signals) -> None:
    kernel = needs_kernel()
    files = [str(BATTERY / name) for name in ("it-fits.toml", "reserved.toml")]
    options = ["--on", "qemu", "--kernel", kernel.release, "--guests", "2"]
    process = subprocess.Popen(
        [*HEEDING_INTERRUPTS, OOMKIT, "agree", *files, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while len(guests := guests_of_session(process.pid)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (out, "Traceback" in err) == ("", False)
    while any(is_alive(pid) for pid in guests):
        assert time.monotonic() < end
        time.sleep(0.05)


def guests_of_session(leader: int) -> list[int]:
    """Guests have sessions of their own; whoever started them belongs to the command's."""
    return [
        guest
        for name in os.listdir("/proc")
        if name.isdigit() and session_of(int(name)) == leader
        for guest in guests_of(int(name))
    ]


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
