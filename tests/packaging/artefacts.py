"""Artefacts as their make targets leave them, from a clone that holds what would be committed."""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_STAMPS = (".venv/.installed", ".venv/release/.installed")
_NO_INDEX = re.compile("No matching distribution|Could not fetch|Connection|Temporary failure")


@functools.cache
def clone(into: Path) -> Path:
    """A copy of the tracked files, and of those that are new; skips where there is no git."""
    _needs_tools()
    target = into / "clone"
    if target.exists():
        return target
    partial = into / "clone-partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name in _files():
        source = ROOT / name
        if source.exists():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, partial / name)
    # The virtual environments are those of this place: what is tried is the target, not pip.
    (partial / ".venv").symlink_to(ROOT / ".venv")
    # Tests that run side by side share them.
    with (ROOT / ".venv/tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run(ROOT, *_STAMPS)
    partial.rename(target)
    return target


def _files() -> list[str]:
    """Names of the tracked files, and of those that are new."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    return sorted(filter(None, listed.decode().split("\0")))


def _time() -> str:
    """That of the last commit, which artefacts tell."""
    return subprocess.check_output(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True
    ).strip()


@functools.cache
def content() -> str:
    """What artefacts are made of, in sixteen digits: the files and the last commit's time."""
    _needs_tools()
    digest = hashlib.sha256(_time().encode())
    for name in _files():
        path = ROOT / name
        if path.is_file():
            digest.update(f"{name}\0{path.stat().st_mode:o}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _needs_tools() -> None:
    if shutil.which("git") is None or shutil.which("make") is None or not (ROOT / ".git").exists():
        pytest.skip("needs make, git and a repository")


def make(target: str, scratch: Path, made: Iterable[str] = ()) -> Path:
    """What a target leaves in its dist directory; skips where no package index is reached.

    Args:
        target: what to make.
        scratch: where the clone, its build and its dist directory are.
        made: targets that were made there, and are not made again.
    """
    tree = clone(scratch)
    assumed = [word for name in (*_STAMPS, *made) for word in ("-o", name)]
    _run(tree, target, *assumed, f"DIST={scratch}/dist", f"BUILD={scratch}/build")
    return scratch / "dist"


def _run(tree: Path, *words: str) -> None:
    done = subprocess.run(
        ["make", *words], cwd=tree, capture_output=True, text=True, check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": _time()},
    )  # fmt: skip
    if done.returncode and _NO_INDEX.search(done.stderr):
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
