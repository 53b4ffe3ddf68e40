"""What replays and tables of policies print in narrow windows."""

import re
from pathlib import Path

import pytest

from tests.conftest import Command

ROOT = Path(__file__).parents[2]
NIGHT = str(ROOT / "docs/examples/night.recording")
SCENARIO = str(ROOT / "scenarios/database-and-leak.toml")


@pytest.mark.parametrize("width", ["60", "80"])
def test_a_replays_lines_hang_below_their_text(oomkit: Command, width: str) -> None:
    done = oomkit("run", NIGHT, "--policy", "earlyoom", env={"COLUMNS": width})
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(width)
    (reason,) = [i for i, line in enumerate(lines) if line.startswith("          frees ")]
    assert lines[reason + 1].startswith("            ")
    assert lines[reason + 1].endswith("oom_score")


@pytest.mark.parametrize("width", range(40, 100, 10))
def test_a_number_keeps_its_unit(oomkit: Command, width: int) -> None:
    done = oomkit(
        "run", SCENARIO, "--policy", "earlyoom", "--policy", "kernel", "--policy", "default",
        env={"COLUMNS": str(width)},
    )  # fmt: skip
    said = " ".join(done.stdout.split())
    assert "postgres" in said or re.search(r"no room for [^;]*first kill", said)
    assert not [line for line in done.stdout.splitlines() if re.fullmatch(r" *s", line)]
