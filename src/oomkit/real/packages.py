"""Debian packages fetched with apt and unpacked to a directory of ours; nothing is installed."""

import errno
import os
import re
import shutil
import struct
import subprocess
import tempfile
from typing import Protocol

from oomkit.files.safely import NotSafeError, expect_directory
from oomkit.real.errors import RealError

MIRROR_VARIABLE = "OOMKIT_DEBIAN_MIRROR"
"""Names a mirror of Debian, up to before ``/debian``; else that of this host's apt is taken."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = (
    "bullseye",
    "bullseye-security",
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "trixie-backports",
)
"""Where Debian's kernels are, from 5.10 to the newest."""


class PackageError(RealError):
    """A package could not be fetched or unpacked; the text says why."""


def cache_directory(kind: str) -> str:
    """Where downloads are saved.

    Args:
        kind: such as ``kernels``, ``daemons`` or ``apt``.
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


class Apt(Protocol):
    """Where packages come from."""

    def names(self, pattern: str) -> list[str]:
        """Packages whose name matches a regular expression."""
        ...

    def download(self, package: str, into: str) -> str:
        """Fetch a package into a directory; returns its path."""
        ...


class HostApt:
    """The suites that this machine's apt knows, as its lists are now."""

    def names(self, pattern: str) -> list[str]:
        """Packages whose name matches a regular expression.

        Raises:
            PackageError: apt failed.
        """
        listed = call(["apt-cache", *self._options(), "pkgnames"])
        return [name for name in listed.splitlines() if re.search(pattern, name)]

    def download(self, package: str, into: str) -> str:
        """Fetch a package with apt, which checks it; returns its path.

        Raises:
            PackageError: apt does not know it, or can't reach it.
        """
        before = set(os.listdir(into))
        call(["apt-get", *self._options(), "download", "-q", package], into)
        new = [name for name in os.listdir(into) if name.endswith(".deb") and name not in before]
        if not new:
            raise PackageError(f"apt-get download {package} brought no package")
        return f"{into}/{new[0]}"

    def _options(self) -> list[str]:
        return []

    def download_whole(self, suite: str, names: tuple[str, ...], into: str) -> list[str]:
        """Fetch packages of a suite, and all they depend on; returns their paths.

        Raises:
            PackageError: apt does not know one, or can't reach it.
        """
        listed = call(
            ["apt-get", *self._options(), "-o", "Dir::State::status=/dev/null", "-t", suite,
             "install", "--no-install-recommends", "--print-uris", "-qq", *names]
        )  # fmt: skip
        files = [line.split()[1] for line in listed.splitlines()]
        wanted = [f"{name.partition('_')[0]}/{suite}" for name in files]
        call(["apt-get", *self._options(), "download", "-q", *wanted], into)
        return [f"{into}/{name}" for name in sorted(os.listdir(into)) if name.endswith(".deb")]


class SuitesApt(HostApt):
    """Suites of Debian in an apt of their own: its lists and cache are ours.

    What is installed here, this machine's sources and its lists stay as they are. Each suite's
    index must be signed by a key of Debian's archive keyring.

    Args:
        suites: by name; those that have kernels if not told.
        kind: the directory of the cache that gets lists.
    """

    def __init__(self, suites: tuple[str, ...] = SUITES, kind: str = "apt") -> None:
        self._suites = suites
        self._directory = cache_directory(kind)
        self._updated = False

    def _options(self) -> list[str]:
        here = self._directory
        options = {
            "Dir::Etc::sourcelist": f"{here}/sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": f"{here}/lists",
            "Dir::Cache": f"{here}/cache",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "Acquire::Languages": "none",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
        }
        arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        if not self._updated:
            self._updated = True
            self._update(arguments)
        return arguments

    def _update(self, arguments: list[str]) -> None:
        if not os.path.exists(KEYRING):
            raise PackageError(
                f"{KEYRING}: no such file; the package debian-archive-keyring has it"
            )
        for part in ("lists/partial", "cache/archives/partial"):
            os.makedirs(f"{self._directory}/{part}", exist_ok=True)
        site = mirror()
        with open(f"{self._directory}/sources.list", "w", encoding="ascii") as file:
            for suite in self._suites:
                archive = "debian-security" if suite.endswith("-security") else "debian"
                file.write(f"deb [signed-by={KEYRING}] {site}/{archive} {suite} main\n")
        call(["apt-get", *arguments, "update", "-q"])


def mirror() -> str:
    """The mirror of Debian to ask.

    Raises:
        PackageError: none is named, and apt here knows none.
    """
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return named.rstrip("/")
    for site in call(["apt-get", "indextargets", "--format", "$(SITE)"]).splitlines():
        if site.rstrip("/").endswith("/debian"):
            return site.rstrip("/").removesuffix("/debian")
    raise PackageError(
        f"apt knows no mirror of Debian; name one, up to before /debian, in {MIRROR_VARIABLE}"
    )


def unpack(packages: list[str], directory: str, name: str = "") -> str:
    """Unpack package files together into one directory; returns where.

    Args:
        packages: paths of the files.
        directory: below it.
        name: under this name; empty: that of the first package.

    Raises:
        PackageError: one is no package.
    """
    target = f"{directory}/{name or os.path.basename(packages[0]).split('_', 1)[0]}"
    if not os.path.isdir(target):
        os.makedirs(directory, exist_ok=True)
        _expect_safe(directory)
        partial = tempfile.mkdtemp(dir=directory)
        try:
            for package in packages:
                call(["dpkg-deb", "-x", package, partial])
            os.rename(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
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


_MAGIC = b"\x7fELF\x02"


def is_elf(data: bytes) -> bool:
    """Whether it is a 64-bit ELF file."""
    return data.startswith(_MAGIC)


def loaded_part(path: str) -> bytes:
    """A binary without what is never loaded: symbols and debugging information at its end."""
    with open(path, "rb") as file:
        data = file.read()
    if not is_elf(data):
        return data
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end = offset + size * count
    for i in range(count):
        _, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        end = max(end, start + length)
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)  # no section table any more
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    return bytes(head)


def interpreter(path: str) -> str | None:
    """The dynamic loader a binary names; None: it needs none."""
    with open(path, "rb") as file:
        data = file.read()
    if not is_elf(data):
        return None
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        if kind == 3:
            return data[start : start + length].rstrip(b"\0").decode()
    return None


def libraries(path: str, loader: str, root: str = "") -> list[str]:
    """The shared libraries a binary loads at its start, as its loader finds them.

    Args:
        path: the binary.
        loader: what it names as its loader.
        root: where packages were unpacked that bring loader and libraries; empty: this host.

    Raises:
        OSError: one is missing.
    """
    command = [loader]
    if root:
        at = f"{root}/usr/lib/x86_64-linux-gnu"
        command = [f"{root}/usr{loader}", "--library-path", f"{at}:{at}/systemd"]
    done = subprocess.run([*command, "--list", path], capture_output=True, text=True, check=False)
    found = []
    for line in done.stdout.splitlines():
        name, arrow, rest = line.partition("=>")
        if arrow and "not found" in rest:
            raise OSError(0, f"{name.strip()}, which it needs, is not installed", path)
        word = (rest if arrow else name).split("(")[0].strip()
        if word.startswith("/") and word != loader:
            found.append(word)
    return found
