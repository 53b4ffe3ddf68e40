"""``earlyoom:``, ``nohang:`` and ``systemd-oomd:``, followed by nothing, a file or a folder."""

import os
from collections.abc import Callable

from oomkit.policy.peers.earlyoom import read_earlyoom
from oomkit.policy.peers.found import Files, Found, Raw, one_fault
from oomkit.policy.peers.nohang import read_nohang
from oomkit.policy.peers.systemd_oomd import read_oomd
from oomkit.policy.records import Origin

_READERS: dict[str, Callable[..., tuple[Raw, Found]]] = {
    "earlyoom": read_earlyoom,
    "nohang": read_nohang,
    "systemd-oomd": read_oomd,
}
DAEMONS = (*_READERS, "kubelet")
"""Daemons whose configuration can be read as a policy."""
_MACHINE = ("etc", "usr")
"""A folder with one of these is a copy of a machine."""


def parted(name: str) -> tuple[str, str] | None:
    """The daemon and the place of ``DAEMON:PLACE``; None where it is no such name."""
    daemon, colon, where = name.partition(":")
    return (daemon, where) if colon and daemon in DAEMONS else None


def read_peer(daemon: str, where: str, *, trusted: bool = False) -> tuple[Raw, Origin]:
    """A daemon's configuration as a policy file would say it.

    Args:
        daemon: one of :data:`DAEMONS`, but for the kubelet.
        where: empty: this machine's; a file; a folder that holds a copy of a machine (``etc``,
            ``usr``), or the daemon's files; for earlyoom options, too.
        trusted: refuse files that others can change.

    Raises:
        TomlError: something can't be read, or is wrong; it lists all that is.
    """
    root, inside, given = "", where, bool(where)
    if daemon == "earlyoom" and where.startswith("-"):
        pass
    elif where:
        if not os.path.exists(where):
            raise one_fault(where, f"expected a file or folder with {daemon}'s configuration")
        inside = os.path.abspath(where)
        if os.path.isdir(where) and any(os.path.isdir(f"{where}/{one}") for one in _MACHINE):
            root, inside = inside.rstrip("/"), ""
            given = bool(root)
        elif os.path.isdir(where) and daemon != "systemd-oomd":
            inside = _only_file(inside, daemon)
    files = Files(root, trusted=trusted)
    raw, found = _READERS[daemon](files, inside, given=given)
    return raw, found.origin(files.read)


def _only_file(directory: str, daemon: str) -> str:
    """The daemon's file in a folder that is no machine."""
    names = {"earlyoom": ("earlyoom",), "nohang": ("nohang.conf", "nohang-desktop.conf")}[daemon]
    for name in names:
        if os.path.isfile(f"{directory}/{name}"):
            return f"{directory}/{name}"
    raise one_fault(directory, f"expected etc, usr or {' or '.join(names)} in it")
