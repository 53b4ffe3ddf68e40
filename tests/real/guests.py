"""How a guest of systemd's is booted: by User Mode Linux where it works, else by QEMU.

Debian's ``user-mode-linux`` is a kernel that runs as a program: without KVM it is several times as
fast as a machine that QEMU emulates. It has no PSI, and its version is one.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from oomkit.real.kernels import Bootable
from oomkit.real.kvm import QEMU, arguments, kvm_works, startable
from tests.real.played import needs_kernel

VARIABLE = "OOMKIT_TEST_GUESTS"
"""Environment variable that names one of the two ways, ``uml`` or ``qemu``."""
UML = "linux.uml"
_TOOLS = ("setpriv", "unshare", "taskset", "prlimit")
INIT = "/lib/systemd/systemd"
HANGS_S = 3600
"""A test with a guest on a busy host may take this long."""
_ENDS_S = {"uml": 1200.0, "qemu": 3000.0}
"""A guest that has not powered off by then hangs."""
# The first process of a namespace would not die of the signal by which a panic ends it.
_NO_INIT = ("sh", "-c", '"$@"; exit', "sh")
_TAIL = 4000
_MODULES = Path("/usr/lib/uml/modules")
_TRIED_MIB, _TRIED_S = 64, 60.0
_FOR_MEMORY = ("/dev/shm", tempfile.gettempdir())
_ALL = (
    f"quiet panic=-1 rdinit={INIT} systemd.unit=check.target systemd.show_status=false "
    "systemd.log_level=warning console=ttyS0 init_on_alloc=0"
)
_OF_QEMU = (
    "mitigations=off random.trust_cpu=on "
    # An emulated timer is late on a busy host, which is no reason for the kernel to panic.
    "no_timer_check tsc=reliable"
)
# One of its security modules is active, and the initramfs is a tmpfs, as in Debian's other kernels.
_OF_UML = ("security=apparmor", "rootfstype=tmpfs", "con=null", "ssl=null", "ssl0=fd:0,fd:1")


def needs_guest(version: str | None = None) -> Bootable:
    """What ``boot`` boots for a test whose subject is neither QEMU, PSI nor a version.

    Args:
        version: of the kernel that QEMU boots where User Mode Linux does not work; None: any.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", *_ENDS_S):
        pytest.fail(f"{VARIABLE}={asked}: expected uml or qemu")
    if asked != "qemu":
        why_not = why_no_uml()
        if why_not is None:
            (modules,) = _MODULES.iterdir()
            return Bootable(release=modules.name, image=UML, modules=str(modules))
        if asked == "uml":
            pytest.fail(f"{VARIABLE}=uml: {why_not}")
    return needs_kernel(version)


@functools.cache
def why_no_uml() -> str | None:
    """Why no guest of User Mode Linux can be run; None: one was."""
    missing = [name for name in (UML, *_TOOLS) if not shutil.which(name)]
    if missing or not _MODULES.is_dir() or len(list(_MODULES.iterdir())) != 1:
        return f"needs {missing[0] if missing else 'the modules of user-mode-linux'}"
    with tempfile.TemporaryDirectory() as scratch:
        # Without an init it panics, which ends it, once all else works.
        argv = [*_uml(_TRIED_MIB, scratch), "root=/dev/none", "console=ttyS0"]
        output, ended = _run(argv, _TRIED_S, _for_memory(_TRIED_MIB))
    if ended and "No working init found" in output:
        return None
    return f"{UML} does not run here: {output.strip()[-200:]}"


def boot(
    kernel: Bootable,
    made: Path,
    *,
    mib: int = 800,
    own_clock: bool = False,
    disk: Path | None = None,
    ends_s: float | None = None,
) -> str:
    """What the guest writes to its serial line until it powers off.

    Args:
        kernel: what is booted.
        made: the image.
        mib: of memory; that of User Mode Linux is a file without a name, and no larger.
        own_clock: where emulated, its clock counts instructions, so that a busy host changes
            nothing of what happens when; for that it takes twice the CPU time.
        disk: a file that is the guest's disk; None: it has none.
        ends_s: by when it must have powered off, or it hangs and the test fails; None: by when any
            has, on a busy host.
    """
    way = "uml" if kernel.image == UML else "qemu"
    ends_s = _ENDS_S[way] if ends_s is None else ends_s
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        if way == "uml":
            environment = _for_memory(mib)
            drive = [] if disk is None else [f"ubd0={disk}"]
            argv = [*_uml(mib, scratch), f"initrd={made}", *_ALL.split(), *drive]
        else:
            environment = {}
            argv = _qemu(kernel, made, mib, scratch, own_clock=own_clock, disk=disk)
        output, ended = _run(argv, ends_s, environment)
    if not ended:
        pytest.fail(f"the guest did not power off within {ends_s:.0f} s of {way}; "
                    f"its console ends with:\n{output[-_TAIL:]}", pytrace=False)  # fmt: skip
    return output


def _qemu(
    kernel: Bootable, made: Path, mib: int, scratch: str, *, own_clock: bool, disk: Path | None
) -> list[str]:
    drive = [] if disk is None else ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
    return [
        QEMU, "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-m", f"{mib}M", *_processor(kernel, own_clock=own_clock),
        "-kernel", startable(kernel, mib << 20, scratch), "-initrd", str(made),
        "-append", f"{_ALL} {_OF_QEMU}", *drive,
    ]  # fmt: skip


def _processor(kernel: Bootable, *, own_clock: bool) -> tuple[str, ...]:
    """One CPU: KVM's, or emulated, and then without what only costs the emulator time.

    A second CPU would only take that of another guest, which tests run beside this one.
    """
    if own_clock or kvm_works(kernel.image):
        return arguments(kernel, 1)
    slow = ("la57", "pku", "smap", "smep", "umip")
    cpu = ",".join(("max", *(f"{name}=off" for name in slow)))
    return ("-accel", "tcg,thread=single", "-cpu", cpu)


def _uml(mib: int, scratch: str) -> list[str]:
    """Its processes are many, and end with the first of a PID namespace.

    They take turns: on one CPU a turn costs a fifth less.
    """
    ordinary = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    cpus = sorted(os.sched_getaffinity(0))
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    cpu = cpus[int(worker) % len(cpus)] if worker.isdigit() else cpus[-1]
    return [
        "unshare", *ordinary, "--pid", "--fork", "--kill-child=KILL", "taskset", "-c", str(cpu),
        "prlimit", "--core=0", *_NO_INIT,
        UML, f"mem={mib}M", "umid=guest", f"uml_dir={scratch}", *_OF_UML,
    ]  # fmt: skip


def _for_memory(mib: int) -> dict[str, str]:
    """Where the file that is its memory has room, and may be executed; it has no name there."""
    for directory in _FOR_MEMORY:
        with contextlib.suppress(OSError):
            found = os.statvfs(directory)
            if found.f_bavail * found.f_frsize > mib << 20 and not found.f_flag & os.ST_NOEXEC:
                return {"TMPDIR": directory}
    pytest.skip(f"needs {mib} MiB in {' or '.join(_FOR_MEMORY)} for a guest's memory")


def _run(argv: list[str], ends_s: float, environment: dict[str, str]) -> tuple[str, bool]:
    """What a guest wrote, and whether it ended by itself in time; afterwards nothing of it is left.

    It dies with this process.
    """
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *argv],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env={**os.environ, **environment}, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            return process.communicate(timeout=ends_s)[0], True
        except subprocess.TimeoutExpired:
            _kill(process)
            return process.communicate()[0], False
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
