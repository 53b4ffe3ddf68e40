"""The machine's memory: ``/proc/meminfo``, ``/proc/vmstat`` and ``/proc/zoneinfo``."""

import errno
import os
import zlib

import msgspec

from oomkit.host.procfs import REFUSED, keyed_numbers, read_at, read_or_none, text
from oomkit.kernel.state import Memory, Node, Pressure, Sysctl


class Zones(msgspec.Struct, frozen=True):
    """What ``/proc/zoneinfo`` says about all zones together.

    Attributes:
        totalreserve_pages: as ``calculate_totalreserve_pages()`` computes it.
        min_wmark_pages: sum of the min watermarks, a boost included.
        low_wmark_pages: sum of the low watermarks.
        high_wmark_pages: sum of the high watermarks.
        nodes: the nodes that have memory.
    """

    totalreserve_pages: int
    min_wmark_pages: int
    low_wmark_pages: int
    high_wmark_pages: int
    nodes: tuple[Node, ...]


def parse_zoneinfo(data: bytes) -> Zones:
    """Add up the zones.

    Raises:
        ValueError: a number is not one.
    """
    zones: list[tuple[int, dict[bytes, int], int]] = []
    node_id = 0
    for part in data.split(b"\nNode ") if data.startswith(b"Node ") else []:
        header, _, body = part.removeprefix(b"Node ").partition(b"\n")
        node_id = int(header.partition(b",")[0])
        # "per-node stats" stand before the first zone's own figures, "pagesets" behind them.
        _, _, body = body.partition(b"pages free")
        figures = keyed_numbers(body.partition(b"pagesets")[0])
        _, _, protection = body.partition(b"protection: (")
        reserve = max((int(n) for n in protection.partition(b")")[0].split(b",") if n), default=0)
        zones.append((node_id, figures, reserve))
    return Zones(
        # A boost is transient, and not part of the reserve computed when the marks were set.
        sum(
            min(reserve + z.get(b"high", 0) - z.get(b"boost", 0), z.get(b"managed", z[b"present"]))
            for _, z, reserve in zones
            if b"present" in z
        ),
        sum(z.get(b"min", 0) for _, z, _ in zones),
        sum(z.get(b"low", 0) for _, z, _ in zones),
        sum(z.get(b"high", 0) for _, z, _ in zones),
        _nodes(zones),
    )


def _nodes(zones: list[tuple[int, dict[bytes, int], int]]) -> tuple[Node, ...]:
    present: dict[int, int] = {}
    spanned: dict[int, int] = {}
    for node_id, figures, _ in zones:
        present[node_id] = present.get(node_id, 0) + figures.get(b"present", 0)
        spanned[node_id] = spanned.get(node_id, 0) + figures.get(b"spanned", 0)
    return tuple(
        Node(node_id=node_id, present_pages=pages, spanned_pages=spanned[node_id])
        for node_id, pages in sorted(present.items())
        if pages
    )


def read_memory(proc: str, page_size: int) -> tuple[Memory, tuple[str, ...]]:
    """Return the machine's memory, and sentences about what could not be read."""
    missing: list[str] = []
    meminfo = keyed_numbers(read_or_none(f"{proc}/meminfo") or b"")
    if b"MemTotal" not in meminfo:
        missing.append("/proc/meminfo could not be read, so the size of memory is not known.")
    vmstat = keyed_numbers(read_or_none(f"{proc}/vmstat") or b"")
    zones = _read_zones(proc)
    if zones is None:
        missing.append(
            "/proc/zoneinfo could not be read, so watermarks and reserves count as 0 "
            "and memory as one node."
        )
        zones = Zones(0, 0, 0, 0, ())
    kb = page_size // 1024

    def pages(name: bytes) -> int:
        return meminfo.get(name, 0) // kb

    reclaimable = pages(b"SReclaimable")
    memory = Memory(
        total_ram_pages=pages(b"MemTotal"),
        total_swap_pages=pages(b"SwapTotal"),
        free_pages=pages(b"MemFree"),
        available_pages=pages(b"MemAvailable") if b"MemAvailable" in meminfo else None,
        free_swap_pages=pages(b"SwapFree"),
        file_pages=vmstat.get(
            b"nr_file_pages", pages(b"Cached") + pages(b"Buffers") + pages(b"SwapCached")
        ),
        shmem_pages=pages(b"Shmem"),
        anon_pages=pages(b"AnonPages"),
        slab_reclaimable_pages=reclaimable,
        slab_unreclaimable_pages=pages(b"SUnreclaim"),
        misc_reclaimable_pages=vmstat.get(
            b"nr_kernel_misc_reclaimable", max(0, pages(b"KReclaimable") - reclaimable)
        ),
        pgtable_pages=pages(b"PageTables"),
        hugetlb_pages=_hugetlb_kb(meminfo) // kb,
        committed_pages=pages(b"Committed_AS"),
        commit_limit_pages=pages(b"CommitLimit") if b"CommitLimit" in meminfo else None,
        totalreserve_pages=zones.totalreserve_pages,
        min_wmark_pages=zones.min_wmark_pages,
        low_wmark_pages=zones.low_wmark_pages,
        high_wmark_pages=zones.high_wmark_pages,
        nodes=zones.nodes,
    )
    return memory, tuple(missing)


def memory_again(memory: Memory, proc: str, page_size: int) -> Memory:
    """The machine's memory with what moves from second to second read again, by meminfo alone.

    Args:
        memory: as it was read whole.
        proc: the proc file system.
        page_size: bytes in a page.
    """
    meminfo = keyed_numbers(read_or_none(f"{proc}/meminfo") or b"")
    kb = page_size // 1024
    read = {
        field: meminfo[name] // kb
        for field, name in (
            ("total_swap_pages", b"SwapTotal"),
            ("free_pages", b"MemFree"),
            ("available_pages", b"MemAvailable"),
            ("free_swap_pages", b"SwapFree"),
            ("committed_pages", b"Committed_AS"),
        )
        if name in meminfo
    }
    return msgspec.structs.replace(memory, **read)


def _hugetlb_kb(meminfo: dict[bytes, int]) -> int:
    """Hugetlb counts all sizes (4.16 and later); before, only the default size is listed."""
    listed = meminfo.get(b"HugePages_Total", 0) * meminfo.get(b"Hugepagesize", 0)
    return meminfo.get(b"Hugetlb", listed)


def _read_zones(proc: str) -> Zones | None:
    data = read_or_none(f"{proc}/zoneinfo")
    try:
        return parse_zoneinfo(data) if data else None
    except ValueError:
        return None


def parse_pressure(data: bytes) -> Pressure:
    """Parse a PSI file.

    Raises:
        ValueError: the text is not that of a PSI file.
    """
    values: dict[str, float] = {}
    totals: dict[str, int] = {}
    for line in data.splitlines():
        kind, *pairs = line.decode("ascii").split()
        if kind not in ("some", "full"):
            raise ValueError(f"not the text of a pressure file: {kind!r}")
        for pair in pairs:
            name, _, number = pair.partition("=")
            if name == "total":
                totals[f"{kind}_total_us"] = int(number)
            elif name in ("avg10", "avg60", "avg300"):
                values[f"{kind}_{name}"] = float(number)
    return Pressure(
        some_avg10=values.get("some_avg10", 0.0),
        some_avg60=values.get("some_avg60", 0.0),
        some_avg300=values.get("some_avg300", 0.0),
        full_avg10=values.get("full_avg10", 0.0),
        full_avg60=values.get("full_avg60", 0.0),
        full_avg300=values.get("full_avg300", 0.0),
        some_total_us=totals.get("some_total_us", 0),
        full_total_us=totals.get("full_total_us", 0),
    )


def read_pressure(path: str) -> Pressure | None:
    """The pressure in a file; None where PSI is not built in, switched off or hidden."""
    data = read_or_none(path)
    try:
        return parse_pressure(data) if data else None
    except ValueError:
        return None


def read_sysctl(proc: str) -> tuple[Sysctl, tuple[str, ...]]:
    """Return the knobs, and a sentence about those that could not be read.

    A knob that this kernel does not have keeps its default: no rule of this kernel reads it.
    """
    values: dict[str, int] = {}
    refused: list[str] = []
    absent = 0
    names = [field.name for field in msgspec.structs.fields(Sysctl)]
    for name in names:
        try:
            values[name] = int(read_at(f"{proc}/sys/vm/{name}"))
        except OSError as error:
            if error.errno in REFUSED:
                refused.append(name)
            elif error.errno == errno.ENOENT:
                absent += 1
        except ValueError:
            refused.append(name)
    sysctl = Sysctl(**values)
    if absent == len(names):
        return sysctl, ("The knobs in /proc/sys/vm are not there; defaults are assumed.",)
    if refused:
        return sysctl, (f"Not readable, so defaults are assumed: vm.{', vm.'.join(refused)}.",)
    return sysctl, ()


ASSUMED_HZ = 250
_GZIP = 31  # zlib's name for "a gzip header is in front"


def kernel_release(proc: str) -> str:
    """``uname -r`` of the kernel behind ``proc``, or of this one where that is not readable."""
    data = read_or_none(f"{proc}/sys/kernel/osrelease")
    return text(data.strip()) if data else os.uname().release


def uptime_s(proc: str) -> int | None:
    """Whole seconds since boot; None where ``/proc/uptime`` can't be read."""
    data = read_or_none(f"{proc}/uptime")
    try:
        return None if data is None else int(data.partition(b".")[0])
    except ValueError:
        return None


def online_cpus(proc: str) -> int | None:
    """How many CPUs are online; None where ``/proc/stat`` can't be read."""
    data = read_or_none(f"{proc}/stat") or b""
    return sum(line[3:4].isdigit() for line in data.split(b"\n") if line.startswith(b"cpu")) or None


def config_hz(proc: str, boot: str, release: str) -> int | None:
    """``CONFIG_HZ`` from the kernel's own configuration; None where none is readable.

    Only the classic rules (up to 2.6.35) depend on it.
    """
    packed = read_or_none(f"{proc}/config.gz")
    try:
        config = zlib.decompress(packed, _GZIP) if packed else None
    except zlib.error:
        config = None
    for source in (config, read_or_none(f"{boot}/config-{release}")):
        if source is None:
            continue
        _, found, rest = source.partition(b"\nCONFIG_HZ=")
        number = rest.partition(b"\n")[0]
        if found and number.isdigit():
            return int(number)
    return None
