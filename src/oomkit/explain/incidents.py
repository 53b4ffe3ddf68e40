"""Kills that belong together: the same shortage, seconds apart."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from oomkit.explain.cgroup_names import innermost
from oomkit.explain.evidence_text import SRUN, joined, key_of
from oomkit.explain.outline import place_of
from oomkit.explain.proximity import NEAR_LINES, Reach, distance_s, nearness
from oomkit.explain.shortage import cause_text, shortage
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.records import Record, replace
from oomkit.render.quantities import count_of, label

GAP_S = 30.0
"""Reports of one shortage further apart are another incident."""
_NAMED = 3


class Incident(Record, frozen=True, kw_only=True):
    """One shortage and all that died of it.

    Attributes:
        number: from 1, in the order of the first report.
        reports: its reports' indices.
        evidence: its evidence's indices.
        summary: one line.
    """

    number: int = 0
    reports: tuple[int, ...] = ()
    evidence: tuple[int, ...] = ()
    summary: str = ""


Causes = Mapping[tuple[str, int, int], str]
"""What ran out, by the places of reports that are outlines."""


def incidents(
    reports: Sequence[Report], evidence: Sequence[Evidence], causes: Causes | None = None
) -> tuple[Incident, ...]:
    """Group what a set of logs reports.

    Args:
        reports: the reports, log by log.
        evidence: what others say, log by log.
        causes: what ran out in those that don't show it any more.
    """
    groups: list[list[int]] = []
    open_groups: list[list[int]] = []
    for i, report in enumerate(reports):
        last = next((g for g in reversed(open_groups) if _belongs(reports[g[-1]], report)), None)
        if last is None:
            last = []
            groups.append(last)
            open_groups = [*open_groups[-7:], last]
        last.append(i)
    group_of = {r: g for g, group in enumerate(groups) for r in group}
    told: list[list[int]] = [[] for _ in groups]
    alone: list[int] = []
    reach = Reach(reports)
    for i, item in enumerate(evidence):
        near = [
            (distance, group_of[r])
            for r in reach.around(item)
            for distance in (nearness(item, reports[r]),)
            if distance is not None
        ]
        if near:
            told[min(near)[1]].append(i)
        else:
            alone.append(i)
    found = [
        Incident(
            reports=tuple(group),
            evidence=tuple(said),
            summary=_summary([reports[r] for r in group], causes or {}),
        )
        for group, said in zip(groups, told, strict=True)
    ]
    found.extend(_userspace(evidence, alone))
    files: dict[str, int] = {}
    for name in [r.source.file for r in reports] + [e.source.file for e in evidence]:
        files.setdefault(name, len(files))

    def place_in_logs(item: Incident) -> tuple[int, int]:
        first = reports[item.reports[0]] if item.reports else evidence[item.evidence[0]]
        return files[first.source.file], first.source.line

    found.sort(key=place_in_logs)
    return tuple(replace(item, number=number) for number, item in enumerate(found, start=1))


def _belongs(before: Report, report: Report) -> bool:
    """Whether a report continues the shortage of one before it."""
    if before.source.file != report.source.file or before.host != report.host:
        return False
    if None not in (before.scope, report.scope):
        if before.scope != report.scope:
            return False
        if before.scope == "sysrq" or before.cgroup != report.cgroup:
            return False
    apart = distance_s(before, report)
    if apart is not None:
        return apart <= GAP_S
    return 0 <= report.source.line - before.source.end_line <= NEAR_LINES


def cause_of(report: Report) -> str:
    """What ran out, or why a process was killed though nothing did."""
    short = shortage(report)
    return "on request (SysRq-f)" if short.kind == "sysrq" else cause_text(short)


def _summary(reports: Sequence[Report], causes: Causes) -> str:
    """``3 killed (java 2, sshd) in 4 s: memory cgroup /x``, or what happened instead."""
    what = causes.get(place_of(reports[0])) or cause_of(reports[0])
    victims = [victim for report in reports for victim in report.killed]
    panic = next((report.panic for report in reports if report.panic is not None), None)
    parts = []
    if len(victims) == 1:
        parts.append(f"{label(victims[0].comm, victims[0].pid)} killed")
    elif victims:
        parts.append(f"{len(victims)} killed ({names(v.comm for v in victims)})")
    if panic is not None:
        parts.append("kernel panic")
    if not parts:
        chosen = reports[0].summary.comm if reports[0].summary else None
        if any(report.no_killable for report in reports):
            parts.append("no process could be killed")
        else:
            parts.append(f"{chosen} chosen" if chosen else "victim unknown")
    span = distance_s(reports[0], reports[-1])
    within = f" in {span:.0f} s" if span is not None and span >= 1 else ""
    count = f" ({count_of(len(reports), 'report')})" if len(reports) > 1 else ""
    return f"{', then '.join(parts)}{within}: {what}{count}"


def names(comms: Iterable[str]) -> str:
    """``java 2, sshd``: names with their counts, the most frequent first."""
    counts: dict[str, int] = {}
    for comm in comms:
        counts[comm] = counts.get(comm, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    shown = [f"{comm} {count}" if count > 1 else comm for comm, count in ordered[:_NAMED]]
    more = len(ordered) - len(shown)
    return ", ".join(shown) + (f" and {count_of(more, 'other name')}" if more else "")


def _adjoins(before: Evidence, item: Evidence, apart: float | None) -> bool:
    """Two lines on the same thing stand together, by their clock or, without one, in the log."""
    if apart is not None:
        return apart <= GAP_S
    return abs(item.source.line - before.source.line) <= NEAR_LINES


def _repeats(before: Evidence, item: Evidence, apart: float | None) -> bool:
    """A line right below another that says of the same death what names it less well.

    srun says of the task what slurmstepd said of the step; systemd names the unit of the process
    that systemd-oomd has just signalled; an exit status without a process is that of the job
    or container that was said to be killed.
    """
    lines = item.source.line - before.source.line
    if before.source.file == item.source.file and _says_the_same(before, item):
        return 0 < lines <= NEAR_LINES
    if before.kind == item.kind == "sigkill" and _POOL in item.text and key_of(item) is None:
        return 0 < lines <= _TRACEBACK_LINES
    if not 0 < lines <= _REPEAT_LINES:
        return False
    if (apart is not None and apart > GAP_S) or before.source.file != item.source.file:
        return False
    if before.by == item.by == "slurm":
        step = before.job is not None and not SRUN.search(before.text)
        told = item.kind == "notice" and item.node is not None
        return step and told and before.node in {None, item.node}
    if item.kind != "sigkill" or before.kind == "sigkill":
        return False
    by_oomd = before.by == "systemd-oomd" and before.cgroup is None and item.by == "systemd"
    return by_oomd or key_of(item) is None


def _says_the_same(before: Evidence, item: Evidence) -> bool:
    """Of a job, sacct has a row for each step; of a pod, its description names it elsewhere."""
    if before.by != item.by or before.kind != item.kind:
        return False
    if item.by == "kubelet" and before.pod is not None and key_of(item) is None:
        return before.reason == item.reason is not None and item.container_name is None
    if item.by != "slurm" or before.job is None or item.job is None:
        return False
    row = item.reason is not None and item.reason.startswith("OUT_OF_ME") and item.node is None
    return row and before.job.partition(".")[0] == item.job.partition(".")[0]


_REPEAT_LINES = 3
_POOL = "WorkerLostError"
"""By which Celery's pool says again what it said of its process, before and after a traceback."""
_TRACEBACK_LINES = 12


def _is_title(item: Evidence) -> bool:
    """A text's title names nobody."""
    return item.text.startswith("# ") and key_of(item) is None


def _is_title_of(item: Evidence, following: Evidence) -> bool:
    """Whether a line is the title of a text that says the same below it."""
    same = (item.by, item.kind) == (following.by, following.kind)
    near = item.source.file == following.source.file and _adjoins(item, following, None)
    return _is_title(item) and same and near and item.reason == following.reason


def _without_repetitions(items: Sequence[Evidence]) -> list[Evidence]:
    """The lines that report a death of their own; of the others, the node."""
    kept: list[Evidence] = []
    for item in items:
        at = next((i for i, known in enumerate(kept) if _repeats(known, item, None)), None)
        if at is None:
            kept.append(item)
        elif item.node is not None:
            kept[at] = replace(kept[at], node=item.node)
    return kept


def _continues(before: Evidence, item: Evidence) -> bool:
    """Whether a line is of the same half minute and killer, or about the same, as one before."""
    apart = distance_s(before, item)
    same = before.by == item.by and item.kind in (before.kind, "notice")
    if same and apart is not None and apart <= GAP_S:
        return True
    about = key_of(before)
    if about is not None and about == key_of(item) and _adjoins(before, item, apart):
        return True
    return _repeats(before, item, apart)


def _surest_first(items: Sequence[Evidence]) -> Sequence[Evidence]:
    """With systemd's line on a unit that names the killer before the others on it.

    In a log with its newest first it is the last of them.
    """
    first = items[0]
    if first.by != "systemd" or first.killer is not None or first.kind != "notice":
        return items
    sure = next((item for item in items if item.unit == first.unit and item.killer), None)
    return items if sure is None else [sure, *(item for item in items if item is not sure)]


def _userspace(evidence: Sequence[Evidence], alone: Sequence[int]) -> list[Incident]:
    """Deaths without a kernel report: each killer's, seconds apart, are one."""
    from oomkit.explain.killer import death

    groups: list[list[int]] = []
    before: Evidence | None = None
    titles: list[int] = []
    for i, following in zip_longest(alone, alone[1:]):
        item = evidence[i]
        if following is not None and _is_title_of(item, evidence[following]):
            titles.append(i)
            continue
        if before is None or not _continues(before, item):
            groups.append([])
        groups[-1].extend((i, *titles))
        titles = []
        if before is None or not _repeats(before, item, distance_s(before, item)):
            before = item
    found = []
    for group in groups:
        items = [evidence[i] for i in group if i == group[0] or not _is_title(evidence[i])]
        told = joined(innermost(_without_repetitions(_surest_first(items))))
        text = death(told[0]).text
        if len(told) > 1:
            text += f" (and {len(told) - 1} more in the same half minute)"
        found.append(Incident(evidence=tuple(group), summary=text))
    return found
