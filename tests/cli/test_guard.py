"""``oomkit guard``: what it says before it begins, and how it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import command

OOMKIT = str(Path(sys.executable).with_name("oomkit"))


def guard(*options: str) -> subprocess.CompletedProcess[str]:
    return command("guard", *options)


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
        (("--set", "look.most=never"), "look.most=never: expected a duration"),
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


def _one_turn(env: dict[str, str], *options: str) -> str:
    """Start a dry run, and end it when it guards; returns what it said."""
    with subprocess.Popen(
        [OOMKIT, "guard", *options],
        stderr=subprocess.PIPE, text=True, env={**os.environ, **env},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "guarding by" in line or "started with policy" in line:
                process.terminate()
    assert process.returncode == 0, said
    return said


def test_what_a_guard_did_is_where_history_looks(tmp_path: Path) -> None:
    """Without an option, in a directory that was not there."""
    env = {"STATE_DIRECTORY": f"{tmp_path}/lib/oomkit", "XDG_STATE_HOME": f"{tmp_path}/lib"}
    options = ("--state", f"{tmp_path}/state")
    before = subprocess.run([OOMKIT, "history"], env={**os.environ, **env}, check=False)
    assert before.returncode in (0, 1, 2), "this machine may have a history"
    _one_turn(env, *options)
    journal = tmp_path / "lib/oomkit/journal.jsonl"
    assert '"kind":"start"' in journal.read_text()
    assert (tmp_path / "lib/oomkit").stat().st_mode & 0o777 == (
        0o755 if os.geteuid() == 0 else 0o700
    )
    done = subprocess.run(
        [OOMKIT, "history", "--kind", "start"],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "guard started: policy default, dry run" in done.stdout


def test_no_journal_keeps_none(tmp_path: Path) -> None:
    env = {"STATE_DIRECTORY": f"{tmp_path}/lib/oomkit", "XDG_STATE_HOME": f"{tmp_path}/lib"}
    _one_turn(env, "--no-journal", "--state", f"{tmp_path}/state")
    assert not (tmp_path / "lib").exists()
    done = guard("--no-journal", "--journal", str(tmp_path / "j"))
    assert done.returncode == 2
    assert "--no-journal and --journal don't go together" in done.stderr


def test_a_guard_starts_where_its_journal_cant_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {"STATE_DIRECTORY": f"{tmp_path}/file/oomkit", "XDG_STATE_HOME": f"{tmp_path}/file"}
    said = _one_turn(env, "--state", f"{tmp_path}/state")
    assert f"{tmp_path}/file/oomkit: Not a directory; no journal is written" in said


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {"STATE_DIRECTORY": f"{tmp_path}/lib/oomkit", "XDG_STATE_HOME": f"{tmp_path}/lib"}
    subprocess.run([OOMKIT, "guard", "--check"], env={**os.environ, **env}, check=True)
    assert list(tmp_path.iterdir()) == []
