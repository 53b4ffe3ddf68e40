"""What several tests of artefacts need is built once, whichever phase and worker is first."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.artefacts import ROOT, content, make

BUILT = ROOT / "build/tests"
IMAGE = "localhost/oomkit:latest"


@pytest.fixture(scope="session")
def dist() -> Path:
    """A directory with wheel and sdist, as ``make dist`` leaves them, among others' artefacts."""
    return _made("dist")


@pytest.fixture(scope="session")
def package() -> Path:
    """The Debian package, as ``make deb`` leaves it."""
    for name in ("dpkg-buildpackage", "dh"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name} to build the package")
    return next(_made("deb").glob("*.deb"))


@pytest.fixture(scope="session")
def single_file() -> Path:
    """The single file, as ``make zipapp`` leaves it."""
    return _made("zipapp") / "oomkit.pyz"


@pytest.fixture(scope="session")
def image_archive() -> Path:
    """The image, as ``make image`` leaves it; buildah has it as well, as ``localhost/oomkit``."""
    if shutil.which("buildah") is None or shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip("needs root and buildah, and mmdebstrap for the image's base")
    tried = subprocess.run(
        ["buildah", "from", "scratch"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"buildah can't work here: {tried.stderr.strip()[-200:]}")
    subprocess.run(["buildah", "rm", tried.stdout.strip()], check=False, capture_output=True)
    return _made("image", _has_image) / "oomkit.oci"


_NEEDS = {"dist": (), "bundle": ("dist",)}
"""What a target is made of; others are made of the bundle."""


def _made(target: str, still: Callable[[], bool] = lambda: True) -> Path:
    """The dist directory, once a target has left there what it makes of these files.

    Args:
        target: of make.
        still: whether what else an earlier build left is still there.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    scratch = BUILT / content()
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for old in BUILT.iterdir():
            if old.is_dir() and old != scratch:
                shutil.rmtree(old)
        scratch.mkdir(exist_ok=True)
        _make_once(target, scratch, still)
    return scratch / "dist"


def _make_once(target: str, scratch: Path, still: Callable[[], bool] = lambda: True) -> None:
    done = scratch / f"{target}.done"
    if not (done.exists() and still()):
        needs = _NEEDS.get(target, ("bundle",))
        for need in needs:
            _make_once(need, scratch)
        make(target, scratch, made=needs)
        done.touch()


def _has_image() -> bool:
    asked = ["buildah", "inspect", "--type", "image", IMAGE]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
