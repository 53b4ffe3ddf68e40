"""The table of Inspektor Gadget's ``trace oomkill``: who was killed, in which pod."""

from typing import Any

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.line import Line
from oomkit.klog.records import Source

_FIELDS = {
    "K8S.NODE": "node",
    "K8S.NAMESPACE": "namespace",
    "K8S.POD": "pod",
    "K8S.PODNAME": "pod",
    "K8S.CONTAINER": "container_name",
    "K8S.CONTAINERNAME": "container_name",
    "KPID": "pid",
    "FPID": "pid",
    "KCOMM": "comm",
    "FCOMM": "comm",
}
"""Columns by their heads, those of older releases and of newer ones."""
_MAX_DIGITS = 10
_MAX_TEXT = 500


class GadgetTable:
    """Reads rows below the head of such a table."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._columns: list[str] = []

    def take(self, line: Line) -> Evidence | None:
        """Give what a row tells; None for the head and for lines that are none of the table."""
        text = line.text
        if "KCOMM" in text or "FCOMM" in text:
            self._columns = text.split()
            return None
        if not self._columns:
            return None
        words = text.split()
        values: dict[str, Any] = {
            _FIELDS[column]: word
            for column, word in zip(self._columns, words, strict=False)
            if column in _FIELDS
        }
        pid = values.pop("pid", "")
        if len(words) != len(self._columns) or not pid.isdecimal() or len(pid) > _MAX_DIGITS:
            self._columns = []
            return None
        return Evidence(
            source=Source(file=self._file, line=line.number, end_line=line.number),
            by="oomkill",
            kind="notice",
            text=text[:_MAX_TEXT],
            killer="kernel",
            time=line.time,
            pid=int(pid),
            **values,
        )
