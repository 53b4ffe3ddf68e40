"""Wait for reports: the running kernel's log, a pipe, or a file that grows."""

import os
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from oomkit.explain.redact import Redactor
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import KMSG, LogError, kmsg_line, said_name
from oomkit.klog.parser import Parser
from oomkit.klog.records import Report
from oomkit.klog.replay import replay_all

SETTLE_S = 1.0
"""Seconds of silence after which a report is taken to be over."""
_POLL_S = 0.2
_CHUNK_BYTES = 1 << 16
MAX_LINE = 1 << 20
"""A line without an end is dropped when it is longer."""
_JOURNAL = ("journalctl", "--quiet", "--dmesg", "--output=short-iso-precise")


def follow(name: str | None, redactor: Redactor | None = None) -> Iterator[Report | Evidence]:
    """Yield what a log holds and will hold: reports, replayed, and what others say.

    Ends with a pipe's writer, never with a file or the running kernel's log.

    Args:
        name: a file, which may be a named pipe; ``-`` for standard input; None for the running
            kernel's log.
        redactor: takes the names out.

    Raises:
        LogError: the log can't be read.
    """
    yield from follow_chunks(*_opened(name), redactor)


def follow_chunks(
    chunks: Iterator[bytes | None],
    name: str,
    redactor: Redactor | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Report | Evidence]:
    """Yield what bytes report as they come.

    Args:
        chunks: the bytes; an empty chunk says that nothing came for a while, None that what comes
            now is another file.
        name: what the records call the log.
        redactor: takes the names out.
        clock: seconds, by which silence is measured.
    """
    waiting: list[Report] = []
    replayed = replay_all(iter(waiting.pop, None))
    for record in _read(chunks, name, clock):
        if isinstance(record, Report):
            waiting.append(record if redactor is None else redactor.report(record))
            yield next(replayed)
        else:
            yield record if redactor is None else redactor.evidence(record)


def _opened(name: str | None) -> tuple[Iterator[bytes | None], str]:
    if name is None:
        return _running(), KMSG
    if name == "-":
        return _pipe(sys.stdin.fileno(), "-"), "-"
    try:
        fd = os.open(name, os.O_RDONLY)
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise LogError(f"{name}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        os.close(fd)
        raise LogError(f"{name}: Is a directory")
    if stat.S_ISREG(mode):
        return _growing(name, fd), name
    return _pipe(fd, name), name


def _read(
    chunks: Iterator[bytes | None], name: str, clock: Callable[[], float]
) -> Iterator[Report | Evidence]:
    """Yield what bytes hold; an empty chunk says that nothing came for a while, None that what
    comes now is another file.
    """
    parser = Parser(name, evidence=True)
    line = 1
    rest = b""
    quiet_since: float | None = None
    for chunk in chunks:
        if chunk is None:
            yield from parser.finish()
            parser, line, rest = Parser(name, evidence=True), 1, b""
            continue
        if chunk:
            quiet_since = None
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                parser.push(whole + newline, line)
                line += whole.count(b"\n") + 1
            elif len(rest) > MAX_LINE:
                rest = b""  # no line of a kernel is so long
            yield from parser.drain()
            continue
        now = clock()
        if quiet_since is None:
            quiet_since = now
        elif now - quiet_since >= SETTLE_S:
            yield from parser.finish()
    if rest:
        parser.push(rest, line)
    yield from parser.finish()


def _pipe(fd: int, name: str) -> Iterator[bytes]:
    while True:
        ready, _, _ = select.select([fd], [], [], _POLL_S)
        if not ready:
            yield b""
            continue
        try:
            chunk = os.read(fd, _CHUNK_BYTES)
        except OSError as error:
            raise LogError(f"{said_name(name)}: {error.strerror}") from None
        if not chunk:
            return
        yield chunk


def _growing(name: str, fd: int) -> Iterator[bytes | None]:
    """Read a file for ever; one that was rotated or cut is read from its new start."""
    position = 0
    while True:
        chunk = os.read(fd, _CHUNK_BYTES)
        position += len(chunk)
        yield chunk
        if chunk:
            continue
        time.sleep(_POLL_S)
        try:
            now, opened = os.stat(name), os.fstat(fd)
        except FileNotFoundError:
            continue  # between the removal of the old file and the new one's creation
        if (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
            os.close(fd)
            fd, position = os.open(name, os.O_RDONLY), 0
            yield None
        elif opened.st_size < position:
            os.lseek(fd, 0, os.SEEK_SET)
            position = 0
            yield None


def _running() -> Iterator[bytes]:
    try:
        fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return _journal(error.strerror)
    return _records(fd)


def _records(fd: int) -> Iterator[bytes]:
    while True:
        try:
            yield kmsg_line(os.read(fd, _CHUNK_BYTES))
        except BlockingIOError:
            yield b""
            select.select([fd], [], [], _POLL_S)
        except BrokenPipeError:
            continue  # records were overwritten before they were read; the next read goes on


def _journal(reason: str | None) -> Iterator[bytes]:
    """Follow the journal, unless it shows this user nothing of the kernel's log."""
    text = f"{KMSG}: {reason}; expected to be run as root, or a journal, or a FILE"
    try:
        seen = subprocess.run([*_JOURNAL, "--lines=1"], capture_output=True, check=False).stdout
        if not seen:
            raise LogError(text)
        journal = subprocess.Popen(
            [*_JOURNAL, "--lines=all", "--follow"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        raise LogError(text) from None
    assert journal.stdout is not None
    with journal:
        try:
            yield from _pipe(journal.stdout.fileno(), KMSG)
        finally:
            journal.kill()
