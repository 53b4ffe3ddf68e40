"""A log explained for a page: the story as HTML, and what can be downloaded."""

from typing import Any

from oomkit.errors import OomkitError
from oomkit.explain.explanation import Case
from oomkit.explain.files import read_file
from oomkit.explain.redact import Redactor
from oomkit.klog.lines.sources import LogError
from oomkit.records import to_json
from oomkit.views.explain_json import objects
from oomkit.views.explain_page import body_of, framed

MAX_SHOWN = 50
"""Reports shown in full, the newest; more would make a page that a browser is slow with."""


class NoLogError(OomkitError):
    """Nothing was explained yet."""


class _Explained:
    """The last log."""

    def __init__(self, case: Case, title: str, body: str) -> None:
        self.case = case
        self.title = title
        self.body = body


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
    _last = _Explained(case, title, body)
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


def _explained() -> _Explained:
    if _last is None:
        raise NoLogError("no log was explained yet")
    return _last
