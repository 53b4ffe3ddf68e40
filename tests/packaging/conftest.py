"""What several tests of artefacts need is built once, whichever worker is first."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.artefacts import make


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


def _made(target: str, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What a target leaves in its dist directory."""
    base = tmp_path_factory.getbasetemp()
    scratch = (base if worker_id == "master" else base.parent) / target
    with scratch.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (scratch / "dist").exists():
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            make(target, scratch)
    return scratch / "dist"
