"""What the documents say is what the commands print."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_readme_shows_real_output() -> None:
    done = subprocess.run(
        [sys.executable, "docs/readme_output.py", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
