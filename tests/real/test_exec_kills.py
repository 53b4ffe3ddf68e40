"""``oomkit exec`` and ``why`` on real kills: in cgroups of this host, and in a guest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import rich

import oomkit as package
from oomkit.host.cgroups import find_hierarchy
from oomkit.real import kernels, qemu
from oomkit.real.companion import Companion
from oomkit.scenario import read_scenario
from tests.conftest import Command
from tests.real.memcg import PAGE, Box
from tests.real.played import OVER, needs_cgroup, needs_kernel

OOMKIT = str(Path(sys.executable).parent / "oomkit")
MIB = 2**20
FILL = "import sys; bytearray(int(sys.argv[1]) << 20)"


def hog(mib: int) -> list[str]:
    return ["/usr/bin/env", "python3", "-IS", "-c", FILL, str(mib)]


def ran(
    tmp_path: Path, *args: str, before: tuple[str, ...] = (), **more: Any
) -> tuple[dict[str, Any], "subprocess.CompletedProcess[str]"]:
    file = tmp_path / "run.json"
    done = subprocess.run(
        [*before, OOMKIT, "exec", "--json", str(file), *args],
        capture_output=True, text=True, check=False, timeout=120, **more,
    )  # fmt: skip
    return json.loads(file.read_text()), done


@pytest.mark.cgroup
def test_a_command_that_fits(tmp_path: Path) -> None:
    needs_cgroup()
    made, done = ran(tmp_path, "--limit", "100M", "--", *hog(40))
    assert done.returncode == 0
    assert made["cgroup"]["own"]
    assert made["limit_bytes"] == 100 * MIB
    assert 40 * MIB <= made["peak_bytes"] < 100 * MIB
    assert made["largest_process"]["rss_bytes"] >= 40 * MIB
    assert made["verdict"]["killer"] == "none"
    assert not os.path.exists(f"/sys/fs/cgroup/memory{made['cgroup']['path']}")


@pytest.mark.cgroup
def test_a_command_over_its_limit(tmp_path: Path) -> None:
    needs_cgroup()
    made, done = ran(tmp_path, "--limit", "40M", "--swap", "0", "--", *hog(100))
    assert done.returncode == -9
    verdict = made["verdict"]
    assert (verdict["killer"], verdict["command_killed"]) == ("kernel_here", True)
    assert verdict["limit_bytes"] == 40 * MIB
    assert verdict["limit_needed_above_bytes"] == 40 * MIB
    if verdict["victims"]:  # the log can be read
        assert verdict["victims"][0]["pid"] == made["pid"]
        assert verdict["limit_needed_at_most_bytes"] >= 100 * MIB
    assert verdict["seen"][0]["pid"] == made["pid"]
    assert "for the limit of this cgroup" in done.stderr


@pytest.mark.cgroup
def test_a_grandchild_is_killed_while_the_parent_lives(tmp_path: Path) -> None:
    needs_cgroup()
    line = f"{' '.join(hog(0)[:4])} '{FILL}' 100; echo still here; exit 3"
    made, done = ran(tmp_path, "--limit", "40M", "--swap", "0", "--", "sh", "-c", line)
    assert (done.returncode, done.stdout) == (3, "still here\n")
    verdict = made["verdict"]
    assert (verdict["killer"], verdict["command_killed"]) == ("kernel_here", False)
    assert verdict["kills"] == 1
    if verdict["victims"]:
        assert verdict["victims"][0]["pid"] != made["pid"]


@pytest.mark.cgroup
def test_a_sigkill_from_outside_is_reported_from_a_kill_for_memory(tmp_path: Path) -> None:
    needs_cgroup()
    made, done = ran(tmp_path, "--limit", "100M", "--", "sh", "-c", "kill -KILL $$")
    assert done.returncode == -9
    assert made["verdict"]["killer"] == "sigkill"
    assert "by a SIGKILL of unknown origin" in done.stderr


def inside(box: Box) -> dict[str, Any]:
    """Settings of a process that begins in the box."""

    def enter() -> None:
        (box.directory / "cgroup.procs").write_text("0")

    return {"preexec_fn": enter}


def closed() -> tuple[str, ...]:
    """Before a command: cgroups may be read and not written, as in a container."""
    hierarchy = find_hierarchy("/proc")
    unshare = shutil.which("unshare")
    if unshare is None or hierarchy is None:
        pytest.skip("needs unshare and memory cgroups")
    at = hierarchy.directory
    line = f'mount --bind {at} {at} && mount -o remount,bind,ro {at} && exec "$@"'
    return unshare, "-m", "sh", "-c", line, "sh"


@pytest.mark.cgroup
def test_without_rights_the_counters_of_the_present_group_tell(tmp_path: Path) -> None:
    needs_cgroup()
    with Box(20_000) as box:
        made, done = ran(tmp_path, "-v", "--", *hog(200), before=closed(), **inside(box))
        assert done.returncode == -9
        assert (made["cgroup"]["own"], made["cgroup"]["path"]) == (False, box.path)
        assert "Read-only file system" in made["cgroup"]["why_not_own"]
        verdict = made["verdict"]
        assert verdict["killer"] == "kernel_here"
        assert verdict["shared"]
        assert verdict["limit_bytes"] == 20_000 * PAGE
        refused = subprocess.run(
            [*closed(), OOMKIT, "exec", "--limit", "10M", "--", "touch", str(tmp_path / "ran")],
            capture_output=True, text=True, check=False, timeout=60, **inside(box),
        )  # fmt: skip
        assert refused.returncode == 2
        assert "no cgroup can be made for the command" in refused.stderr
        assert not (tmp_path / "ran").exists()


@pytest.mark.cgroup
def test_why_inside_of_a_group_that_is_closed(tmp_path: Path) -> None:
    needs_cgroup()
    with Box(20_000) as box:
        subprocess.run(hog(200), check=False, **inside(box))
        done = subprocess.run(
            [*closed(), OOMKIT, "why", "--json"],
            capture_output=True, text=True, check=False, timeout=60, **inside(box),
        )  # fmt: skip
        made = json.loads(done.stdout)
        assert done.returncode == 1
        assert (made["path"], made["kills"]) == (box.path, 1)
        assert made["limit_bytes"] == 20_000 * PAGE
        assert made["peak_bytes"] >= made["limit_bytes"] - PAGE


@pytest.mark.cgroup
def test_in_an_unprivileged_container(tmp_path: Path) -> None:
    """Namespaces of user, mounts, pids and cgroups, as a rootless container has them."""
    needs_cgroup()
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    container = (unshare, "-U", "-r", "-m", "-p", "-f", "-C", "--mount-proc")
    with Box(30_000) as box:
        tried = subprocess.run(
            [*container, "true"], check=False, capture_output=True, text=True, **inside(box)
        )
        if tried.returncode != 0:
            pytest.skip(f"needs user namespaces: {tried.stderr.strip()}")
        made, done = ran(tmp_path, "--", *hog(300), before=container, **inside(box))
        assert "Traceback" not in done.stderr
        assert made["status"]["signal"] == 9
        # Without a cgroup file system of its own the machine's count is what there is.
        assert made["verdict"]["killer"] == "kernel_machine"
        assert "or a cgroup that is not seen here" in done.stderr
        assert not made["cgroup"]["own"]


@pytest.mark.cgroup
def test_why_names_the_kills_that_the_log_holds(oomkit: Command) -> None:
    with Box(30_000) as box:
        grower = box.hog()
        grower.do("anon", 5_000)
        box.tighten()
        box.grow_until_a_kill(grower)
        done = oomkit("why", box.path)
        assert done.returncode == 1, done.stderr
        assert done.stdout.startswith("1 kill for memory since ")
        assert f"[{grower.pid}]" in done.stdout


_PROBE = (
    OVER
    + """
import json, os, subprocess, sys, time
def run(*args):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 2)
        os.close(read)
        sys.argv = ["oomkit", "exec", "--json", "/tmp/run.json", *args]
        from oomkit.__main__ import main
        main()
        os._exit(99)
    os.close(write)
    said = b""
    while data := os.read(read, 4096):
        said += data
    _, status = os.waitpid(pid, 0)
    if not os.path.exists("/tmp/run.json"):
        raise SystemExit(f"{status}: " + " | ".join(said.decode().splitlines()[-3:]))
    with open("/tmp/run.json") as file:
        made = json.load(file)
    os.unlink("/tmp/run.json")
    return status, made
os.makedirs("/tmp", exist_ok=True)
print("probing", flush=True)
FILL = "bytearray(%d << 20)"
python = [sys.executable, "-IS", "-c"]
GROUP = '''
import os
with open("/proc/self/cgroup") as file:
    path = file.read().strip().rpartition(":")[2]
with open("/sys/fs/cgroup" + path + "/memory.oom.group", "w") as file:
    file.write("1")
pid = os.fork()
if pid == 0:
    bytearray(100 << 20)
os.waitpid(pid, 0)
'''
for name, args in (
    ("fits", ["--limit", "60M", "--", *python, FILL % 20]),
    ("over", ["--limit", "40M", "--swap", "0", "--", *python, FILL % 100]),
    ("group", ["--limit", "40M", "--", *python, GROUP]),
    ("machine", ["--adj", "1000", "--", *python, "x=[bytearray(1<<20) for _ in range(2000)]"]),
):
    status, made = run(*args)
    verdict = made["verdict"]
    print("exec", name, status, verdict["killer"], verdict["kills"], verdict["whole_group"],
          made["peak_bytes"], made["cgroup"]["own"], flush=True)
print("probed", flush=True)
over()
time.sleep(60)
"""
)

_IDLE = """
name = "idle"
duration = "40s"
[machine]
ram = "512M"
[[cgroup]]
name = "idle"
max = "100M"
[[task]]
name = "timer"
cgroup = "idle"
steps = [ { hold = "39s" } ]
"""


@pytest.mark.qemu
def test_in_a_guest_with_version_2(tmp_path: Path) -> None:
    needs_kernel()
    found = [k for k in kernels.bootable() if k.release.startswith("6.12.")]
    if not found:
        pytest.skip("no kernel 6.12 here; oomkit kernels --fetch 6.12 gets one")
    path = tmp_path / "idle.toml"
    path.write_text(_IDLE)
    modules = (package, msgspec, click, rich)
    companion = Companion(
        name="probe",
        command=("/usr/bin/python3", "-I", "-S", "-c", _PROBE),
        modules=("json", "subprocess", "shutil",
                 "oomkit.__main__", "oomkit.cli.exec", "oomkit.klog.reader",
                 "oomkit.command.group", "oomkit.command.verdict", "oomkit.cli.common",
                 "oomkit.command.kernel_log", "oomkit.command.evidence", "oomkit.command.launch",
                 "oomkit.views.exec_text", "oomkit.files.safely", "oomkit.toml.units", "msgspec",
                 "click", "rich"),
        paths=tuple(str(Path(module.__file__ or "").parent.parent) for module in modules),
        ready="probing",
        settle_s=0.0,
    )  # fmt: skip
    run = qemu.play(read_scenario(str(path)), found[0], companion=companion).run
    rows = [line.partition("exec ")[2].split() for line in run.log if "probe: exec " in line]
    cases = {row[0]: row[1:] for row in rows}
    assert cases.keys() == {"fits", "over", "group", "machine"}, "\n".join(run.log[-40:])
    assert cases["fits"][:2] == ["0", "none"]
    assert 20 * MIB <= int(cases["fits"][4]) < 60 * MIB
    assert cases["over"][:3] == ["9", "kernel_here", "1"]
    assert cases["group"][:2] == ["9", "kernel_here"]
    assert int(cases["group"][2]) >= 2  # the kernel counts the first victim once more
    assert cases["group"][3] == "True"
    assert cases["machine"][:3] == ["9", "kernel_machine", "1"]
    assert {row[5] for row in cases.values()} == {"True"}
