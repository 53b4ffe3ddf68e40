"""Whether KVM really works here: /dev/kvm may be there and yet run nothing."""

import functools
import os
import subprocess
import time

from oomkit.real import tsc
from oomkit.real.kernels import numbers

QEMU = "qemu-system-x86_64"
_STARTS_CPUS_TOGETHER = (6, 5)
_SETTLE_S = 0.5


def arguments(release: str, cpus: int) -> tuple[str, ...]:
    """What makes QEMU use KVM where it works, and its own translator elsewhere.

    Under the translator the guest's clock counts instructions (2 ns each) where it can: when this
    host has other things to do, the guest's clock slows down with its CPU, and what happens in
    it stays the same. Only its disks keep the host's time.

    Args:
        release: of the kernel. Those before 6.5 start their CPUs one after the other, and wait
            for ever for the second one under such a clock (seen with QEMU 7.2).
        cpus: how many the guest has.
    """
    if _kvm_works():
        return ("-accel", "kvm", "-cpu", "host")
    if cpus > 1 and numbers(release)[:2] < _STARTS_CPUS_TOGETHER:
        return ("-accel", "tcg,thread=multi", "-cpu", "max")
    return ("-accel", "tcg,thread=single", "-cpu", "max", "-icount", "shift=1,sleep=on")


def kernel_parameters(release: str, cpus: int) -> tuple[str, ...]:
    """What the guest's kernel has to be told where its clock is this host's."""
    rate = tsc.khz() if keeps_our_time(release, cpus) and not _kvm_works() else None
    return (f"tsc_early_khz={rate}",) if rate is not None else ()


def keeps_our_time(release: str, cpus: int) -> bool:
    """Whether a second of the guest is one of ours."""
    return "-icount" not in arguments(release, cpus)


@functools.cache
def _kvm_works() -> bool:
    """Run the firmware for a moment and see whether it is still running then."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    process = subprocess.Popen(
        [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm",
         "-cpu", "host", "-m", "32", "-monitor", "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    time.sleep(_SETTLE_S)
    try:
        answer, _ = process.communicate("info status\nquit\n", timeout=10)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        process.kill()
        process.communicate()
        return False
    return "VM status: running" in answer
