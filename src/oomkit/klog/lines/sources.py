"""Open a log, whatever it is: a file, plain or compressed, standard input, the running kernel's."""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO, cast

from oomkit.errors import OomkitError
from oomkit.klog.lines.forked import Forked, receive, send
from oomkit.klog.lines.packed import BZIP2, GZIP, MAGIC_BYTES, UTF16, XZ, ZSTD
from oomkit.klog.lines.scan import Readable

KMSG = "/dev/kmsg"
_MUCH_BYTES = 1 << 20
"""From this size on it pays to unpack a file in a process of its own."""
_PIECE_BYTES = 256 << 10
_ZSTD_BYTES = 1 << 10


class LogError(OomkitError):
    """A log can't be read; the text names it and says why."""


class Log:
    """An open log; errors of reading and unpacking become one clear sentence.

    Attributes:
        name: what the records call it.
        plain: the file it is, where that is not packed.
    """

    def __init__(self, file: Readable, name: str) -> None:
        self._file = file
        self.name = name
        self.plain: BinaryIO | None = None

    def seek(self, offset: int, /) -> None:
        """Go to an offset of a plain file."""
        assert self.plain is not None, "it can't be read from any place"
        self.plain.seek(offset)

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer; 0 at the end.

        Raises:
            LogError: the data can't be read or unpacked.
        """
        try:
            return self._file.readinto(buffer)
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise LogError(
                f"{said_name(self.name)}: the compressed data is damaged: {error}"
            ) from None
        except OSError as error:
            raise LogError(f"{said_name(self.name)}: {error.strerror or error}") from None


def said_name(name: str) -> str:
    """A log's name as messages have it: ``standard input`` for ``-``."""
    return "standard input" if name == "-" else name


@contextmanager
def open_log(name: str | None, *, apart: bool = False) -> Iterator[Log]:
    """Open a log.

    Args:
        name: a file, plain or compressed; ``-`` for standard input; None for the running
            kernel's log.
        apart: unpack a large compressed file in a process of its own.

    Raises:
        LogError: it can't be opened or read, or nothing here can unpack it.
    """
    if name is None:
        yield Log(io.BytesIO(running_kernel_log()), KMSG)
        return
    if name == "-":
        yield _unpacked(sys.stdin.buffer, "-")
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(name, "rb"))
        except OSError as error:
            raise LogError(f"{said_name(name)}: {error.strerror}") from None
        log = _unpacked(file, name)
        if apart and log.plain is None and os.fstat(file.fileno()).st_size >= _MUCH_BYTES:
            with suppress(OSError):  # no process is left: it is unpacked here
                unpacker = Unpacker(log)
                stack.callback(unpacker.close)
                log = Log(unpacker, name)
        yield log


def _unpacked(file: BinaryIO, name: str) -> Log:
    try:
        magic = cast("io.BufferedReader", file).peek(MAGIC_BYTES)[:MAGIC_BYTES]
    except OSError as error:
        raise LogError(f"{said_name(name)}: {error.strerror or error}") from None
    if magic.startswith(GZIP):
        return Log(gzip.GzipFile(fileobj=file), name)
    if magic.startswith(XZ):
        return Log(lzma.LZMAFile(file), name)
    if magic.startswith(BZIP2):
        return Log(bz2.BZ2File(file), name)
    if magic.startswith(ZSTD):
        return Log(_zstd(file, name), name)
    if magic.startswith(UTF16):
        return Log(_Utf16(file), name)
    log = Log(cast("Readable", file), name)
    log.plain = file
    return log


class Unpacker:
    """Reads a log in a process of its own, so that unpacking and searching use two CPUs.

    Raises:
        OSError: there is no further process.
    """

    def __init__(self, log: Log) -> None:
        self._name = log.name
        self._child = Forked(partial(_unpack, log))
        self._rest = memoryview(b"")
        self._ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 at the end.

        Raises:
            LogError: the data can't be read or unpacked.
        """
        if not self._rest and not self._ended:
            data = receive(self._child.output)
            if not isinstance(data, bytes):
                died = f"{said_name(self._name)}: the process that unpacks it died (out of memory?)"
                raise LogError(data or died)
            self._ended = not data
            self._rest = memoryview(data)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        """End the process."""
        self._child.close()


def _unpack(log: Log, fd: int) -> None:
    """Send a log piece by piece, and an empty piece or what is wrong at its end."""
    with memoryview(bytearray(_PIECE_BYTES)) as view:
        try:
            while size := log.readinto(view):
                send(fd, bytes(view[:size]))
        except LogError as error:
            send(fd, str(error))
    send(fd, b"")


def _zstd(file: BinaryIO, name: str) -> Readable:
    try:
        import zstandard
    except ImportError:
        try:
            # In Python from 3.14 on.
            standard: Any = importlib.import_module("compression.zstd")
        except ImportError:
            raise LogError(
                f"{said_name(name)}: is compressed with zstd; expected the package zstandard "
                "(pip install 'oomkit[zstd]'), or zstd -dc FILE | oomkit explain -"
            ) from None
        return _Zstd(file, standard.ZstdDecompressor, standard.ZstdError)
    whole = zstandard.ZstdDecompressor()
    return _Zstd(file, whole.decompressobj, zstandard.ZstdError)


class _Zstd:
    """Frames of zstd one after the other; their errors, and an end in the middle, as EOFError."""

    def __init__(self, file: BinaryIO, begin: Callable[[], Any], error: type[Exception]) -> None:
        """Read.

        Args:
            file: the packed log.
            begin: makes what unpacks one frame.
            error: what that raises of damaged data.
        """
        self._file = file
        self._begin = begin
        self._error = error
        self._frame: Any = None
        self._packed = b""
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int | None:
        while not self._rest:
            # In small pieces: none of them can become more than some MB.
            packed = self._packed or self._file.read(_ZSTD_BYTES)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._rest = memoryview(self._unpacked(packed))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _unpacked(self, packed: bytes) -> bytes:
        if self._frame is None:
            self._frame = self._begin()
        try:
            data: bytes = self._frame.decompress(packed)
        except self._error as error:
            raise EOFError(str(error)) from None
        self._packed = b""
        if self._frame.eof:
            self._packed = self._frame.unused_data
            self._frame = None
        return data


class _Utf16:
    """A log that some system's shell or editor saved in UTF-16, as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")("replace")

    def readinto(self, buffer: memoryview, /) -> int | None:
        # Two bytes become at most three.
        wanted = len(buffer) // 2
        while data := self._file.read(wanted):
            text = self._decoder.decode(data).encode()
            if text:
                buffer[: len(text)] = text
                return len(text)
        return 0


def running_kernel_log() -> bytes:
    """Return the running kernel's log: ``/dev/kmsg``, else what ``dmesg`` or the journal give.

    Raises:
        LogError: none of them can be read.
    """
    try:
        return _read_kmsg()
    except OSError as error:
        reason = error.strerror
    for command in (["dmesg"], ["journalctl", "-q", "-k", "-o", "short-monotonic", "--no-pager"]):
        try:
            run = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            continue
        if run.returncode == 0 and run.stdout:
            return run.stdout
    raise LogError(f"{KMSG}: {reason}; expected to be run as root, or a FILE")


def _read_kmsg() -> bytes:
    """Read every record the kernel still holds, as lines with its usual stamp."""
    lines = []
    fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                record = os.read(fd, 16384)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records were overwritten while reading; the next read goes on
            lines.append(kmsg_line(record))
    finally:
        os.close(fd)
    return b"".join(lines)


def kmsg_line(record: bytes) -> bytes:
    """Turn one record of ``/dev/kmsg`` (``prio,seq,usec,flags[,caller=];text``) into a line."""
    head, _, text = record.partition(b";")
    fields = head.split(b",")
    try:
        level, usec = int(fields[0]) & 7, int(fields[2])
    except (IndexError, ValueError):
        return text
    caller = next((f[7:] for f in fields[4:] if f.startswith(b"caller=")), b"")
    shown = b"[%6s]" % caller if caller else b""
    body = text.partition(b"\n")[0]
    return b"<%d>[%5d.%06d]%s %s\n" % (level, usec // 1_000_000, usec % 1_000_000, shown, body)
