"""A line of a log, as the report's parts parse it."""

from typing import Any

from oomkit.records import Record


class Line(Record, kw_only=True, gc=False):
    """A line of a log without its prefix.

    Attributes:
        number: its number in the file, from 1.
        text: what is left, without blanks at its ends.
        stamped: it had a time stamp or a priority.
        time: date and time in ISO 8601, without the year where the log has none.
        uptime_s: the kernel's stamp.
        host: the host's name.
        tag: the syslog tag where it is not the kernel's; None for kernel lines.
        tag_pid: the process id in that tag.
        caller: caller id (``T123``, ``C0``).
        width: length of the whole line with its prefix; 0 where a record holds the text.
        cut: a pager hid its end.
        spaced: 1 where the raw text began with a blank, 2 where it ended with one, 3 both.
        about: what a record says of the pod that its text is about: ``pod``, ``namespace``,
            ``container``, ``count``.
    """

    number: int
    text: str
    stamped: bool = False
    time: str | None = None
    uptime_s: float | None = None
    host: str | None = None
    tag: str | None = None
    tag_pid: int | None = None
    caller: str | None = None
    width: int = 0
    cut: bool = False
    spaced: int = 0
    about: dict[str, Any] | None = None
