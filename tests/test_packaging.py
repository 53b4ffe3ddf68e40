"""What a wheel brings and make install leaves: the documented way to a service that starts."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNIT = "etc/systemd/system/oomkit-guard.service"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    made = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(made.glob("*.whl")))


def test_the_wheel_holds_services_man_page_and_completion(wheel: zipfile.ZipFile) -> None:
    held = {name.partition(".data/data/")[2] for name in wheel.namelist()}
    assert {
        "share/man/man8/oomkit-guard.8",
        "share/oomkit/systemd/oomkit-guard.service",
        "share/oomkit/systemd/oomkit-guard.default",
        "share/oomkit/openrc/oomkit-guard",
        "share/bash-completion/completions/oomkit",
        "share/zsh/site-functions/_oomkit",
        "share/fish/vendor_completions.d/oomkit.fish",
    } <= held


def test_the_wheel_says_whose_it_is_and_for_whom(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("/METADATA"))
    told = message_from_bytes(wheel.read(name))
    assert told["Author"] == "The oomkit maintainers"
    assert "oom-killer" in told["Keywords"]
    groups = {line.partition(" :: ")[0] for line in told.get_all("Classifier", [])}
    assert {"Development Status", "Intended Audience"} <= groups


def _externally_managed() -> str:
    """A Python whose packages are the distribution's, or this one."""
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def test_make_install_makes_a_service_that_finds_its_program(tmp_path: Path) -> None:
    python = _externally_managed()
    ready = subprocess.run(
        [python, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"], check=False
    )
    if shutil.which("make") is None or ready.returncode:
        pytest.skip("needs make, and a Python from 3.11 on with venv")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/conf.d").mkdir()
    (tmp_path / "etc/init.d").mkdir()
    made = [f"PYTHON={python}", f"PREFIX={tmp_path}/usr", f"OPT={tmp_path}/opt"]
    made.append(f"ETC={tmp_path}/etc")
    for _ in range(2):  # the second is what an update does
        done = subprocess.run(
            ["make", "install", *made], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if re.search("No matching distribution|Could not fetch|Connection", done.stderr):
            pytest.skip("needs a package index")
        assert done.returncode == 0, done.stderr
        settings = tmp_path / "etc/default/oomkit-guard"
        settings.write_text("OOMKIT_GUARD_OPTIONS=--act\n")
    assert settings.read_text() == "OOMKIT_GUARD_OPTIONS=--act\n"
    program = f"{tmp_path}/usr/bin/oomkit"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("oomkit, version")
    assert f"ExecStart={program} guard" in (tmp_path / UNIT).read_text()
    assert f'command="{program}"' in (tmp_path / "etc/init.d/oomkit-guard").read_text()
    if shutil.which("systemd-analyze") is not None:
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "not executable" not in checked.stderr
    subprocess.run(["make", "uninstall", *made], cwd=ROOT, check=True, capture_output=True)
    assert {p.name for p in tmp_path.rglob("*oomkit*") if p.is_file()} == {"oomkit-guard"}


def test_the_services_and_the_documents_name_one_path() -> None:
    unit = (ROOT / "contrib/systemd/oomkit-guard.service").read_text()
    openrc = (ROOT / "contrib/openrc/oomkit-guard").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert "ExecStart=/usr/local/bin/oomkit guard" in unit
    assert 'command="/usr/local/bin/oomkit"' in openrc
    assert "PREFIX ?= /usr/local\n" in makefile
    assert "make install" in (ROOT / "docs/guard.md").read_text()
    assert "pipx install ." in (ROOT / "README.md").read_text()
