"""Descriptors held from the start, so that a choice and a kill never lack one."""

import os
from errno import EMFILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WANTED = 8
LIMIT = 18
"""With fewer files (RLIMIT_NOFILE) a guard can't begin: its own and :data:`MIN`."""
MIN = 6
"""For one process looked at closely (five at a time) while another is held by its pidfd."""
AMPLE = 1024
"""With this many files allowed, what is lent is never missed."""
READY = 64
"""As many as are read in full at each look."""
ENOUGH = 448
"""Six for each process that is kept at hand, and the daemon's own."""
SHORT_OF_FILES = "few file descriptors are left, so fewer processes are kept open"
FULL_TABLE = (
    "the machine has too many files open (fs.file-max): only processes that are held can be chosen"
)
_NEEDED = 512
"""More than the daemon opens, victims aside."""
_PATH = "/dev/null"
_FLAGS = os.O_RDONLY


class Reserve:
    """Descriptors for the acting path, and for nothing else.

    Each is an open file of its own, as the kernel counts both: a process's numbers and the
    machine's files. What is given back to the machine is anybody's, though: where another one
    takes every file, only what is open already can be read (:meth:`.shortlist.Shortlist.hold`).

    Attributes:
        bounded: we may be refused a file because the whole machine has too many open.
    """

    __slots__ = ("_fds", "_lent", "_make_room", "bounded")

    def __init__(self, *, bounded: bool = True) -> None:
        """Open them.

        Args:
            bounded: we may be refused a file because the whole machine has too many open.
        """
        self.bounded = bounded
        self._make_room: Callable[[], object] | None = None
        self._lent = 0
        self._fds: list[int] = []
        self._fill(MIN)

    @property
    def held(self) -> int:
        """How many there are."""
        return len(self._fds)

    def ample(self, count: int = 0) -> bool:
        """Whether that many more can be opened for certain, beside all that is opened otherwise."""
        if self.bounded:
            return False
        limit = os.sysconf("SC_OPEN_MAX")
        return limit < 0 or limit >= max(AMPLE, _NEEDED + count)

    def doubt(self) -> str:
        """Why it may not be able to act, with fewer than a choice and a kill take; or empty."""
        if self.held >= MIN:
            return ""
        return (
            f"only {self.held} more files can be opened, of {MIN} that a choice and a kill "
            "take (RLIMIT_NOFILE): it may not be able to act"
        )

    def ready(self) -> int:
        """How many processes are held ready to be killed, while memory gets low.

        Where files may be refused to us no other can be; else that takes work off the moment at
        which it counts.
        """
        limit = os.sysconf("SC_OPEN_MAX")
        if 0 <= limit < AMPLE:
            return 0
        return READY

    def spare(self, make_room: "Callable[[], object]") -> None:
        """Say what closes descriptors that are needed less."""
        self._make_room = make_room

    def __enter__(self) -> None:
        """Lend them: what is opened from here on finds room. It may be lent already."""
        self._lent += 1
        if self.ample():
            return
        while self._fds:
            os.close(self._fds.pop())

    def __exit__(self, *_: object) -> None:
        """Take them back."""
        self._lent -= 1
        if self._lent:
            return
        # What is closed is only ours to open again where it was our own limit that was met.
        if self._fill(MIN) == EMFILE and self._make_room is not None:
            self._make_room()
            self._fill(MIN)

    def fill(self) -> None:
        """Complete it, if something was in the way before."""
        if not self._lent and len(self._fds) < WANTED:
            self._fill(WANTED)

    def close(self) -> None:
        """Give all back."""
        while self._fds:
            os.close(self._fds.pop())

    def _fill(self, count: int) -> int:
        """Have so many; returns the number of the error that kept from it, or 0."""
        try:
            while len(self._fds) < count:
                self._fds.append(os.open(_PATH, _FLAGS))
        except OSError as error:
            return error.errno or 0
        return 0


def can_be_opened(most: int) -> tuple[int, int]:
    """How many more files can be open, up to the most that matter; what keeps from more, or 0."""
    fds: list[int] = []
    try:
        while len(fds) < most:
            fds.append(os.open(_PATH, _FLAGS))
    except OSError as error:
        return len(fds), error.errno or 0
    finally:
        for fd in fds:
            os.close(fd)
    return most, 0
