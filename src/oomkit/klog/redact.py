"""Replace what must not leave the house: host names, users, cgroups, command names.

The same name gets the same token everywhere in a run, so a redacted log can still be followed.
"""

import re
from typing import TypeVar

import msgspec

from oomkit.klog.records import Evidence, Memcg, Report, Summary

_Named = TypeVar("_Named", bound=msgspec.Struct)

_KEPT = re.compile(
    r"(?:|system|user|machine|init|docker|kubepods(?:-besteffort|-burstable|-guaranteed)?|lxc|"
    r"besteffort|burstable|guaranteed)(?:\.slice|\.scope)?"
)
_SUFFIX = re.compile(r"\.(?:service|scope|slice|mount|socket|swap)$")


class Redactor:
    """Remembers which token stands for what."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._uids: dict[int, int] = {0: 0}

    def report(self, report: Report) -> Report:
        """Return the report with tokens for names."""
        comms = [row.comm for row in report.tasks] + [k.comm for k in report.killed]
        for comm in comms:
            self._token("comm", comm)
        return msgspec.structs.replace(
            report,
            host=self._maybe("host", report.host),
            cgroup=self._path(report.cgroup),
            cpuset=self._path(report.cpuset),
            oom_group=self._path(report.oom_group),
            invoker=self._maybe("comm", report.invoker),
            tasks=tuple(map(self._person, report.tasks)),
            killed=tuple(map(self._person, report.killed)),
            selected=None if report.selected is None else self._person(report.selected),
            reaped=tuple(map(self._person, report.reaped)),
            predicted=tuple(map(self._person, report.predicted)),
            summary=self._summary(report.summary),
            memcg=self._memcg(report.memcg),
            why=self._text(report.why),
            problems=tuple(
                msgspec.structs.replace(p, text=self._text(p.text)) for p in report.problems
            ),
        )

    def evidence(self, evidence: Evidence) -> Evidence:
        """Return the line with tokens for names."""
        changed = msgspec.structs.replace(
            evidence,
            host=self._maybe("host", evidence.host),
            comm=self._maybe("comm", evidence.comm),
            cgroup=self._path(evidence.cgroup),
            unit=self._path(evidence.unit),
            pod=self._maybe("pod", evidence.pod),
            container=self._maybe("container", evidence.container),
        )
        text = evidence.text
        for name in ("host", "comm", "cgroup", "unit", "pod", "container"):
            old, new = getattr(evidence, name), getattr(changed, name)
            if old:
                text = text.replace(old, new)
        return msgspec.structs.replace(changed, text=self._text(text))

    def _token(self, kind: str, name: str) -> str:
        token = self._tokens.get((kind, name))
        if token is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            token = f"{kind}-{self._counts[kind]}"
            self._tokens[kind, name] = token
        return token

    def _maybe(self, kind: str, name: str | None) -> str | None:
        return None if name is None else self._token(kind, name)

    def _uid(self, uid: int) -> int:
        """Root stays 0; others are counted from 1."""
        return self._uids.setdefault(uid, len(self._uids))

    def _path(self, path: str | None) -> str | None:
        if path is None:
            return None
        return "/".join(map(self._component, path.split("/")))

    def _component(self, name: str) -> str:
        if _KEPT.fullmatch(name):
            return name
        suffix = _SUFFIX.search(name)
        return self._token("cgroup", name) + (suffix[0] if suffix else "")

    def _person(self, record: _Named) -> _Named:
        changes: dict[str, object] = {"comm": self._token("comm", record.comm)}  # type: ignore[attr-defined] # every record given here has one
        uid = getattr(record, "uid", None)
        if uid is not None:
            changes["uid"] = self._uid(uid)
        return msgspec.structs.replace(record, **changes)

    def _summary(self, summary: Summary | None) -> Summary | None:
        if summary is None:
            return None
        return msgspec.structs.replace(
            summary,
            comm=self._maybe("comm", summary.comm),
            uid=None if summary.uid is None else self._uid(summary.uid),
            cpuset=self._path(summary.cpuset),
            oom_memcg=self._path(summary.oom_memcg),
            task_memcg=self._path(summary.task_memcg),
        )

    def _memcg(self, memcg: Memcg | None) -> Memcg | None:
        if memcg is None:
            return None
        return msgspec.structs.replace(
            memcg,
            path=self._path(memcg.path),
            task_path=self._path(memcg.task_path),
            stats={self._path(path) or "": stats for path, stats in memcg.stats.items()},
        )

    def _text(self, text: str) -> str:
        """A sentence that may name tasks as ``comm[pid]``."""
        for (kind, name), token in self._tokens.items():
            if kind == "comm" and f"{name}[" in text:
                text = text.replace(f"{name}[", f"{token}[")
        return text
