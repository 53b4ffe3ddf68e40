"""Copies of ``/proc`` and ``/sys/fs/cgroup`` as other machines show them."""

from pathlib import Path

MEMINFO = """\
MemTotal:        2027520 kB
MemFree:          120000 kB
MemAvailable:     640000 kB
Buffers:           16000 kB
Cached:           500000 kB
SwapCached:         4000 kB
AnonPages:        900000 kB
Shmem:             32000 kB
KReclaimable:      90000 kB
Slab:             120000 kB
SReclaimable:      80000 kB
SUnreclaim:        40000 kB
PageTables:        12000 kB
SwapTotal:        524284 kB
SwapFree:         360000 kB
CommitLimit:     1538044 kB
Committed_AS:    2440000 kB
HugePages_Total:       4
Hugepagesize:       2048 kB
Hugetlb:            8192 kB
"""

ZONEINFO = """\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 1536
  pages free     3840
        boost    0
        min      60
        low      75
        high     90
        spanned  4095
        present  3998
        managed  3840
        protection: (0, 1900, 1900, 1900)
      nr_free_pages 3840
  pagesets
    cpu: 0
              count: 0
              high:  378
Node 0, zone    DMA32
  pages free     26160
        boost    64
        min      1164
        low      1439
        high     1714
        spanned  520096
        present  520096
        managed  503040
        protection: (0, 0, 0, 0)
  pagesets
    cpu: 0
              high:  378
Node 1, zone   Normal
  pages free     100
        boost    0
        min      20
        low      25
        high     30
        spanned  2048
        present  1024
        managed  1000
        protection: (0, 0, 0, 0)
"""


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def stat_line(
    pid: int,
    comm: bytes = b"task",
    *,
    state: str = "S",
    ppid: int = 1,
    flags: int = 0x400000,
    utime: int = 0,
    stime: int = 0,
    nice: int = 0,
    threads: int = 1,
    start_ticks: int = 1000,
    vsize_bytes: int = 40960000,
    rss_pages: int = 1000,
) -> bytes:
    """A line of ``/proc/PID/stat``, 52 fields as since 3.5."""
    head = [state, ppid, 1, 1, 0, -1, flags, 7, 0, 0, 0, utime, stime, 3, 4, 20, nice, threads, 0]
    tail = [start_ticks, vsize_bytes, rss_pages, 2**64 - 1, *[0] * 27]
    return b"%d (%b) %b\n" % (pid, comm, " ".join(map(str, [*head, *tail])).encode())


def status_text(
    *,
    uid: int = 0,
    euid: int | None = None,
    pte_kb: int = 64,
    pmd_kb: int | None = None,
    swap_kb: int = 0,
    locked_kb: int = 0,
    rss_kb: tuple[int, int, int] | None = (1000, 3000, 0),
    capabilities: int = 0,
    pending: int = 0,
    mems: str = "0-1",
    memory: bool = True,
) -> str:
    """The text of ``/proc/PID/status``."""
    lines = ["Name:\ttask", "State:\tS (sleeping)", "Tgid:\t1", "Pid:\t1"]
    lines += [f"Uid:\t{uid}\t{uid if euid is None else euid}\t{uid}\t{uid}", "Gid:\t0\t0\t0\t0"]
    if memory:
        lines += ["VmPeak:\t   40000 kB", "VmSize:\t   40000 kB", f"VmLck:\t{locked_kb:8} kB"]
        lines += ["VmHWM:\t    4000 kB", "VmRSS:\t    4001 kB"]
        if rss_kb:
            lines += [
                f"Rss{kind}:\t{kb:8} kB"
                for kind, kb in zip(("Anon", "File", "Shmem"), rss_kb, strict=True)
            ]
        lines += ["VmData:\t     100 kB", f"VmPTE:\t{pte_kb:8} kB"]
        if pmd_kb is not None:
            lines.append(f"VmPMD:\t{pmd_kb:8} kB")
        lines += [f"VmSwap:\t{swap_kb:8} kB", "CoreDumping:\t0"]
    lines += ["Threads:\t1", "SigQ:\t0/7000", f"SigPnd:\t{pending:016x}", f"ShdPnd:\t{0:016x}"]
    lines += [f"CapInh:\t{0:016x}", f"CapPrm:\t{0:016x}", f"CapEff:\t{capabilities:016x}"]
    lines += ["Cpus_allowed_list:\t0-1", f"Mems_allowed_list:\t{mems}", ""]
    return "\n".join(lines)


class FakeProc:
    """A proc file system in a directory, of a machine with the given kernel."""

    def __init__(self, root: Path, kernel: str = "6.12.1") -> None:
        self.root = root
        self.file("sys/kernel/osrelease", kernel + "\n")
        self.file("meminfo", MEMINFO)
        self.file("zoneinfo", ZONEINFO)
        self.file("vmstat", "nr_file_pages 130000\nnr_kernel_misc_reclaimable 2500\n")
        self.file("uptime", "86400.55 170000.10\n")
        self.file("sys/vm/overcommit_memory", "2\n")
        self.file("sys/vm/panic_on_oom", "0\n")
        self.file("pressure/memory", "some avg10=1.50 avg60=0.40 avg300=0.00 total=1234\n")
        (root / "self/ns").mkdir(parents=True)
        (root / "self/ns/pid").symlink_to("pid:[4026531836]")

    def file(self, name: str, text: str | bytes) -> None:
        write(self.root / name, text)

    def process(
        self,
        pid: int,
        *,
        stat: bytes | None = None,
        status: str | None = None,
        adj: int = 0,
        score: int = 666,
        cgroup: str = "0::/\n",
    ) -> None:
        self.file(f"{pid}/stat", stat or stat_line(pid))
        self.file(f"{pid}/status", status or status_text())
        self.file(f"{pid}/oom_score_adj", f"{adj}\n")
        self.file(f"{pid}/oom_score", f"{score}\n")
        self.file(f"{pid}/cgroup", cgroup)


UNLIMITED_V1 = "9223372036854771712\n"


def memcg_v1(directory: Path, *, limit: str = UNLIMITED_V1, memsw: str = UNLIMITED_V1) -> None:
    write(directory / "memory.limit_in_bytes", limit)
    write(directory / "memory.memsw.limit_in_bytes", memsw)
    write(directory / "memory.usage_in_bytes", "409600\n")
    write(directory / "memory.memsw.usage_in_bytes", "819200\n")
    write(directory / "memory.swappiness", "10\n")
    write(directory / "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n")
    write(directory / "cgroup.procs", "")


def memcg_v2(directory: Path, *, maximum: str = "max\n", oom_group: bool = False) -> None:
    write(directory / "memory.current", "409600\n")
    write(directory / "memory.max", maximum)
    write(directory / "memory.high", "max\n")
    write(directory / "memory.swap.max", "4096000\n")
    write(directory / "memory.swap.current", "40960\n")
    write(directory / "memory.oom.group", f"{int(oom_group)}\n")
    write(directory / "cgroup.procs", "")
