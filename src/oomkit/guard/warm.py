"""The ranking's raw material, kept at hand while memory is short."""

import errno
import time

from oomkit.guard.sizes import Sizes
from oomkit.guard.watched import Watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomkit.guard.watched import Wanted
    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.growth import Growth
    from oomkit.policy.core.reading import Reading

KEPT = 64
"""So many processes are read in full at each look. Whoever holds more than a 64th of all
anonymous memory and swap is among them."""

_ROUNDS = 4
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})


class Warm:
    """Knows the size of every process, and all about the largest.

    While all is well it knows nothing and costs nothing.

    Attributes:
        top: the largest, the largest first, as they were last read.
        short_of_files: files of fewer than usual are kept open, for want of descriptors.
    """

    __slots__ = (
        "_hidden_kb", "_keep", "_kept", "_noted", "_room", "_sizes", "_t_s", "_wanted", "_watched",
        "short_of_files", "top",
    )  # fmt: skip

    def __init__(self, wanted: "Wanted", *, kept: int = KEPT) -> None:
        """Begin cold.

        Args:
            wanted: what is read of each process.
            kept: how many processes are kept at hand.

        Raises:
            OSError: there is no proc file system.
        """
        self.top: list[Candidate] = []
        self.short_of_files = False
        self._wanted = wanted
        self._kept = self._room = kept
        self._keep = True
        self._sizes = Sizes(wanted.places.proc)
        self._watched: dict[str, Watched] = {}
        self._noted: list[dict[tuple[int, int], float]] = []
        self._t_s: float | None = None
        self._hidden_kb = 0.0

    @property
    def is_cold(self) -> bool:
        """Nobody was looked at since the last shortage."""
        return self._t_s is None

    @property
    def t_s(self) -> float:
        """When everybody was looked at last; the beginning of time while cold."""
        return -1e9 if self._t_s is None else self._t_s

    def look(self, reading: "Reading", growth: "Growth", *, keep: bool = True) -> "list[Candidate]":
        """Look at everybody, and at the largest closely; returns those, as :attr:`top`.

        Args:
            reading: this moment.
            growth: what tells how much each has grown.
            keep: keep files open that were not before; else no more than one process's at a time.
        """
        self._keep = keep
        first = self._t_s is None
        elapsed_s = 0.0 if self._t_s is None else reading.t_s - self._t_s
        self._t_s = reading.t_s
        before = dict(self._sizes.kb)
        swap_used_kb = int(reading.swap_total_kb - reading.swap_free_kb)
        try:
            self._sizes.look(swap_used_kb, elapsed_s, everybody=first)
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
            self.shed()
            self._sizes.look(swap_used_kb, elapsed_s, everybody=first)
        self._look_at_largest(before)
        if not first and self._others_grew(reading):
            self._sizes.look(swap_used_kb, 0.0, everybody=True)
            self._look_at_largest(before)
            self._hidden_kb = self._held_by_others(reading)
        elif first:
            self._hidden_kb = self._held_by_others(reading)
        for one in self.top:
            one.growth_kb = growth.of(one.pid, one.start_time, one.freed_kb())
        return self.top

    def note(self, growth: "Growth", t_s: float, left_kb: float) -> None:
        """Have growth be counted from the sizes of now.

        Args:
            growth: what shall remember them.
            t_s: now.
            left_kb: available memory and free swap.
        """
        sizes = {(c.pid, c.start_time): c.freed_kb() for c in self.top}
        self._noted = [*self._noted[-1:], sizes]
        growth.note(t_s, left_kb, sizes)

    def also(self, pids: "Iterable[int]", *, most: int) -> "list[Candidate]":
        """Candidates of others than the largest, read for this once.

        Args:
            pids: whom; those that are at hand already are passed over.
            most: no more than so many.
        """
        at_hand = {one.pid for one in self.top}
        found: list[Candidate] = []
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        for pid in pids:
            if len(found) >= most:
                break
            if pid not in at_hand:
                at_hand.add(pid)
                try:
                    one = Watched(pid, self._wanted, boot_s)
                except (OSError, ValueError, IndexError):
                    continue
                found.append(one.candidate)
                one.close()
        return found

    def larger_than(self, size_kb: int, most: int) -> list[int]:
        """Processes that hold at least so much, the largest first."""
        kb = self._sizes.kb
        return [int(name) for name in self._sizes.largest(most) if kb[name] >= size_kb]

    def forget(self) -> None:
        """The shortage is over: keep nothing."""
        if self.is_cold:
            return
        self._shed(frozenset())
        self._sizes.forget()
        self._noted = []
        self.top = []
        self._t_s = None

    def shed(self) -> None:
        """Close the files of the largest, as descriptors are short; fewer are kept from now on."""
        self.short_of_files = True
        self._room = min(self._room, self._open) // 2
        for one in self._watched.values():
            one.close()

    def close(self) -> None:
        """Close all files."""
        self.forget()
        self._sizes.close()

    def _look_at_largest(self, before: dict[str, int]) -> None:
        """Read the largest in full, until those that are known exactly are the largest."""
        sizes, watched = self._sizes, self._watched
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        done: set[str] = set()
        names = sizes.largest(self._kept)
        for _ in range(_ROUNDS):
            fresh = [name for name in names if name not in done]
            if not fresh:
                break
            for name in fresh:
                done.add(name)
                self._look_at(name, boot_s, before)
            names = sizes.largest(self._kept)
        self.top = [watched[name].candidate for name in names if name in watched]
        self._shed(frozenset(names))

    def _look_at(self, name: str, boot_s: float, before: dict[str, int]) -> None:
        one = self._watched.get(name)
        try:
            if one is None or not one.is_open:
                one = self._opened(name, boot_s)
                if name not in self._watched:
                    self._entered(one.candidate, before.get(name))
                self._watched[name] = one
                if not self._keep or (self._room < self._kept and self._open > self._room):
                    one.close()
            else:
                one.look(self._wanted, boot_s)
        except (OSError, ValueError, IndexError):
            if one is not None:
                one.close()
            self._watched.pop(name, None)
            self._sizes.drop(name)
            return
        self._sizes.correct(name, int(one.candidate.anon_kb), int(one.candidate.swap_kb))

    @property
    def _open(self) -> int:
        """Of so many files are kept open."""
        return sum(one.is_open for one in self._watched.values())

    def _opened(self, name: str, boot_s: float) -> Watched:
        """Open and read one; where descriptors are short, at the cost of others' open files.

        Raises:
            OSError, ValueError, IndexError: see :class:`Watched`.
        """
        try:
            return Watched(int(name), self._wanted, boot_s)
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
        self.shed()
        return Watched(int(name), self._wanted, boot_s)

    def _shed(self, names: "frozenset[str]") -> None:
        """Forget all but these."""
        for name in self._watched.keys() - names:
            self._watched.pop(name).close()

    def _entered(self, candidate: "Candidate", before_kb: int | None) -> None:
        """Somebody is among the largest now who was small, or not there, when growth began."""
        if before_kb is not None:
            for sizes in self._noted:
                sizes.setdefault((candidate.pid, candidate.start_time), float(before_kb))

    def _held_by_others(self, reading: "Reading") -> float:
        """Anonymous memory and swap of all but the largest, by the machine's own count."""
        swap_used_kb = reading.swap_total_kb - reading.swap_free_kb
        return reading.anon_kb + swap_used_kb - sum(c.anon_kb + c.swap_kb for c in self.top)

    def _others_grew(self, reading: "Reading") -> bool:
        """Somebody who is not among the largest took so much that they may be by now."""
        others_kb = self._held_by_others(reading)
        if others_kb < self._hidden_kb:
            self._hidden_kb = others_kb
        largest_kb = self.top[0].freed_kb() if self.top else 0.0
        return others_kb - self._hidden_kb > max(reading.mem_total_kb / 64, largest_kb / 4)
