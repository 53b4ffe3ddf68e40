"""What the tests on the running kernel share."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SWAP_BYTES = 128 << 20


@pytest.fixture
def swap_file(tmp_path: Path) -> Iterator[None]:
    """Swap for the test to use; gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root to add swap")
    if not (shutil.which("mkswap") and shutil.which("swapon")):
        pytest.skip("needs mkswap and swapon")
    path = tmp_path / "swap"
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        os.posix_fallocate(file.fileno(), 0, _SWAP_BYTES)
    try:
        subprocess.run(["mkswap", path], check=True, capture_output=True)
        added = subprocess.run(["swapon", path], check=False, capture_output=True, text=True)
        if added.returncode != 0:
            pytest.skip(f"needs a file system that can hold swap: {added.stderr.strip()}")
        try:
            yield
        finally:
            subprocess.run(["swapoff", path], check=True, capture_output=True)
    finally:
        path.unlink()
