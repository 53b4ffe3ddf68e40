"""What memory did to a cgroup since it was made, for a terminal and as JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec

from oomkit.command.since import Since
from oomkit.posture.anatomy import Anatomy
from oomkit.posture.anatomy_findings import Finding
from oomkit.printable import printable
from oomkit.render.document import Document
from oomkit.render.quantities import count_of, human_bytes, label

_MAX_VICTIMS = 5
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_TOLD_ALREADY = frozenset(("kills", "no_limit"))


def why_report(found: Since, anatomy: Anatomy, findings: Sequence[Finding], name: str) -> Document:
    """Whether memory killed in a cgroup, against which limit, and what stands out now."""
    page = Document()
    page.text(printable(f"{_kills(found)} since {name} was made"), "bold")
    for line in _killers(found):
        page.text(line)
    limit = anatomy.limit_bytes
    figures = [f"limit {human_bytes(limit)}" if limit is not None else "no limit that is seen here"]
    if found.stat.peak_bytes is not None:
        figures.append(f"peak {human_bytes(found.stat.peak_bytes)}")
    figures.append(f"now {human_bytes(anatomy.usage_bytes)}")
    figures.append(f"{human_bytes(anatomy.unreclaimable_bytes)} of it cannot be reclaimed")
    page.text("; ".join(figures))
    for victim in (found.victims or ())[-_MAX_VICTIMS:]:
        rss = "" if victim.rss_bytes is None else f", {human_bytes(victim.rss_bytes)} in memory"
        of = "the machine" if victim.cgroup is None else victim.cgroup
        page.text(
            printable(f"killed: {label(victim.comm, victim.pid)}{rss}; {of} ran out"),
            first="  ",
            rest="  ",
        )
    for finding in findings:
        if finding.kind not in _TOLD_ALREADY:
            page.text(printable(f"{finding.severity}: {finding.text}"), _STYLES[finding.severity])
    page.text(f"evidence: {_evidence(found)}", "dim")
    return page


def _kills(found: Since) -> str:
    if found.kills is None:
        return "it is not known whether processes were killed for memory"
    return count_of(found.kills, "kill") + " for memory"


def _killers(found: Since) -> list[str]:
    lines = []
    if found.kills and found.own_ooms == 0:
        lines.append("none for a limit here or below: a cgroup above or the machine ran out")
    elif found.kills and found.own_ooms:
        times = count_of(found.own_ooms, "time")
        lines.append(f"a limit here or below was met {times} with nothing left to reclaim")
    if found.oomd:
        lines.append(f"systemd-oomd killed {count_of(found.oomd, 'process', 'processes')} here")
    return lines


def _evidence(found: Since) -> str:
    files = "memory.events" if found.stat.version == 2 else "memory.oom_control"
    log = "the kernel's log" if found.victims is not None else "not the kernel's log"
    return f"{files}, memory.stat, {log}"


def why_object(
    found: Since, anatomy: Anatomy, findings: Sequence[Finding], names: dict[str, Any]
) -> dict[str, Any]:
    """The same as an object."""
    return {
        "path": found.path,
        "names": names,
        "kills": found.kills,
        "own_ooms": found.own_ooms,
        "oomd_kills": found.oomd,
        "victims": msgspec.to_builtins(found.victims),
        "events": found.stat.events,
        "peak_bytes": found.stat.peak_bytes,
        "usage_bytes": anatomy.usage_bytes,
        "limit_bytes": anatomy.limit_bytes,
        "limit_of": anatomy.limit_of,
        "unreclaimable_bytes": anatomy.unreclaimable_bytes,
        "working_set_bytes": anatomy.working_set_bytes,
        "findings": msgspec.to_builtins(findings),
    }
