"""Take the prefix off a line of a log: quoting, loggers' and the kernel's stamps, caller ids.

What stands before the kernel's own text says when and where; what remains is parsed by the
report's parts. Nothing here depends on which program wrote the log: every known piece of prefix
is taken off wherever it stands in the order that loggers stack them.
"""

from functools import lru_cache
from typing import NamedTuple

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines import pieces
from oomkit.klog.lines.clean import without_cut_end
from oomkit.klog.lines.learned import LearnedPrefixes
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.pieces import (
    HOST_TAG,
    KMSG,
    PIECES,
    PRINTK,
    QUOTE,
    RFC5424,
    STAMP,
    STAMP_ONLY,
    TAG_AFTER,
)

_BEFORE_TAG = (
    r"(?P<mon>" + pieces.MONTH + r") {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) "
    r"(?!(?:kern|user|daemon|local\d|syslog)[.:])(?P<host>[A-Za-z][\w.-]{0,62}) "
)
_TAG = r"(?P<tag>[A-Za-z_][\w./@()-]{0,60})(?:\[(?P<pid>\d+)\])?:"
SYSLOG_LINE = re.compile(_BEFORE_TAG + _TAG + r"(?:\s|$)")
"""The usual form of syslog; date, host and tag, which general patterns find in several steps."""
KERNEL_TAGS = frozenset(
    {"kernel", "klogd", "vmunix", "unknown", "kern", "kernel-log", "dmesg", "crashlog"}
)
"""Tags of the kernel's lines; routers write what they kept of the last boot as ``crashlog``."""
OTHERS_LINE = re.compile(
    _BEFORE_TAG + "(?!(?i:" + "|".join(sorted(KERNEL_TAGS)) + r")[\[:])" + _TAG
    + r" [^{=#\\<\[\v]{0,500}[^{=#\\<\[\v\s]$"
)  # fmt: skip
"""A whole line of syslog that another program than the kernel wrote, with nothing packed in it:
no record, no code, no second line, no kernel's stamp."""


class WholeLines(NamedTuple):
    """What lines of one kind are like that stand behind one prefix.

    The head is not part of the pattern: it changes every second, and compiling takes longer than
    reading a report.

    Attributes:
        head: what they begin with.
        pattern: the rest; the kernel's stamp is in the group ``up``.
        caller: what the group ``caller`` must hold; None where there is no such group.
    """

    head: str
    pattern: re.Pattern[str]
    caller: str | None

    def beginning(self, lines: list[str], first: int) -> list[re.Match[str]]:
        """Match lines from one on, up to the first that is not like this."""
        head, pattern, caller = self
        start, match_at = len(head), pattern.match
        found: list[re.Match[str]] = []
        for at in range(first, len(lines)):
            raw = lines[at]
            match = match_at(raw, start) if raw.startswith(head) else None
            if match is None or (caller is not None and match["caller"] != caller):
                break
            found.append(match)
        return found


class PrefixStripper:
    """Strips the prefixes of one log; what stands before many lines in a row is parsed once."""

    def __init__(self) -> None:
        self._head = ""
        self._stamp_only = False
        self._like = Line(number=0, text="")
        self._learned = LearnedPrefixes()

    def strip(self, raw: str, number: int) -> Line:
        """Return a line without its prefix; ``raw`` must be free of control characters."""
        head = self._head
        known = raw.startswith(head) if head else self._stamp_only and raw.startswith("[")
        line = self._strip_known(raw, number) if known else None
        if line is None:
            line = strip_prefix(raw, number)
            self._remember(raw, line)
        if line.tag is None:
            before, line.text = self._learned.strip(line.text, self._head)
            if before:
                _note_unknown(before, line)
        line.width = len(raw)
        if line.text.endswith((">", "…")) or (line.stamped and line.text.endswith("...")):
            left = without_cut_end(line.text)
            if left is not None:
                line.text, line.cut = left, True
        if not line.stamped or raw.endswith(" "):
            line.spaced = (1 if raw.startswith((" ", "\t")) else 0) + (
                2 if raw.endswith(" ") else 0
            )
        return line

    def without_learned(self, text: str) -> str:
        """What is left of a text behind a prefix that the log's lines have taught."""
        return self._learned.strip(text)[1]

    def look_again(self) -> None:
        """Another stretch of the log begins."""
        self._learned.look_again()

    def whole_lines(self, expression: str) -> WholeLines | None:
        """What lines are like that have what ``expression`` describes behind the last's prefix.

        None if the prefix can't be recognised.
        """
        like = self._like
        if self._learned.has_end or (like.stamped and like.uptime_s is None and not self._head):
            return None
        stamp = ""
        if like.uptime_s is not None:
            other = r"(?!\s?\[\s*[TC]\d)"
            stamp = STAMP + (r"\s?\[\s*(?P<caller>[TC]\d+)\s*\]" if like.caller else other)
        pattern = _whole(stamp, expression)
        return WholeLines(self._head, pattern, like.caller if stamp else None)

    @property
    def last_caller(self) -> str | None:
        """Caller id of the last line."""
        return self._like.caller

    def is_like_last(self, raw: str) -> bool:
        """Whether a line begins as the last one did."""
        head = self._head
        if not raw.startswith(head):
            return False
        if self._like.uptime_s is None:
            return bool(head)
        return STAMP_ONLY.match(raw, len(head)) is not None

    def _strip_known(self, raw: str, number: int) -> Line | None:
        like = self._like
        rest = raw[len(self._head) :]
        if like.uptime_s is None:
            if rest.startswith("[") and PRINTK.match(rest):
                return None
            uptime = caller = None
            text = rest
        else:
            printk = PRINTK.match(rest)
            if printk is None or not printk["up"]:
                return None
            uptime, caller = float(printk["up"]), printk["caller"]
            text = rest[printk.end() :]
            if self._stamp_only and "kernel: " in text:
                return None
            if pieces.may_begin(text, 0) and PIECES.match(text):
                return None
        return Line(
            number=number,
            text=text.strip(),
            stamped=True,
            time=like.time,
            uptime_s=uptime,
            host=like.host,
            tag=like.tag,
            tag_pid=like.tag_pid,
            caller=caller,
        )

    def _remember(self, raw: str, line: Line) -> None:
        """Keep what stands before the text, or before the kernel's stamp."""
        self._head = ""
        self._like = line
        self._stamp_only = (
            line.uptime_s is not None
            and raw.startswith("[")
            and (line.time, line.host, line.tag) == (None, None, None)
        )
        if not line.stamped or not line.text or line.time is None:
            return
        if line.uptime_s is not None:
            printk = PRINTK.search(raw, 0, _MAX_BEFORE_STAMP)
            end = printk.start() if printk else 0
        elif line.caller is None:
            end = raw.rfind(line.text)
        else:
            end = 0
        self._head = raw[:end]


@lru_cache(maxsize=64)
def _whole(stamp: str, expression: str) -> re.Pattern[str]:
    return re.compile(rf"{stamp}\s*{expression}$")


def strip_prefix(raw: str, number: int) -> Line:
    """Return a line without its prefix; ``raw`` must be free of control characters."""
    syslog = SYSLOG_LINE.match(raw)
    if syslog is not None and PRINTK.search(raw, syslog.end(), _MAX_BEFORE_STAMP) is None:
        return _syslog_line(raw, syslog, number)
    line = Line(number=number, text="")
    quote = QUOTE.match(raw) if raw.startswith(_QUOTES) else None
    rest = raw[quote.end() :] if quote else raw
    kmsg = KMSG.match(rest) if ";" in rest else None
    if kmsg is not None:
        line.stamped, line.uptime_s, line.caller = True, int(kmsg["usec"]) / 1e6, kmsg["caller"]
        line.text = rest[kmsg.end() :].strip()
        return line
    printk = PRINTK.search(rest, 0, _MAX_BEFORE_STAMP) if "[" in rest else None
    if printk is not None:
        line.stamped = True
        if printk["up"]:
            line.uptime_s = float(printk["up"])
        line.caller = printk["caller"]
        _peel(rest[: printk.start()], line)
        line.tag = None
        after = rest[printk.end() :]
        core = PIECES.match(after)
        if core is not None and (core["core"] or core["level"] or core["caller2"]):
            line.caller = line.caller or core.group().strip(" []")
            after = after[core.end() :]
        tag = TAG_AFTER.match(after)
        if tag is not None:
            line.host = tag["host"] or line.host
            after = after[tag.end() :]
        line.text = after.strip()
    else:
        line.text = _peel(rest, line).strip()
    return line


_QUOTES = (" ", "\t", ">", "|", ":")
"""How what :data:`.pieces.QUOTE` matches begins."""
_MAX_BEFORE_STAMP = 400
"""So far into a line the kernel's stamp is looked for."""


def _syslog_line(raw: str, syslog: re.Match[str], number: int) -> Line:
    is_kernel = syslog["tag"].lower() in KERNEL_TAGS
    return Line(
        number=number,
        text=raw[syslog.end() :].strip(),
        stamped=True,
        time=pieces.ctime(syslog["mon"], syslog["day"], syslog["clock"], None),
        host=syslog["host"],
        tag=None if is_kernel else syslog["tag"],
        tag_pid=int(syslog["pid"]) if syslog["pid"] and not is_kernel else None,
    )


def _peel(text: str, line: Line) -> str:
    """Take stamps, host and tag off the left; return what remains."""
    position = 0
    dated = False
    rfc5424 = False
    for _ in range(6):
        piece = PIECES.match(text, position) if pieces.may_begin(text, position) else None
        if piece is None:
            break
        position = piece.end()
        line.stamped = True
        rfc5424 = rfc5424 or (piece["level"] is not None and piece.group().endswith("1 "))
        if piece["iso"]:
            line.time = pieces.iso(piece["iso"])
            dated = True
        elif piece["ctime"]:
            line.time = _ctime(piece)
            dated = True
        elif piece["epoch"]:
            line.time = pieces.epoch(piece["epoch"])
            dated = True
        elif piece["caller2"]:
            line.caller = piece["caller2"].strip("[] ")
    if not dated:
        after = _local_date(text, position, line)
        dated, position = after > position, after
    if not dated:
        return text[_bare_tag(text, position, line) :]
    host_tag = RFC5424.match(text, position) if rfc5424 else HOST_TAG.match(text, position)
    if host_tag is None:
        return text[_far_tag(text, position, line) :]
    line.host = host_tag["host"] or line.host
    if host_tag["tag"].lower() not in KERNEL_TAGS:
        if host_tag["pid"] is None and not host_tag["host"]:
            return text[position:]
        line.tag = host_tag["tag"]
        line.tag_pid = int(host_tag["pid"]) if host_tag["pid"] else None
    level = _LEVEL.match(text, host_tag.end()) if line.tag is None else None
    return text[level.end() if level is not None else host_tag.end() :]


_LEVEL = re.compile(r"\s*<[0-7]>")
"""A message's level, where what was kept of an earlier boot is logged again."""


def _local_date(text: str, position: int, line: Line) -> int:
    """Take a date in a locale's words, in brackets or as syslog has it; where it ends."""
    if text.count(":", position) < _COLONS:
        return position
    local = pieces.LOCAL.match(text, position) or pieces.LOCAL_SYSLOG.match(text, position)
    when = pieces.local(local) if local is not None else None
    if local is None or (when is None and text[position] != "["):
        return position
    line.stamped, line.time = True, when
    return local.end()


_COLONS = 2
"""So many of them stand in every clock."""
_KERNEL_TAG = re.compile(r"(?:^|(?<=\s))kernel:(?:\s|$)")
_CLOCK = re.compile(r"\d\d:\d\d")
_DATE = re.compile(r"(?<![\w.])(?=\d{4}-\d\d-\d\d|" + pieces.MONTH + r" )")


def _bare_tag(text: str, position: int, line: Line) -> int:
    """End of a ``kernel:`` tag behind a prefix of unknown form; ``position`` without one."""
    tag = _KERNEL_TAG.search(text, position, 200) if "kernel:" in text else None
    if tag is None:
        return position
    before = text[position : tag.start()]
    if len(before.split()) > 1 and not _CLOCK.search(before):
        return position
    line.stamped = True
    date = _DATE.search(before)
    piece = PIECES.match(before, date.start()) if date else None
    if piece is not None:
        line.time = pieces.iso(piece["iso"]) if piece["iso"] else _ctime(piece)
        line.host = before[piece.end() :].strip() or None
    return tag.end()


def _far_tag(text: str, position: int, line: Line) -> int:
    """End of a ``kernel:`` tag behind a host and more that no known logger writes there."""
    tag = _KERNEL_TAG.search(text, position, position + 120) if "kernel:" in text else None
    words = text[position : tag.start()].split() if tag is not None else []
    if tag is None or not 1 <= len(words) <= _MAX_WORDS:
        return position
    line.host = line.host or words[0]
    return tag.end()


_MAX_WORDS = 6
_UNKNOWN_UPTIME = re.compile(r"\[\s*(?:\d-)?(\d{1,9}\.\d{2,9})\s*[\]@,/ ]")


def _note_unknown(before: str, line: Line) -> None:
    """Take what can be recognised in a prefix of unknown form."""
    line.stamped = True
    kmsg = KMSG.search(before)
    uptime = _UNKNOWN_UPTIME.search(before)
    if kmsg is not None:
        line.uptime_s, line.caller = int(kmsg["usec"]) / 1e6, kmsg["caller"]
    elif uptime is not None and line.uptime_s is None:
        line.uptime_s = float(uptime[1])
    date = _DATE.search(before) if line.time is None else None
    piece = PIECES.match(before, date.start()) if date else None
    if piece is not None:
        line.time = pieces.iso(piece["iso"]) if piece["iso"] else _ctime(piece)


def _ctime(match: re.Match[str]) -> str:
    return pieces.ctime(
        match["mon"], match["day"], match["clock"], match["year1"] or match["year2"]
    )
