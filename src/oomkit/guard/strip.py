"""Modules without what only people read: docstrings, line numbers and annotations.

They are a tenth of what the daemon takes, and locked in memory like the rest of it. ``-OO`` does
not do: it wants compiled files of its own, which neither distributions nor pip install.
"""

import _frozen_importlib_external as _loaders  # the public module brings much of importlib
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
