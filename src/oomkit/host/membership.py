"""Which memory cgroup a process is in, and what its path tells."""

from oomkit.host.procfs import text

_UNITS = (".service", ".scope", ".mount", ".swap", ".socket")
_ID_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


def parse_membership(data: bytes, version: int | None) -> str:
    """Return the path in ``/proc/PID/cgroup`` that is for the memory controller; ``/`` if none.

    Lines read ``id:controllers:path``; version 2 has id 0 and no controllers. A path may hold
    colons. ``/..`` in front means "outside of this cgroup namespace", and " (deleted)" at the
    end that the group was removed while somebody was left in it.

    Args:
        data: the text of the file.
        version: interface of the hierarchy; None: whichever has the memory controller.
    """
    unified = "/"
    for line in data.splitlines():
        hierarchy, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        path = path.removesuffix(b" (deleted)")
        if b"memory" in controllers.split(b",") and version != 2:
            return text(path)
        if hierarchy == b"0" and not controllers and version != 1:
            unified = text(path)
    return unified


def unit_of(path: str) -> str | None:
    """The systemd unit that a cgroup is, or is inside of: the last component that names one."""
    return next((part for part in reversed(path.split("/")) if part.endswith(_UNITS)), None)


def container_of(path: str) -> str | None:
    """The container that a cgroup belongs to.

    Docker, containerd, CRI-O and Podman all put the 64 hexadecimal digits of its id into the
    last component that has one, alone or as ``docker-ID.scope``, ``cri-containerd-ID.scope``;
    LXC writes ``lxc.payload.NAME``.
    """
    for part in reversed(path.split("/")):
        if part.startswith("lxc.payload."):
            return part.removeprefix("lxc.payload.")
        word = part.removesuffix(".scope").rpartition("-")[2]
        if len(word) == _ID_LENGTH and _HEX.issuperset(word):
            return word
    return None
