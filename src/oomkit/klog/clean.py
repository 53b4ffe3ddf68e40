"""Make text of a log safe and plain: no control characters, no mark-up, one line a line."""

import re

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
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " ", "&amp;": "&"}
_ENTITY = re.compile("|".join(_ENTITIES))


def decode(data: bytes) -> str:
    """Decode bytes of a log; what is not UTF-8 becomes U+FFFD."""
    return data.decode("utf-8", "replace")


def clean(text: str) -> str:
    """Return text without control characters (except newlines and tabs) and without mark-up."""
    if text.isascii() and text.isprintable():
        plain = text
    else:
        plain = text.replace("\r\n", "\n")
        if "\x1b" in plain:
            plain = _ANSI.sub("", plain)
        plain = plain.replace("\r", "").replace("\x00", "")
        plain = _ODD_SPACE.sub(" ", plain)
        plain = _CONTROL.sub("\ufffd", plain)
    if "&" in plain:
        plain = _ENTITY.sub(lambda m: _ENTITIES[m.group()], plain)
    if "</" in plain or "<br" in plain or "<BR" in plain:
        plain = _HTML.sub("", plain)
    if "[/" in plain:
        plain = _FORUM.sub("", plain)
    return plain


_RSYSLOG = re.compile(r"#012|\\n(?=[ \[<A-Za-z0-9])")
_STAMP = re.compile(r"\[\s*\d{1,9}\.\d{6}\]")
_MID_LEVEL = re.compile(r"\S ?<[0-7]>\S")
_INNER_STAMP = re.compile(
    r"(?<=\S)\s*(?=(?:<[0-7]>)?\[\s*\d{1,9}\.\d{6}\])|(?<=[\w\]>)]) ?(?=<[0-7]>)"
)


def split_joined(line: str) -> list[str]:
    """Split one line into the kernel's lines that a logger or a console joined in it."""
    joined = "#012" in line or "\\n" in line
    parts = _RSYSLOG.sub("\n", line).split("\n") if joined else [line]
    result: list[str] = []
    for part in parts:
        if _has_inner_stamp(part):
            result.extend(p for p in _INNER_STAMP.split(part) if p)
        else:
            result.append(part)
    return result


def _has_inner_stamp(part: str) -> bool:
    if part.count("]") >= 2 and len(_STAMP.findall(part)) >= 2:
        return True
    return "<" in part and _MID_LEVEL.search(part) is not None
