"""The guest's disks: one for files, one for swap, sharing the scenario's bandwidth."""

import json
import socket
import subprocess

from oomkit.real.agent import swap
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

    def slow_down(self, control: socket.socket) -> None:
        """Give the disks the scenario's bandwidth from now on."""
        if not self.order:
            return
        rate = round(self.scenario.machine.disk_bytes_s)
        limits = {"bps": rate, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
        _ask(control, {"execute": "qmp_capabilities"})
        name = f"dev-{self.order[0]}"
        _ask(control, {"execute": "block_set_io_throttle",
                       "arguments": {"id": name, "group": _GROUP, **limits}})  # fmt: skip

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


def _ask(control: socket.socket, command: dict[str, object]) -> None:
    control.settimeout(10)
    control.sendall(json.dumps(command).encode() + b"\n")
    data = b""
    while b'"return"' not in data and b'"error"' not in data:
        piece = control.recv(4096)
        if not piece:
            return
        data += piece
