"""Make text of a log safe and plain: no control characters, no mark-up, one line a line."""

import codecs

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.pieces import MONTH
from oomkit.klog.lines.words import Words

_ANSI = re.compile(
    r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|\x1b[@-_]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ODD_SPACE = re.compile("[\u00a0\u2007\u202f]")
_FORUM = re.compile(
    r"\[/?(?:color|b|i|u|code|quote|size|font|html|php|spoiler|url)(?:=[^\]\n]{0,60})?\]",
    re.IGNORECASE,
)
_HTML = re.compile(
    r"</?(?:br|p|span|b|i|em|strong|font|pre|code|div|td|tr|li|blockquote|mark|tt|small|a)"
    r"(?:\s[^<>\n]{0,200})?/?>",
    re.IGNORECASE,
)
_HTML_BREAK = re.compile(
    r"<(?:br\s?/?|/p|/div|/li|/tr)>(?!\s{0,9}(?:\n|$|</?(?:p|div|br|li)))", re.IGNORECASE
)
_BREAK = "\v"
"""Stands in clean text where mark-up ended a line; :func:`split_joined` takes it out."""
_ENTITY = re.compile(r"&(?:lt|gt|quot|apos|nbsp|amp|lsqb|lbrack|rsqb|rbrack|#\d{2,5}"
                     r"|#[xX][0-9a-fA-F]{2,4});")  # fmt: skip
_ESCAPED = re.compile(r"\\([_*\[\]()#<>~|`])")
"""Markdown's escapes. What JSON and systemd escape with a backslash is none of these."""


def decode(data: bytes) -> str:
    """Decode bytes of a log; what is not UTF-8 becomes U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "oomkit.blank")


def _blank_or_unknown(error: UnicodeError) -> tuple[str, int]:
    """A no-break space of Latin-1 is a blank; what else can't be decoded is unknown."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(" " if byte == _LATIN_BLANK else "" for byte in bad) or "\ufffd", error.end


_LATIN_BLANK = 0xA0
codecs.register_error("oomkit.blank", _blank_or_unknown)


def clean_bytes(data: bytes) -> str:
    """Decode and clean bytes of a log."""
    if data.translate(None, _HARMLESS):
        return clean(decode(data))
    return _without_markup(data.decode("ascii"))


_HARMLESS = bytes(range(0x20, 0x7F)) + b"\n"


def clean(text: str) -> str:
    """Return text without control characters (except newlines and tabs) and without mark-up."""
    if text.isascii() and text.replace("\n", "").isprintable():
        plain = text
    else:
        plain = text.replace("\r\n", "\n")
        if "\x1b" in plain:
            plain = _ANSI.sub("", plain)
        plain = plain.replace("\r", "").replace("\x00", "")
        plain = _ODD_SPACE.sub(" ", plain)
        plain = _CONTROL.sub("\ufffd", plain)
    return _without_markup(plain)


def _without_markup(plain: str) -> str:
    if "&" in plain:
        plain = _ENTITY.sub(_character, plain)
    if "<" in plain and ("</" in plain or "<br" in plain or "<BR" in plain):
        plain = _HTML.sub("", _HTML_BREAK.sub(_BREAK, plain))
    if "[/" in plain:
        plain = _FORUM.sub("", plain)
    if "\\" in plain:
        plain = _ESCAPED.sub(r"\1", plain)
    return plain


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for; a control character stays written out."""
    import html  # its tables cost a millisecond of every start

    found = html.unescape(entity.group()).replace("\u00a0", " ")
    return found if found.isprintable() else entity.group()


_RSYSLOG = re.compile(r"\v|#012|\\x0a|(?:\\r)?\\n(?=[ \[<A-Za-z0-9])")
_STAMP = re.compile(r"\[\s*\d{1,9}\.\d{6}\]")
_MID_LEVEL = re.compile(r"\S ?<[0-7]>\S")
_INNER_SYSLOG = re.compile(
    r"(?<=\S) +(?="
    + MONTH
    + r" {1,2}\d{1,2} \d\d:\d\d:\d\d \S{1,64} [\w./()-]{1,60}(?:\[\d+\])?: )"
)
_INNER_STAMP = re.compile(
    r"(?<=\S)\s*(?=(?:<[0-7]>)?\[\s*\d{1,9}\.\d{6}\])|(?<=[\w\]>)]) ?(?=<[0-7]>)"
)


_TWO_KILL_LINES = " or sacrifice child Killed process "
"""Where the two lines of a kill were pasted as one."""


def split_joined(line: str) -> list[str]:
    """Split one line into the kernel's lines that a logger or a console joined in it."""
    escaped = "\\" in line and ("\\n" in line or "\\x0a" in line)
    joined = escaped or "#012" in line or _BREAK in line
    if not (joined or "<" in line or "]" in line or " kernel: " in line or _TWO_KILL_LINES in line):
        return [line]
    if joined and "\\" not in line:
        parts = line.replace("#012", "\n").replace(_BREAK, "\n").split("\n")
    else:
        parts = _RSYSLOG.sub("\n", line).split("\n") if joined else [line]
    result: list[str] = []
    for part in parts:
        if _TWO_KILL_LINES in part:
            head, tail = part.split(_TWO_KILL_LINES, 1)
            result.extend((f"{head} or sacrifice child", f"Killed process {tail}"))
        elif _has_inner_stamp(part):
            result.extend(p for p in _INNER_STAMP.split(part) if p)
        elif part.count(" kernel: ") > 1:
            result.extend(_INNER_SYSLOG.split(part))
        else:
            result.append(part)
    return result


class QuotedPrintable:
    """Undoes the coding of raw mails, line by line, once a line has shown that it is in use."""

    def __init__(self) -> None:
        self._coded = False
        self._begun = ""

    @property
    def active(self) -> bool:
        """The coding is in use."""
        return self._coded

    def decode(self, raw: str) -> str:
        """Return a line decoded; an empty one while its end is still to come."""
        if not self._coded:
            if _CODED not in raw and not (raw.endswith("=") and len(raw) in _SOFT_BREAK):
                return raw
            self._coded = True
        raw = self._begun + raw
        self._begun = ""
        if raw.endswith("=") and len(raw) < _MAX_CODED:
            self._begun = raw[:-1]
            return ""
        return _CODED_BYTE.sub(lambda m: _PLAIN[m.group()], raw) if "=" in raw else raw


_CODED = "=3D"
_PLAIN = {"=3D": "=", "=20": " ", "=09": " "}
_CODED_BYTE = re.compile("|".join(_PLAIN))
_MAX_CODED = 1000
_SOFT_BREAK = range(70, 77)
"""Length of a coded line that continues in the next."""


def _has_inner_stamp(part: str) -> bool:
    if part.count("]") >= 2 and len(_STAMP.findall(part)) >= 2:
        return True
    return "<" in part and _MID_LEVEL.search(part) is not None


_LEFT_OUT = re.compile(
    r"(?:<trim>|\(?(?:\.{3,}|…|⋮|\[\.{2,}\]|\[…\]).*\)?|\.{2,3}|:"
    r"|\W{0,8}\b(?:snip(?:ped)?|omitted|trimmed|truncated)\b\W{0,8}"
    r"|.{0,3}\bsnip(?:ped)?\b.{0,6}"
    r"|\W{0,8}(?:\d+ |many |some |more |other ){0,3}(?:lines?|rows?|tasks?|process(?:es)?|entries)"
    r" (?:were )?(?:omitted|removed|skipped|deleted|left out|snipped|cut|elided|trimmed)\W{0,8})$",
    re.IGNORECASE,
)
"""What people put in the place of lines that they leave out."""
_MARKS = "<.[(:…⋮-*~=#/"
_WORDS = Words(
    ("nip", "mitted", "rimmed", "runcated", "kipped", "emoved", "eleted", "left out", "lided")
)
MAX_MARK = 48

_END = re.compile(r"(?:>|…|(?<!processes)(?<!\.)\.\.\.)$")
_OPEN_NUMBER = re.compile(r"(?<=\W)-?\d+$|(?<=failcnt )\d+$")


def is_left_out(text: str) -> bool:
    """Whether a line stands for lines that somebody left out."""
    if len(text) > MAX_MARK or not (text[0] in _MARKS or _WORDS.is_in(text)):
        return False
    return _LEFT_OUT.match(text) is not None


def without_cut_end(text: str) -> str | None:
    """Return the text of a line whose end a pager or ``systemctl status`` hid; None for others.

    A number in which the cut fell is taken away: its other digits are hidden. Only a count of
    hits stays, as ``failcnt 14+``, since it can be no less.
    """
    if _END.search(text) is None:
        return None
    if text.endswith(">") and text.count("<") >= text.count(">"):
        return None
    left = text.rstrip(".…>").rstrip()
    if not left or is_left_out(text):
        return None
    if text.rstrip(".…>") != left:
        return left
    number = _OPEN_NUMBER.search(left)
    if number is None:
        return left
    if left[: number.start()].endswith("failcnt "):
        return left + "+"
    return left[: number.start()]
