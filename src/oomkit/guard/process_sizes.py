"""Rough sizes of all processes, so that only the largest need a closer look."""

import os

from oomkit.host.procfs import NO_FILES, read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

_FLAGS = os.O_RDONLY
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_ROUND_S = 2.0
_MIN_SLICE = 32


class ProcessSizes:
    """Which processes there are and how large, from ``statm``, the cheapest file that shows it.

    A process seen for the first time is read at once, the others in turn, all of them within
    two seconds. What a process holds in swap is not in ``statm``; it can't be more than its
    writable private memory that is not resident, nor more than all swap that is used, so that is
    taken until :meth:`correct` says better. So a size is never too small when it is read.

    Attributes:
        kb: process (its name in ``/proc``) to size: resident anonymous memory and swap.
        shared_kb: of those with at least ``least_shared_kb``: resident pages of files and shared
            memory.
        least_shared_kb: set by the caller that needs it.
        listed: how often all processes were listed.
        read: how many files were read.
        fault: why not all could be read when last looked at: the number of the error; 0: they
            could.
    """

    __slots__ = (
        "_fd", "_proc", "_queue", "_swap_kb", "fault", "kb", "least_shared_kb", "listed", "read",
        "shared_kb",
    )  # fmt: skip

    def __init__(self, proc: str) -> None:
        """Begin with no process.

        Raises:
            OSError: there is no proc file system.
        """
        self._proc = proc
        try:
            self._fd = os.open(proc, os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in NO_FILES:
                raise
            self._fd = -1  # it is listed by its name then
        self.kb: dict[str, int] = {}
        self.shared_kb: dict[str, int] = {}
        self.least_shared_kb = 1 << 62
        self._swap_kb: dict[str, tuple[int, int]] = {}
        self._queue: list[str] = []
        self.listed = self.read = self.fault = 0

    def look(
        self,
        swap_used_kb: int,
        elapsed_s: float,
        *,
        full: bool = False,
        exact: "AbstractSet[str]" = frozenset(),
    ) -> None:
        """List the processes, read new ones, and of the others those whose turn it is.

        Where no more files can be opened, what is known of the rest stays, and :attr:`fault`
        says so.

        Args:
            swap_used_kb: how much swap is used in all.
            elapsed_s: time since the last look.
            full: read all.
            exact: those whose sizes were just set by :meth:`correct`.
        """
        self.fault = 0
        try:
            self._look(swap_used_kb, elapsed_s, exact, full=full)
        except OSError as error:
            if error.errno not in NO_FILES:
                raise
            self.fault = error.errno or 0

    def _look(
        self, swap_used_kb: int, elapsed_s: float, exact: "AbstractSet[str]", *, full: bool
    ) -> None:
        names = {
            name for name in os.listdir(self._fd if self._fd >= 0 else self._proc) if name[0] <= "9"
        }
        self.listed += 1
        known = self.kb.keys()
        for name in known - names:
            del self.kb[name]
            self._swap_kb.pop(name, None)
            self.shared_kb.pop(name, None)
        new = names - known
        if full:
            self._queue.clear()
            self._measure(names - exact, swap_used_kb)
            return
        self._measure(new, swap_used_kb)
        if not self._queue:
            self._queue = list(known)
        share = min(elapsed_s / _ROUND_S, 1.0)
        count = max(_MIN_SLICE, int(len(names) * share))
        turn, self._queue = self._queue[:count], self._queue[count:]
        self._measure((known & set(turn)) - exact, swap_used_kb)

    def correct(self, name: str, anon_kb: int, swap_kb: int, shared_kb: int) -> None:
        """Take the exact sizes of a process, from its ``status``."""
        self.kb[name] = anon_kb + swap_kb
        self._swap_kb[name] = (swap_kb, anon_kb)
        if shared_kb >= self.least_shared_kb:
            self.shared_kb[name] = shared_kb
        else:
            self.shared_kb.pop(name, None)

    def exact(self, name: str) -> bool:
        """How much swap it holds was read, not guessed."""
        return name in self._swap_kb

    def drop(self, name: str) -> None:
        """Forget one; if the number is there again it is another process."""
        self.kb.pop(name, None)
        self._swap_kb.pop(name, None)
        self.shared_kb.pop(name, None)

    def largest(self, count: int) -> list[str]:
        """The largest, the largest first."""
        kb = self.kb
        return sorted(kb, key=kb.__getitem__, reverse=True)[:count]

    def forget(self) -> None:
        """Begin again."""
        self.kb.clear()
        self._swap_kb.clear()
        self.shared_kb.clear()
        self._queue.clear()

    def close(self) -> None:
        """Close the directory."""
        if self._fd >= 0:
            os.close(self._fd)

    def _measure(self, names: "Iterable[str]", swap_used_kb: int) -> None:
        # The loop that the cost of choosing hangs on: three system calls a process, no more.
        proc, sizes, swaps = self._proc, self.kb, self._swap_kb
        shared, least_kb = self.shared_kb, self.least_shared_kb
        open_, read, close = os.open, os.read, os.close
        for name in names:
            try:
                fd = open_(f"{proc}/{name}/statm", _FLAGS)
            except OSError as error:
                if error.errno in NO_FILES:
                    raise
                sizes.pop(name, None)
                swaps.pop(name, None)
                continue
            try:
                fields = read(fd, 128).split()
            except OSError:
                fields = []
            close(fd)
            self.read += 1
            if len(fields) < 6:
                sizes.pop(name, None)
                swaps.pop(name, None)
                continue
            if fields[0] == b"0" and sizes.get(name) != 0:
                fields = _without_leader(f"{proc}/{name}") or fields
            try:
                shared_kb = int(fields[2]) * _PAGE_KB
                anon_kb = int(fields[1]) * _PAGE_KB - shared_kb
                if shared_kb >= least_kb:
                    shared[name] = shared_kb
                elif name in shared:
                    del shared[name]
                swap = swaps.get(name)
                if swap is not None:
                    # What is not resident any more may be in swap by now.
                    sizes[name] = swap[0] + max(anon_kb, swap[1])
                elif swap_used_kb:
                    hidden_kb = int(fields[5]) * _PAGE_KB - anon_kb
                    sizes[name] = anon_kb + max(0, min(hidden_kb, swap_used_kb))
                else:
                    sizes[name] = anon_kb
            except ValueError:  # something else stands there in the kernel's place
                sizes.pop(name, None)
                swaps.pop(name, None)


_UNKNOWN = [b"1", b"1", b"0", b"0", b"0", b"1"]
"""As ``statm`` of a process that has threads, none of which would say how large it is."""


def _without_leader(directory: str) -> "list[bytes] | None":
    """``statm`` of a process whose leading thread has exited before the others.

    None for kernel threads and zombies, which have no other threads, and no memory.
    """
    try:
        tids = os.listdir(f"{directory}/task")
    except OSError:
        return None
    for tid in reversed(tids):  # where they come and go the last one stays longest
        fields = (read_or_none(f"{directory}/task/{tid}/statm") or b"").split()
        if len(fields) > 5 and fields[0] != b"0":
            return fields
    return _UNKNOWN if len(tids) > 1 else None
