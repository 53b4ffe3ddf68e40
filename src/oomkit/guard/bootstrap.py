"""Where the daemon's own process begins: ``python -I -S bootstrap.py FD``.

It is started by path, without site-packages, and imports nothing but what the daemon needs.
Its settings come through the descriptor, written by :mod:`oomkit.guard.launch`.

Modules are imported without what only people read: docstrings, line numbers and annotations. They
are a tenth of what the daemon takes, and locked in memory like the rest of it. ``-OO`` does
not do: it wants compiled files of its own, which neither distributions nor pip install.
"""

import _frozen_importlib_external as _loaders  # the public module brings much of importlib
import gc
import marshal
import os
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
else:
    CodeType = type((lambda: None).__code__)


def only_python(folder: str) -> None:
    """Of what lies below a folder, import Python from now on, never a shared object made of it.

    A shared object holds the whole of what was compiled, the modelled machine too.
    """

    def hook(path: str) -> "_loaders.FileFinder":
        if path != folder and not path.startswith(f"{folder}/"):
            raise ImportError(path, path=path)
        # A guest has the byte code alone.
        return _loaders.FileFinder(
            path,
            (_loaders.SourceFileLoader, [".py"]),
            (_loaders.SourcelessFileLoader, [".pyc"]),
        )

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


_OPTIMIZED = 0x1
"""Of a function, and of nothing else."""
_HAS_DOCSTRING = 0x4000000 if sys.version_info >= (3, 14) else 0
"""Before 3.14 the first constant of a function is its docstring if it is a text."""
_HEAD = 5
"""Names that the body of a class begins with, ``__doc__`` the last of them."""


def strip_imports() -> None:
    """Strip all modules that are imported from now on."""
    whole = _loaders.SourceFileLoader.get_code

    def get_code(loader: "_loaders.SourceFileLoader", name: str) -> "CodeType | None":
        code = whole(loader, name)
        return None if code is None else stripped(code)

    _loaders.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]  # replaced


def stripped(code: "CodeType") -> "CodeType":
    """The same code, and that of all in it, without docstrings and line numbers."""
    constants = [stripped(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    at = _docstring(code)
    if at is not None:
        constants[at] = None
    return code.replace(co_consts=tuple(constants), co_linetable=b"")


def drop_annotations(everything: "Iterable[object]") -> None:
    """Forget what types the functions among some objects take and return."""
    function = type(drop_annotations)
    for one in everything:
        if type(one) is function:
            del one.__annotations__


def _docstring(code: "CodeType") -> int | None:
    """Where a docstring is among the constants of some code; None: it has none."""
    constants = code.co_consts
    if code.co_flags & _OPTIMIZED:
        # Lambdas have none, nor have comprehensions, whose first constant is any other.
        named = not code.co_name.startswith("<")
        marked = not _HAS_DOCSTRING or code.co_flags & _HAS_DOCSTRING
        found = 0 if named and marked and constants else None
    elif code.co_name == "<module>":
        found = 0 if code.co_names[:1] == ("__doc__",) else None
    elif "__doc__" in code.co_names[:_HEAD]:
        # A class begins with its qualified name; its docstring is the next text.
        found = next((i for i, one in enumerate(constants) if i and isinstance(one, str)), None)
    else:
        found = None
    return found if found is not None and isinstance(constants[found], str) else None


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

    from oomkit.guard.daemon import Daemon
    from oomkit.host.libc import drop_files, lock_memory
    from oomkit.host.pidfd import kill_fault
    from oomkit.host.self_protection import run_first, spare_self

    if not whole:
        drop_annotations(gc.get_objects())
    if settings.self_test and not settings.dry_run:
        fault = kill_fault(settings.places.proc)
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
