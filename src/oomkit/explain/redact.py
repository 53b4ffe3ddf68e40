"""Take names out of reports before anything is made of them.

Hosts, users, cgroups, commands, units, pods, containers and file names become tokens; the same
name is the same token throughout one run. Tokens are numbered by first appearance rather than
derived from the name, so that a guessed name can't be checked.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from oomkit.explain.cgroup_names import CONTAINER, ID_CHARS, POD
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import KMSG
from oomkit.klog.memory_records import Memory, Slab
from oomkit.klog.records import Killed, Problem, Reaped, Report, Selected, Summary, TaskRow
from oomkit.records import replace

_KEPT_PARTS = frozenset(
    {"", "/", "..", "docker", "kubepods", "kubepods.slice", "burstable", "besteffort", "lxc",
     "kubepods-burstable.slice", "kubepods-besteffort.slice", "system.slice", "user.slice",
     "machine.slice", "machine", "init.scope", "session.slice", "app.slice"}
)  # fmt: skip
"""Parts of cgroup paths that every machine has; they identify nothing."""
_SUFFIX = re.compile(r"\.(?:slice|service|scope|socket|mount)\Z")
_COMM_CHARS = 15
_FIRST_UID = 60001
_PATH = re.compile(r"/\S+")
_WORD = re.compile(r"[\w.@:+~-]+")
_WithUid = TypeVar("_WithUid", TaskRow, Killed)
_Named = TypeVar("_Named", TaskRow, Killed, Selected, Reaped)


def _each(change: Callable[[str], str], name: str | None) -> str | None:
    return None if name is None else change(name)


class Redactor:
    """Replaces names by tokens, the same by the same."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], str] = {}
        self._words: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._uids: dict[int, int] = {}

    def report(self, report: Report) -> Report:
        """Return a report, not yet replayed, without names."""
        source = replace(report.source, file=self._file(report.source.file))
        found = replace(
            report,
            source=source,
            host=_each(self.host, report.host),
            cgroup=_each(self._path, report.cgroup),
            cpuset=_each(self._path, report.cpuset),
            invoker=_each(self._comm, report.invoker),
            oom_group=_each(self._path, report.oom_group),
            tasks=tuple(self._with_uid(self._named(row)) for row in report.tasks),
            selected=None if report.selected is None else self._named(report.selected),
            summary=None if report.summary is None else self._summary(report.summary),
            killed=tuple(self._with_uid(self._named(victim)) for victim in report.killed),
            reaped=tuple(self._named(reaped) for reaped in report.reaped),
            memory=_without_owners(report.memory),
        )
        if found.memcg is not None:
            memcg = replace(
                found.memcg,
                path=_each(self._path, found.memcg.path),
                task_path=_each(self._path, found.memcg.task_path),
                stats={self._path(path): values for path, values in found.memcg.stats.items()},
            )
            found = replace(found, memcg=memcg)
        return replace(
            found,
            problems=tuple(self._problem(problem) for problem in found.problems),
            panic=_each(self._scrub, found.panic),
            kill_text=_each(self._scrub, found.kill_text),
        )

    def evidence(self, item: Evidence) -> Evidence:
        """Return evidence without names; its text, which can hold any, is left out."""
        return replace(
            item,
            source=replace(item.source, file=self._file(item.source.file)),
            text=f"({item.kind}; text left out)",
            host=_each(self.host, item.host),
            comm=_each(self._comm, item.comm),
            cgroup=_each(self._path, item.cgroup),
            unit=_each(self._part, item.unit),
            pod=_each(self._pod, item.pod),
            namespace=_each(self._namespace, item.namespace),
            container=_each(self._container, item.container),
            container_name=_each(self._container_name, item.container_name),
            node=_each(self.host, item.node),
            job=_each(self._job, item.job),
            invoker=_each(self._invoker, item.invoker),
            reason=_each(self._reason, item.reason),
        )

    # -- kinds of names ----------------------------------------------------------------------

    def _token(self, kind: str, name: str) -> str:
        token = self._tokens.get((kind, name))
        if token is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            token = self._tokens[kind, name] = f"{kind}-{self._counts[kind]}"
            self._words[name] = token
        return token

    def _file(self, name: str) -> str:
        return name if name in ("-", KMSG) else self._token("file", name)

    def host(self, host: str) -> str:
        """A host's token."""
        return self._token("host", host)

    def _comm(self, comm: str) -> str:
        return self._token("comm", comm[:_COMM_CHARS])

    def _path(self, path: str) -> str:
        return "/".join(self._part(part) for part in path.split("/"))

    def _part(self, part: str) -> str:
        if part in _KEPT_PARTS:
            return part
        replaced = part
        for kind, pattern in (("pod", POD), ("container", CONTAINER)):
            found = pattern.search(part)
            if found is not None:
                replaced = replaced.replace(found[1], self._id(kind, found[1]))
        if replaced != part:
            return replaced
        suffix = _SUFFIX.search(part)
        return self._token("cgroup", part) + (suffix.group() if suffix else "")

    def _pod(self, pod: str) -> str:
        namespace, slash, name = pod.rpartition("/")
        if slash:
            return f"{self._namespace(namespace)}/{self._token('pod', name)}"
        return self._token("pod", pod)

    def _namespace(self, namespace: str) -> str:
        return self._token("namespace", namespace)

    def _container_name(self, name: str) -> str:
        return self._token("container-name", name)

    def _job(self, job: str) -> str:
        return self._token("job", job)

    def _invoker(self, invoker: str) -> str:
        comm, bracket, pid = invoker.rpartition("[")
        return f"{self._comm(comm)}{bracket}{pid}" if bracket else self._comm(invoker)

    def _reason(self, reason: str) -> str:
        """The killer's words, with the paths and names in them replaced."""
        return self._scrub(_PATH.sub(lambda match: self._path(match.group()), reason))

    def _container(self, container: str) -> str:
        return self._token("container", container[:ID_CHARS])

    def _id(self, kind: str, name: str) -> str:
        """A pod's or a container's token, by the part of its id that is commonly printed."""
        if kind == "container":
            return self._token(kind, name[:ID_CHARS])
        token = self._token(kind, name.replace("_", "-"))
        return token.removeprefix("pod")

    def _uid(self, uid: int | None) -> int | None:
        if uid is None or uid == 0:
            return uid
        return self._uids.setdefault(uid, _FIRST_UID + len(self._uids))

    # -- records -----------------------------------------------------------------------------

    def _named(self, record: _Named) -> _Named:
        return replace(record, comm=self._comm(record.comm))

    def _with_uid(self, record: _WithUid) -> _WithUid:
        return replace(record, uid=self._uid(record.uid))

    def _summary(self, summary: Summary) -> Summary:
        return replace(
            summary,
            cpuset=_each(self._path, summary.cpuset),
            oom_memcg=_each(self._path, summary.oom_memcg),
            task_memcg=_each(self._path, summary.task_memcg),
            comm=_each(self._comm, summary.comm),
            uid=self._uid(summary.uid),
        )

    def _problem(self, problem: Problem) -> Problem:
        return replace(problem, text=self._scrub(problem.text))

    def _scrub(self, text: str) -> str:
        """Replace known names in a sentence of the kernel's or of ours."""
        return _WORD.sub(lambda match: self._words.get(match.group(), match.group()), text)


def _without_owners(memory: Memory | None) -> Memory | None:
    """Slab caches of a cgroup carry its name in parentheses."""
    if memory is None or not memory.unreclaimable_slab:
        return memory
    slabs = tuple(
        Slab(name=re.sub(r"\(.*", "", slab.name), used_kb=slab.used_kb, total_kb=slab.total_kb)
        for slab in memory.unreclaimable_slab
    )
    return replace(memory, unreclaimable_slab=slabs)
