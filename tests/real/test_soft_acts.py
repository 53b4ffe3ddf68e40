"""Reclaim, throttle and freeze on a real cgroup v2, by the unit under systemd, in a guest."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from oomkit.real.initramfs import load_order
from tests.real import systemd_guest
from tests.real.guests import HANGS_S, boot, needs_guest

HERE = Path(__file__).parent
UNIT = HERE.parents[1] / "contrib/systemd/oomkit-guard.service"
OPTIONS = "--act --policy /etc/oomkit/policy.toml --drill /var/drill"
POLICY = """
name = "gentle"
[look]
most = "200ms"
[[when]]
level = "ease"
available = "20%"
[[when]]
level = "soft"
available = "10%"
[whom]
level = "cgroup"
never = [{ unit = ["check.service", "systemd-*.service"] }]
[how.reclaim]
amount = "25%"
wait = "1s"
[how.throttle]
time = "10m"
wait = "1s"
[how.freeze]
time = "10m"
"""
DRILL = {
    "/var/drill/meminfo": "MemTotal: 1048576 kB\nMemAvailable: 943718 kB\nAnonPages: 1 kB\n",
    "/var/drill/vmstat": "nr_free_pages 1\noom_kill 0\n",
}


@pytest.mark.qemu
@pytest.mark.timeout(HANGS_S)
def test_softer_acts_are_done_and_taken_back_after_a_kill(tmp_path: Path) -> None:
    kernel = needs_guest()
    systemd_guest.needs_systemd()
    if kernel.modules is None or shutil.which("mkswap") is None:
        pytest.skip("needs the kernel's modules and mkswap, for swap")
    disk, made = tmp_path / "swap", tmp_path / "initrd"
    with disk.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkswap", str(disk)], check=True, stdout=subprocess.DEVNULL)
    modules = load_order(kernel.modules, ("virtio_pci", "virtio_blk"))
    made.write_bytes(
        systemd_guest.image(
            HERE / "soft_acts_check.py", UNIT, options=OPTIONS, policy=POLICY, texts=DRILL,
            binaries={
                f"/modules/{i:02d}-{name}.ko": data for i, (name, data) in enumerate(modules)
            },
        )
    )  # fmt: skip
    output = boot(kernel, made, disk=disk)
    facts = dict(json.loads(line) for line in output.splitlines() if line.startswith('["'))
    assert facts.get("swap") == 0, output
    assert facts["reclaim"], facts
    (freed_kb,) = facts["reclaimed"]
    assert freed_kb > 8 << 10, facts
    assert facts["in swap"] > 8 << 10, facts
    assert facts["throttle"], facts
    assert facts["freeze"], facts
    assert facts["restarted"], facts
    assert facts["undone"] == ["max", "0"], facts
    assert facts["goes on"], facts
    for act in ("throttle", "freeze"):
        assert f"{act} /system.slice/hog.service: taken back" in facts["journal"], facts["journal"]
    assert facts["ended"], facts["journal"]
