"""Names of user ids, kept up to date by the local list of users."""

import os

from oomkit.host.procfs import NO_FILES, pread_pieces

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
