"""Play a scenario on a real kernel booted in QEMU."""

import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from typing import Any

import msgspec

from oomkit.real import cgroup_limits as limits
from oomkit.real import disks, kvm
from oomkit.real.cgroup_limits import missing_knobs
from oomkit.real.companion import Companion
from oomkit.real.errors import RealError
from oomkit.real.guest_plan import groups_of, needs_disk, plan_of
from oomkit.real.initramfs import initramfs
from oomkit.real.kernels import Bootable, has_memcg_v1, has_zswap
from oomkit.real.kills import stamped
from oomkit.real.monitor import Monitor, MonitorClosedError
from oomkit.real.observe import Observation
from oomkit.real.pace import Pace
from oomkit.real.run_record import Played, as_found, assemble
from oomkit.real.static_agent import agent
from oomkit.real.workdir import scratch
from oomkit.scenario.format import Machine, Scenario

BOOT_S = 300.0
"""How long a guest may take to be ready; without KVM ten seconds are usual on an idle host."""

_BOOTS = 3
_TRIPPED = b"Kernel panic - not syncing: Fatal exception"
"""Under QEMU's translator a kernel trips over itself in one of some dozens of boots: try again."""

_SLACK_S = 20.0

_CLOCK_SLACK_S, _CLOCK_SHARE = 1.0, 0.05
"""How far the guest's clock may be from ours."""

_AT_ONCE_S = 1.0
"""A daemon that has ended by then did not start at all."""

_MARK = "oomkit: start "
_WORLD = "on a booted kernel"
_COMMAND_LINE = (
    "console=ttyS0 loglevel=7 panic=-1 rootfstype=ramfs psi=1 "
    "mitigations=off no_timer_check tsc=reliable random.trust_cpu=on"
)


class QemuError(RealError):
    """The guest could not be brought up; the text says what it ran into."""


def why_not() -> str:
    """Why no kernel can be booted on this machine; empty if one can."""
    if os.uname().machine != "x86_64":
        return "the guest runs this host's Python, and its kernels are x86-64"
    for tool in (kvm.QEMU, "mkfs.ext4", "setpriv"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return ""


def refusals(scenario: Scenario, kernel: Bootable) -> list[str]:
    """Why a scenario can't be played on a booted kernel; empty if it can."""
    reasons = limits.for_guest(scenario)
    reasons += missing_knobs(groups_of(scenario, 1), scenario.at, 1)
    reasons += missing_knobs(groups_of(scenario, 2), scenario.at, 2)
    if groups_of(scenario, 1) and not has_memcg_v1(kernel):
        reasons.append(f"{kernel.release} was built without v1 memory cgroups (CONFIG_MEMCG_V1)")
    if scenario.machine.zswap and not has_zswap(kernel):
        reasons.append(f"{kernel.release} was built without zswap (CONFIG_ZSWAP)")
    if kernel.modules is None and "-cloud-" in kernel.release and needs_disk(scenario):
        reasons.append(f"{kernel.release} is here without its modules, and its disk drivers are "
                       "modules")  # fmt: skip
    if missing := why_not():
        reasons.append(missing)
    return reasons


def play(
    scenario: Scenario,
    kernel: Bootable,
    *,
    seed: int = 0,
    companion: Companion | None = None,
    beats: bool = False,
    measured: bool = False,
) -> Played:
    """Boot a kernel and play a scenario on it.

    A panic, a hang and a time-out are results; that the guest never came up is an error.

    Args:
        scenario: RAM, swap, CPUs and disk are the guest's.
        kernel: what to boot.
        seed: moves only what the scenario declares as random.
        companion: what is to run in the guest beside the scenario.
        beats: measure reactions: heartbeats, signals, and when memory is low.
        measured: measure what faults, reads and swapping cost, before the start.

    Raises:
        NotHereError: no kernel can show this scenario, or none can be booted here.
        QemuError: the guest did not come up, or the agent in it failed.
    """
    if reasons := refusals(scenario, kernel):
        raise limits.NotHereError(_WORLD, reasons)
    for left in reversed(range(_BOOTS)):
        with scratch(tempfile.gettempdir()) as directory:
            guest = _Guest(
                scenario, kernel, directory, seed, companion, beats=beats, measured=measured
            )
            try:
                return guest.run()
            except QemuError:
                if not left or guest.seen.ready or _TRIPPED not in guest.console:
                    raise
            finally:
                guest.stop()
    raise AssertionError("the last boot returns or raises")


def _zswap(machine: Machine) -> tuple[str, ...]:
    """Kernel parameters; without the first zswap is as the kernel was built."""
    if not machine.zswap:
        return ("zswap.enabled=0",)
    return ("zswap.enabled=1", f"zswap.max_pool_percent={machine.zswap_max_pool_percent}")


class _Guest:
    """One boot."""

    def __init__(
        self,
        scenario: Scenario,
        kernel: Bootable,
        directory: str,
        seed: int,
        companion: Companion | None,
        *,
        beats: bool,
        measured: bool,
    ) -> None:
        self.scenario = scenario
        self.beats = beats
        self.companion = companion
        self.kernel = kernel
        self.directory = directory
        self.seen = Observation()
        self.console = bytearray()
        self.drives = disks.Disks(directory, scenario)
        self.own_clock = not kvm.keeps_our_time(kernel, scenario.machine.cpus)
        self.plan = plan_of(
            scenario,
            self.drives,
            seed,
            companion,
            beats=beats,
            own_clock=self.own_clock,
            measured=measured,
        )
        self.heard_s = [0.0, 0.0]
        self.process: subprocess.Popen[bytes] | None = None
        self.sockets: list[socket.socket] = []
        self.pace = Pace()
        self.slowed = False

    def run(self) -> Played:
        """Boot, play, and make the record."""
        self.seen.player = agent()
        with open(f"{self.directory}/initrd", "wb") as file:
            zram = self.scenario.machine.zram_bytes > 0
            modules = self.kernel.modules or ""
            file.write(initramfs(self.plan, modules, self.companion, zram=zram))
        self._start()
        silent = self._listen()
        if self.seen.t0 is None:
            raise QemuError(self._why_not_up())
        if self.seen.faults:
            raise QemuError("in the guest: " + "; ".join(dict.fromkeys(self.seen.faults)))
        if self.seen.daemon_end is not None and self.seen.daemon_end[0] < _AT_ONCE_S:
            raise QemuError(self._why_no_daemon(self.seen.daemon_end[1]))
        if silent is None and kvm.keeps_our_time(self.kernel, self.scenario.machine.cpus):
            self._compare_clocks()
        text = self.console.decode("utf-8", "replace").replace("\r", "")
        run = assemble(
            self.scenario,
            self.seen,
            stamped(text, _MARK),
            on="qemu",
            release=self.kernel.release,
            silent_s=silent,
            killer=self.companion.name if self.companion is not None else None,
            beats=self.beats,
            pace=self.pace.mean if self.own_clock else 1.0,
        )
        found = as_found(self.scenario, self.seen.found, whole=True)
        machine = msgspec.structs.replace(found.machine, kernel=self.kernel.release)
        return Played(
            run=run,
            scenario=msgspec.structs.replace(found, machine=machine),
            total_mb=self.seen.found.total_mb if self.seen.found else 0.0,
        )

    def stop(self) -> None:
        """Take the guest down, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            self.process.stdout.close()
            self.process.stderr.close()
        for end in self.sockets:
            end.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        control, monitor = socket.socketpair()
        self.sockets = [ours, control]
        self.monitor = Monitor(control)
        machine = self.scenario.machine
        command = [
            # The guest dies with this process.
            "setpriv", "--pdeathsig", "KILL",
            kvm.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            *kvm.arguments(self.kernel, machine.cpus),
            "-m", str(machine.ram_bytes >> 20), "-smp", str(machine.cpus),
            "-kernel", kvm.startable(self.kernel, machine.ram_bytes, self.directory),
            "-initrd", f"{self.directory}/initrd",
            "-append", " ".join((_COMMAND_LINE, f"rdinit={self._process_1()}",
                                 f"transparent_hugepage={machine.thp}", *_zswap(machine),
                                 *kvm.kernel_parameters(self.kernel, machine.cpus))),
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=channel,fd={theirs.fileno()}",
            "-device", "virtserialport,chardev=channel,name=oomkit",
            "-chardev", f"socket,id=control,fd={monitor.fileno()}",
            "-mon", "chardev=control,mode=control",
            *self.drives.arguments(),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(), monitor.fileno()),
            start_new_session=True,
        )
        theirs.close()
        monitor.close()

    def _process_1(self) -> str:
        return (self.companion.process_1 if self.companion is not None else "") or "/init"

    def _listen(self) -> float | None:
        """Gather what the guest says until it is over; returns when it was given up for hung."""
        assert self.process is not None
        assert self.process.stdout is not None
        console = self.process.stdout.fileno()
        channel = self.sockets[0]
        began = time.monotonic()
        deadline = began + BOOT_S
        open_fds: list[Any] = [console, channel]
        started: float | None = None
        while open_fds and not self.seen.done and not self.seen.faults:
            left = deadline - time.monotonic()
            if left <= 0:
                return None if started is None else self.scenario.duration_s + _SLACK_S
            heard = self.seen.last_s
            for ready in select.select(open_fds, [], [], min(left, 1.0))[0]:
                if not self._take(ready, console):
                    open_fds.remove(ready)
            if self.seen.ready and not self.slowed:
                self.slowed = True
                self.drives.slow_down(self.monitor, self.pace.now)
                channel.send(b"g")
            if started is None and self.seen.t0 is not None:
                started = self.heard_s[0] = time.monotonic()
                heard = -1.0
            if started is not None and self.seen.last_s > heard:
                # Its clock may go slower than ours; a hang is recognised by silence.
                deadline = time.monotonic() + self._left_s() + _SLACK_S
            if console not in open_fds:
                break
        return None

    def _left_s(self) -> float:
        """What is left of the scenario's duration on the guest's clock."""
        return max(self.scenario.duration_s - self.seen.last_s, 0.0)

    def _take(self, ready: Any, console: int) -> bool:
        data = os.read(console, 1 << 16) if ready == console else ready.recv(1 << 16)
        if ready == console:
            self.console += data
        elif data:
            self.seen.push(data)
            self.heard_s[1] = time.monotonic()
            self._keep_pace(self.heard_s[1])
        return bool(data)

    def _keep_pace(self, now_s: float) -> None:
        """Slow the disks down with the guest's clock, as soon as it reports that all the time."""
        if not self.own_clock:
            return
        changed = self.pace.note(self.seen.stamp_s, now_s)
        if not self.seen.ticks:
            self.pace.begin()
        elif changed:
            self._slow_down()

    def _slow_down(self) -> None:
        if self.seen.done:
            return
        try:
            self.drives.slow_down(self.monitor, self.pace.now)
        except MonitorClosedError:
            return  # the guest has panicked: its console will say so

    def _compare_clocks(self) -> None:
        """Refuse a run whose seconds are none.

        The guest's kernel measures its clock's speed at boot; on a busy host it can be far off.

        Raises:
            QemuError: it was.
        """
        here, there = self.heard_s[1] - self.heard_s[0], self.seen.last_s
        if abs(there - here) > _CLOCK_SLACK_S + _CLOCK_SHARE * here:
            raise QemuError(
                f"the guest's clock counted {there:.1f} s in {here:.1f} s; this host was too busy "
                f"when it booted. Play it again"
            )

    def _why_no_daemon(self, code: int) -> str:
        assert self.companion is not None
        said = [text for _, text in self.seen.daemon if text.strip()]
        last = f": {said[-1]}" if said else ""
        return f"in the guest {self.companion.name} ended at once with status {code}{last}"

    def _why_not_up(self) -> str:
        assert self.process is not None
        assert self.process.stderr is not None
        if self.seen.faults:
            return f"the guest could not be made ready: {'; '.join(self.seen.faults)}"
        self.process.kill()
        trouble = self.process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        said = self.console.decode("utf-8", "replace").strip().splitlines()
        panic = [line for line in said if "Kernel panic" in line]
        last = (panic[:1] or said[-1:] or trouble[-1:] or ["it said nothing"])[0].strip()
        return f"{self.kernel.release} did not come up: {last}"
