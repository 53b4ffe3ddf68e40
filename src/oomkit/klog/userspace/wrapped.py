"""Long messages of others that a terminal, a mail or a page wrapped: their lines put together."""

from oomkit.klog.lines.line import Line
from oomkit.records import replace

_MESSAGES = (
    ("Memory on the node (IP:", "Ray killed this worker (ID: "),
    ("(tasks / actors) killed due to memory", " at node (ID: "),
)
"""What a message of several lines begins with, and what of it has to be there to be read."""
_MAX_LINES = 10


class Wrapped:
    """Puts together the lines of a message that goes on below the line in which it begins."""

    def __init__(self) -> None:
        self._begun: Line | None = None
        self._awaited = ""

    def join(self, line: Line, known: bool) -> Line | None:
        """Take a line; give the message once enough of it is there.

        Args:
            line: the line.
            known: it is read by itself.
        """
        text = line.text
        for begins, awaited in _MESSAGES:
            if begins in text and not known:
                self._begun, self._awaited = line, awaited
                return None
        begun = self._begun
        if begun is None:
            return None
        if known or line.number - begun.number > _MAX_LINES:
            self._begun = None
            return None
        self._begun = begun = replace(begun, text=f"{begun.text} {text}")
        if self._awaited not in begun.text:
            return None
        self._begun = None
        return begun
