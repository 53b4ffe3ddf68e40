"""The guest's disks: one for files, one for swap, sharing the scenario's bandwidth."""

import subprocess

from oomkit.real.agent import swap
from oomkit.real.monitor import Monitor, MonitorError
from oomkit.real.plan import written
from oomkit.scenario.format import Scenario

_GROUP = "scenario"


class Disks:
    """Images in a directory, and how QEMU is to present them."""

    def __init__(self, directory: str, scenario: Scenario) -> None:
        self.directory = directory
        self.scenario = scenario
        self.order: list[str] = []

    def plan(self, files: dict[str, int], needed: bool) -> None:
        """Make the images: sparse, so that they cost what is written to them."""
        if needed:
            size = sum(files.values()) + written(self.scenario)
            self._file_system(size + size // 16 + (32 << 20))
        if self.scenario.machine.swap_bytes:
            self._swap(self.scenario.machine.swap_bytes)

    def device(self, name: str) -> str | None:
        """What the guest calls it."""
        if name not in self.order:
            return None
        return f"/dev/vd{'abcdef'[self.order.index(name)]}"

    def devices(self) -> tuple[str, ...]:
        """What the guest calls them all."""
        return tuple(device for name in self.order if (device := self.device(name)))

    def arguments(self) -> list[str]:
        """Options for QEMU. The bandwidth is set later, when the files are in place."""
        arguments = []
        for name in self.order:
            arguments += [
                "-drive",
                (
                    f"if=none,id={name},file={self.directory}/{name},format=raw,cache=unsafe,"
                    f"throttling.group={_GROUP},throttling.bps-total={1 << 40}"
                ),
                "-device",
                f"virtio-blk-pci,drive={name},id=dev-{name}",
            ]
        return arguments

    def slow_down(self, monitor: Monitor, pace: float = 1.0) -> None:
        """Give the disks together the scenario's bandwidth from now on.

        Args:
            monitor: QEMU's.
            pace: seconds of the guest's clock in one of ours; the disks go by ours.

        Raises:
            MonitorError: QEMU refuses it, or did something else.
        """
        if not self.order:
            return
        rate = max(round(self.scenario.machine.disk_bytes_s * pace), 1)
        limits = {"bps": rate, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
        for name in self.order:
            monitor.ask("block_set_io_throttle", device=name, group=_GROUP, **limits)
        now = {one["device"]: one["inserted"].get("bps") for one in monitor.ask("query-block")
               if "inserted" in one}  # fmt: skip
        for name in self.order:
            if now.get(name) != rate:
                raise MonitorError(f"the guest's disk {name} can't be slowed down: expected {rate} "
                                   f"bytes/s, QEMU says {now.get(name)}")  # fmt: skip

    def _file_system(self, size: int) -> None:
        path = f"{self.directory}/disk"
        with open(path, "wb") as file:
            file.truncate(size)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", path],
            check=True,
            capture_output=True,
        )
        self.order.append("disk")

    def _swap(self, size: int) -> None:
        """An empty swap area of a usable size, behind the page of its header."""
        pages = size // swap.PAGE
        with open(f"{self.directory}/swap", "wb") as file:
            file.write(swap.header(pages))
            file.truncate((pages + 1) * swap.PAGE)
        self.order.append("swap")
