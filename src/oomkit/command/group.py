"""A memory cgroup for one command: made where that is allowed, removed when it is empty."""

import errno
import os

from oomkit.errors import OomkitError
from oomkit.host.membership import parse_membership
from oomkit.host.mounts import memory_mount, unescape
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "oomkit-exec-"
_SELF = "oomkit"
_COMMAND = "command"
_NO_LIMIT_V1 = "-1"


class LimitError(OomkitError):
    """A limit was asked for and can't be set; the text says why."""


class Group:
    """A memory cgroup as a directory.

    Attributes:
        version: 1 or 2.
        mount: where its hierarchy is mounted.
        path: its path below the mount; ``/`` for the top that is seen.
        made: it was made for the command, and holds nothing else.
        why_not: why none was made; empty where one was.
        above: further groups to be entered or removed with it, the innermost first.
    """

    def __init__(self, version: int, mount: str, path: str) -> None:
        self.version = version
        self.mount = mount
        self.path = path
        self.made = False
        self.why_not = ""
        self.above: list[str] = []
        self.home: str | None = None

    @property
    def directory(self) -> str:
        """Its directory."""
        return self.mount if self.path == "/" else self.mount + self.path

    def way_up(self) -> "Iterator[Group]":
        """It and the groups above it, as far as they are seen."""
        path = self.path
        while True:
            group = Group(self.version, self.mount, path)
            group.made = self.made and path == self.path
            yield group
            if path == "/":
                return
            path = os.path.dirname(path)

    def set(self, name: str, value: str) -> None:
        """Write one of its files.

        Raises:
            OSError: it can't be written.
        """
        write(f"{self.directory}/{name}", value)

    def remove(self) -> bool:
        """Remove it if it was made and is empty; says whether it is gone."""
        if not self.made:
            return True
        if self.home is not None:  # the one that oomkit itself went into
            try:
                write(f"{self.home}/cgroup.procs", "0")
            except OSError:
                return False
        gone = True
        for directory in (self.directory, *self.above):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


def write(path: str, value: str) -> None:
    """Write a file of the kernel's.

    Raises:
        OSError: it can't be written.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def current(proc: str = "/proc") -> Group | None:
    """The memory cgroup that this process is in; None where none is seen."""
    mount = memory_mount(proc)
    if mount is None:
        return None
    version, directory, root = mount
    top = os.fsdecode(unescape(directory))
    if version == 2:
        controllers = read_or_none(f"{top}/cgroup.controllers") or b""
        if b"memory" not in controllers.split():
            return None
    path = parse_membership(read_or_none(f"{proc}/self/cgroup") or b"", version)
    shown = os.fsdecode(unescape(root))
    if shown.startswith("/.."):
        return None  # the mount is that of an outer namespace, in which this one's place is unknown
    if shown != "/":
        below = os.path.relpath(path, shown)
        path = "/" if below == "." else f"/{below}"
    if path.startswith("/.."):
        return None
    group = Group(version, top, path)
    if version == 2:
        # A group without the controller is counted with the nearest above that has it.
        while group.path != "/" and not os.path.exists(f"{group.directory}/memory.current"):
            group = Group(version, top, os.path.dirname(group.path))
    return group if os.path.isdir(group.directory) else None


def own_group(now: Group | None, limit: int | None, swap: int | None) -> Group | None:
    """Make a cgroup for a command, or say in the present one why there is none.

    Args:
        now: the present one.
        limit: the most memory it may use, in bytes; None: no limit.
        swap: the most swap, in bytes; None: no limit.

    Raises:
        LimitError: a limit is asked for and can't be set.
    """
    if now is None:
        if limit is not None or swap is not None:
            raise LimitError("no memory cgroup is seen here, so there is nothing to limit")
        return None
    made = _make(now)
    if not made.made:
        if limit is not None or swap is not None:
            raise LimitError(f"no cgroup can be made for the command: {made.why_not}")
        return made
    try:
        _limit(made, limit, swap)
    except OSError as error:
        made.remove()
        raise LimitError(f"{error.filename}: {error.strerror}") from None
    return made


def _make(now: Group) -> Group:
    name = f"{PREFIX}{os.getpid()}"
    _sweep(now.directory)
    if now.version == 1 or _is_real_root(now):
        return _child(now, name)
    delegated = _leaf_pair(now, name)
    if delegated.made:
        return delegated
    beside = _beside(now, name)
    if beside is not None and beside.made:
        return beside
    return delegated


def _is_real_root(now: Group) -> bool:
    return now.path == "/" and not os.path.exists(f"{now.directory}/cgroup.type")


def _child(now: Group, name: str) -> Group:
    group = Group(now.version, now.mount, f"{now.path.rstrip('/')}/{name}")
    try:
        if now.version == 2:
            now.set("cgroup.subtree_control", "+memory")
        os.mkdir(group.directory)
    except OSError as error:
        return _not(now, error)
    group.made = True
    return group


def _leaf_pair(now: Group, name: str) -> Group:
    """Two groups below a delegated one that holds this process alone.

    A group of version 2 has either processes or groups with controllers below it
    (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"), so oomkit moves
    into one of them, and back when the command has ended.
    """
    procs = read_or_none(f"{now.directory}/cgroup.procs")
    if procs is None or set(procs.split()) - {b"%d" % os.getpid()}:
        group = Group(now.version, now.mount, now.path)
        group.why_not = f"{now.path} holds other processes, and is not delegated for groups below"
        return group
    base = f"{now.directory}/{name}"
    try:
        os.mkdir(base)
    except OSError as error:
        return _not(now, error)
    group = Group(now.version, now.mount, f"{now.path.rstrip('/')}/{name}/{_COMMAND}")
    group.home, group.made = now.directory, True
    group.above = [f"{base}/{_SELF}", base]
    try:
        os.mkdir(f"{base}/{_SELF}")
        write(f"{base}/{_SELF}/cgroup.procs", "0")
        now.set("cgroup.subtree_control", "+memory")
        write(f"{base}/cgroup.subtree_control", "+memory")
        os.mkdir(group.directory)
    except OSError as error:
        group.remove()
        return _not(now, error)
    return group


def _beside(now: Group, name: str) -> Group | None:
    """One beside the present, where no limit of this one would be left behind."""
    if now.path == "/" or _limited(now):
        return None
    above = Group(now.version, now.mount, os.path.dirname(now.path))
    control = read_or_none(f"{above.directory}/cgroup.subtree_control") or b""
    if b"memory" not in control.split():
        return None
    group = Group(now.version, now.mount, f"{above.path.rstrip('/')}/{name}")
    _sweep(above.directory)
    try:
        os.mkdir(group.directory)
    except OSError as error:
        return _not(now, error)
    group.made = True
    return group


def _limited(now: Group) -> bool:
    for name in ("memory.max", "memory.high", "memory.swap.max"):
        data = read_or_none(f"{now.directory}/{name}")
        if data is not None and data.strip() != b"max":
            return True
    return False


def _not(now: Group, error: OSError) -> Group:
    group = Group(now.version, now.mount, now.path)
    group.why_not = f"{now.path}: {error.strerror or errno.errorcode.get(error.errno or 0, '')}"
    return group


def _limit(group: Group, limit: int | None, swap: int | None) -> None:
    if group.version == 2:
        if limit is not None:
            group.set("memory.max", str(limit))
        if swap is not None and os.path.exists(f"{group.directory}/memory.swap.max"):
            group.set("memory.swap.max", str(swap))
        return
    if limit is not None:
        group.set("memory.limit_in_bytes", str(limit))
    if swap is not None:
        base = limit if limit is not None else _NO_LIMIT_V1
        both = base if isinstance(base, str) else str(base + swap)
        if os.path.exists(f"{group.directory}/memory.memsw.limit_in_bytes"):
            if isinstance(base, str):
                raise LimitError("version 1 limits swap with memory only: give --limit as well")
            group.set("memory.memsw.limit_in_bytes", both)


def _sweep(directory: str) -> None:
    """Remove what commands left whose processes have ended since, or whose oomkit was killed."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for path in found:
        pid = path.rpartition("-")[2]
        if pid.isdigit() and os.path.exists(f"/proc/{pid}"):
            continue
        for below in (f"{path}/{_COMMAND}", f"{path}/{_SELF}", path):
            try:
                os.rmdir(below)
            except OSError:
                continue
