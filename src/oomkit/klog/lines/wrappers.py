"""Take a line of a log out of what wraps it: journal records, container engines' JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.clean import clean, split_joined
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prefix import strip_prefix
from oomkit.records import DecodeError, from_json

TEXT_KEYS = ("MESSAGE", "log", "message", "msg", "line", "textPayload", "_raw", "@message")
_TIME_KEYS = ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP", "time", "@timestamp",
              "timestamp", "ts")  # fmt: skip
_HOST_KEYS = ("_HOSTNAME", "hostname", "host")
_TAG_KEYS = ("SYSLOG_IDENTIFIER", "_COMM")
MAX_RECORD_FIELDS = 200
_MAX_NAME = 253
"""The longest name that Kubernetes allows."""


def lines_of_json(raw: str, number: int) -> list[Line] | None:
    """Return the lines in a line's JSON: a record or an array of them, with what shippers put
    around it. None if there is no record with a text.
    """
    begin, end = raw.find("{"), raw.rfind("}") + 1
    if not 0 <= begin < end:
        return _lines_of_strings(raw, number)
    decoded = _decoded(raw[begin:end])
    if decoded is None and raw[:begin].endswith("["):
        decoded = _decoded(raw[begin - 1 :].rstrip(" ,"))
    found = [lines_of_record(record, number) for record in _records_in(decoded)]
    lines = [line for of_record in _in_order(found) for line in of_record]
    if begin:
        when = strip_prefix(raw[:begin], number).time
        for line in lines:
            line.time = line.time or when
    return lines or None


def _in_order(found: list[list[Line] | None]) -> list[list[Line]]:
    """The records' lines in the order of their times, which a log service may give backwards."""
    known = [lines for lines in found if lines]
    times = [lines[0].time for lines in known if lines[0].time is not None]
    return known[::-1] if len(times) == len(known) > 1 and times[0] > times[-1] else known


def _lines_of_strings(raw: str, number: int) -> list[Line] | None:
    """The lines in a list of strings, as JSON or as Python writes it."""
    decoded = _decoded(raw)
    if decoded is None:
        import ast  # which takes milliseconds that most logs need not spend

        try:
            decoded = ast.literal_eval(raw)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(decoded, list) or not all(isinstance(item, str) for item in decoded):
        return None
    return [line for item in decoded for line in _lines(item, {}, number)]


def is_list_of_strings(raw: str) -> bool:
    """Whether a line may be such a list."""
    return raw.startswith(('["', "['")) and raw.endswith(('"]', "']"))


def _decoded(text: str) -> object:
    try:
        decoded: object = from_json(text.encode())
    except (DecodeError, RecursionError):
        return None
    return decoded


def lines_of_record(record: dict[str, Any], number: int) -> list[Line] | None:
    """Return the lines in a decoded record; None if it has no text."""
    text = _text(record)
    if text is not None:
        return _lines(text, record, number)
    for key in _INNER_KEYS:
        inner = record.get(key)
        if isinstance(inner, dict) and (text := _text(inner)) is not None:
            return _lines(text, {**record, **inner}, number)
    return None


_INNER_KEYS = ("jsonPayload", "protoPayload", "_source", "event", "fields", "attributes", "data")
"""What log services put around a record."""
_LIST_KEYS = (
    "events",
    "logEvents",
    "entries",
    "records",
    "hits",
    "streams",
    "values",
    "result",
    "data",
    "dmesg",
)
_MAX_DEPTH = 4


def _records_in(decoded: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The records in an answer of a log service: in lists below its own words, or in pairs."""
    if isinstance(decoded, list):
        pairs = [p for p in decoded[:MAX_RECORD_FIELDS] if isinstance(p, dict)]
        if pairs and all(isinstance(p.get("field"), str) and "value" in p for p in pairs):
            yield {p["field"]: p["value"] for p in pairs}
            return
        for item in decoded[:_MAX_RECORDS]:
            if isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item):
                yield {"ts": item[0], "message": item[1]}
            else:
                yield from _records_in(item, depth)
    elif isinstance(decoded, dict):
        below = [decoded[key] for key in _LIST_KEYS if isinstance(decoded.get(key), list | dict)]
        if depth < _MAX_DEPTH and below and _text(decoded) is None:
            for part in below:
                yield from _records_in(part, depth + 1)
        if not below or _text(decoded) is not None:
            yield decoded


_MAX_RECORDS = 100_000


class ExportReader:
    """Reads ``journalctl -o export``: lines of ``FIELD=value``, a blank line after each record."""

    def __init__(self) -> None:
        self._record: dict[str, Any] = {}
        self._number = 0
        self._binary: str | None = None
        self.active = False

    def parse_line(self, raw: str, number: int) -> list[Line] | None:
        """Take a line; the lines a finished record gives; None if this is no export."""
        if not self.active:
            if not raw.startswith(("__CURSOR=", "__REALTIME_TIMESTAMP=", "_BOOT_ID=")):
                return None
            self.active = True
        if not raw:
            return self.flush()
        name, equals, value = raw.partition("=")
        if self._binary is not None:
            # A binary field: its length in eight bytes, then its value.
            self._record[self._binary] = raw.lstrip("\ufffd")[1:]
            self._binary = None
        elif equals and name.isupper():
            if name == "MESSAGE":
                self._number = number
            if len(self._record) < MAX_RECORD_FIELDS:
                self._record[name] = value
        elif raw == "MESSAGE":
            self._binary = raw
            self._number = number + 1
        else:
            self.active = False
            self._record = {}
            return None
        return []

    def flush(self) -> list[Line]:
        """End of a record."""
        record, self._record = self._record, {}
        text = record.get("MESSAGE")
        return [] if text is None else _lines(text, record, self._number)


def _text(record: dict[str, Any]) -> str | None:
    for key in TEXT_KEYS:
        value = record.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and all(isinstance(b, int) and 0 <= b < 256 for b in value):
            return bytes(value).decode("utf-8", "replace")
        if isinstance(value, dict):
            inner = _text(value)
            if inner is not None:
                return inner
    return None


def _lines(text: str, record: dict[str, Any], number: int) -> list[Line]:
    lines = []
    when = _time(record)
    tag = next((record[k] for k in _TAG_KEYS if isinstance(record.get(k), str)), None)
    if record.get("_TRANSPORT") == "kernel" or tag == "kernel":
        tag = None
    about = _about(record)
    host = next((record[k] for k in _HOST_KEYS if isinstance(record.get(k), str)), None)
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        within = lines_of_json(inner, number)
        if within is not None:
            for line in within:
                line.time, line.host = line.time or when, line.host or host
                line.about = line.about or about
            return within
    quoted = "OOMKilling: " if _is_event(record) else ""
    for raw in clean(text).split("\n"):
        for part in split_joined(raw):
            line = strip_prefix(quoted + part, number)
            line.stamped = True
            line.about = about
            line.time = when or line.time
            line.host = clean(host) if host else line.host
            if tag is not None and line.uptime_s is None:
                line.tag = clean(tag)
                line.tag_pid = _pid(record)
            line.uptime_s = line.uptime_s if line.uptime_s is not None else _uptime(record)
            lines.append(line)
    return lines


def _is_event(record: dict[str, Any]) -> bool:
    """Whether a record is an event of Kubernetes, which repeats what the kernel printed."""
    return record.get("reason") == "OOMKilling" or record.get("kind") == "Event"


_ABOUT = {
    "pod": ("pod_name", "pod", "podName"),
    "namespace": ("namespace_name", "namespace", "namespaceName"),
    "container": ("container_name", "container", "containerName"),
}
_ABOUT_PARTS = ("kubernetes", "labels", "resource")


def _about(record: dict[str, Any]) -> dict[str, Any] | None:
    """The pod that a shipper's or an event's record names."""
    part: Any = record
    for key in _ABOUT_PARTS:
        inner = record.get(key)
        if isinstance(inner, dict):
            part = inner.get("labels", inner) if key == "resource" else inner
            break
    found: dict[str, Any] = {}
    for name, keys in _ABOUT.items():
        value = next((part[k] for k in keys if isinstance(part.get(k), str)), None)
        if value is not None:
            found[name] = clean(value)[:_MAX_NAME]
    thing = record.get("involvedObject") or record.get("regarding")
    if (
        isinstance(thing, dict)
        and thing.get("kind") == "Pod"
        and isinstance(thing.get("name"), str)
    ):
        found["pod"] = clean(thing["name"])[:_MAX_NAME]
        if isinstance(thing.get("namespace"), str):
            found["namespace"] = clean(thing["namespace"])[:_MAX_NAME]
    count = record.get("count")
    if isinstance(count, int) and 1 < count < 10**9:
        found["count"] = count
    return found or None


def _time(record: dict[str, Any]) -> str | None:
    for key in _TIME_KEYS:
        value = record.get(key)
        if isinstance(value, str) and value.isdecimal() and len(value) <= 19:
            return _from_epoch(int(value))
        if isinstance(value, int) and value < 10**17:
            return _from_epoch(value)
        if isinstance(value, str) and value[:4].isdecimal() and value[4:5] == "-":
            return clean(value)[:40].replace(" ", "T", 1)
    return None


def _from_epoch(value: int) -> str:
    if value >= 10**18:
        value //= 1000
    unit = 1_000_000 if value >= 10**15 else 1000 if value >= 10**12 else 1
    try:
        return datetime.fromtimestamp(value / unit, UTC).isoformat(timespec="microseconds")
    except (OverflowError, ValueError, OSError):
        return str(value)


def _uptime(record: dict[str, Any]) -> float | None:
    for key in ("_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP"):
        value = record.get(key)
        if isinstance(value, str) and value.isdecimal() and len(value) < 18:
            return int(value) / 1e6
    stamp = record.get("time")
    if isinstance(stamp, float) and "pri" in record:
        return stamp  # dmesg's
    return None


def _pid(record: dict[str, Any]) -> int | None:
    value = record.get("_PID", record.get("SYSLOG_PID"))
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


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


_LOGGERS = frozenset((*TEXT_KEYS, *_TIME_KEYS, *_HOST_KEYS, *_TAG_KEYS))
"""Fields that loggers write."""


def _is_of_others(name: str, value: str) -> bool:
    """A text in a field that no logger has: ``errorMessage`` and the like."""
    return " " in value and name not in _LOGGERS and (not name.startswith("_"))


_OPENS = frozenset({"{", "},{", "}, {", "[{"})
_FIRST = ("", " ", "\t", "{", "}", "[")


class PrettyReader:
    """Puts a record's fields together again; gives the lines of its text when it ends."""

    def __init__(self) -> None:
        self._record: dict[str, Any] = {}
        self._number = 0
        self.active = False

    def parse_line(self, raw: str, number: int) -> list[Line] | None:
        """Take a line; the lines a finished record gives; None if this is of no record."""
        if not self.active and raw[:1] not in _FIRST and "[s=" not in raw:
            return None
        begins = _VERBOSE_HEAD.match(raw) if "[s=" in raw else None
        if begins is not None or raw in _OPENS:
            found = self.flush()
            self.active = True
            if begins is not None:
                self._record["time"] = f"{begins['date']}T{begins['clock']}"
            return found
        json = _JSON_FIELD.match(raw) if '"' in raw else None
        verbose = _VERBOSE_FIELD.match(raw) if "=" in raw and raw[:1].isspace() else None
        if json is not None:
            name, value = self._name_of(json["name"]), _json_value(json["value"])
            self._put(name, value, number)
            if isinstance(value, str) and "\n" in value and name not in TEXT_KEYS:
                return _lines(value, {}, number)
            telling = value is True and name in _TELLING
            telling = telling or (isinstance(value, str) and _is_of_others(name, value))
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

    def _name_of(self, name: str) -> str:
        """A field's name, which some services put into a field of its own."""
        named = self._record.get("field")
        return named if name == "value" and isinstance(named, str) else name

    def _put(self, name: str, value: object, number: int) -> None:
        self.active = True
        if name in TEXT_KEYS:
            self._number = number
        if len(self._record) < MAX_RECORD_FIELDS:
            self._record[name] = value


def _json_value(value: str) -> object:
    try:
        decoded: object = from_json(value.encode())
    except (DecodeError, RecursionError):
        return None
    return decoded
