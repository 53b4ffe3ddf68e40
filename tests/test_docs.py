"""What the documents say is what the commands print."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_picture_is_shown_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = "".join(page.read_text(encoding="utf-8") for page in pages)
    for picture in (ROOT / "docs" / "img").iterdir():
        assert f"img/{picture.name})" in shown, picture.name


def test_scenarios_speak_of_themselves_alone() -> None:
    for path in (ROOT / "scenarios").rglob("*.toml"):
        assert not re.search(r"\bR\d+\b", path.read_text(encoding="utf-8")), path.name


def test_the_readme_shows_real_output() -> None:
    done = subprocess.run(
        [sys.executable, "docs/readme_output.py", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
