"""What others say of a death in several lines: the lines around the one that tells of it."""

from collections.abc import Iterator

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.userspace.continued import CONTINUED, JOB_LINES
from oomkit.klog.userspace.form import size_kb
from oomkit.klog.userspace.gadget import GadgetTable
from oomkit.klog.userspace.named import DOTS, Names, inspected
from oomkit.klog.userspace.objects import with_object
from oomkit.klog.userspace.reader import evidence_in
from oomkit.klog.userspace.wrapped import Wrapped
from oomkit.records import replace

_NEAR_LINES = 60
"""So far before a line what it is about may be named."""
_AFTER_LINES = 30

_OOMD_PATH = re.compile(r"Path: (?P<path>/\S+)$")
_OOMD_USAGE = re.compile(r"Current Memory Usage: (?P<used>[\d.]+ ?[BKMGT]?)")
_OOMD_SWAP = re.compile(r"Swap Usage: (?P<used>[\d.]+ ?[BKMGT]?)")
_NOHANG = re.compile(r"PID: +(?P<pid>\d+), [Nn]ame: +(?P<comm>[^,]+)")
_NOHANG_RSS = re.compile(r"VmRSS: +(?P<used>\d+ [KMG]iB)")
_NOHANG_CGROUP = re.compile(r"CGroup_v[12]: +(?P<path>/\S+)")
_RESOURCES = re.compile(r"(?P<which>Limits|Requests):$")
_MEMORY = re.compile(r"memory:\s+(?P<size>\S+)$")
_EXIT = re.compile(r"\"?(?:Exit ?Code|exitCode)\"?:\s+(?P<code>\d+)")
_RESOURCE = re.compile(r"attempting to reclaim\\?\" resourceName=\\?\"(?P<name>[\w.-]+)")
_OVER = re.compile(r"\(x(?P<count>\d+) over ")
_OBJECT = re.compile(r"\b(?P<kind>pod|node)/(?P<name>[\w.-]+)")
_ROW_NAMESPACE = re.compile(
    r"(?P<namespace>[a-z0-9-]+)\s+\w+(?: \(x\d+ over \w+\))?\s+(?:Warning|Normal)\s"
)
_EVENT_FOR = re.compile(r"event for (?P<pod>[\w.-]+): \{[\w-]+ (?P<node>[\w.-]+)\}")
"""An event as Kubernetes' own tests print it."""
_FROM_NODE = re.compile(r"(?:kubelet|kernel-monitor), (?P<node>[\w.-]+)")
_OOMD_PRESSURE = re.compile(
    r"[Mm]emory pressure for (?P<of>/\S+) is (?P<is>[\d.]+%) > (?P<limit>[\d.]+%)"
    r"(?P<span> for > \S+)?"
)
_EARLYOOM_LIMITS = re.compile(
    r"[Ll]ow [Mm]emory! [Aa]t or below (?P<limits>[Ss][Ii][Gg]\w+ limits.*)"
    r"|^Out of memory! (?:avail: )?"
    r"(?P<avail>\d+ MiB < min: \d+ MiB|mem min: \d+ MiB, swap min: \d+ MiB)"
    r"|^Low memory! mem avail: .{1,40}?<= min (?P<mem>\d+ %), "
    r"swap free: .{1,40}?<= min (?P<swap>\d+ %)"
)
_EARLYOOM_OLD = re.compile(r"^Killing process (?P<pid>\d{1,9}) (?P<comm>\S.{0,15})$")
"""Its first releases, which name nobody; their line on the limits stands above."""
_DYNO = re.compile(r"mem=(?P<used>\d+[KMG])\(")


class Witness:
    """Takes the lines of no report, gives what they tell, each with what its neighbours add."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._table = GadgetTable(file)
        self._held: Evidence | None = None
        self._resources = ""
        self._names = Names()
        self._candidates: dict[str, int] = {}
        self._candidate = ""
        self._victim: tuple[int, str, int] | None = None
        self._victims_cgroup: tuple[str, int] | None = None
        self._used: tuple[int, int] | None = None
        self._pressure: tuple[str, int] | None = None
        self._limits: tuple[str, int] | None = None
        self._attempts: list[Evidence] = []
        self._wrapped = Wrapped()

    def accept(self, line: Line) -> Iterator[Evidence]:
        """Take a line; gives what is told in full now."""
        if self._held is not None:
            held = self._continued(self._held, line)
            if held is not None:
                self._held = held
                return
        found = (
            evidence_in(line, self._file) or self._of_old_earlyoom(line) or self._table.take(line)
        )
        whole = self._wrapped.join(line, found is not None)
        if whole is not None:
            found = evidence_in(whole, self._file)
        if found is not None and _is_attempt(found):
            yield from self._release()
            self._attempts.append(self._because_of_pressure(found))
            return
        if self._attempts:
            yield from self._attempts_before(found, line)
        if found is not None and found.by == "lambda" and found.kind == "pressure":
            killed = self._killed_by_lambda(found)
            if killed is not None:
                self._held = killed
                return
        if found is None:
            self._note(line)
            if self._held is not None and self._is_over(line):
                yield from self.flush()
            return
        if self._repeats_held(found):
            return
        found = self._with_held(found)
        yield from self.flush()
        self._held = self._with_context(found, line)
        if found.by not in _GO_ON and not (found.kind == "sigkill" and found.by == "unknown"):
            yield from self.flush()

    def flush(self) -> Iterator[Evidence]:
        """Nothing more follows."""
        yield from self._attempts
        self._attempts = []
        yield from self._release()

    def _release(self) -> Iterator[Evidence]:
        if self._held is not None:
            yield self._held
        self._held, self._resources = None, ""

    def _attempts_before(self, found: Evidence | None, line: Line) -> Iterator[Evidence]:
        """The processes that systemd-oomd signalled, unless the cgroup's own line follows."""
        if found is not None and found.by == "systemd-oomd" and found.cgroup is not None:
            self._attempts = []
        elif line.number - self._attempts[-1].source.line > _AFTER_LINES:
            attempts, self._attempts = self._attempts, []
            yield from attempts

    def _because_of_pressure(self, found: Evidence) -> Evidence:
        """With the pressure that systemd-oomd printed before, where the line does not say why."""
        if found.reason is not None or self._pressure is None:
            return found
        reason, at = self._pressure
        if not _is_near(found.source.line, at, _NEAR_LINES):
            return found
        return replace(found, reason=reason)

    def _killed_by_lambda(self, found: Evidence) -> Evidence | None:
        """A function that died by signal 9, and had all its memory in use."""
        held = self._held
        if held is None or held.by != "lambda":
            return None
        reason = "it had all of its memory in use when it was killed"
        return replace(
            held, kind="notice", reason=reason, used_kb=found.used_kb, limit_kb=found.limit_kb
        )

    def _is_over(self, line: Line) -> bool:
        held = self._held
        if held is None:
            return False
        limit = 4 if held.by in ("lowmemorykiller", "systemd") else _AFTER_LINES
        return not _is_near(line.number, held.source.line, limit)

    def _repeats_held(self, found: Evidence) -> bool:
        """The exit status that a description prints below the reason."""
        held = self._held
        return (
            held is not None
            and found.kind == "sigkill"
            and held.kind == "notice"
            and _is_near(found.source.line, held.source.line, _STATUS_LINES)
            and found.pid is None
            and found.container is None
        )

    def _with_held(self, found: Evidence) -> Evidence:
        """With what the held line says of the same death, which it then need not say again."""
        held, exit_code = self._held, self._status_before(found)
        if held is not None and held.by == "shell" and _lacks_process(found, held):
            self._held = None
            return replace(found, pid=held.pid, comm=held.comm)
        if exit_code is not None:
            self._held = None
            return replace(found, exit_code=exit_code)
        return found

    def _status_before(self, found: Evidence) -> int | None:
        """The exit status that a description prints above the reason."""
        held = self._held
        if held is None or held.kind != "sigkill" or held.by != "unknown":
            return None
        near = _is_near(found.source.line, held.source.line, _STATUS_LINES)
        return 137 if near and found.kind == "notice" and _EXIT.match(held.text) else None

    def _continued(self, held: Evidence, line: Line) -> Evidence | None:
        """The held evidence with what a line adds to it; None for a line that adds nothing."""
        if self._is_over(line):
            return None
        text = line.text
        if held.by in CONTINUED:
            return CONTINUED[held.by](held, line)
        code = _EXIT.search(text)
        if code is not None and held.kind == "notice" and len(code["code"]) < 5:
            return replace(held, exit_code=int(code["code"]))
        if held.by != "kubelet":
            return None
        resources = _RESOURCES.match(text)
        if resources is not None:
            self._resources = resources["which"]
            return held
        memory = _MEMORY.match(text)
        if memory is None or not self._resources:
            return None
        field = "limit_kb" if self._resources == "Limits" else "request_kb"
        return replace(held, **{field: size_kb(memory["size"])})

    # -- what stands before ----------------------------------------------------------------

    def _note(self, line: Line) -> None:
        """Remember what a line names, for the evidence that may follow."""
        text = line.text
        pressure = _OOMD_PRESSURE.search(text) if "pressure for /" in text else None
        if pressure is not None:
            span = pressure["span"] or ""
            reason = f"memory pressure for {pressure['of']} being {pressure['is']}"
            self._pressure = f"{reason} > {pressure['limit']}{span}", line.number
            return
        known = (
            ":" in text or "=" in text or text.startswith(("Job <", "0")) or "describe pod" in text
            or " inspect " in text
        )  # fmt: skip
        if not known and not text.startswith(DOTS):
            return
        if self._names.note(line):
            return
        if (path := _OOMD_PATH.search(text)) is not None:
            self._candidate = path["path"]
        elif (usage := _OOMD_USAGE.search(text)) is not None and self._candidate:
            self._candidates[self._candidate] = size_kb(usage["used"]) or 0
            if len(self._candidates) > _NEAR_LINES:
                del self._candidates[next(iter(self._candidates))]
        elif (victim := _NOHANG.search(text)) is not None and len(victim["pid"]) < 10:
            self._victim = int(victim["pid"]), victim["comm"].strip(), line.number
        elif (cgroup := _NOHANG_CGROUP.search(text)) is not None:
            self._victims_cgroup = cgroup["path"], line.number
        elif (rss := _NOHANG_RSS.search(text) or _DYNO.search(text)) is not None:
            self._used = size_kb(rss["used"]) or 0, line.number

    def _with_context(self, found: Evidence, line: Line) -> Evidence:
        match found.by:
            case "kubelet" | "node-problem-detector" | "docker" | "unknown":
                return self._of_pod(self._of_resource(found, line), line)
            case "systemd-oomd" if found.cgroup is not None and found.used_kb is None:
                used = self._candidates.get(found.cgroup)
                self._candidates, self._candidate = {}, ""
                return self._because_of_pressure(replace(found, used_kb=used))
            case "ecs" if found.container_name is None:
                return replace(
                    found, container_name=self._names.container(line.number, _RECORD_LINES)
                )
            case "earlyoom":
                return self._below_limits(found)
            case "nohang" if found.kind == "kill":
                return self._with_used(self._of_nohangs_victim(found))
            case "pbs" | "lsf" | "slurm" | "htcondor" if found.job is None:
                job = self._names.named("job", line.number, JOB_LINES)
                return replace(found, job=job)
            case "heroku":
                return self._with_used(found)
            case "systemd" if found.unit is None:
                return replace(found, unit=self._names.named("unit", line.number))
        return found

    def _of_nohangs_victim(self, found: Evidence) -> Evidence:
        """What nohang printed of the victim before it says what it does: number, name, cgroup."""
        here = found.source.line
        if self._victim is not None and found.comm is None:
            pid, comm, at = self._victim
            if _is_near(here, at, _NEAR_LINES) and found.pid in (None, pid):
                return replace(found, pid=pid, comm=comm)
        if self._victims_cgroup is not None and found.pid is None:
            path, at = self._victims_cgroup
            if _is_near(here, at, _NEAR_LINES):
                return replace(found, cgroup=path)
        return found

    def _of_old_earlyoom(self, line: Line) -> Evidence | None:
        """A kill whose line names no killer, below earlyoom's line on what was left."""
        if self._limits is None or _EARLYOOM_OLD.match(line.text) is None:
            return None
        near = _is_near(line.number, self._limits[1], _LIMITS_LINES)
        return evidence_in(replace(line, tag="earlyoom"), self._file) if near else None

    def _below_limits(self, found: Evidence) -> Evidence:
        """With the limits that earlyoom printed before its signal."""
        limits = _EARLYOOM_LIMITS.search(found.text)
        if limits is not None:
            named = (
                limits["limits"] or limits["avail"] or f"mem {limits['mem']}, swap {limits['swap']}"
            )
            reason = "memory at or below " + " ".join(named.split())
            self._limits = reason, found.source.line
        elif found.kind in ("kill", "notice") and self._limits is not None:
            reason, at = self._limits
            if _is_near(found.source.line, at, _LIMITS_LINES):
                return replace(found, reason=reason)
        return found

    def _of_resource(self, found: Evidence, line: Line) -> Evidence:
        """What ran short, which the kubelet says before it names the pod."""
        resource = _RESOURCE.search(line.text)
        if resource is not None:
            self._names.put("resource", resource["name"], line.number)
        if found.kind != "eviction" or found.reason is not None:
            return found
        return replace(found, reason=self._names.named("resource", line.number))

    def _with_used(self, found: Evidence) -> Evidence:
        if self._used is None or not _is_near(found.source.line, self._used[1], _NEAR_LINES):
            return found
        return replace(found, used_kb=found.used_kb or self._used[0])

    def _of_pod(self, found: Evidence, line: Line) -> Evidence:
        """What a description, a list of events or a record says of the object."""
        text, number = line.text, line.number
        over, thing = _OVER.search(text), _OBJECT.search(text)
        event = _EVENT_FOR.search(text) if "event for " in text else None
        if event is not None:
            found = replace(found, pod=event["pod"], node=event["node"])
        namespace = _ROW_NAMESPACE.match(text) if thing is not None else None
        where = _FROM_NODE.search(text)
        about = line.about or {}
        if about.get("is_object"):
            return with_object(found, about)
        pod = found.pod or about.get("pod")
        name = found.container_name or about.get("container")
        node = found.node or (where["node"] if where else None)
        if thing is not None and thing["kind"] == "node":
            node = thing["name"]
        elif thing is not None:
            pod = thing["name"]
        elif pod is None and found.by == "unknown" and (called := self._names.called(line)):
            name = name or called
        elif pod is None and _is_of_a_pod(found):
            pod = self._names.named("name", number) or self._names.named("pod", number)
            name = name or self._names.section(number, _NEAR_LINES)
        elif found.by == "docker" and found.container is None:
            name = name or inspected(text) or self._names.named("name", number)
        return replace(
            found,
            pod=pod,
            namespace=found.namespace
            or (namespace["namespace"] if namespace else None)
            or about.get("namespace")
            or (self._names.named("namespace", number) if pod and thing is None else None),
            container=found.container or self._container(found, number),
            container_name=name or None,
            node=node or (self._names.named("node", number) if pod and thing is None else None),
            count=int(over["count"][:9]) if over else found.count or about.get("count"),
        )

    def _container(self, found: Evidence, number: int) -> str | None:
        if found.by not in ("docker", "kubelet", "unknown") or found.pid is not None:
            return None
        if found.by == "unknown":
            return self._names.named("containerid", number, _STATE_LINES)
        return self._names.named("id" if found.by == "docker" else "containerid", number)


def _is_of_a_pod(found: Evidence) -> bool:
    """What the kubelet says in a description or a list is about the pod that is named above."""
    if found.by not in ("kubelet", "unknown"):
        return False
    return found.pid is None or "Cgroup OOM encountered" in found.text


def _lacks_process(found: Evidence, shell: Evidence) -> bool:
    """Slurm's word on a step, of whose processes the shell has just named one that was killed."""
    near = _is_near(found.source.line, shell.source.line, _SHELL_LINES)
    return near and found.by == "slurm" and found.kind == "notice" and found.pid is None


_SHELL_LINES = 4
_STATUS_LINES = 4
"""So far from a reason a description prints the exit status."""


def _is_near(number: int, at: int, lines: int) -> bool:
    """A line is no more than so many below another, or above, in a log with its newest first."""
    return abs(number - at) <= lines


def _is_attempt(found: Evidence) -> bool:
    """systemd-oomd's word on one process, which it prints before what it says of the cgroup."""
    return found.by == "systemd-oomd" and found.kind == "kill" and found.pid is not None


_LIMITS_LINES = 4
_RECORD_LINES = 20
_STATE_LINES = 8
"""A container's record: its id stands beside its exit status."""
_GO_ON = frozenset({
    "earlyoom", "shell", "pbs", "lsf", "lmkd", "lowmemorykiller", "kubelet", "docker", "systemd",
    "lambda",
})  # fmt: skip
"""Whose lines may go on below."""
