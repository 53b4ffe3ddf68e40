"""Where the daemon's own process begins: ``python -I -S lean.py FD``.

It is started by path, without site-packages, and imports nothing but what the daemon needs.
Its settings come through the descriptor, written by :mod:`oomkit.guard.launch`.
"""

import gc
import marshal
import os
import sys

BIND_NOW = "LD_BIND_NOW"
"""Has the loader look every function of a library up at the start: to do it at a function's first
call would read tables of symbols in memory that is locked by then, or when memory is low."""


def main() -> None:
    """Guard until stopped; exit status 2 if it can't start."""
    try:
        _guard()
    except Exception as error:
        if os.environ.get("OOMKIT_DEBUG"):
            raise
        _end(f"internal error, please report it: {type(error).__name__}: {error}")


def _guard() -> None:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, os.path.dirname(package))
    from oomkit.guard.strip import drop_annotations, only_python, strip_imports

    only_python(package)
    whole = bool(os.environ.get("OOMKIT_DEBUG"))  # as its tracebacks need lines
    if not whole:
        strip_imports()

    from oomkit.guard.config import from_plain
    from oomkit.guard.reserve import LIMIT, Reserve

    os.environ.pop(BIND_NOW, None)  # the loader has read it
    # The current directory is the caller's; nothing is to be looked up there.
    os.chdir("/")
    fd = int(sys.argv[1])
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb") as file:
        settings = from_plain(marshal.load(file))
    most_files = os.sysconf("SC_OPEN_MAX")
    if 0 < most_files < LIMIT:
        _end(f"only {most_files} files can be open (RLIMIT_NOFILE); expected {LIMIT} or more")
    reserve = Reserve(bounded=settings.files_bounded)

    from oomkit.guard import selftest
    from oomkit.guard.daemon import Daemon
    from oomkit.host.libc import drop_files, lock_memory
    from oomkit.host.self_protection import run_first, spare_self

    if not whole:
        drop_annotations(gc.get_objects())
    if settings.self_test and not settings.dry_run:
        fault = selftest.fault(settings.places.proc)
        if fault:
            _end(f"self-test: {fault}")
    missing = []
    try:
        drop_files()
        lock_memory()
    except OSError as error:
        missing.append(f"memory can't be locked: {error.strerror} (RLIMIT_MEMLOCK)")
    try:
        adj = spare_self()
        if adj > -1000:
            missing.append(f"the guard's own oom_score_adj stays {adj} (no CAP_SYS_RESOURCE)")
    except OSError as error:
        missing.append(f"the guard's own oom_score_adj is not known: {error.strerror}")
    if not run_first():
        missing.append("the guard runs no sooner than others (no CAP_SYS_NICE)")
    settings.missing = (*settings.missing, *missing)
    try:
        daemon = Daemon(settings, reserve)
    except BlockingIOError:
        _end(f"{settings.state}: another guard is at work with this file")
    # What is there now stays; collecting it over and over would only cost.
    gc.collect()
    gc.freeze()
    gc.disable()
    daemon.run()


def _end(text: str) -> None:
    from oomkit.guard.messages import ERROR, MessageWriter

    MessageWriter().line(ERROR, f"oomkit: {text}")
    sys.exit(2)


if __name__ == "__main__":
    main()
