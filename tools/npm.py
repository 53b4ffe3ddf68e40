"""What npm fetches, as a lock file pins it."""

import shutil
import subprocess
import sys
from pathlib import Path


def fetched(source: Path, into: Path) -> None:
    """Put the packages of a lock file into a directory, if they are not there.

    Args:
        source: the directory with ``package.json`` and ``package-lock.json``.
        into: the directory that gets ``node_modules``.

    Raises:
        SystemExit: npm is missing or failed.
    """
    if shutil.which("npm") is None:
        sys.exit("needs node and npm (https://nodejs.org)")
    into.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_bytes()
    kept = into / "package-lock.json"
    if kept.exists() and kept.read_bytes() == lock and (into / "node_modules").exists():
        return
    shutil.copy(source / "package.json", into)
    kept.write_bytes(lock)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=into, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        shutil.rmtree(into / "node_modules", ignore_errors=True)
        sys.exit(f"npm: {done.stderr.strip()[-500:]}")
