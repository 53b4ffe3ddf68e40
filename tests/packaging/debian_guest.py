"""A guest with a Debian of its own, systemd first, into which packages are installed."""

import fcntl
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from oomkit.real import packages
from oomkit.real.initramfs import Archive

SUITES = ("bookworm", "trixie")
CONTAINERS = (
    "busybox-static", "containerd", "containernetworking-plugins", "crun", "dbus", "iproute2",
    "kmod", "podman", "runc",
)  # fmt: skip
"""Packages of a suite that runs containers."""
_INCLUDE = "systemd,systemd-sysv,python3"
_LEFT_OUT = (
    "usr/share/locale/", "usr/share/doc/", "usr/share/i18n/", "usr/share/zoneinfo/",
    "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/x86_64-linux-gnu/perl-base/unicore/",
    "usr/share/man/", "usr/libexec/podman/podman-testing",
    "usr/bin/containerd-shim-runc-v1", "var/lib/apt/lists/", "var/cache/",
    # Each time units are read, systemd runs all of these, which find nothing in such a guest.
    "usr/lib/systemd/system-generators/",
)  # fmt: skip
_NETWORKS = ("usr/lib/cni/host-local", "usr/lib/cni/loopback", "usr/lib/cni/ptp")
"""Of the many large programs that lie there."""
_FETCHES_S = 900
_SERVICE = """
[Service]
ExecStart=/usr/bin/python3 /check.py
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
"""
_TARGET = """
[Unit]
Requires=basic.target check.service
After=basic.target
"""


def root_file_system(suite: str, more: tuple[str, ...] = ()) -> Path:
    """A tar of a suite, with more packages if named, made once and kept; skips where none can be
    made.
    """
    name = "-".join((suite, *more)) if more else suite
    cache = Path(packages.cache_directory("roots"))
    wanted = cache / f"{name}.tar"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run side by side
        if not wanted.exists():
            _make(suite, more, wanted)
    return wanted


def _make(suite: str, more: tuple[str, ...], wanted: Path) -> None:
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip("needs root and mmdebstrap to make a root file system of Debian")
    try:
        mirror = packages.mirror()
    except packages.PackageError as error:
        pytest.skip(str(error))
    partial = wanted.with_suffix(".partial.tar")
    include = ",".join((_INCLUDE, *more))
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", suite, partial,
         f"{mirror}/debian"],
        stderr=subprocess.PIPE, timeout=_FETCHES_S, check=False,
    )  # fmt: skip
    if done.returncode:
        partial.unlink(missing_ok=True)
        told = done.stderr.decode(errors="replace").strip()[-200:]
        pytest.skip(f"mmdebstrap made no root file system: {told}")
    partial.rename(wanted)


def with_package(root: Path, package: Path, scratch: Path) -> Path:
    """A tar of a root file system into which dpkg has installed a package.

    By the root file system's own tools, as its maintainer scripts compile for its own Python, which
    takes an emulated CPU minutes.

    Args:
        root: the root file system.
        package: what is installed.
        scratch: a directory for both.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root to install a package into a root file system")
    tree, made = scratch / "root", scratch / "root.tar"
    tree.mkdir()
    subprocess.run(["tar", "-xf", root, "-C", tree], check=True)
    done = subprocess.run(
        ["dpkg", f"--root={tree}", "--force-unsafe-io", "-i", package],
        capture_output=True, text=True, check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(["tar", "-cf", made, "-C", tree, "."], check=True)
    shutil.rmtree(tree)
    return made


def image(root: Path, check: Path, files: dict[str, tuple[int, bytes]]) -> bytes:
    """The suite as an initramfs.

    Args:
        root: its root file system.
        check: what runs as a service, its output going to the serial line.
        files: more files by path: their modes and what they hold.
    """
    archive = Archive()
    with tarfile.open(root) as tar:
        hard: dict[str, tuple[int, bytes]] = {}
        for member in tar:
            name = member.name.removeprefix("./")
            if name in ("", ".") or name.startswith(_LEFT_OUT) or member.isdev():
                continue
            if name.startswith("usr/lib/cni/") and name not in _NETWORKS:
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
    every = {
        "/check.py": (0o644, check.read_bytes()),
        "/etc/systemd/system/check.service": (0o644, _SERVICE.encode()),
        "/etc/systemd/system/check.target": (0o644, _TARGET.encode()),
        **files,
    }
    for path, (mode, data) in every.items():
        archive.add(path.lstrip("/"), 0o100000 | mode, data)
    return archive.close()


def facts(output: str) -> dict[str, Any]:
    """Names and facts of the lines a check said; the console's own codes may stand before one."""
    marks = (line.partition('["') for line in output.splitlines())
    return dict(json.loads(mark + rest) for _, mark, rest in marks if mark)
