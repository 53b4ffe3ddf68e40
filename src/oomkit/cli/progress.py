"""A line on stderr while something takes longer than a second and a person is looking."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_AFTER_S = 1.0
_EVERY_S = 0.5


@contextmanager
def progress(text: Callable[[], str]) -> Iterator[None]:
    """Show ``text()``, updated from the second second on, and wipe it at the end."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def show() -> None:
        if done.wait(_AFTER_S):
            return
        # A terminal that is closed does not end the command.
        with suppress(OSError):
            while not done.wait(_EVERY_S):
                sys.stderr.write(f"\r{fitting(text())}\x1b[K")
                sys.stderr.flush()
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def fitting(text: str) -> str:
    """As much of a line as the terminal shows without wrapping: what wraps can't be wiped."""
    columns = max(shutil.get_terminal_size().columns - 1, 10)
    return text if len(text) <= columns else f"{text[: columns - 3]}..."
