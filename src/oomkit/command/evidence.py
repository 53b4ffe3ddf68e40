"""What the kernel counts of a cgroup and those above it, read before and after a command."""

import os
import select

from oomkit.host.procfs import keyed_numbers, read_int, read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.command.group import Group

_LONG_MAX = (1 << 63) - 1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NEAR = 0.95
_REST_S = 0.2


class Level:
    """A group of the way up.

    Attributes:
        path: its path.
        made: it was made for the command.
        limit: ``memory.max`` in bytes; None: none.
        swap_limit: ``memory.swap.max``, or what version 1 leaves for swap; None: none.
        current: usage in bytes; None: not known.
        peak: highest usage in bytes; None: not known.
        ooms: how often it ran out (``oom`` of ``memory.events.local``); None: not counted.
        kills: processes of it killed for memory (``oom_kill``); None: not counted.
        group_kills: how often it was killed whole; None: not counted.
        hits: how often its limit was hit; None: not counted.
    """

    def __init__(self, group: "Group") -> None:
        self.path = group.path
        self.made = group.made
        directory = group.directory
        self.group_kills: int | None = None
        if group.version == 2:
            self._read_v2(directory)
        else:
            self._read_v1(directory)

    def _read_v2(self, directory: str) -> None:
        self.limit = _limit(f"{directory}/memory.max")
        self.swap_limit = _limit(f"{directory}/memory.swap.max")
        self.current = read_int(f"{directory}/memory.current")
        self.peak = read_int(f"{directory}/memory.peak")
        whole = keyed_numbers(read_or_none(f"{directory}/memory.events") or b"")
        local = keyed_numbers(read_or_none(f"{directory}/memory.events.local") or b"")
        self.ooms = (local or whole).get(b"oom")
        self.hits = (local or whole).get(b"max")
        self.kills = whole.get(b"oom_kill")
        self.group_kills = whole.get(b"oom_group_kill")

    def _read_v1(self, directory: str) -> None:
        self.limit = _limit(f"{directory}/memory.limit_in_bytes")
        both = _limit(f"{directory}/memory.memsw.limit_in_bytes")
        self.swap_limit = None if both is None else max(0, both - (self.limit or 0))
        self.current = read_int(f"{directory}/memory.usage_in_bytes")
        self.peak = read_int(f"{directory}/memory.max_usage_in_bytes")
        control = keyed_numbers(read_or_none(f"{directory}/memory.oom_control") or b"")
        self.kills = control.get(b"oom_kill")
        self.ooms = None
        hits = [read_int(f"{directory}/memory{kind}.failcnt") for kind in ("", ".memsw")]
        self.hits = sum(hit or 0 for hit in hits)

    def was_full(self) -> bool:
        """Whether its limit was met: by the peak, as version 1 does not count its OOMs."""
        return self.limit is not None and self.peak is not None and self.peak >= self.limit - _PAGE


def _limit(path: str) -> int | None:
    limit = read_int(path)
    return None if limit is None or limit // _PAGE >= _LONG_MAX // _PAGE else limit


class Reading:
    """What is counted at one moment.

    Attributes:
        levels: the command's group, then those above it.
        machine_kills: ``oom_kill`` of ``/proc/vmstat`` (4.13 and later); None: not counted.
        stalled_us: time in which some task waited for memory, by ``memory.pressure`` of the
            command's group, else by the machine's; None: not counted.
        stalled_of: ``cgroup`` or ``machine``.
        oomd: processes that systemd-oomd noted to have killed here; None: no note.
    """

    def __init__(self, group: "Group | None", proc: str = "/proc") -> None:
        self.levels = [] if group is None else [Level(each) for each in group.way_up()]
        vmstat = read_or_none(f"{proc}/vmstat") or b""
        self.machine_kills = keyed_numbers(vmstat).get(b"oom_kill")
        self.stalled_of = "cgroup"
        own = None if group is None else _stalled(f"{group.directory}/memory.pressure")
        if own is None:
            self.stalled_of = "machine"
            own = _stalled(f"{proc}/pressure/memory")
        self.stalled_us = own
        self.oomd = None if group is None else _oomd_kills(group)


def _stalled(path: str) -> int | None:
    for line in (read_or_none(path) or b"").splitlines():
        if line.startswith(b"some "):
            total = line.rpartition(b"total=")[2]
            return int(total) if total.isdigit() else None
    return None


def _oomd_kills(group: "Group") -> int | None:
    total = None
    for each in group.way_up():
        for name in ("user.oomd_kill", "trusted.oomd_kill"):
            try:
                total = (total or 0) + int(os.getxattr(each.directory, name))
            except (OSError, ValueError):
                continue
            break
    return total


class Seen:
    """A process as it was when memory was low.

    Attributes:
        pid: its process id.
        comm: its name.
        rss: its resident memory in bytes.
    """

    def __init__(self, pid: int, comm: str, rss: int) -> None:
        self.pid = pid
        self.comm = comm
        self.rss = rss


def processes(group: "Group") -> list[Seen]:
    """The processes of a group and those below it, the largest first."""
    found = []
    for directory, _, _ in os.walk(group.directory):
        for word in (read_or_none(f"{directory}/cgroup.procs") or b"").split():
            pid = int(word)
            statm = (read_or_none(f"/proc/{pid}/statm") or b"").split()
            comm = read_or_none(f"/proc/{pid}/comm")
            if len(statm) > 1 and comm is not None:
                name = comm.rstrip(b"\n").decode("utf-8", "backslashreplace")
                found.append(Seen(pid, name, int(statm[1]) * _PAGE))
    found.sort(key=lambda seen: -seen.rss)
    return found


class Alarm:
    """Wakes a thread when the kernel reports a group at its limit, and notes its processes.

    Attributes:
        largest: the processes at the fullest moment that was seen, the largest first.
    """

    def __init__(self, group: "Group") -> None:
        self.largest: list[Seen] = []
        self._group = group
        self._poll = select.poll()
        self._files: list[int] = []
        if group.version == 2:
            self._watch(f"{group.directory}/memory.events", select.POLLPRI)
        else:
            self._watch_v1()

    def _watch(self, path: str, event: int) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        os.read(fd, 4096)
        self._files.append(fd)
        self._poll.register(fd, event)

    def _watch_v1(self) -> None:
        """Version 1 notifies by an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst)."""
        limit = _limit(f"{self._group.directory}/memory.limit_in_bytes")
        asked = [("memory.oom_control", "")]
        if limit is not None:
            asked.append(("memory.usage_in_bytes", str(int(limit * _NEAR) // _PAGE * _PAGE)))
        for name, argument in asked:
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._files.append(event)
            try:
                about = os.open(f"{self._group.directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                self._files.append(about)
                control = os.open(
                    f"{self._group.directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC
                )
                self._files.append(control)
                os.write(control, f"{event} {about} {argument}".encode())
            except OSError:
                continue
            self._poll.register(event, select.POLLIN)

    def start(self, rest: "Callable[[float], object]") -> None:
        """Begin to wait, in a thread that ends with the process.

        Args:
            rest: seconds to sleep after a look; the kernel may have news all the time.
        """
        if not self._files:
            return
        import _thread

        _thread.start_new_thread(self._run, (rest,))

    def _run(self, rest: "Callable[[float], object]") -> None:
        while True:
            for fd, _ in self._poll.poll():
                try:
                    if self._group.version == 2:
                        os.pread(fd, 4096, 0)
                    else:
                        os.read(fd, 8)
                except OSError:
                    return
            now = processes(self._group)
            if sum(seen.rss for seen in now) >= sum(seen.rss for seen in self.largest):
                self.largest = now
            rest(_REST_S)
