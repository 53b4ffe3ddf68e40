"""The task table: its header, its rows, in every form since 2.6.25."""

from functools import lru_cache

from oomkit.klog.lines import expressions as re
from oomkit.klog.records import TaskRow
from oomkit.records import from_texts

TABLE_HEADER = re.compile(r"\[\s*pid\s*\]\s+uid\s+tgid\s+total_vm\s+rss\b(?P<more>.*)")
ROW = re.compile(r"\[\s*(?P<pid>\d{1,10})\]\s+(?P<rest>\d+\s+\d+\s.*|\d+\s*\d*)$")

_FIELDS = {
    "uid": "uid",
    "tgid": "tgid",
    "total_vm": "total_vm_pages",
    "rss": "rss_pages",
    "rss_anon": "rss_anon_pages",
    "rss_file": "rss_file_pages",
    "rss_shmem": "rss_shmem_pages",
    "nr_ptes": "nr_ptes",
    "nr_pmds": "nr_pmds",
    "pgtables_bytes": "pgtables_bytes",
    "swapents": "swapents",
    "cpu": "cpu",
    "oom_adj": "oom_adj",
    "oom_score_adj": "oom_score_adj",
}
_BASE = ("uid", "tgid", "total_vm", "rss")

FORMS: dict[str, tuple[str, ...]] = {
    "2.6.25": (*_BASE, "cpu", "oom_adj"),
    "2.6.36": (*_BASE, "cpu", "oom_adj", "oom_score_adj"),
    "3.6": (*_BASE, "nr_ptes", "swapents", "oom_score_adj"),
    "4.0": (*_BASE, "nr_ptes", "nr_pmds", "swapents", "oom_score_adj"),
    "4.15": (*_BASE, "pgtables_bytes", "swapents", "oom_score_adj"),
    "6.8": (*_BASE, "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "swapents",
            "oom_score_adj"),
}  # fmt: skip
"""Columns between ``[ pid ]`` and ``name``, by the version that brought them."""


def parse_table_header(text: str) -> tuple[str, ...] | None:
    """Return the columns a table header names (without pid and name); None if it is not one."""
    match = TABLE_HEADER.search(text)
    if match is None:
        return None
    columns = [*_BASE]
    for word in match["more"].split():
        if word == "name":
            break
        if word not in _FIELDS:
            break
        columns.append(word)
    return tuple(columns)


def table_form(columns: tuple[str, ...], *, wide: bool) -> str | None:
    """Name the form that has these columns, as ``RuleSet.log_table`` does."""
    for name, known in FORMS.items():
        if columns == known:
            return "4.19" if name == "4.15" and wide else name
    return None


def parse_row(text: str, columns: tuple[str, ...], line: int) -> TaskRow | None:
    """Parse a row by the table's columns; None if it is damaged or not a row."""
    close = text.find("]")
    words = text[close + 1 :].split(None, len(columns))
    if len(words) <= len(columns):
        return None
    comm = words.pop()
    try:
        pid = int(text[text.find("[") + 1 : close])
        values = dict(zip(_names(columns), map(int, words), strict=True))
    except ValueError:
        return None
    if not 0 <= pid < _MAX_COUNT or len(comm) > _MAX_COMM:
        return None
    if min(values.values()) < -_MAX_ADJ or max(values.values()) >= _MAX_COUNT:
        return None
    adj = values.get("oom_score_adj", 0)
    if not -_MAX_ADJ <= adj <= _MAX_ADJ or values["total_vm_pages"] < 0 or values["tgid"] < 0:
        return None
    return TaskRow(pid=pid, comm=comm, line=line, **values)


@lru_cache(maxsize=32)
def row_expression(columns: tuple[str, ...]) -> str:
    """A regular expression for whole rows of sound values in these columns.

    Groups stand in the columns' order, between pid and name.
    """
    numbers = "".join(rf"\s+({_SOUND.get(column, _COUNT)})" for column in columns)
    # A name without blanks is found at once, any other one a character after the other.
    name = rf"\S{{1,{_MAX_COMM + 1}}}(?=\s*$)|\S.{{0,{_MAX_COMM}}}?"
    return rf"\[\s*(?P<pid>{_COUNT})\]{numbers}\s+({name})\s*"


_COUNT = r"(?:0|[1-9]\d{0,17})"
_SOUND = {
    "tgid": "(?P=pid)",
    "oom_adj": r"0|-?[1-9]\d?",
    "oom_score_adj": r"0|-?[1-9]\d{0,2}|-?1000",
}


def rows_of(found: list[tuple[str, ...]], columns: tuple[str, ...], line: int) -> list[TaskRow]:
    """Make rows of what :func:`row_expression` found.

    Args:
        found: the groups of each row.
        columns: the table's.
        line: number of the first row's line; each other stands in the next.
    """
    names = ("pid", *_names(columns), "comm", "line")
    rows = [
        dict(zip(names, (*row, i)))  # noqa: B905  # of a table's rows all are as long
        for i, row in enumerate(found, line)
    ]
    return from_texts(TaskRow, rows)


_MAX_ADJ = 1000
_MAX_COUNT = 1 << 64
_NUMBER = re.compile(r"-?\d{1,20}")
_MAX_COMM = 64
"""Names are 15 bytes; a worker's or a thread's description may make them longer."""


@lru_cache(maxsize=32)
def _names(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_FIELDS[column] for column in columns)


def leading_numbers(text: str) -> int:
    """Count the numbers of a row between ``[pid]`` and the first word that is none."""
    match = ROW.search(text)
    if match is None:
        return 0
    count = 0
    for word in match["rest"].split():
        if not _NUMBER.fullmatch(word):
            break
        count += 1
    return count


_TABLE_BYTES = 2048
"""Page tables are a multiple of this, half a page on 32-bit Arm."""
_WHOLE_ROW = re.compile(
    r"\[\s*(?P<pid>[1-9]\d{0,9})\]\s+\d+\s+(?P=pid)\s+\d+\s+\d+(?:\s+-?\d+){2,7}\s+[^\s\d]"
)


def is_whole_row(text: str) -> bool:
    """Whether a line that stands by itself can be nothing but a row of a task table."""
    return _WHOLE_ROW.match(text) is not None


def guess_columns(rows: list[str]) -> tuple[str, ...] | None:
    """Say which columns rows without a header have; None where they fit no form."""
    counts = [leading_numbers(row) for row in rows]
    if not counts:
        return None
    usual = max(set(counts), key=counts.count)
    by_length = [columns for columns in FORMS.values() if len(columns) == usual]
    if len(by_length) <= 1:
        return by_length[0] if by_length else None
    values = []
    for row, count in zip(rows, counts, strict=True):
        match = ROW.search(row)
        if match is not None and count >= usual:
            values.append([int(word) for word in match["rest"].split()[:usual]])
    if values and all(v[4] % _TABLE_BYTES == 0 for v in values) and any(v[4] for v in values):
        return FORMS["4.15"]
    if all(-17 <= v[5] <= 15 and (v[5] != 0) == (v[6] != 0) for v in values):
        return FORMS["2.6.36"]
    return FORMS["3.6"]
