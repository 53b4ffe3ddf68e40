"""Whether KVM really works here: /dev/kvm may be there and yet run nothing."""

import ctypes
import functools
import mmap
import os
import platform
import select
import subprocess
import time

from oomkit.host.procfs import read_single, stat_fields
from oomkit.real.kernels import Bootable, numbers
from oomkit.real.vmlinux import vmlinux

_RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret."""
_PAUSE_S = 0.1
_TRIES = 20


@functools.cache
def khz() -> int | None:
    """Its frequency; None where it can't be read."""
    if platform.machine() != "x86_64":
        return None
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None  # a hardened host forbids writable code
    code.write(_RDTSC)
    where = ctypes.addressof(ctypes.c_char.from_buffer(code))
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(where)
    before_ns, before = _moment(counter)
    time.sleep(_PAUSE_S)
    after_ns, after = _moment(counter)
    return round((after - before) * 1e6 / (after_ns - before_ns))


def _moment(counter: "ctypes._CFunctionType") -> tuple[float, int]:
    """Time and count of one moment: of several tries the one that took the least time."""
    tries = []
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        count = int(counter())
        after = time.monotonic_ns()
        tries.append((after - before, (before + after) / 2, count))
    _, when, count = min(tries)
    return when, count


QEMU = "qemu-system-x86_64"
_STARTS_CPUS_TOGETHER = (6, 5)
CPU_S = 2.0
"""CPU time by which a KVM that works has long got to the kernel's first words; a busy host only
makes it wait."""
_SETTLE_S = 20.0
_LOOK_S = 0.1
_GREETING = b"Linux version "


def arguments(kernel: Bootable, cpus: int) -> tuple[str, ...]:
    """What makes QEMU use KVM where it works, and its own translator elsewhere.

    Under the translator the guest's clock counts instructions (2 ns each) where it can: when this
    host has other things to do, the guest's clock slows down with its CPU, and what happens in
    it stays the same. Only its disks keep the host's time.

    Args:
        kernel: what is booted. Those before 6.5 start their CPUs one after the other, and wait
            for ever for the second one under such a clock (seen with QEMU 7.2).
        cpus: how many the guest has.
    """
    if kvm_works(kernel.image):
        return ("-accel", "kvm", "-cpu", "host")
    if cpus > 1 and numbers(kernel.release)[:2] < _STARTS_CPUS_TOGETHER:
        return ("-accel", "tcg,thread=multi", "-cpu", "max")
    return ("-accel", "tcg,thread=single", "-cpu", "max", "-icount", "shift=1,sleep=on")


def startable(kernel: Bootable, ram_bytes: int, directory: str) -> str:
    """The file that QEMU is to start; its translator need not unpack what this host can.

    Args:
        kernel: what is booted.
        ram_bytes: of the machine.
        directory: where a file may be put for as long as the guest runs.

    Raises:
        OSError: the kernel can't be read, or the file not be written.
    """
    data = None if kvm_works(kernel.image) else vmlinux(kernel.image, ram_bytes)
    if data is None:
        return kernel.image
    path = f"{directory}/vmlinux"
    with open(path, "wb") as file:
        file.write(data)
    return path


def kernel_parameters(kernel: Bootable, cpus: int) -> tuple[str, ...]:
    """Arguments for the guest's kernel where its clock is this host's."""
    rate = khz() if keeps_our_time(kernel, cpus) and not kvm_works(kernel.image) else None
    return (f"tsc_early_khz={rate}",) if rate is not None else ()


def keeps_our_time(kernel: Bootable, cpus: int) -> bool:
    """Whether a second of the guest is one of ours."""
    return "-icount" not in arguments(kernel, cpus)


@functools.cache
def kvm_works(image: str) -> bool:
    """Boot the kernel for a moment and see whether it says anything.

    A KVM inside another hypervisor may run the firmware and yet fail at the kernel's own
    instructions, at once or in silence.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    process = subprocess.Popen(
        # The guest dies with this process.
        ["setpriv", "--pdeathsig", "KILL",
         QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
         "-accel", "kvm", "-cpu", "host", "-m", "256", "-serial", "stdio",
         "-kernel", image, "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + _SETTLE_S
    try:
        while _GREETING not in said:
            if time.monotonic() > deadline or _cpu_s(process.pid) > CPU_S:
                return False
            if not select.select([process.stdout], [], [], _LOOK_S)[0]:
                continue
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return False
            said += data
        return True
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _cpu_s(pid: int) -> float:
    """CPU time a child has used, with all its threads."""
    fields = stat_fields(read_single(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
