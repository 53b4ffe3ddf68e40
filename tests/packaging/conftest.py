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
    base = tmp_path_factory.getbasetemp()
    scratch = (base if worker_id == "master" else base.parent) / "deb"
    with scratch.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (scratch / "dist").exists():
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            make("deb", scratch)
        return next((scratch / "dist").glob("*.deb"))
