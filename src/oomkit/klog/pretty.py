"""Journal records that take a line a field: ``journalctl -o verbose`` and ``-o json-pretty``."""

import re
from typing import Any

import msgspec

from oomkit.klog.prefix import Line
from oomkit.klog.wrappers import MAX_RECORD_FIELDS, TEXT_KEYS, lines_of_record

_JSON_FIELD = re.compile(r'\s+"(?P<name>[@\w.-]{1,64})"\s?:\s(?P<value>.*?),?$')
_VERBOSE_FIELD = re.compile(
    r"\s{4,}(?P<name>(?:MESSAGE|PRIORITY|SYSLOG_[A-Z]+|_[A-Z][A-Z0-9_]{0,60}))=(?P<value>.*)$"
)
_VERBOSE_HEAD = re.compile(r"(?:\w{3} )?(?P<date>\d{4}-\d\d-\d\d)[ T](?P<clock>\S+) .*\[s=[0-9a-f]")


_TELLING = {"OOMKilled": True, "oomKilled": True}
_REASONS = frozenset({"reason", "Reason", "stoppedReason", "stopped_reason"})
_NAMES = frozenset(
    {"Id", "Name", "name", "namespace", "containerID", "ContainerID", "exitCode", "ExitCode",
     "containerName", "container_name"}
)  # fmt: skip
"""Fields of an inspected container or pod, whose record has no text: lines by themselves."""
_OPENS = frozenset({"{", "},{", "}, {", "[{"})
_FIRST = ("", " ", "\t", "{", "}", "[")


class PrettyReader:
    """Puts a record's fields together again; gives the lines of its text when it ends."""

    def __init__(self) -> None:
        self._record: dict[str, Any] = {}
        self._number = 0
        self.active = False

    def take(self, raw: str, number: int) -> list[Line] | None:
        """Take a line; the lines a finished record gives; None if this is of no record."""
        if not self.active and raw[:1] not in _FIRST and "[s=" not in raw:
            return None
        begins = _VERBOSE_HEAD.match(raw)
        if begins is not None or raw in _OPENS:
            found = self.flush()
            self.active = True
            if begins is not None:
                self._record["time"] = f"{begins['date']}T{begins['clock']}"
            return found
        json, verbose = _JSON_FIELD.match(raw), _VERBOSE_FIELD.match(raw)
        if json is not None:
            name, value = json["name"], _decoded(json["value"])
            self._put(name, value, number)
            telling = value is True and name in _TELLING
            if telling or name in _NAMES or name in _REASONS or json["value"] == "{":
                return [Line(number=number, text=raw.strip(), width=len(raw))]
            return []
        if verbose is not None:
            self._put(verbose["name"], verbose["value"], number)
            return []
        if not self.active:
            return None
        return self.flush() or None

    def flush(self) -> list[Line]:
        """End of a record."""
        record, self._record = self._record, {}
        self.active = False
        return lines_of_record(record, self._number) or []

    def _put(self, name: str, value: object, number: int) -> None:
        self.active = True
        if name in TEXT_KEYS:
            self._number = number
        if len(self._record) < MAX_RECORD_FIELDS:
            self._record[name] = value


def _decoded(value: str) -> object:
    try:
        decoded: object = msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, RecursionError):
        return None
    return decoded
