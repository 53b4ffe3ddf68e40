"""Kernels that can be booted here: images in /boot, unpacked or downloaded packages."""

import os
import re
import struct
import tempfile
from collections.abc import Iterator

import msgspec

from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.real import packages
from oomkit.real.errors import RealError

PATH_VARIABLE = "OOMKIT_KERNELS"
"""Environment variable with further directories to look in, separated by colons."""

_MAGIC = b"HdrS"


class Bootable(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel that QEMU can boot.

    Attributes:
        release: what its ``uname -r`` prints.
        image: its bzImage.
        modules: directory of its modules; None: it has none (all built in).
    """

    release: str
    image: str
    modules: str | None


class NoKernelError(RealError):
    """No kernel as asked for; the text says where was looked."""


def cache_directory() -> str:
    """Where downloaded kernels are saved."""
    return packages.cache_directory("kernels")


def bootable() -> list[Bootable]:
    """All kernels found, one a release, the newest first."""
    found: dict[str, Bootable] = {}
    for directory in _directories():
        for kernel in _in(directory):
            found.setdefault(kernel.release, kernel)
    return sorted(found.values(), key=lambda k: numbers(k.release), reverse=True)


def find(wanted: str | None, kernel: str) -> Bootable:
    """The kernel to boot.

    Args:
        wanted: path of a bzImage, of a Debian package file or of a directory a package was
            unpacked to; or the beginning of a release; None: what suits the scenario.
        kernel: version the scenario names.

    Raises:
        NoKernelError: there is none.
    """
    if wanted is not None and (os.sep in wanted or not wanted[:1].isdigit()):
        return _at(wanted)
    kernels = bootable()
    for candidate in kernels:
        if wanted is not None and _begins(candidate.release, wanted):
            return candidate
        if wanted is None and _same_version(candidate.release, kernel):
            return candidate
    known = ", ".join(k.release for k in kernels) or "none"
    what = wanted if wanted is not None else kernel
    raise NoKernelError(
        f"no kernel {what} to boot; here is {known}. Name an image or a package by its path with "
        f"--kernel, set {PATH_VARIABLE}, or get Debian's with oomkit kernels --fetch VERSION"
    )


def release_of(image: str) -> str:
    """What ``uname -r`` will print under a bzImage.

    Raises:
        NoKernelError: it is no bzImage.
    """
    try:
        with open(image, "rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise NoKernelError(f"{image}: {error.strerror}") from None
    if head[0x202:0x206] != _MAGIC:
        raise NoKernelError(f"{image}: expected a bzImage, which is what x86 kernels boot from")
    (offset,) = struct.unpack_from("<H", head, 0x20E)
    text = head[offset + 0x200 :].split(b"\0", 1)[0].decode("ascii", "replace")
    return text.split(" ", 1)[0]


def has_memcg_v1(kernel: Bootable) -> bool:
    """Whether it has v1 memory cgroups, by the configuration beside its image.

    From 6.11 on they are an option of their own (``CONFIG_MEMCG_V1``), off in Debian's kernels.
    """
    text = _configuration(kernel)
    return "CONFIG_MEMCG_V1=y" in text or "CONFIG_MEMCG_V1" not in text


def has_zswap(kernel: Bootable) -> bool:
    """Whether it was built with zswap, by the same; Debian's cloud kernels are not."""
    return "CONFIG_ZSWAP is not set" not in _configuration(kernel)


def _configuration(kernel: Bootable) -> str:
    above = os.path.dirname(kernel.image)
    for path in (f"{above}/config-{kernel.release}", f"{above}/config"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:
            continue
    return ""


def fetch(version: str) -> Bootable:
    """Download and unpack Debian's cloud kernel of a version, without installing it.

    What this machine's own apt offers comes first; then the suites of Debian that have kernels, in
    an apt of our own beside it, so that nothing of this machine's changes.

    Args:
        version: such as ``6.12``.

    Raises:
        NoKernelError: no suite has such a package.
        PackageError: apt is not here, or failed, or the download can't be saved.
    """
    packages.need_cache("kernels")
    packages.needs(("apt-get", "apt-cache", "dpkg-deb"), "fetching Debian's kernels")
    for apt in (packages.HostApt(), packages.SuitesApt()):
        releases = _releases(apt, version)
        for place, release in enumerate(releases):
            try:
                return _fetched(apt, release)
            except packages.PackageError:
                # A mirror may have dropped what its index still lists.
                if place + 1 == len(releases):
                    raise
    raise NoKernelError(
        f"Debian's suites have no cloud kernel {version}; looked in what apt here knows, and in "
        + ", ".join(packages.SUITES)
    )


def _releases(apt: packages.Apt, version: str) -> list[str]:
    """The releases of a version that apt knows, the newest first."""
    names = apt.names("^linux-(image|binary)-[0-9].*-cloud-amd64$")
    found = {re.sub(r"^linux-(?:image|binary)-", "", name) for name in names}
    match = [r for r in found if _same_version(r, version) and re.match(r"\d+\.\d+\.\d+", r)]
    return sorted(match, key=numbers, reverse=True)


def _fetched(apt: packages.Apt, release: str) -> Bootable:
    """Fetch one release. From 6.19 on its parts are in packages of their own."""
    known = apt.names(f"^linux-(image|binary|base|modules)-{re.escape(release)}$")
    split = f"linux-binary-{release}" in known
    parts = [n for n in known if not split or not n.startswith("linux-image-")]
    with tempfile.TemporaryDirectory(prefix="oomkit-") as directory:
        os.chmod(directory, 0o755)
        debs = [apt.download(name, directory) for name in sorted(parts)]
        return _at(packages.unpack(debs, cache_directory(), f"linux-image-{release}"))


def _at(path: str) -> Bootable:
    if not os.path.exists(path):
        raise NoKernelError(f"{path}: no such file; expected a bzImage, a package or its directory")
    if os.path.isdir(path):
        for kernel in _in(path):
            return kernel
        raise NoKernelError(f"{path}: expected boot/vmlinuz-* in it")
    if path.endswith(".deb"):
        return _at(packages.unpack([path], cache_directory()))
    return _kernel(path, [os.path.dirname(os.path.dirname(os.path.abspath(path))), "/"])


def _directories() -> Iterator[str]:
    yield from filter(None, os.environ.get(PATH_VARIABLE, "").split(":"))
    yield cache_directory()
    yield "/"


def _in(directory: str) -> Iterator[Bootable]:
    roots = [directory]
    if directory != "/" and os.path.isdir(directory):
        roots += sorted(f"{directory}/{name}" for name in os.listdir(directory))
    for root in roots:
        for image in _images(root.rstrip("/")):
            try:
                yield _kernel(image, [root])
            except NoKernelError:
                continue


def _images(root: str) -> Iterator[str]:
    """Images in /boot; and where a kernel's packages from 6.19 on put them: with its modules."""
    for directory, begin in ((f"{root}/boot", "vmlinuz-"), (f"{root}/usr/lib/modules", "")):
        try:
            names = sorted(os.listdir(directory), reverse=True)
        except OSError:
            continue
        for name in names:
            if begin and name.startswith(begin):
                yield f"{directory}/{name}"
            elif not begin and os.path.isfile(f"{directory}/{name}/vmlinuz"):
                yield f"{directory}/{name}/vmlinuz"


def _kernel(image: str, roots: list[str]) -> Bootable:
    release = release_of(image)
    beside = os.path.dirname(os.path.abspath(image))
    if os.path.isdir(f"{beside}/kernel"):
        return Bootable(release=release, image=image, modules=beside)
    for root in roots:
        for below in ("lib/modules", "usr/lib/modules"):
            modules = f"{root.rstrip('/')}/{below}/{release}"
            if os.path.isdir(f"{modules}/kernel"):
                return Bootable(release=release, image=image, modules=modules)
    return Bootable(release=release, image=image, modules=None)


def _begins(release: str, wanted: str) -> bool:
    """Whether a release begins with these numbers: 6.1 is no beginning of 6.12."""
    rest = release.removeprefix(wanted)
    return release.startswith(wanted) and not rest[:1].isdigit()


def _same_version(release: str, kernel: str) -> bool:
    """Whether the first two numbers are the same: what a scenario means by ``6.12``."""
    try:
        rules_for(kernel)
    except UnknownKernelError:
        return False
    return numbers(release)[:2] == numbers(kernel)[:2]


def numbers(release: str) -> tuple[int, ...]:
    """The numbers of a release to sort by: version, then build."""
    version, _, build = release.partition("-")
    parts = [int(part) for part in re.findall(r"\d+", version)[:3]]
    parts += [0] * (3 - len(parts))
    return (*parts, *(int(part) for part in re.findall(r"^\d+", build)))
