"""Standard streams that are closed, full, or without a reader."""

import io
import os
import sys
from contextlib import suppress
from typing import Any

STDOUT = "standard output"


class _Stdout(io.FileIO):
    """Standard output whose errors name it, as those of other files name them."""

    def write(self, data: Any, /) -> int:
        """Write like ``FileIO``.

        Raises:
            OSError: it can't be written.
        """
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


def repair() -> None:
    """Give every standard stream that is closed a file, so that nothing else is opened there.

    Reading or writing it is an OSError (EBADF), as it is for other programs; what goes to a closed
    standard error is lost. Text that a stream's encoding can't hold is escaped.
    """
    for fd, name, flags, mode in (
        (0, "stdin", os.O_WRONLY, "r"),
        (1, "stdout", os.O_RDONLY, "w"),
        (2, "stderr", os.O_RDWR, "w"),
    ):
        if getattr(sys, name) is None:
            _open_at(fd, flags)
            stream = open(fd, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
            setattr(sys, name, stream)
    given: Any = sys.stdout
    if (given is sys.__stdout__ and hasattr(given, "write_through")) or sys.__stdout__ is None:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=given.encoding,
            errors="backslashreplace",
            line_buffering=given.line_buffering,
            write_through=given.write_through,
        )


def _open_at(fd: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened != fd:
        os.dup2(opened, fd)
        os.close(opened)
    os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword


def give_up(stream: Any) -> None:
    """Let what a stream still holds go nowhere: the interpreter flushes it when it ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def leave() -> None:
    """Write what standard output still holds, or give it up: no word of the interpreter's."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        give_up(sys.stdout)


def say(message: str) -> None:
    """Write a line to standard error, if it can be written."""
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)
