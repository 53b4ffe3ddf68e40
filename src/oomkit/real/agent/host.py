"""The agent on this host: the plan comes on standard input, reports go to standard output.

Standard input stays open as long as the parent lives; when it closes, everything is
taken down again.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import signal
import sys

from . import groups
from .watch import Watch

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Play the plan, then kill what is left and remove the cgroups; exit status 3: they stay."""
    length = int.from_bytes(_exactly(8), "little")
    plan = marshal.loads(_exactly(length))
    # Orphans of the run come to us, so that none outlives it.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    for name in ("files", "tmpfs"):
        plan[name] = _handed(plan[name])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: plan["cpus"]])
    watch = Watch(plan, 1, 0)
    code = 0
    try:
        watch.run()
    except SystemExit:
        code = 1
    except OSError as error:
        watch.report.say("failed", error.errno or 0, error.filename or "-")
        code = 2
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        watch.end()
        left = groups.remove(group["path"] for group in plan["groups"])
        for directory in plan["temporary"]:
            _remove(directory)
        if left:
            watch.report.say("left", *left)
            code = 3
    os._exit(code)


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(1)


def _handed(directory: str) -> str:
    """A directory as tasks reach it, which can't enter the one above: by a descriptor of ours."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    # Any uid may write there, but only processes forked from us can reach it.
    os.chmod(directory, 0o777)
    return f"/proc/self/fd/{fd}"


def _remove(directory: str) -> None:
    """Remove a run's directory; the process that started us may not live to do it."""
    for above, _, names in os.walk(directory, topdown=False):
        try:
            for name in names:
                os.unlink(f"{above}/{name}")
            os.rmdir(above)
        except OSError:
            return


def _exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            sys.exit(1)
        data += piece
    return data
