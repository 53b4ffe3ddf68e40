"""The service files and the man page say what the program understands."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

import man_pages
from oomkit.cli.group import COMMANDS
from oomkit.cli.guard import command

pytestmark = pytest.mark.hermetic

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
    text = (CONTRIB / "man/oomkit-guard.8").read_text().replace("\\-", "-")
    options = text[text.index(".SH OPTIONS") : text.index(".SH NOTES ON OPTIONS")]
    headings = re.findall(r"^\.TP\n\.B (.*)$", options, re.MULTILINE)
    described = {name for heading in headings for name in OPTION.findall(heading)}
    assert described == known() | {"--help"}


@pytest.mark.parametrize("page", sorted((CONTRIB / "man").glob("*.[18]")), ids=lambda p: p.name)
def test_a_man_page_is_well_formed(page: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-T", "ascii", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_the_man_pages_are_what_the_help_says() -> None:
    """The pages are made of the help texts, by make man, and every command has one."""
    made = man_pages.pages()
    assert {f"oomkit-{name}" for name in COMMANDS} == {n[:-2] for n in made} - {"oomkit"}
    assert {n: (CONTRIB / "man" / n).read_text() for n in made} == made


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
