"""The pictures of docs/top.md are what the live view shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tab", ["processes", "cgroups", "guard"])
def test_a_picture_of_the_page_is_what_is_shown(tab: str) -> None:
    done = subprocess.run(
        [sys.executable, "docs/top_page.py", tab],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC"},
    )
    assert f"```text\n{done.stdout}```\n" in (ROOT / "docs/top.md").read_text(encoding="utf-8")
