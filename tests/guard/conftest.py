"""A disk that is full soon, and a place where a guard may kill."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.arena import Arena


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 KiB (root)."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "none", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a tmpfs can't be mounted here: {mounted.stderr.strip().splitlines()[0]}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """A pid namespace of its own, gone afterwards with all that is in it."""
    made = Arena(tmp_path)
    yield made
    made.close()
