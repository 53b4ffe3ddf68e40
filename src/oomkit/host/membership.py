"""Which memory cgroup a process is in, and what its path means."""

from oomkit.host.procfs import text

_UNITS = (".service", ".scope", ".mount", ".swap", ".socket")
_LXC = "lxc.payload."
_ID_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


def parse_membership(data: bytes, version: int | None) -> str:
    """Return the path in ``/proc/PID/cgroup`` that is for the memory controller; ``/`` if none.

    Lines read ``id:controllers:path``; version 2 has id 0 and no controllers. A path may hold
    colons; a line without one is passed over. ``/..`` in front means "outside of this cgroup
    namespace", and " (deleted)" at the end that the group was removed while a process was left
    in it.

    Args:
        data: the text of the file.
        version: interface of the hierarchy; None: whichever has the memory controller.
    """
    unified = "/"
    for line in data.splitlines():
        hierarchy, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        path = path.removesuffix(b" (deleted)")
        if not path.startswith(b"/"):
            continue  # of no cgroup
        if b"memory" in controllers.split(b",") and version != 2:
            return text(path)
        if hierarchy == b"0" and not controllers and version != 1:
            unified = text(path)
    return unified


def manager_root(init: str) -> str:
    """The cgroup below which the system's manager keeps its units, by that of process 1.

    Empty for the top; in a container without a cgroup namespace it is the container's.
    """
    return init.removesuffix("/init.scope").rstrip("/")


def unit_of(path: str, root: str = "") -> str | None:
    """The unit of the system's manager that a cgroup is, or is inside of; None: none.

    The first component that names a unit is one of the system's manager. All below that is in
    other hands: of a user's own manager (``user@1000.service``), of a container's, of what the
    unit delegates to. Its last unit follows after a slash, so that none can pass for a unit of
    the system by calling a unit of their own so. Below a container that is no unit (as Docker
    and LXC make them without systemd) units are written after its name in the same way.

    Args:
        path: the cgroup.
        root: where the system's manager keeps its units.
    """
    outer = inner = None
    for part in _below(path, root).split("/"):
        is_unit = part.endswith(_UNITS)
        if outer is None:
            if is_unit or _container(part) is not None:
                outer = part
        elif is_unit:
            inner = part
    if outer is None or (inner is None and not outer.endswith(_UNITS)):
        return None
    return outer if inner is None else f"{outer}/{inner}"


def _below(path: str, root: str) -> str:
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _container(part: str) -> str | None:
    """The container that a component of a path names."""
    if part.startswith(_LXC):
        return part.removeprefix(_LXC)
    word = part.removesuffix(".scope").rpartition("-")[2]
    return word if len(word) == _ID_LENGTH and _HEX.issuperset(word) else None


def container_of(path: str, root: str = "") -> str | None:
    """The container that a cgroup belongs to.

    Docker, containerd, CRI-O and Podman all put the 64 hexadecimal digits of its id into the
    last component that has one, alone or as ``docker-ID.scope``, ``cri-containerd-ID.scope``;
    LXC writes ``lxc.payload.NAME``. One inside of a user's session, where the user makes the
    names, follows after the session's unit and a slash.

    Args:
        path: the cgroup.
        root: where the system's manager keeps its units.
    """
    parts = _below(path, root).split("/")
    user = next((part for part in parts if part.startswith("user@")), None)
    before = f"{user}/" if user is not None and user.endswith(".service") else ""
    found = next(filter(None, map(_container, reversed(parts))), None)
    return None if found is None else before + found
