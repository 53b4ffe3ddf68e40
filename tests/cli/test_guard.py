"""``oomkit guard``: what it says before it begins, and how it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OOMKIT = str(Path(sys.executable).with_name("oomkit"))


def guard(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OOMKIT, "guard", *options], capture_output=True, text=True, check=False, timeout=60
    )


def test_check_explains_the_policy_in_words() -> None:
    done = guard("--check", "--policy", "earlyoom")
    assert done.returncode == 0
    assert done.stdout.startswith("earlyoom")
    assert "SIGTERM" in done.stdout
    assert "10 %" in done.stdout


def test_check_says_what_it_means_for_a_process() -> None:
    done = guard("--check", "--pid", "1")
    assert done.returncode == 0
    assert "is never chosen: init" in done.stdout
    own = guard("--check", "--pid", str(os.getpid()))
    assert own.returncode == 0
    assert f"[{os.getpid()}]" in own.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "/nonexistent.toml"), "/nonexistent.toml: No such file or directory"),
        (("--pid", "1"), "give --check as well"),
        (("--check", "--pid", "4194303"), "--pid: no process 4194303"),
        (("--journal", "/nonexistent/journal"), "expected a file in a directory that exists"),
        (("--journal", "/tmp"), "expected a file, not a directory"),
        (("--record-size", "large"), "--record-size: expected a size"),
        (("--drill", "/nonexistent"), "expected a directory with a file meminfo"),
        (("--metrics", ":9753"), "give --status FILE as well"),
        (("--set", "look.most=never"), "look.most: expected a duration"),
    ],
)
def test_misuse_is_one_line_and_status_2(options: tuple[str, ...], said: str) -> None:
    done = guard(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_metrics_on_an_address_that_is_none(tmp_path: Path) -> None:
    done = guard("--metrics", "nowhere", "--status", str(tmp_path / "status"))
    assert done.returncode == 2
    assert "metrics on 'nowhere': expected HOST:PORT" in done.stderr
