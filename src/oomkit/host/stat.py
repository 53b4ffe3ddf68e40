"""``/proc/PID/stat`` and ``/proc/PID/status``: the fields that some version's badness reads."""

import msgspec

PF_EXITING = 0x00000004
PF_DUMPCORE = 0x00000200
PF_KTHREAD = 0x00200000  # since 2.6.27; before, a kernel thread shows only by having no memory

_SIGKILL_BIT = 1 << 8
_CAP_SYS_RAWIO = 1 << 17
_CAP_SYS_ADMIN = 1 << 21
_CAP_SYS_RESOURCE = 1 << 24


class Stat(msgspec.Struct, frozen=True, gc=False):
    """What ``/proc/PID/stat`` says.

    Attributes:
        comm: the name, undecoded.
        state: the letter of the state.
        ppid: thread group id of the parent.
        flags: ``task->flags``.
        cpu_ticks: utime + stime, in ticks of USER_HZ.
        nice: -20..19.
        threads: number of threads.
        start_ticks: when it was started, in ticks of USER_HZ since boot.
        vsize_bytes: size of the address space.
        rss_pages: ``get_mm_rss()``, the very reading that badness uses up to 6.19. statm and
            status give another one since 6.12, an exact sum, which badness takes from 7.0 on.
    """

    comm: bytes
    state: bytes
    ppid: int
    flags: int
    cpu_ticks: int
    nice: int
    threads: int
    start_ticks: int
    vsize_bytes: int
    rss_pages: int


class Status(msgspec.Struct, frozen=True, gc=False):
    """What ``/proc/PID/status`` says; sizes in kB, 0 without an address space.

    Attributes:
        uid: real user id, as this user namespace sees it.
        euid: effective user id.
        locked_kb: VmLck.
        anon_kb: RssAnon; None before 4.5.
        file_kb: RssFile; None before 4.5.
        shmem_kb: RssShmem; None before 4.5.
        pte_kb: VmPTE, page tables of all levels since 4.15 and of the lowest before.
        pmd_kb: VmPMD; None where there is no such line (before 4.0, since 4.15).
        swap_kb: VmSwap; None before 2.6.34.
        fatal_signal: SIGKILL is pending.
        coredump: is dumping core.
        capabilities: the effective set.
        mems_allowed: NUMA nodes as a list like ``0-1,3``; empty before 2.6.26.
    """

    uid: int = 0
    euid: int = 0
    locked_kb: int = 0
    anon_kb: int | None = None
    file_kb: int | None = None
    shmem_kb: int | None = None
    pte_kb: int = 0
    pmd_kb: int | None = None
    swap_kb: int | None = None
    fatal_signal: bool = False
    coredump: bool = False
    capabilities: int = 0
    mems_allowed: bytes = b""

    @property
    def cap_sys_admin(self) -> bool:
        """Holds CAP_SYS_ADMIN."""
        return bool(self.capabilities & _CAP_SYS_ADMIN)

    @property
    def cap_sys_resource(self) -> bool:
        """Holds CAP_SYS_RESOURCE."""
        return bool(self.capabilities & _CAP_SYS_RESOURCE)

    @property
    def cap_sys_rawio(self) -> bool:
        """Holds CAP_SYS_RAWIO."""
        return bool(self.capabilities & _CAP_SYS_RAWIO)


def parse_stat(data: bytes) -> Stat:
    """Parse ``/proc/PID/stat``.

    The name may hold spaces, parentheses and newlines; what follows its last parenthesis may
    not, so the fields are counted from there.

    Raises:
        ValueError: the text is not that of a stat file.
    """
    begin = data.find(b"(")
    end = data.rfind(b")")
    fields = data[end + 2 :].split(None, 22)
    if begin < 0 or end < begin or len(fields) < 22:
        raise ValueError("not the text of /proc/PID/stat")
    return Stat(
        data[begin + 1 : end],
        fields[0],
        int(fields[1]),
        int(fields[6]),
        int(fields[11]) + int(fields[12]),
        int(fields[16]),
        int(fields[17]),
        int(fields[19]),
        int(fields[20]),
        int(fields[21]),
    )


def lasting_part(data: bytes) -> bytes:
    """The part of a status text that :class:`Status` is made from.

    It leaves out the state in front and the context switches behind, which change whenever the
    process runs, so equal parts make equal records.
    """
    return data[data.find(b"\nUid:\t") : data.rfind(b"\nvoluntary_ctxt_switches:\t")]


def parse_status(data: bytes) -> Status:
    """Parse ``/proc/PID/status``.

    Fields are looked for in the order in which every version prints them, each search
    going on where the last one ended; the kernel escapes newlines in the name, so a line can't
    be forged.

    Raises:
        ValueError: the text is not that of a status file.
    """
    at = data.find(b"\nUid:\t")
    if at < 0:
        raise ValueError("not the text of /proc/PID/status")
    uid, euid, _ = data[at + 6 : at + 40].split(b"\t", 2)
    locked_kb = pte_kb = 0
    anon_kb = file_kb = shmem_kb = pmd_kb = swap_kb = None
    vm = data.find(b"\nVmLck:\t", at)
    if vm >= 0:
        locked_kb, at = _kb(data, vm + 8)
        rss = data.find(b"\nRssAnon:\t", at)
        if rss >= 0:
            anon_kb, at = _kb(data, rss + 10)
            file_kb, at = _kb(data, at + 9)  # "RssFile:\t"
            shmem_kb, at = _kb(data, at + 10)  # "RssShmem:\t"
        pte = data.find(b"\nVmPTE:\t", at)
        if pte >= 0:
            pte_kb, at = _kb(data, pte + 8)
        if data.startswith(b"VmPMD:\t", at):
            pmd_kb, at = _kb(data, at + 7)
        if data.startswith(b"VmSwap:\t", at):
            swap_kb, at = _kb(data, at + 8)
    pending = data.find(b"\nSigPnd:\t", at)
    shared = data.find(b"\nShdPnd:\t", pending)
    capabilities = data.find(b"\nCapEff:\t", shared)
    if min(pending, shared, capabilities) < 0:
        raise ValueError("not the text of /proc/PID/status")
    signals = int(data[pending + 9 : pending + 25], 16) | int(data[shared + 9 : shared + 25], 16)
    mems = data.rfind(b"\nMems_allowed_list:\t")
    return Status(
        int(uid),
        int(euid),
        locked_kb,
        anon_kb,
        file_kb,
        shmem_kb,
        pte_kb,
        pmd_kb,
        swap_kb,
        bool(signals & _SIGKILL_BIT),
        data.find(b"\nCoreDumping:\t1", at, pending) >= 0,
        int(data[capabilities + 9 : capabilities + 25], 16),
        data[mems + 20 : data.find(b"\n", mems + 20)] if mems >= 0 else b"",
    )


def _kb(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, up to " kB", and where the next line begins."""
    end = data.index(b" kB\n", at)
    return int(data[at:end]), end + 4
