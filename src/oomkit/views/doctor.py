"""What the doctor found: on a screen, as JSON, as files."""

import os
from typing import Any

from oomkit.files.safely import open_output
from oomkit.posture.doctor.finding import File, Finding
from oomkit.printable import printable
from oomkit.records import to_builtins
from oomkit.render.document import Command, Document
from oomkit.render.quantities import count_of

_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_BY = {
    "rules": "by the kernel's rules",
    "figures": "by their sizes",
    "reason": "follows from the reason",
}
_MARGIN = 10


def findings_report(found: tuple[Finding, ...]) -> Document:
    """Each finding with its evidence, its reason, the change and what that alters."""
    page = Document()
    for i, finding in enumerate(found):
        if i:
            page.line()
        heading = f"{finding.severity}: {finding.text} [{finding.code}]"
        page.text(printable(heading), _STYLES[finding.severity], rest="  ")
        for n, line in enumerate(finding.evidence):
            _row(page, "" if n else "evidence", line)
        _row(page, "kernel", finding.reason)
        _row(page, "change", finding.change)
        for file in finding.files:
            _row(page, "file", file.path)
            for line in file.text.splitlines():
                page.line(f"{' ' * _MARGIN}  {printable(line)}", "dim")
        for advice in finding.commands:
            page.add(Command(advice.words, advice.lasts, _MARGIN))
        _row(page, "alters", f"{finding.alters} ({_BY[finding.checked_by]})")
    if found:
        page.line()
    counts = [
        count_of(sum(f.severity == severity for f in found), severity, severity)
        for severity in ("critical", "warning", "info")
        if any(f.severity == severity for f in found)
    ]
    page.text(", ".join(counts) if counts else "nothing found that invites a bad OOM")
    return page


def _row(page: Document, heading: str, text: str) -> None:
    first = f"  {heading}".ljust(_MARGIN)
    page.text(printable(text), first=f"{first} ", rest=" " * (_MARGIN + 1))


def findings_object(found: tuple[Finding, ...], missing: tuple[str, ...]) -> dict[str, Any]:
    """Return the object that ``oomkit doctor --json`` prints."""
    findings = []
    for finding in found:
        fields: dict[str, Any] = to_builtins(finding)
        fields["commands"] = [advice.as_object() for advice in finding.commands]
        findings.append(fields)
    return {"findings": findings, "missing": list(missing)}


def write_fixes(found: tuple[Finding, ...], directory: str) -> list[str]:
    """Write the files of all findings below a directory, as they lie below ``/``.

    Returns:
        Their paths.

    Raises:
        OSError: one can't be written.
    """
    files: dict[str, File] = {}
    for finding in found:
        for file in finding.files:
            # The first is of the worse finding.
            files.setdefault(file.path, file)
    written = []
    for file in files.values():
        path = f"{directory.rstrip('/') or '/.'}{file.path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open_output(path) as out:
            out.write(file.text.encode())
        written.append(path)
    return written
