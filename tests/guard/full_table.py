"""Runs a guard for which the machine has too many files open: ``full_table.py SIGN OOMKIT ...``.

While there is a file SIGN, whatever would open one fails with ENFILE, in the daemon alone, as if
another process took each file as it comes free. It is started as one that may be refused so.
"""

import builtins
import errno
import io
import os
import runpy
import sys
from collections.abc import Callable
from typing import Any

BY_NAME = ("listdir", "scandir")
ALWAYS = ("open", "pidfd_open", "memfd_create", "pipe", "pipe2", "posix_spawn", "posix_spawnp")


def refusing(function: Callable[..., Any], sign: str, *, by_name: bool) -> Callable[..., Any]:
    def asked(*arguments: Any, **named: Any) -> Any:
        # A descriptor that is open is read through a copy of it, which is no other file.
        if not (by_name and arguments and isinstance(arguments[0], int)):
            try:
                os.stat(sign)
            except OSError:
                pass
            else:
                raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        return function(*arguments, **named)

    return asked


def daemon(sign: str) -> None:
    for name in (*BY_NAME, *ALWAYS):
        setattr(os, name, refusing(getattr(os, name), sign, by_name=name in BY_NAME))
    builtins.open = io.open = refusing(open, sign, by_name=True)
    del sys.argv[0:3]
    runpy.run_path(sys.argv[0], run_name="__main__")


def command(sign: str) -> None:
    from oomkit.guard import launch

    really = os.execve

    def execve(program: str, argv: list[str], environ: Any) -> None:
        at = next(number for number, word in enumerate(argv) if word.endswith(".py"))
        really(program, [*argv[:at], __file__, "--daemon", sign, *argv[at:]], environ)

    os.execve = execve  # type: ignore[assignment]  # a stand-in
    launch.files_are_bounded = lambda: True
    del sys.argv[0:2]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "--daemon":
        daemon(sys.argv[2])
    else:
        command(sys.argv[1])
