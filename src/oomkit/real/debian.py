"""Debian packages fetched with apt and unpacked to a directory of ours; nothing is installed."""

import errno
import os
import shutil
import subprocess
import tempfile

from oomkit.files.safely import NotSafeError, expect_directory
from oomkit.real.errors import RealError


class PackageError(RealError):
    """A package could not be fetched or unpacked; the text says why."""


def cache_directory(kind: str) -> str:
    """Where what was fetched is kept.

    Args:
        kind: ``kernels`` or ``daemons``.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{base}/oomkit/{kind}"


def need_cache(kind: str) -> None:
    """Make the directory for what is fetched, before anything is.

    Raises:
        PackageError: it can't be made or written to.
    """
    directory = cache_directory(kind)
    try:
        os.makedirs(directory, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise PackageError(
            f"{directory}: {error.strerror}; expected to keep what is fetched there "
            "(XDG_CACHE_HOME names another place)"
        ) from None


def needs(tools: tuple[str, ...], what: str) -> None:
    """Refuse where a tool is missing.

    Raises:
        PackageError: one is.
    """
    for tool in tools:
        if shutil.which(tool) is None:
            raise PackageError(f"{what} needs {tool}")


def download(package: str, into: str) -> str:
    """Fetch a package with apt; returns its path.

    Raises:
        PackageError: apt does not know it, or can't reach it.
    """
    call(["apt-get", "download", "-q", package], into)
    names = [name for name in os.listdir(into) if name.endswith(".deb")]
    if not names:
        raise PackageError(f"apt-get download {package} brought no package")
    return f"{into}/{names[0]}"


def unpack(package: str, directory: str) -> str:
    """Unpack a package file below a directory, under the package's name; returns where.

    Raises:
        PackageError: it is no package.
    """
    target = f"{directory}/{os.path.basename(package).split('_', 1)[0]}"
    if not os.path.isdir(target):
        os.makedirs(directory, exist_ok=True)
        _expect_safe(directory)
        partial = tempfile.mkdtemp(dir=directory)
        call(["dpkg-deb", "-x", package, partial])
        os.rename(partial, target)
    return target


def _expect_safe(directory: str) -> None:
    """Refuse to unpack, as root, what will be run where others could change it."""
    try:
        if os.geteuid() == 0:
            expect_directory(directory)
    except NotSafeError as error:
        raise PackageError(f"{directory}: {error.strerror}") from None


def call(command: list[str], directory: str | None = None) -> str:
    """Run a command; returns what it printed.

    Raises:
        PackageError: it failed.
    """
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        trouble = done.stderr.strip().splitlines() or ["failed"]
        raise PackageError(f"{' '.join(command)}: {trouble[-1]}")
    return done.stdout
