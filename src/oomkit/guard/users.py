"""Names of user ids, kept up to date by the local list of users."""

import os

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
    """

    __slots__ = ("_path", "_seen", "names")

    def __init__(self, names: dict[int, str], path: str = _PASSWD) -> None:
        self.names = dict(names)
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> None:
        """Read the local list if it changed."""
        try:
            found = os.stat(self._path)
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return
            with open(self._path, "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            return  # what is known stays
        self._seen = seen
        for line in reversed(lines):  # of several with one number the first counts
            fields = line.split(b":", 3)
            if len(fields) == 4 and fields[2].isdigit():
                self.names[int(fields[2])] = fields[0].decode("utf-8", "surrogateescape")
