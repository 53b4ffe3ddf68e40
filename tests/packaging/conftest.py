"""What several tests of artefacts need is built once, whichever worker is first."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.artefacts import make


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory with wheel and sdist, as ``make dist`` leaves them, among others' artefacts."""
    return _made("dist", tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The Debian package, as ``make deb`` leaves it."""
    for name in ("dpkg-buildpackage", "dh"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name} to build the package")
    return next(_made("deb", tmp_path_factory, worker_id).glob("*.deb"))


@pytest.fixture(scope="session")
def single_file(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The single file, as ``make zipapp`` leaves it."""
    return _made("zipapp", tmp_path_factory, worker_id) / "oomkit.pyz"


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The image, as ``make image`` leaves it; buildah has it as well, as ``localhost/oomkit``."""
    if shutil.which("buildah") is None or shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip("needs root and buildah, and mmdebstrap for the image's base")
    tried = subprocess.run(
        ["buildah", "from", "scratch"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"buildah can't work here: {tried.stderr.strip()[-200:]}")
    subprocess.run(["buildah", "rm", tried.stdout.strip()], check=False, capture_output=True)
    return _made("image", tmp_path_factory, worker_id) / "oomkit.oci"


_NEEDS = {"dist": (), "bundle": ("dist",)}
"""What a target is made of; others are made of the bundle."""


def _made(target: str, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The one dist directory, once a target has left there what it makes."""
    base = tmp_path_factory.getbasetemp()
    scratch = (base if worker_id == "master" else base.parent) / "artefacts"
    scratch.mkdir(exist_ok=True)
    with (scratch / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_once(target, scratch)
    return scratch / "dist"


def _make_once(target: str, scratch: Path) -> None:
    done = scratch / f"{target}.done"
    if not done.exists():
        needs = _NEEDS.get(target, ("bundle",))
        for need in needs:
            _make_once(need, scratch)
        make(target, scratch, made=needs)
        done.touch()
