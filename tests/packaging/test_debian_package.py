"""The Debian package: built, looked over by lintian, installed to purged under a real systemd."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.packaging import debian_guest
from tests.real.guests import HANGS_S, boot, needs_guest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = pytest.mark.timeout(HANGS_S)


def newer(package: Path, into: Path) -> Path:
    """The same package under a higher version, with one file more."""
    subprocess.run(["dpkg-deb", "-R", package, into / "tree"], check=True)
    control = into / "tree/DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:"))
    (into / "tree/usr/share/oomkit/newer").write_text("")
    made = into / "newer.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", into / "tree", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


def test_lintian_finds_no_fault(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", package], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_settings_are_a_conffile(package: Path) -> None:
    told = subprocess.check_output(["dpkg-deb", "-I", package, "conffiles"], text=True)
    assert told.split() == ["/etc/default/oomkit-guard"]


def test_the_times_in_it_are_the_commits(package: Path) -> None:
    """Not those of the checkout it was built in, so that another one gives the same bytes."""
    listed = subprocess.check_output(
        ["dpkg-deb", "-c", package], text=True, env={**os.environ, "TZ": "UTC"}
    )
    assert len({tuple(line.split()[3:5]) for line in listed.splitlines()}) == 1


def findings(output: str) -> list[dict[str, Any]]:
    """Those of ``oomkit doctor --json``, which lines of the other stream may surround."""
    _, brace, rest = output.partition("{")
    found: list[dict[str, Any]] = json.JSONDecoder().raw_decode(brace + rest)[0]["findings"]
    return found


@pytest.mark.qemu
@pytest.mark.timeout(2 * HANGS_S)
@pytest.mark.parametrize("suite", debian_guest.SUITES)
def test_it_is_installed_upgraded_removed_and_purged(
    suite: str, package: Path, single_file: Path, tmp_path: Path
) -> None:
    """In a guest whose root file system is that suite's, and whose first process is systemd.

    Afterwards the single file makes itself a service there, and leaves nothing either.
    """
    kernel = needs_guest("6.12")
    root = debian_guest.root_file_system(suite)
    made = tmp_path / "initrd"
    tests = ROOT / "contrib/debian/tests"
    made.write_bytes(debian_guest.image(root, HERE / "debian_check.py", {
        "/old.deb": (0o644, package.read_bytes()),
        "/new.deb": (0o644, newer(package, tmp_path).read_bytes()),
        "/opt/oomkit.pyz": (0o755, single_file.read_bytes()),
        "/autopkgtest/command": (0o755, (tests / "command").read_bytes()),
        "/autopkgtest/service": (0o755, (tests / "service").read_bytes()),
        # What a minimal system leaves out of packages is looked at here.
        "/etc/dpkg/dpkg.cfg.d/all": (0o644, b"path-include=/usr/share/doc/oomkit/*\n"),
    }))  # fmt: skip
    output = boot(kernel, made, mib=1500)
    os.unlink(made)
    facts = debian_guest.facts(output)
    for step in (
        "install", "upgrade", "remove", "purge", "installs itself", "uninstalls itself",
    ):  # fmt: skip
        assert facts[step][0] == 0, facts[step][1]
    for name in ("command", "service"):
        assert facts[f"autopkgtest {name}"][0] == 0, facts[f"autopkgtest {name}"][1]
    assert facts["active"], facts["log"]
    assert facts["enabled"] == "enabled"
    assert facts["status"] == "policy default, dry run"
    assert facts["version"].startswith("oomkit, version")
    assert facts["preset"] == 0
    assert facts["bytecode"]
    assert facts["database"]
    found = {finding["code"]: finding for finding in findings(facts["doctor"][1])}
    assert {"unit_stopped_whole", "unit_stays_down"} <= set(found)
    assert "db.service is stop" in found["unit_stopped_whole"]["evidence"][0]
    again = {finding["code"] for finding in findings(facts["doctor again"][1])}
    assert not {"unit_stopped_whole", "unit_stays_down"} & again
    assert facts["active again"], facts["log"]
    assert facts["another process"]
    assert facts["status by my settings"] == "policy earlyoom, dry run"
    assert facts["settings kept"]
    assert facts["history kept"]
    assert facts["stopped"] == "inactive"
    assert "/etc/default/oomkit-guard" in facts["kept"]
    assert "/var/lib/oomkit" in facts["kept"]
    assert not [path for path in facts["kept"] if path.startswith("/usr")]
    assert facts["left"] == []
    assert "This machine is a server" in facts["installs itself"][1]
    assert facts["itself active"], facts["log"]
    assert facts["itself enabled"] == "enabled"
    assert facts["itself status"] == "policy server, armed"
    assert "kept     /etc/oomkit/policy.toml" in facts["itself again"][1]
    assert facts["itself stopped"] == "inactive"
    assert facts["itself left"] == []
