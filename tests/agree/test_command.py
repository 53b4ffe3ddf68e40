"""``oomkit agree`` and ``oomkit run --compare``: what they refuse, skip, and print of real runs."""

import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.real.played import command, needs_cgroup, needs_kernel

BATTERY = Path(__file__).parents[2] / "scenarios" / "battery"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--json", "--markdown"], "--json and --markdown don't go together"),
        (["--kernel", "6.1"], "--kernel needs --on qemu"),
        (["no-such.toml"], "no-such.toml"),
        ([str(BATTERY.parent.parent / "tests" / "data")], "expected scenarios (*.toml) in it"),
    ],
)
def test_misuse_is_one_line(oomkit: Command, args: list[str], says: str) -> None:
    done = oomkit("agree", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


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
