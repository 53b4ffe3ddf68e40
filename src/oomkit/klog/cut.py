"""What was cut: marks in the place of lines that were left out, and ends that a pager hid."""

import re

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
_WORDS = ("nip", "mitted", "rimmed", "runcated", "kipped", "emoved", "eleted", "left out", "lided")
MAX_MARK = 48

_END = re.compile(r"(?:>|…|(?<!processes)(?<!\.)\.\.\.)$")
_OPEN_NUMBER = re.compile(r"(?<=\W)-?\d+$|(?<=failcnt )\d+$")


def is_left_out(text: str) -> bool:
    """Whether a line stands for lines that somebody left out."""
    if len(text) > MAX_MARK or not (text[0] in _MARKS or any(word in text for word in _WORDS)):
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
