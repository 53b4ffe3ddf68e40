"""The ranking's raw material, kept at hand while memory is short."""

import time
from errno import EMFILE, ENFILE

from oomkit.guard.process_files import watched
from oomkit.guard.process_sizes import ProcessSizes
from oomkit.guard.shared_memory import HOLDS, SoleHolders
from oomkit.host.procfs import NO_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from oomkit.guard.identity import Wanted
    from oomkit.guard.process_files import ProcessFiles
    from oomkit.policy.engine.candidate import Candidate, Growth
    from oomkit.policy.engine.reading import Reading

LISTED = 64
"""Number of processes read in full at each look. A process with more than a 64th of all
anonymous memory and swap is among them."""
_ROUNDS = 4


class Shortlist:
    """Knows the size of every process, and all about the largest.

    While all is well it knows nothing and costs nothing.

    Attributes:
        top: the largest, the largest first, as they were last read.
        short_of_files: files of fewer than usual are kept open, for want of descriptors.
    """

    __slots__ = (
        "_hidden_kb", "_holders", "_keep", "_listed", "_noted", "_pinned", "_room", "_sizes",
        "_t_s", "_wanted", "_watched", "short_of_files", "top",
    )  # fmt: skip

    def __init__(
        self,
        wanted: "Wanted",
        *,
        listed: int = LISTED,
        pinned: "AbstractSet[int]" = frozenset(),
    ) -> None:
        """Begin cold.

        Args:
            wanted: what is read of each process.
            listed: how many processes are kept at hand.
            pinned: pids of processes whose files stay open whatever their size; the caller adds
                to it.

        Raises:
            OSError: there is no proc file system.
        """
        self.top: list[Candidate] = []
        self.short_of_files = False
        self._wanted = wanted
        self._listed = self._room = listed
        self._keep = True
        self._pinned = pinned
        self._sizes = ProcessSizes(wanted.places.proc)
        self._holders = SoleHolders(wanted.places.proc)
        self._watched: dict[str, ProcessFiles] = {}
        self._noted: list[dict[tuple[int, int], float]] = []
        self._t_s: float | None = None
        self._hidden_kb = 0.0

    @property
    def is_blind(self) -> bool:
        """Not all could be looked at last time, as the machine has too many files open."""
        return self._sizes.fault == ENFILE

    @property
    def is_cold(self) -> bool:
        """No process has been scanned since the last shortage."""
        return self._t_s is None

    @property
    def t_s(self) -> float:
        """When all processes were read last; the beginning of time while cold."""
        return -1e9 if self._t_s is None else self._t_s

    def look(self, reading: "Reading", growth: "Growth", *, keep: bool = True) -> "list[Candidate]":
        """Read all processes, and the largest closely; returns those, as :attr:`top`.

        Args:
            reading: this moment.
            growth: knows how much each has grown.
            keep: keep files open that were not before; else no more than one process's at a time.
        """
        self._keep = keep
        first = self._t_s is None
        elapsed_s = 0.0 if self._t_s is None else reading.t_s - self._t_s
        self._t_s = reading.t_s
        self._sizes.least_shared_kb = int(reading.mem_total_kb * HOLDS)
        before = dict(self._sizes.kb)
        swap_used_kb = int(reading.swap_total_kb - reading.swap_free_kb)
        # Of those whose files are open the exact size is read, so that no other is needed.
        done = self._look_at_open(before)
        self._sizes.look(swap_used_kb, elapsed_s, full=first, exact=done)
        if self._sizes.fault == EMFILE:
            self.shed()
            self._sizes.look(swap_used_kb, elapsed_s, full=first, exact=done)
        if self._sizes.fault:
            self.short_of_files = True
        self._look_at_largest(before, done)
        if not first and self._others_grew(reading):
            self._sizes.look(swap_used_kb, 0.0, full=True, exact=done)
            self._look_at_largest(before, done)
            self._hidden_kb = self._held_by_others(reading)
        elif first:
            self._hidden_kb = self._held_by_others(reading)
        for one in self.top:
            one.growth_kb = growth.of(one.pid, one.start_time, one.freed_kb())
        return self.top

    def note(self, t_s: float) -> dict[tuple[int, int], float]:
        """Return the sizes of now, for growth to be counted from; what is shared is remembered.

        Args:
            t_s: now.
        """
        sizes = {(c.pid, c.start_time): c.freed_kb() for c in self.top}
        self._noted = [*self._noted[-1:], sizes]
        self._holders.note(t_s, self._sizes)
        return sizes

    def also(self, pids: "Iterable[int]", *, most: int) -> "list[Candidate]":
        """Candidates of others than the largest, read for this once.

        Args:
            pids: which; those in the list already are passed over.
            most: maximum number.
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
                    one = self._opened(str(pid), boot_s)
                except (OSError, ValueError, IndexError):
                    continue
                found.append(one.candidate)
                one.close()
        return found

    def hold(self, most: int) -> None:
        """Hold the largest, so that they can be looked at again and signalled with no file opened.

        Args:
            most: so many of :attr:`top`.
        """
        for one in self.top[:most]:
            kept = self._watched.get(str(one.pid))
            if kept is not None:
                try:
                    kept.hold(self._wanted)
                except OSError as error:
                    if error.errno in NO_FILES:
                        self.short_of_files = True
                        return

    def files_of(self, pid: int) -> "ProcessFiles | None":
        """The open files of a process; None where there are none."""
        one = self._watched.get(str(pid))
        return one if one is not None and one.is_open else None

    def identify(
        self, wants: "Callable[[Candidate], object] | None" = None, *, again: bool = True
    ) -> None:
        """Read again of the largest what patterns are about, as nothing says when it changes.

        Args:
            wants: of which; of the others it is read whether they are in another cgroup. None: of
                all.
            again: also of those of which it was read at the last look.
        """
        if self._wanted.changes:
            self._identify(self.top, wants, again=again)

    def identify_these(self, some: "Iterable[Candidate]") -> None:
        """The same of some of them."""
        if self._wanted.changes:
            self._identify(some, None, again=False)

    def _identify(
        self,
        some: "Iterable[Candidate]",
        wants: "Callable[[Candidate], object] | None",
        *,
        again: bool,
    ) -> None:
        for one in some:
            kept = self._watched.get(str(one.pid))
            if kept is not None and kept.candidate is one and (again or not kept.is_fresh):
                try:
                    if wants is None or wants(one):
                        kept.identify(self._wanted)
                    elif self._wanted.by_cgroup:
                        kept.follow(self._wanted)
                except OSError:
                    continue  # it is as it was known, and is looked at again before a signal

    def pidfd_of(self, pid: int, start_time: int) -> int:
        """The descriptor of a process that is held; -1 where it is not."""
        one = self._watched.get(str(pid))
        return one.pidfd if one is not None and one.candidate.start_time == start_time else -1

    def add_holders(self) -> "list[Candidate]":
        """Give shared memory that dies with one process to it; returns those, also of the small.

        Processes that hold little else are added to :attr:`top`.
        """
        holders = []
        for one, sole_kb in self._measured_holders():
            if all(one is not other for other in self.top):
                self.top.append(one)
            if self._holders.give(one, sole_kb, self._sizes, self._t_s):
                holders.append(one)
        return holders

    def measure_holders(self) -> None:
        """Measure what :meth:`add_holders` will need, so that it need not when a choice is due."""
        self._measured_holders()

    def _measured_holders(self) -> "list[tuple[Candidate, int]]":
        return self._holders.measured(self._sizes, self.top, self.also, self.t_s)

    def drop(self, pid: int) -> None:
        """Forget what is known of a process, so that the next look reads it again."""
        kept = self._watched.pop(str(pid), None)
        if kept is not None:
            kept.close()

    def holding(self, size_kb: float) -> list[int]:
        """Processes that held at least so much when they were last measured, in no order."""
        return [int(name) for name, kb in self._sizes.kb.items() if kb >= size_kb]

    def larger_than(self, size_kb: int, most: int) -> list[int]:
        """Processes that hold at least so much, the largest first."""
        kb = self._sizes.kb
        return [int(name) for name in self._sizes.largest(most) if kb[name] >= size_kb]

    def forget(self, *, held: bool = False) -> None:
        """The shortage is over: keep nothing.

        Args:
            held: but the files of those that are held.
        """
        if self.is_cold:
            return
        ready = frozenset(name for name, one in self._watched.items() if one.pidfd >= 0)
        self._shed(ready if held else frozenset())
        self._sizes.forget()
        self._holders.forget()
        self._noted = []
        self.top = []
        self._t_s = None

    def shed(self) -> None:
        """Close the files of the largest, as we may open few; fewer are kept from now on."""
        self.short_of_files = True
        self._room = min(self._room, self._open) // 2
        for one in self._watched.values():
            one.close()

    def close(self) -> None:
        """Close all files."""
        self.forget()
        while self._watched:
            self._watched.popitem()[1].close()
        self._sizes.close()

    def _look_at_open(self, before: dict[str, int]) -> set[str]:
        """Read those whose files are open; returns their names."""
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        names = [name for name, one in self._watched.items() if one.is_open]
        for name in names:
            self._look_at(name, boot_s, before)
        return {*names} & self._watched.keys()

    def _look_at_largest(self, before: dict[str, int], done: set[str]) -> None:
        """Read the largest in full, until those that are known exactly are the largest.

        Args:
            before: the sizes at the look before.
            done: those that were read at this look; more are added.
        """
        sizes, at_hand = self._sizes, self._watched
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        names = sizes.largest(self._listed)
        for _ in range(_ROUNDS):
            fresh = [name for name in names if name not in done]
            if not fresh:
                break
            for name in fresh:
                done.add(name)
                self._look_at(name, boot_s, before)
            names = sizes.largest(self._listed)
        self.top = [at_hand[name].candidate for name in names if name in at_hand]
        self._shed(frozenset(names))

    def _look_at(self, name: str, boot_s: float, before: dict[str, int]) -> None:
        one, before_kb = self._watched.get(name), before.get(name)
        try:
            if one is None or not one.is_open:
                fresh = self._opened(name, boot_s)
                if one is None:
                    self._entered(fresh.candidate, before_kb)
                self._watched[name] = one = fresh
                if not self._keep or (self._room < self._listed and self._open > self._room):
                    one.close()
            else:
                try:
                    one.look(self._wanted, boot_s)
                except (ProcessLookupError, FileNotFoundError):
                    # A thread whose files were kept has exited, or the number is another's.
                    start_time = one.candidate.start_time
                    self._watched.pop(name).close()
                    one = self._watched[name] = self._opened(name, boot_s)
                    self._entered(
                        one.candidate,
                        before_kb if one.candidate.start_time == start_time else None,
                    )
        except (OSError, ValueError, IndexError) as error:
            if isinstance(error, OSError) and error.errno in NO_FILES:
                self.short_of_files = True
            else:
                self.drop(int(name))
                self._sizes.drop(name)
            return
        c = one.candidate
        self._sizes.correct(name, int(c.anon_kb), int(c.swap_kb), int(c.file_kb + c.shmem_kb))

    @property
    def _open(self) -> int:
        """Number of processes whose files are kept open."""
        return sum(one.is_open for one in self._watched.values())

    def _opened(self, name: str, boot_s: float) -> "ProcessFiles":
        """Open and read one; where our own descriptors are few, at the cost of others' open files.

        Where the machine has too many files open, what we close is anybody's: so nothing is.

        Raises:
            OSError, ValueError, IndexError: see :class:`ProcessFiles`.
        """
        try:
            return watched(int(name), self._wanted, boot_s)
        except OSError as error:
            if error.errno != EMFILE:
                raise
        self.shed()
        return watched(int(name), self._wanted, boot_s)

    def _shed(self, names: "frozenset[str]") -> None:
        """Forget all but these, and those that are pinned."""
        for name in self._watched.keys() - names:
            if int(name) not in self._pinned:
                self._watched.pop(name).close()

    def _entered(self, candidate: "Candidate", before_kb: int | None) -> None:
        """A process is among the largest now that was small, or not there, when growth began."""
        if before_kb is not None:
            for sizes in self._noted:
                sizes.setdefault((candidate.pid, candidate.start_time), float(before_kb))

    def _held_by_others(self, reading: "Reading") -> float:
        """Anonymous memory and swap of all but the largest, by the machine's own count."""
        swap_used_kb = reading.swap_total_kb - reading.swap_free_kb
        return reading.anon_kb + swap_used_kb - sum(c.anon_kb + c.swap_kb for c in self.top)

    def _others_grew(self, reading: "Reading") -> bool:
        """A process outside the largest took so much that it may be among them by now."""
        others_kb = self._held_by_others(reading)
        if others_kb < self._hidden_kb:
            self._hidden_kb = others_kb
        largest_kb = self.top[0].freed_kb() if self.top else 0.0
        return others_kb - self._hidden_kb > max(reading.mem_total_kb / 64, largest_kb / 4)
