"""Begins to search a large log for ``oomkit explain`` while the command itself is loaded."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.klog.lines.ahead import Ahead

MUCH_BYTES = 64_000_000
"""From this size on logs are read by several processes."""
_OTHERWISE = ("--workers", "--cluster", "--follow", "--help", "-h")
"""With these a log is not searched, or not by as many as there are CPUs."""
_begun: "list[tuple[str, Ahead]]" = []
"""The log and the search, until the command asks for them."""


def begin(argv: "Sequence[str]") -> None:
    """Begin to search the last argument, if it is a large file and nothing speaks against it.

    Args:
        argv: what follows the command's name. What it means is not known yet: :func:`begun` says
            later whether the search is of use.
    """
    if not argv or any(word.startswith(_OTHERWISE) for word in argv):
        return
    searchers = len(os.sched_getaffinity(0))
    try:
        large = searchers > 1 and os.path.getsize(argv[-1]) >= MUCH_BYTES
    except (OSError, ValueError):
        return
    if large:
        from oomkit.klog.searched import begin_search

        search = begin_search(argv[-1], searchers)
        if search is not None:
            _begun.append((argv[-1], search))


def begun(names: "Sequence[str | None]", searchers: int) -> "Ahead | None":
    """The search of a single large log: that which has begun, or one that begins now.

    Args:
        names: the logs that are read.
        searchers: how many processes search.
    """
    name = names[0] if searchers > 1 and len(names) == 1 else None
    while _begun:
        searched, search = _begun.pop()
        if searched == name:
            return search
        search.close()
    if name is None or name == "-":
        return None
    from oomkit.klog.searched import begin_search

    return begin_search(name, searchers)
