"""A guest with a Debian of its own, systemd first, into which packages are installed."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from oomkit.real import packages
from oomkit.real.initramfs import Archive
from oomkit.real.kernels import Bootable
from tests.real import systemd_guest

SUITES = ("bookworm", "trixie")
_INCLUDE = "systemd,systemd-sysv,python3"
_LEFT_OUT = (
    "usr/share/locale/", "usr/share/doc/", "usr/share/i18n/", "usr/share/zoneinfo/",
    "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/x86_64-linux-gnu/perl-base/unicore/",
    "var/lib/apt/lists/", "var/cache/",
)  # fmt: skip
_FETCHES_S = 900


def root_file_systems() -> dict[str, Path]:
    """A tar of each suite, made once and kept; skips where they can't be made."""
    cache = Path(packages.cache_directory("roots"))
    wanted = {suite: cache / f"{suite}.tar" for suite in SUITES}
    if not all(path.exists() for path in wanted.values()):
        _make(wanted)
    return wanted


def _make(wanted: dict[str, Path]) -> None:
    """Side by side, since they wait for the network."""
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip("needs root and mmdebstrap to make a root file system of Debian")
    try:
        mirror = packages.mirror()
    except packages.PackageError as error:
        pytest.skip(str(error))
    made = []
    for suite, path in wanted.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.tar")
            command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_INCLUDE}"]
            command += [suite, str(partial), f"{mirror}/debian"]
            made.append((path, partial, subprocess.Popen(command, stderr=subprocess.PIPE)))
    faults = []
    for path, partial, process in made:
        _, told = process.communicate(timeout=_FETCHES_S)
        if process.returncode:
            partial.unlink(missing_ok=True)
            faults.append(told.decode(errors="replace").strip()[-200:])
        else:
            partial.rename(path)
    if faults:
        pytest.skip(f"mmdebstrap made no root file system: {faults}")


def image(root: Path, files: dict[str, tuple[int, bytes]]) -> bytes:
    """The suite as an initramfs, with more files by path: their modes and what they hold."""
    archive = Archive()
    with tarfile.open(root) as tar:
        hard: dict[str, tuple[int, bytes]] = {}
        for member in tar:
            name = member.name.removeprefix("./")
            if name in ("", ".") or name.startswith(_LEFT_OUT) or member.isdev():
                continue
            if member.isdir():
                archive.add(name, 0o40000 | member.mode)
            elif member.issym():
                archive.add(name, 0o120777, member.linkname.encode())
            elif member.islnk():
                archive.add(name, *hard[member.linkname.removeprefix("./")])
            else:
                file = tar.extractfile(member)
                assert file is not None
                hard[name] = (0o100000 | member.mode, file.read())
                archive.add(name, *hard[name])
    archive.add("dev/console", 0o20600, device=(5, 1))
    for path, (mode, data) in files.items():
        archive.add(path.lstrip("/"), 0o100000 | mode, data)
    return archive.close()


def boot(kernel: Bootable, made: Path) -> str:
    """What the guest writes to its serial line until it powers off."""
    return systemd_guest.boot(kernel, made, mib=1500, cpu=systemd_guest.fastest(kernel))
