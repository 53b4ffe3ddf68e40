"""A disk that is full soon, cgroups, and a place where a guard may kill."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host.cgroups import find_hierarchy
from tests.guard.arena import Arena

FREEZER = Path("/sys/fs/cgroup/freezer")


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


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A cgroup of version 1 that can be frozen: what is in it then does not even die of SIGKILL."""
    group = FREEZER / f"oomkit-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs version 1 of the freezer cgroup, and root: {error}")
    yield group
    (group / "freezer.state").write_text("THAWED")
    end = time.monotonic() + 10
    while group.exists():
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            group.rmdir()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory cgroup."""
    hierarchy = find_hierarchy("/proc")
    if hierarchy is None:
        pytest.skip("needs memory cgroups")
    made = Path(hierarchy.directory, f"oomkit-test-attack-{os.getpid()}")
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"needs root: {error}")
    yield made
    end = time.monotonic() + 10
    while made.exists():
        for below in [*sorted(_directories(made), reverse=True), made]:
            try:
                below.rmdir()
            except OSError:
                continue
        assert time.monotonic() < end
        time.sleep(0.02)


def _directories(group: Path) -> list[Path]:
    return [Path(path) for path, _, _ in os.walk(group)][1:]
