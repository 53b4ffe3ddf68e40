"""The service files and the man page say what the program understands."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from oomkit.cli.guard import command

CONTRIB = Path(__file__).parents[2] / "contrib"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def known() -> set[str]:
    options = [p for p in command.params if isinstance(p, click.Option)]
    return {name for o in options for name in (*o.opts, *o.secondary_opts)}


@pytest.mark.parametrize(
    "name", ["systemd/oomkit-guard.service", "systemd/oomkit-guard.default", "openrc/oomkit-guard"]
)
def test_services_use_options_that_exist(name: str) -> None:
    text = (CONTRIB / name).read_text()
    text = re.sub(r"(checkpath|supervise-daemon) .*", "", text)
    assert set(OPTION.findall(text)) <= known()
    assert "--dry-run" in text


def test_the_man_page_describes_every_option() -> None:
    text = (CONTRIB / "man/oomkit-guard.8").read_text()
    described = set(re.findall(r"^\.(?:BI|B) (--[a-z-]+)", text, re.MULTILINE))
    described |= set(re.findall(r"^\.B --[a-z-]+, (--[a-z-]+)", text, re.MULTILINE))
    assert described == known() - {"--help"}


def test_the_man_page_is_well_formed() -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-T", "ascii", str(CONTRIB / "man/oomkit-guard.8")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_the_unit_is_understood_by_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    text = (CONTRIB / "systemd/oomkit-guard.service").read_text()
    unit = tmp_path / "oomkit-guard.service"
    unit.write_text(text.replace("/usr/local/bin/oomkit", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    about_it = [line for line in done.stderr.splitlines() if "oomkit-guard" in line]
    assert about_it == []


def test_the_openrc_script_is_shell() -> None:
    subprocess.run(["sh", "-n", str(CONTRIB / "openrc/oomkit-guard")], check=True)
