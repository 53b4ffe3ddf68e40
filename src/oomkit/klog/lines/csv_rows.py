"""Take a line of a log out of a row of comma-separated values, as log services export them."""

import csv
import re

from oomkit.klog.lines.prefix import Line, strip_prefix

_FIELD = r"(?:\"(?:[^\"]|\"\")*\"|[^\",{}]{0,200})"
_ROW = re.compile(rf"{_FIELD}(?:,{_FIELD}){{1,40}}$")
_DATE = re.compile(r"(?!\W*\[)[\d\W]*(?:[A-Z][a-z]{2,8})?[\d\WT]+(?:Z|[AP]M|[A-Z]{3,4})?$")
_WORDS = 3
"""A message has more words than a date, a name or a number."""


def line_of_row(raw: str, number: int) -> Line | None:
    """Return the message of a row, with a date that stands beside it; None for other lines.

    The message is the quoted field with the most words.
    """
    if ',"' not in raw and not (raw.startswith('"') and '",' in raw):
        return None
    if _ROW.match(raw) is None:
        return None
    fields = next(csv.reader([raw]))
    text = max(fields, key=lambda field: 0 if _DATE.match(field) else len(field.split()))
    if len(text.split()) < _WORDS or not (raw.startswith('"') or f',"{text[:1]}' in raw):
        return None
    line = strip_prefix(text, number)
    line.stamped = True
    for field in fields:
        if field is not text and line.time is None:
            line.time = strip_prefix(field, number).time
    return line
