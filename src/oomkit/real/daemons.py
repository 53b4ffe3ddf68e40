"""User-space OOM killers that can run in a guest beside a scenario."""

import os
import tempfile
from collections.abc import Callable

import msgspec

from oomkit.real import debian
from oomkit.real.companion import Companion
from oomkit.real.errors import RealError


class NoDaemonError(RealError):
    """No daemon of that name is here; the text says where was looked."""


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A peer as its package ships it.

    Attributes:
        name: of it and its package.
        program: its path where it is installed.
        companion: from where the package's files are (``/`` or an unpacked package) to what a
            guest needs.
    """

    name: str
    program: str
    companion: Callable[[str], Companion]


def _earlyoom(root: str) -> Companion:
    """As its unit starts it: no options but the distance of its reports."""
    return Companion(
        name="earlyoom",
        command=("/usr/bin/earlyoom", "-r", "3600"),
        files={"/usr/bin/earlyoom": f"{root}/usr/bin/earlyoom"},
        ready="mem avail:",
    )


def _nohang(root: str) -> Companion:
    """As its unit starts it, with the configuration for servers that the package installs."""
    config = "/etc/nohang/nohang.conf"
    return Companion(
        name="nohang",
        command=("/usr/bin/python3", "-SI", "/usr/sbin/nohang", "--monitor", "--config", config),
        files={"/usr/sbin/nohang": f"{root}/usr/sbin/nohang", config: f"{root}{config}"},
        modules=(
            "os", "ctypes", "time", "operator", "sys", "re", "sre_constants", "signal", "random",
            "logging", "threading", "shlex", "subprocess",
        ),
        ready="Monitoring has started",
    )  # fmt: skip


PEERS = {
    peer.name: peer
    for peer in (
        Daemon(name="earlyoom", program="/usr/bin/earlyoom", companion=_earlyoom),
        Daemon(name="nohang", program="/usr/sbin/nohang", companion=_nohang),
    )
}


def find(name: str) -> Companion:
    """The companion of a peer's name: what is installed, else what was fetched.

    Raises:
        NoDaemonError: there is none of that name, or it is not here.
    """
    peer = PEERS.get(name)
    if peer is None:
        raise NoDaemonError(f"no daemon {name!r}; expected one of {', '.join(PEERS)}")
    root = root_of(peer)
    if root is None:
        raise NoDaemonError(
            f"{name} is not here: neither {peer.program} nor its package in "
            f"{debian.cache_directory('daemons')}; install it, or get Debian's with "
            f"oomkit daemons --fetch {name}"
        )
    return peer.companion(root.rstrip("/"))


def root_of(peer: Daemon) -> str | None:
    """Where a peer's files are: ``/``, the directory it was unpacked to, or nowhere (None)."""
    for root in ("/", f"{debian.cache_directory('daemons')}/{peer.name}"):
        if os.path.isfile(f"{root.rstrip('/')}{peer.program}"):
            return root
    return None


def fetch(name: str) -> str:
    """Download and unpack a peer's Debian package, without installing it; returns where.

    Raises:
        NoDaemonError: there is none of that name.
        PackageError: apt is not here, or failed, or what it brings can't be kept.
    """
    if name not in PEERS:
        raise NoDaemonError(f"no daemon {name!r}; expected one of {', '.join(PEERS)}")
    debian.need_cache("daemons")
    debian.needs(("apt-get", "dpkg-deb"), "fetching Debian's packages")
    with tempfile.TemporaryDirectory(prefix="oomkit-") as directory:
        os.chmod(directory, 0o755)
        package = debian.HostApt().download(name, directory)
        return debian.unpack([package], debian.cache_directory("daemons"))
