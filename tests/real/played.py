"""Whether real worlds are here, and small scenarios for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oomkit.host.cgroups import find_hierarchy
from oomkit.real import RealError, cgroup, kernels, qemu

OOMKIT = str(Path(sys.executable).with_name("oomkit"))

HEEDING_INTERRUPTS = ("env", "--default-signal=INT")
"""Before a command: what a shell runs in the background ignores SIGINT."""

HOG_AND_BIG = """
name = "hog and big"
duration = "30s"

[machine]
ram = "192M"

[[task]]
name = "big"
role = "innocent"
steps = [{ touch = "90M", over = "500ms" }, { hold = "forever" }]

[[task]]
name = "hog"
start = "700ms"
role = "culprit"
steps = [{ touch = "80M", rate = "60M/s" }, { touch = "100M", rate = "30M/s" }]
"""


OVER = """
def over():
    # The run ends with its last task that does not hold for ever.
    import os, time
    time.sleep(0.2)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read() == "timer\\n":
                    os.kill(int(pid), 9)
        except OSError:
            pass
"""
"""For a probe in a guest: ends a run whose task ``timer`` lasts as long as it might take."""


def needs_cgroup() -> None:
    """Skip where no memory cgroup can be made."""
    try:
        cgroup.host_facts()
    except RealError as error:
        pytest.skip(str(error))


def needs_kernel(version: str | None = None) -> kernels.Bootable:
    """The newest kernel that can be booted here, of a version; skip where there is none."""
    if reason := qemu.why_not():
        pytest.skip(reason)
    try:
        if version is not None:
            return kernels.find(version, version)
        found = kernels.bootable()
    except RealError as error:
        pytest.skip(str(error))
    if not found:
        pytest.skip("no kernel to boot here (oomkit kernels --fetch 6.12 gets one)")
    return found[0]


def left_in_cgroups() -> list[str]:
    """Cgroups of runs."""
    hierarchy = find_hierarchy("/proc")
    assert hierarchy is not None
    return [name for name in os.listdir(hierarchy.directory) if name.startswith("oomkit-")]


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command; playing takes its time."""
    return subprocess.run([OOMKIT, *args], capture_output=True, text=True, check=False, timeout=240)


def guests_of(parent: int) -> list[int]:
    """Guests that a process started."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_text()
            except OSError:
                continue
            if stat.rpartition(")")[2].split()[1] == str(parent) and "(qemu-system" in stat:
                found.append(int(name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
