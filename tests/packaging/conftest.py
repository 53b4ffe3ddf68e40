"""What several tests of artefacts need is built once, whichever worker is first."""

import fcntl
import shutil
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


def _made(target: str, factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = factory.getbasetemp()
    scratch = (base if worker_id == "master" else base.parent) / target
    with scratch.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (scratch / "dist").exists():
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            make(target, scratch)
    return scratch / "dist"
