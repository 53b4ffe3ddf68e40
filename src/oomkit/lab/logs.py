"""A log explained for a page: the story as HTML, its parts, and what can be downloaded."""

from collections.abc import Iterator
from typing import Any

from oomkit.errors import OomkitError
from oomkit.explain.explanation import Case
from oomkit.explain.files import read_file
from oomkit.explain.redact import Redactor
from oomkit.explain.report_lines import marked_lines, meanings
from oomkit.klog.lines.sources import LogError, open_log
from oomkit.klog.records import Report, Source, TaskRow
from oomkit.printable import printable
from oomkit.records import to_json
from oomkit.render.quantities import human_bytes
from oomkit.views.explain_json import objects
from oomkit.views.explain_page import body_of, framed

MAX_SHOWN = 50
"""Reports shown in full, the newest; more would make a page that a browser is slow with."""


MAX_LINES = 5_000
"""Lines of a report shown one by one."""
_PIECE_BYTES = 1 << 20


class NoLogError(OomkitError):
    """Nothing was explained yet, or it has no such report."""


class _Explained:
    """The last log."""

    def __init__(self, case: Case, title: str, body: str, path: str | None) -> None:
        self.case = case
        self.title = title
        self.body = body
        self.path = path


_last: _Explained | None = None


def explain(path: str, *, redact: bool = False) -> dict[str, Any]:
    """Explain a log.

    Args:
        path: the file, packed or not.
        redact: replace names by tokens first.

    Returns:
        The title, the story as HTML, how many reports and incidents there are, and how many
        reports are shown; and why the log could not be read to its end, if it could not.

    Raises:
        LogError: nothing of it can be read.
    """
    global _last  # noqa: PLW0603 - a page asks for one log after the other
    log = read_file(path, redactor=Redactor() if redact else None)
    if log.error is not None and not log.reports and not log.evidence:
        raise LogError(log.error)
    case = Case([log])
    shown = range(max(len(case.reports) - MAX_SHOWN, 0), len(case.reports))
    title, body = body_of(
        [case.explain(i) for i in shown],
        case.reports,
        case.evidence,
        case.incidents,
        case.tables,
        case.no_kill,
    )
    _last = _Explained(case, title, body, None if redact else path)
    return {
        "title": title,
        "body": body,
        "reports": len(case.reports),
        "incidents": len(case.incidents),
        "shown": len(shown),
        "error": log.error,
        "found": bool(case.incidents) or case.no_kill is not None,
    }


def page() -> str:
    """The last log's story as a page that needs nothing else.

    Raises:
        NoLogError: there is none.
    """
    last = _explained()
    return framed(last.title, last.body)


def records() -> str:
    """The last log as ``oomkit explain --json`` prints it.

    Raises:
        NoLogError: there is none.
    """
    case = _explained().case
    found = objects(case, range(len(case.reports)))
    return "".join(f"{to_json(item).decode()}\n" for item in found)


def detail(number: int) -> dict[str, Any]:
    """One report of the last log in all its parts: every process, every line, every field.

    Args:
        number: of the report, from 1.

    Returns:
        ``processes``: columns (name, what it is of, whether it is a number) and rows of pairs, to
        sort by and to show; ``lines``: number, part and pieces of the report's own lines, empty
        where names were replaced, since they hold them; ``meanings`` of their fields by key.

    Raises:
        NoLogError: there is no such report.
        LogError: the log can't be read again.
    """
    last = _explained()
    if not 1 <= number <= len(last.case.reports):
        raise NoLogError(f"report {number}: the log has {len(last.case.reports)}")
    report = last.case.reports[number - 1]
    numbered = [] if last.path is None else list(_lines_of(last.path, report.source))
    marked = list(marked_lines(numbered[:MAX_LINES], report.page_kb))
    return {
        "processes": _processes(report),
        "lines": [
            [line.number, line.part, [[p.text, p.field, p.size] for p in line.pieces]]
            for line in marked
        ],
        "lines_left_out": max(len(numbered) - MAX_LINES, 0),
        "redacted": last.path is None,
        "meanings": {
            key: [one.name, one.unit, one.text, one.source] for key, one in meanings(marked).items()
        },
    }


def _lines_of(path: str, source: Source) -> Iterator[tuple[int, str]]:
    """The lines of a report, with their numbers, in the order of its parts."""
    first, last = sorted((source.line, source.end_line))
    found: list[tuple[int, str]] = []
    number, rest = 1, b""
    buffer = bytearray(_PIECE_BYTES)
    with open_log(path) as log, memoryview(buffer) as view:
        while number <= last and (size := log.readinto(view)):
            data = bytes(view[:size])
            if number + (count := data.count(b"\n")) < first:
                number += count
                rest = data[data.rfind(b"\n") + 1 :] if count else rest + data
                continue
            *whole, rest = (rest + data).split(b"\n")
            found += enumerate((one.decode(errors="replace") for one in whole), number)
            number += len(whole)
    if rest:
        found.append((number, rest.decode(errors="replace")))
    asked = [(n, text.rstrip("\r")) for n, text in found if first <= n <= last]
    return iter(asked if source.line <= source.end_line else reversed(asked))


def _processes(report: Report) -> dict[str, Any]:
    """The task table: what it has of each process, and what the rules make of it."""
    badness = {one.pid: one.badness for one in report.predicted}
    killed = {one.pid for one in report.killed}
    page = report.page_kb * 1024

    def of(row: TaskRow) -> dict[str, tuple[float | str, str]]:
        sizes = {
            "resident": _times(row.rss_pages, page),
            "anonymous": _times(row.rss_anon_pages, page),
            "files": _times(row.rss_file_pages, page),
            "shared": _times(row.rss_shmem_pages, page),
            "swap": _times(row.swapents, page),
            "page tables": _tables_bytes(row, page),
            "address space": _times(row.total_vm_pages, page),
        }
        numbers = {
            "pid": row.tgid,
            "uid": row.uid,
            "badness": badness.get(row.tgid, badness.get(row.pid)),
            "oom_score_adj": row.oom_score_adj,
            "oom_adj": row.oom_adj,
        }
        mark = "killed" if row.tgid in killed or row.pid in killed else ""
        mark = mark or ("asked" if row.pid == report.invoker_pid else "")
        cells: dict[str, tuple[float | str, str]] = {"process": (comm := printable(row.comm), comm)}
        cells |= {k: (n, str(n)) for k, n in numbers.items() if n is not None}
        cells |= {k: (n, human_bytes(n)) for k, n in sizes.items() if n is not None}
        return cells | {"note": (mark, mark)}

    rows = [of(row) for row in report.tasks]
    names = [name for name in COLUMNS if any(name in row for row in rows)]
    return {
        "columns": [[name, COLUMNS[name], name not in ("process", "note")] for name in names],
        "rows": [[row.get(name, ("", "")) for name in names] for row in rows],
    }


COLUMNS = {
    "process": "name", "pid": "tgid", "note": "", "badness": "", "resident": "rss",
    "anonymous": "rss_anon", "files": "rss_file", "shared": "rss_shmem", "swap": "swapents",
    "page tables": "pgtables_bytes, nr_ptes", "address space": "total_vm",
    "oom_score_adj": "oom_score_adj", "oom_adj": "oom_adj", "uid": "uid",
}  # fmt: skip
"""A page's columns, and the kernel's names of what they show."""


def _times(pages: int | None, page: int) -> int | None:
    return None if pages is None else pages * page


def _tables_bytes(row: TaskRow, page: int) -> int | None:
    if row.pgtables_bytes is not None:
        return row.pgtables_bytes
    return None if row.nr_ptes is None else (row.nr_ptes + (row.nr_pmds or 0)) * page


def _explained() -> _Explained:
    if _last is None:
        raise NoLogError("no log was explained yet")
    return _last
