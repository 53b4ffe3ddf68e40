"""``oomkit doctor``, the installed command: screen, JSON, files, and what it refuses."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot, Sysctl
from tests.conftest import Command


@pytest.fixture
def ill(machine: Snapshot, tmp_path: Path) -> str:
    """A snapshot of a machine on which whichever process asks is killed."""
    made = msgspec.structs.replace(machine, sysctl=Sysctl(oom_kill_allocating_task=1))
    path = tmp_path / "ill.json"
    path.write_bytes(encode_snapshot(made))
    return str(path)


def test_a_finding_has_all_its_parts_on_the_screen(oomkit: Command, ill: str) -> None:
    done = oomkit("doctor", "--from", ill)
    assert done.returncode == 0, done.stderr
    for part in ("warning: the allocating process is killed", "[allocating_task]",
                 "vm.oom_kill_allocating_task is 1", "out_of_memory() then kills current",
                 "/etc/sysctl.d/90-oomkit-oom_kill_allocating_task.conf",
                 "sysctl -w vm.oom_kill_allocating_task=0", "by the kernel's rules"):  # fmt: skip
        assert part in done.stdout


def test_json_holds_the_same(oomkit: Command, ill: str) -> None:
    told = json.loads(oomkit("doctor", "--from", ill, "--json").stdout)
    by_code = {finding["code"]: finding for finding in told["findings"]}
    finding = by_code["allocating_task"]
    assert finding["files"] == [{
        "path": "/etc/sysctl.d/90-oomkit-oom_kill_allocating_task.conf",
        "text": "vm.oom_kill_allocating_task = 0\n",
    }]  # fmt: skip
    assert finding["checked_by"] == "rules"
    assert finding["commands"][0]["command"] == "sysctl -w vm.oom_kill_allocating_task=0"


def test_files_are_written_below_a_directory(oomkit: Command, ill: str, tmp_path: Path) -> None:
    fixes = tmp_path / "fixes"
    done = oomkit("doctor", "--from", ill, "--fix-dir", str(fixes))
    written = fixes / "etc/sysctl.d/90-oomkit-oom_kill_allocating_task.conf"
    assert written.read_text() == "vm.oom_kill_allocating_task = 0\n"
    assert f"oomkit: wrote {written}" in done.stderr
    assert oomkit("doctor", "--from", ill, "--fix-dir", str(fixes)).returncode == 0  # again


def test_the_system_itself_is_never_written_to(oomkit: Command, ill: str, tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("/")
    for directory in ("/", "//", "/etc/..", str(tmp_path / "root")):
        done = oomkit("doctor", "--from", ill, "--fix-dir", directory)
        assert done.returncode == 2
        assert "not the system" in done.stderr
    assert not Path("/etc/sysctl.d/90-oomkit-oom_kill_allocating_task.conf").exists()


def test_what_can_not_be_written_is_one_line(oomkit: Command, ill: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = oomkit("doctor", "--from", ill, "--fix-dir", str(tmp_path / "file/below"))
    assert done.returncode == 2
    assert re.fullmatch(r"oomkit: .*file.*\n", done.stderr.splitlines(keepends=True)[-1])


def test_this_machine_is_looked_at(oomkit: Command) -> None:
    done = oomkit("doctor", "--json")
    assert done.returncode in (0, 1), done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == any(f["severity"] == "critical" for f in findings)
