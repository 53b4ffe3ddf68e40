"""What becomes of a guest that hangs, or whose test is killed: nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oomkit.real.kernels import Bootable
from tests.real.guests import HANGS_S, INIT, UML, VARIABLE, boot, needs_guest, why_no_uml
from tests.real.systemd_guest import Image

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
BOOTS = """
import sys
from pathlib import Path
from oomkit.real.kernels import Bootable
from tests.real.guests import boot
boot(Bootable(release="", image=sys.argv[1], modules=None), Path(sys.argv[2]), mib=256)
"""
pytestmark = [pytest.mark.qemu, pytest.mark.timeout(HANGS_S)]


def waits(directory: Path) -> Path:
    """An image whose first process is a shell that waits for a line."""
    made = Image()
    made.file(os.path.realpath("/bin/sh"), INIT)
    path = directory / "initrd"
    path.write_bytes(made.close())
    return path


def processes(directory: Path) -> list[int]:
    """Those of guests whose files lie there."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        if bytes(directory) in words and b"\0-c\0import" not in words:
            found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]


def none_is_left(directory: Path) -> bool:
    end = time.monotonic() + PATIENCE_S
    while processes(directory) and time.monotonic() < end:
        time.sleep(0.1)
    return not processes(directory)


def runs(directory: Path) -> bool:
    """A guest's processes are there."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if len(processes(directory)) > 1:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def kernel() -> Bootable:
    return needs_guest()


def test_one_that_hangs_fails_with_the_end_of_its_console(kernel: Bootable, tmp_path: Path) -> None:
    made = waits(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="did not power off within 10 s") as failed:
        boot(kernel, made, mib=256, ends_s=10.0)
    assert str(failed.value).partition("console ends with:\n")[2].strip()
    assert none_is_left(tmp_path)
    assert os.listdir(tmp_path) == ["initrd"]


def test_one_dies_with_the_test_that_booted_it(kernel: Bootable, tmp_path: Path) -> None:
    made = waits(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", BOOTS, kernel.image, made], cwd=ROOT
    ) as test:  # fmt: skip
        assert runs(tmp_path)
        test.send_signal(signal.SIGKILL)
    assert none_is_left(tmp_path)


def test_another_word_than_the_two_ways_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "kvm")
    with pytest.raises(pytest.fail.Exception, match="OOMKIT_TEST_GUESTS=kvm: expected uml or qemu"):
        needs_guest()


def test_user_mode_linux_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped, with the reason, where guests are QEMU's."""
    if reason := why_no_uml():
        pytest.skip(reason)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert needs_guest().image == UML
    monkeypatch.setenv(VARIABLE, "qemu")
    assert needs_guest().image != UML
