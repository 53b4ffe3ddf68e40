"""Lines of words to the process that started the agent.

Each line is one write of less than a pipe's atomic size, so that tasks and their watcher can
share one descriptor. The first word says what happened, the second when (``CLOCK_MONOTONIC``
seconds); names hold no spaces.
"""

from __future__ import annotations

import os
import time


class Report:
    """Writes report lines to a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def say(self, event: str, *words: object) -> None:
        """Write one line; that the reader has exited shows at the control pipe, not here."""
        text = " ".join([event, f"{time.monotonic():.4f}", *map(str, words)])
        line = text.replace("\n", " ").encode("utf-8", "replace") + b"\n"
        try:
            while line:
                line = line[os.write(self.fd, line) :]
        except (BrokenPipeError, OSError):
            return
