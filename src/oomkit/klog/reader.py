"""Read logs: every OOM report in them, one record each."""

import io
import re
from collections.abc import Iterator
from itertools import pairwise

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.ahead import Ahead
from oomkit.klog.lines.clean import clean_bytes
from oomkit.klog.lines.program import may_be_source, program_lines
from oomkit.klog.lines.prose import asked_lines, is_manual, may_ask
from oomkit.klog.lines.scan import BLOCK_BYTES, WHOLE_BYTES, Jumps, Readable, Scanner
from oomkit.klog.lines.sources import open_log
from oomkit.klog.parser import Parser
from oomkit.klog.records import KernelName, Report
from oomkit.klog.searched import searched
from oomkit.klog.userspace import needles
from oomkit.klog.userspace.objects import abouts

_PARTS = re.compile(
    # First what any of them begins with.
    rb"(?=[iMmtoKk])(?:(?P<head>invoked oom-killer)|(?P<memory>Mem-[Ii]nfo:|memory: usage \d)"
    rb"|(?P<table>tgid total_vm)|(?P<choice>oom-kill:constraint|[Kk]ill process \d)"
    rb"|(?P<killed>Killed process \d)|(?P<reaped>oom_reaper: reaped))"
)
_OBJECT = re.compile(rb"(?i:\breason\"?:\s+\"?OOM|\"OOMKilled\":\s+true|\"ExitCode\":\s+137)")
"""A field of a printed object that reports a death."""


def _has_object(data: bytes) -> bool:
    small = data.lower()
    return (b"reason" in small or b"oomkilled" in small) and _OBJECT.search(data) is not None


_ORDER = {name: i for i, name in enumerate(_PARTS.groupindex)}
_ENOUGH = 2
_ENDS = (b"Killed process ", b"oom-kill:constraint", b"oom_reaper: ")
_BEGINNINGS = (b"invoked oom-killer", b"tgid total_vm", b"Mem-Info:")


def is_newest_first(data: bytes) -> bool:
    """Whether the parts of reports follow each other against the order in which they are printed.

    From one report to the next the order starts again, so that pairs of neighbours are counted.
    """
    if b"oom_reaper: reaped" in data and b"invoked oom-killer" not in data:
        return _reaps_before_it_kills(data)
    # As a rule the first line shows it, and the rest need not be searched.
    end = min((i for i in map(data.find, _ENDS) if i >= 0), default=-1)
    if end < 0 or not any(
        data.find(begins, end) >= 0 and data.find(begins, 0, end) < 0 for begins in _BEGINNINGS
    ):
        return False
    kinds = [_ORDER[match.lastgroup or ""] for match in _PARTS.finditer(data)]
    pairs = list(pairwise(kinds))
    upwards = sum(later - first == 1 for first, later in pairs)
    down = sum(first - later == 1 for first, later in pairs)
    return down >= _ENOUGH and down > 2 * upwards


_REAPED = re.compile(rb"oom_reaper: reaped process (?P<pid>\d{1,10})\b")


def _reaps_before_it_kills(data: bytes) -> bool:
    """Whether the first process that was reaped is killed below, and not above."""
    reaped = _REAPED.search(data)
    if reaped is None:
        return False
    killed = re.search(rb"[Kk]illed process " + reaped["pid"] + rb"\b", data)
    return killed is not None and killed.start() > reaped.start()


def read_records(
    name: str | None, *, searchers: int = 1, begun: Ahead | None = None
) -> Iterator[Report | Evidence | KernelName]:
    """Yield a log's reports and the lines of others that report deaths, in their order.

    At its end come the lines outside of reports that name the kernel.

    Args:
        name: a file, plain or compressed; ``-`` for standard input; None for the running
            kernel's log.
        searchers: how many processes search a large file for what matters; with more than one a
            compressed file is unpacked in another process. What is found is always the same.
        begun: a search of the file that has begun: see :func:`.begin_search`.

    Raises:
        LogError: the log can't be read.
    """
    with open_log(name, apart=searchers > 1) as log, searched(log, searchers, begun) as jumps:
        yield from scan_records(log, log.name, evidence=True, jumps=jumps)


def read_log(name: str | None) -> Iterator[Report]:
    """Yield the reports of a log, in the order in which they begin.

    Args:
        name: as for :func:`read_records`.

    Raises:
        LogError: the log can't be read.
    """
    with open_log(name) as log:
        yield from read_stream(log, log.name)


def read_bytes(data: bytes, name: str = "-") -> Iterator[Report]:
    """Yield the reports in bytes of a log; ``name`` is what the records call it."""
    yield from read_stream(io.BytesIO(data), name)


def read_evidence(data: bytes, name: str = "-") -> Iterator[Evidence]:
    """Yield what others than the kernel report in bytes of a log."""
    for record in scan_records(io.BytesIO(data), name, evidence=True):
        if isinstance(record, Evidence):
            yield record


def read_stream(source: Readable, name: str) -> Iterator[Report]:
    """Yield the reports of anything that can be read into a buffer."""
    for record in scan_records(source, name, evidence=False):
        if isinstance(record, Report):
            yield record


_SOURCE_BYTES = 1 << 20
"""Few programs' sources are as large."""


def _head_of(source: Readable) -> bytes:
    """The beginning of a log, a little more than what is read whole."""
    return _read(source, WHOLE_BYTES + 1)


def _read(source: Readable, size: int) -> bytes:
    """The next bytes of a log, so many unless it ends."""
    head = bytearray(size)
    filled = 0
    with memoryview(head) as view:
        while got := source.readinto(view[filled:]):
            filled += got
    return bytes(head[:filled])


def _blocks_of(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Whole lines by blocks, and the number of the first of each."""
    begin, line = 0, 1
    while begin < len(data):
        end = len(data)
        if end - begin > BLOCK_BYTES:
            end = data.find(b"\n", begin + BLOCK_BYTES) + 1 or end
        yield data[begin:end], line
        line += data.count(b"\n", begin, end)
        begin = end


def _no_log(head: bytes) -> frozenset[int]:
    """Numbers of a short text's lines that are a program's, or examples of what to look for."""
    text = clean_bytes(head)
    if is_manual(text):
        return frozenset(range(1, head.count(b"\n") + 2))
    found: frozenset[int] = frozenset()
    if any(sign in head for sign in (b'"', b"'", b"`", b" *\n", b"<<")):
        found = program_lines(text)
    return found | asked_lines(text) if may_ask(head) else found


class _Again:
    """Gives what was read of a log once more, then the rest."""

    def __init__(self, head: bytes, source: Readable) -> None:
        self._head = head
        self._source = source

    def readinto(self, buffer: memoryview, /) -> int | None:
        if not self._head:
            return self._source.readinto(buffer)
        part, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def scan_records(
    source: Readable, name: str, *, evidence: bool, jumps: Jumps | None = None
) -> Iterator[Report | Evidence | KernelName]:
    """Yield the records of a log, and last the kernels that it names.

    Args:
        source: the log's bytes.
        name: what the records call it.
        evidence: also what others than the kernel say of a death.
        jumps: knows where the lines are that matter to who reads evidence, too.
    """
    parser = Parser(name, evidence=evidence)
    head = _head_of(source)
    if evidence and len(head) <= WHOLE_BYTES and _has_object(head):
        parser.abouts = abouts(clean_bytes(head))
    if len(head) <= WHOLE_BYTES:
        parser.beginning = head
        parser.no_log = _no_log(head)
    if len(head) <= WHOLE_BYTES and is_newest_first(head):
        lines = head.splitlines(keepends=True)
        for i in reversed(range(len(lines))):
            parser.push(lines[i], i + 1)
        yield from parser.finish()
        yield from parser.kernels
        return
    if len(head) < WHOLE_BYTES:
        # As a scanner would show it, whose buffer takes longer to make than this to read.
        for data, line in _blocks_of(head):
            parser.push(data, line)
            yield from parser.drain()
        yield from parser.finish()
        yield from parser.kernels
        return
    if jumps is None and may_be_source(head):
        more = _read(source, _SOURCE_BYTES)
        if len(more) < _SOURCE_BYTES:
            parser.no_log = program_lines(clean_bytes(head + more))
        head += more
    source = _Again(head, source)
    scanner = Scanner(source, parser)
    if evidence:
        scanner = Scanner(source, parser, needles.NEEDLES, worth=needles.is_worth, jumps=jumps)
    for _ in scanner.run():
        yield from parser.drain()
    yield from parser.finish()
    yield from parser.kernels
