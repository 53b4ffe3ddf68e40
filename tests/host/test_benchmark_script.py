"""benchmarks/scan.py runs and prints its tables; what it measures is not judged here."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/scan.py"


def test_it_prints_a_ratio_for_every_contest() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds", "1", "--processes", "2,3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "(2 added)" in line]
    assert len(rows) == 3
    assert all(float(row.split("|")[-2]) > 0 for row in rows)
    assert "| oomkit rank --json / psutil command |" in done.stdout
    assert "| oomkit --version / python -c pass |" in done.stdout
