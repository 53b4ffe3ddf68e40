"""Whether KVM really works here: /dev/kvm may be there and yet run nothing."""

import functools
import os
import subprocess
import time

from oomkit.real import tsc

QEMU = "qemu-system-x86_64"
_SETTLE_S = 0.5


@functools.cache
def arguments() -> tuple[str, ...]:
    """What makes QEMU use KVM where it works, and its own translator elsewhere."""
    if _kvm_works():
        return ("-accel", "kvm", "-cpu", "host")
    return ("-accel", "tcg,thread=multi", "-cpu", "max")


def kernel_parameters() -> tuple[str, ...]:
    """What the guest's kernel has to be told where it is not run by KVM."""
    rate = tsc.khz() if "kvm" not in arguments() else None
    return (f"tsc_early_khz={rate}",) if rate is not None else ()


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
