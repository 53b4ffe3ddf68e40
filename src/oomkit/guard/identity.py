"""Names of user ids, kept up to date by the local list of users."""

import os

from oomkit.host.membership import container_of, manager_root, parse_membership, unit_of
from oomkit.host.pidns import is_nested_init, namespace_of
from oomkit.host.procfs import GONE, NO_FILES, pread_pieces, read_single, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oomkit.guard.config import Places
    from oomkit.policy.engine.candidate import Candidate

_PASSWD = "/etc/passwd"


class Users:
    """User ids and their names.

    The plan brings the names that the system knew when the policy was read. A user that is added
    later is found in the local list, which is read again when it is another file, or was
    written; other sources of names are asked when the policy is read again.

    Args:
        names: of the plan.
        path: the local list.

    Attributes:
        names: user id to name.
        is_current: the local list was not changed since it was read; False: it may have been, as
            no more files can be opened.
    """

    __slots__ = ("_fd", "_path", "_seen", "is_current", "names")

    def __init__(self, names: dict[int, str], path: str = _PASSWD) -> None:
        self.names = dict(names)
        self._path = path
        self._fd = -1
        self._seen: tuple[int, int] | None = None
        self.is_current = True

    def refresh(self) -> None:
        """Read the local list if it changed.

        It is kept open, so that seeing that it did not takes no disk: one that was replaced has no
        name any more.
        """
        self.is_current = True
        try:
            found = os.fstat(self._fd) if self._fd >= 0 else None
            if found is not None and found.st_nlink:
                if (found.st_mtime_ns, found.st_size) == self._seen:
                    return
            else:
                fd = os.open(self._path, os.O_RDONLY)
                self.close()
                self._fd = fd
                found = os.fstat(fd)
            text = pread_pieces(self._fd, 1 << 16)
        except OSError as error:
            self.is_current = error.errno not in NO_FILES
            return  # what is known stays
        self._seen = (found.st_mtime_ns, found.st_size)
        for line in reversed(text.splitlines()):  # of several with one number the first counts
            fields = line.split(b":", 3)
            if len(fields) == 4 and fields[2].isdigit():
                self.names[int(fields[2])] = fields[0].decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Close the list."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


CMDLINE_BYTES = 1 << 16
"""So much of a command line is kept while candidates are ranked. Before a signal all is read."""
MAX_CMDLINE_BYTES = 6 << 20
"""No program can be started with longer arguments (_STK_LIM, fs/exec.c), but any process can say
that all of its memory is its command line (PR_SET_MM_MAP). More than this is unknown."""
_DELETED = " (deleted)"
CHANGE = frozenset({"cgroup", "unit", "container", "exe", "cmdline"})
"""What nothing says when it changes."""


class Wanted:
    """What is read of each process.

    Attributes:
        places: where.
        fields: those of a candidate that cost a read of their own and that a pattern asks for.
        users: names of user ids.
        memberships: what the texts of ``cgroup`` say that were read last, by text.
        by_cgroup: who is chosen, or who dies along, depends on cgroups.
        changes: some of it can change without anything that is read at each look saying so.
        whole: read command lines to their end.
        root: the cgroup below which the system's manager keeps its units.
    """

    __slots__ = (
        "by_cgroup",
        "changes",
        "fields",
        "memberships",
        "places",
        "root",
        "users",
        "whole",
    )

    def __init__(
        self,
        places: "Places",
        fields: "frozenset[str]",
        users: "Mapping[int, str]",
        *,
        by_cgroup: bool = False,
        whole: bool = False,
        root: str | None = None,
    ) -> None:
        self.places = places
        self.by_cgroup = by_cgroup
        self.changes = by_cgroup or bool(fields & CHANGE)
        self.fields = fields
        self.users = users
        self.whole = whole
        self.root = units_root(places) if root is None else root
        self.memberships: dict[bytes | None, Membership] = {}


def units_root(places: "Places") -> str:
    """The cgroup below which the system's manager keeps its units.

    Raises:
        OSError: too many files are open.
    """
    first = membership_of(f"{places.proc}/1", places)
    return manager_root(first) if first else ""


Membership = tuple[str | None, str | None, str | None]
"""Cgroup, unit and container."""
_MEMBERSHIPS = 128
"""So many different texts are kept taken apart."""


class Identity:
    """Cgroup, program and command line of a process at one moment.

    Args:
        directory: in ``/proc``: the process's, or that of a living thread of it.
        wanted: what is read.
        text: its ``cgroup``, if that was read just now.
        cmdline_fd: its ``cmdline``; -1: to be opened for this once.

    Attributes:
        membership: cgroup, unit and container, by its ``cgroup``.

    Raises:
        OSError: too many files are open.
    """

    __slots__ = ("_cmdline", "_directory", "_exe", "_unknown", "membership")

    def __init__(
        self,
        directory: str,
        wanted: Wanted,
        text: bytes | None = None,
        cmdline_fd: int = -1,
    ) -> None:
        self._directory = directory
        unknown: list[str] = []
        if text is None:
            text = _cgroup_text(directory)
        # Most processes have a text that another one has, or had just now.
        membership = wanted.memberships.get(text)
        if membership is None:
            path = _membership(text, wanted.places.cgroup_version)
            unit = unit_of(path, wanted.root) if path else None
            container = container_of(path, wanted.root) if path else None
            membership = (path, unit, container)
            if len(wanted.memberships) >= _MEMBERSHIPS:
                wanted.memberships.clear()
            wanted.memberships[text] = membership
        self.membership = membership
        if membership[0] is None:
            unknown += ("cgroup", "unit", "container")
        self._exe = self._cmdline = None
        if "exe" in wanted.fields:
            self._exe, is_known = program_of(directory)
            if not is_known:
                unknown.append("exe")
        if "cmdline" in wanted.fields:
            self._cmdline, all_of_it = _cmdline(directory, cmdline_fd, whole=wanted.whole)
            if self._cmdline is None or (wanted.whole and not all_of_it):
                unknown.append("cmdline")
        self._unknown = tuple(unknown)

    def fill_in(self, candidate: "Candidate", wanted: Wanted, status: bytes = b"") -> None:
        """Put it into a candidate.

        Args:
            candidate: the process.
            wanted: what is read.
            status: its ``status``, if that was read for the candidate just now.
        """
        candidate.cgroup, candidate.unit, candidate.container = self.membership
        candidate.exe, candidate.cmdline = self._exe, self._cmdline
        candidate.unknown = () if candidate.kthread else self._unknown
        if "user" in wanted.fields:
            if candidate.uid is not None:
                candidate.user = wanted.users.get(candidate.uid)
            else:
                candidate.unknown = (*candidate.unknown, "user")
        if status and is_nested_init(status):
            # Which one it is may not be ours to know; that all in there die with it is known.
            candidate.init_of = namespace_of(self._directory) or -candidate.pid


def membership_of(directory: str, places: "Places") -> str | None:
    """The memory cgroup of a process; None where it can't be known; empty without cgroups.

    Raises:
        OSError: too many files are open.
    """
    return _membership(_cgroup_text(directory), places.cgroup_version)


def _cgroup_text(directory: str) -> bytes | None:
    try:
        return read_single(f"{directory}/cgroup")
    except OSError as error:
        if error.errno in NO_FILES:
            raise
        return None


def _membership(data: bytes | None, version: int) -> str | None:
    if not data:
        return None if version else ""
    if version and not any(_is_of(line, version) for line in data.splitlines()):
        return None
    return parse_membership(data, version or None)


def _is_of(line: bytes, version: int) -> bool:
    hierarchy, _, rest = line.partition(b":")
    controllers, _, path = rest.partition(b":")
    if not path.startswith(b"/"):
        return False
    if version == 1:
        return b"memory" in controllers.split(b",")
    return hierarchy == b"0" and not controllers


def look_up_ancestry(
    candidates: "Sequence[Candidate]", meant: "Sequence[Candidate]", places: "Places"
) -> None:
    """Find what is above each candidate, and which of those meant lead their cgroups.

    What can't be read is left as not looked up.

    Args:
        candidates: all of them; changed.
        meant: those of them that could be supervisors.
        places: where processes are.
    """
    parents = {one.pid: one.ppid for one in candidates}
    for one in candidates:
        above: list[int] = []
        pid = one.ppid
        while pid > 1 and pid not in above and len(above) < MAX_ABOVE:
            above.append(pid)
            if pid not in parents:
                parents[pid] = _parent_of(pid, places)
            pid = parents[pid]
        one.above = tuple(above)
    for one in meant:
        try:
            parent = membership_of(f"{places.proc}/{one.ppid}", places) if one.ppid > 1 else None
        except OSError:
            continue
        if one.ppid <= 1 or (parent is not None and one.cgroup is not None):
            one.leads = one.ppid <= 1 or parent != one.cgroup


MAX_ABOVE = 32
"""So many processes above one are looked up."""


def _parent_of(pid: int, places: "Places") -> int:
    try:
        return int(stat_fields(read_single(f"{places.proc}/{pid}/stat"), 2)[1])
    except (OSError, ValueError, IndexError):
        return 0


def program_of(directory: str) -> tuple[str | None, bool]:
    """The path of the program that a process runs, None where it has none, and if that is known.

    The kernel marks one that was deleted, as an upgrade does; it is the same program still.
    """
    try:
        path = os.readlink(f"{directory}/exe")
    except OSError as error:
        # A kernel thread has none, and a process that has released its memory has none any more.
        return None, error.errno in GONE
    return path.removesuffix(_DELETED), True


def _cmdline(directory: str, fd: int, *, whole: bool) -> tuple[str | None, bool]:
    """Arguments joined by spaces, and whether these are all; None where they can't be known."""
    most = MAX_CMDLINE_BYTES if whole else CMDLINE_BYTES
    try:
        if fd >= 0:
            data, all_of_it = _first_of(fd, most)
        else:
            fd = os.open(f"{directory}/cmdline", os.O_RDONLY)
            try:
                data, all_of_it = _first_of(fd, most)
            finally:
                os.close(fd)
    except OSError as error:
        if error.errno in NO_FILES:
            raise
        return None, False
    if whole and not all_of_it:
        data = data[:CMDLINE_BYTES]
    return data.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape"), all_of_it


def _first_of(fd: int, count: int) -> tuple[bytes, bool]:
    """So many bytes of a file, and whether that is all."""
    parts: list[bytes] = []
    at = 0
    while count and (data := os.pread(fd, min(count, CMDLINE_BYTES), at)):
        parts.append(data)
        at += len(data)
        count -= len(data)
    return b"".join(parts), bool(count)


def has_exited(directory: str) -> bool:
    """Whether a thread, or the leading thread of a process, has exited.

    Raises:
        OSError: too many files are open.
    """
    try:
        stat = read_single(f"{directory}/stat")
    except OSError as error:
        if error.errno in NO_FILES:
            raise
        return True
    return exited(stat)


def exited(stat: bytes) -> bool:
    """The same, by what ``stat`` says."""
    return stat_fields(stat, 1)[:1] in ([b"Z"], [b"X"], [])
