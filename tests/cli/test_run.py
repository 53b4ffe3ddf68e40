"""``oomkit run`` and ``oomkit new`` as a user runs them."""

import json
import subprocess
from pathlib import Path

from tests.forked import command

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FIELDS = [
    "scenario", "on", "kernel", "policy", "outcome", "ended_s", "kills", "denied", "frozen",
    "objectives", "log", "samples", "reaction", "found", "instrument", "eased",
]  # fmt: skip


def oomkit(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return command(*args, cwd=cwd)


def test_json_has_the_documented_fields() -> None:
    result = oomkit("run", str(SCENARIOS / "test1.toml"), "--json")
    assert result.returncode == 1
    record = json.loads(result.stdout)
    assert list(record) == FIELDS
    assert record["on"] == "model"
    assert record["kills"][0]["trace"]
    assert result.stderr == ""


def test_every_scenario_checks_clean() -> None:
    paths = sorted(str(path) for path in SCENARIOS.glob("*.toml"))
    assert len(paths) >= 16
    for path in paths:
        result = oomkit("run", path, "--check")
        assert (result.returncode, result.stderr) == (0, ""), path


def test_new_writes_a_scenario_that_runs_and_keeps_existing_files(tmp_path: Path) -> None:
    assert oomkit("new", "mine", cwd=tmp_path).returncode == 0
    assert oomkit("run", "mine.toml", "--check", cwd=tmp_path).returncode == 0
    again = oomkit("new", "mine", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


def test_faults_are_reported_at_once_with_status_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "x"\n[machine]\nram = "much"\n[vm]\nswapiness = 3\n[[task]]\n')
    result = oomkit("run", str(bad))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("bad.toml") == 3
    assert "did you mean swappiness" in result.stderr
    assert "Traceback" not in result.stderr


def test_kernel_set_log_and_free() -> None:
    path = str(SCENARIOS / "test1.toml")
    log = oomkit("run", path, "--kernel", "6.12", "--log")
    assert "oom-kill:constraint=CONSTRAINT_NONE" in log.stdout
    free = oomkit("run", path, "--set", "duration=5s", "--free", "1s")
    assert free.returncode == 0
    assert len(free.stdout.splitlines()) == 2 + 6
    wrong = oomkit("run", path, "--free", "soon")
    assert wrong.returncode == 2
    assert "expected a duration" in wrong.stderr
