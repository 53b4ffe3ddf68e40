"""What reading and explaining gives for each real log, as kept in ``tests/data/read``.

``python -m tests.recorded`` writes the files anew, after a change that is meant; ``git diff`` then
shows what it changed, to be held against the log before it is committed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oomkit.explain.explanation import Case
from oomkit.explain.files import read_file
from oomkit.klog import read_bytes, read_evidence, replay_all
from oomkit.klog.records import Report
from oomkit.render.layout import Terminal
from oomkit.render.terminal import plain_lines
from oomkit.views.explain_json import report_object
from oomkit.views.explain_report import explanation_report, summary_of
from tests import recorded_texts
from tests.klog.logs import LOGS, bytes_of, manifest, path_of

KEPT = Path(__file__).parent / "data" / "read"
REPORTS = 2
"""Of a log with more reports so many are kept."""
ROWS = 2
"""Of a table of tasks so many rows at both ends are kept, and sums of the columns."""

_OF_EXPLAIN = (
    "headline", "incident", "shortage", "where", "findings", "choice", "killer", "changes",
    "advice", "related",
)  # fmt: skip
"""What ``explain`` adds to a report in JSON."""

MISLEADING = tuple(sorted(path.name for path in (LOGS / "misleading").glob("*.log")))
NAMES = (*(row["file"] for row in manifest()), *MISLEADING)


def _path(name: str) -> Path:
    return LOGS / "misleading" / name if name in MISLEADING else path_of(name)


def _bytes(name: str) -> bytes:
    return _path(name).read_bytes() if name in MISLEADING else bytes_of(name)


def _without_tasks(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(report)
    rows = found.pop("tasks", [])
    columns = sorted({key for row in rows for key in row})
    found["tasks"] = {
        "rows": len(rows),
        "ends": rows if len(rows) <= 2 * ROWS else [*rows[:ROWS], *rows[-ROWS:]],
        "sums": {
            key: sum(row[key] for row in rows if isinstance(row.get(key), int))
            for key in columns
            if any(isinstance(row.get(key), int) for row in rows)
        },
    }
    return found


def _fields(value: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A record, a field a line, so that a difference shows where it is."""
    for key, part in value.items():
        if isinstance(part, dict) and len(json.dumps(part)) > 100:
            yield f"{indent}{key}:"
            yield from _fields(part, indent + "  ")
        elif isinstance(part, list) and part and isinstance(part[0], dict):
            for i, one in enumerate(part):
                yield f"{indent}{key}[{i}]: {json.dumps(one, ensure_ascii=False)}"
        elif part not in (None, [], {}, "", False):
            yield f"{indent}{key}: {json.dumps(part, ensure_ascii=False)}"


def records_of(name: str) -> str:
    """The records that ``klog`` makes of a log, replayed."""
    data = _bytes(name)
    lines = []
    for i, report in enumerate(replay_all(read_bytes(data, name))):
        if i < REPORTS:
            lines += [f"report {i + 1}", *_fields(_without_tasks(report), "  ")]
    for item in read_evidence(data, name):
        lines.append(f"evidence {json.dumps(msgspec.to_builtins(item), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def explained(name: str) -> str:
    """What ``explain`` prints of a log, and the same as JSON."""
    case = Case([read_file(str(_path(name)))])
    terminal = Terminal(width=10_000, unicode=False)
    found = plain_lines(
        summary_of(case.reports, case.evidence, case.incidents, case.tables), terminal
    )
    for i in range(min(len(case.reports), REPORTS)):
        item = case.explain(i)
        found += plain_lines(explanation_report(item, i + 1), terminal)
        made = msgspec.to_builtins(report_object(item, case.incident(i)))
        found += ["as JSON", *_fields({key: made[key] for key in _OF_EXPLAIN if key in made}, "  ")]
    return "\n".join(line.replace(f"{_path(name).parent}/", "") for line in found) + "\n"


def write() -> None:
    """Write all files anew."""
    for kind, made in (("records", records_of), ("explained", explained)):
        folder = KEPT / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (folder / f"{name}.txt").write_text(made(name))
    recorded_texts.write()


if __name__ == "__main__":
    write()
