"""What others than the kernel say of a death, as one sentence with all that they say of it."""

import re
from collections.abc import Iterable, Sequence

from oomkit.explain.cgroup_names import place
from oomkit.klog.evidence import Evidence
from oomkit.records import replace
from oomkit.render.quantities import count_of, kb, label

_NAMES = {
    "slurm": "Slurm",
    "pbs": "PBS",
    "lsf": "LSF",
    "flux": "Flux",
    "mesos": "Mesos",
    "azure": "Azure Container Apps",
    "yarn": "YARN's node manager",
    "htcondor": "HTCondor",
    "heroku": "Heroku",
    "ecs": "Amazon ECS",
    "nomad": "Nomad",
    "cloud-run": "Cloud Run",
    "app-engine": "App Engine",
    "cloud-functions": "Cloud Functions",
    "cloud-foundry": "Cloud Foundry",
    "render": "Render",
    "mpi": "MPI's launcher",
    "cri-o": "CRI-O",
    "gitlab-runner": "GitLab Runner",
    "kernel": "the kernel",
    "freebsd": "FreeBSD's kernel",
    "lambda": "AWS Lambda",
    "ray": "Ray",
    "oomkill": "BPF's oomkill",
    "lowmemorykiller": "the kernel's Android lowmemorykiller driver",
}
_PRESSURE = re.compile(
    r"memory pressure for (?P<of>\S+) being (?P<is>[\d.]+%) > (?P<limit>[\d.]+%)"
    r"(?: for > (?P<time>[\d.]+[a-z]+(?: [\d.]+[a-z]+)*))?"
)
_FILLED = (
    "unit", "pod", "namespace", "container", "container_name", "node", "job", "reason", "processes",
    "count", "used_kb", "limit_kb", "request_kb", "exit_code", "adj", "comm", "pid",
)  # fmt: skip
_QUOTED_CHARS = 80
_OUTCOME = "oom-kill"
"""systemd's word on how a unit ended, which is no reason why."""
_CHOICE = "repeats the kernel's line on its choice of"
SRUN = re.compile(r"^(?!.*oom[-_]kill event).*: Out Of Memory")
"""srun's word on a task, not slurmstepd's on its step."""


_SIGNALLERS = frozenset({"earlyoom", "nohang"})
"""Who signal a process again only if it lives."""


def name_of(by: str) -> str:
    """Who says so, as a person knows it."""
    return _NAMES.get(by, by)


def key_of(item: Evidence) -> tuple[str, ...] | None:
    """The key by which two lines are about the same; None where a line names nothing."""
    unit = item.unit or place(item.cgroup).unit
    if item.pid is not None:
        return ("pid", str(item.pid))
    if item.by == "docker" and item.container is not None:
        return ("container", item.container)
    for kind, value in (
        ("unit", unit),
        ("pod", item.pod and item.pod.rpartition("/")[2]),
        ("container", item.container),
        ("cgroup", item.cgroup),
        ("job", item.job),
    ):
        if value is not None:
            return (kind, value)
    return None


def joined(items: Iterable[Evidence]) -> list[Evidence]:
    """One for each thing that lines are about: what the others of it say is filled in."""
    items = list(items)
    if len(items) < _SEVERAL:
        return items
    found: dict[tuple[str, ...] | int, Evidence] = {}
    for i, item in enumerate(items):
        key = key_of(item)
        known = found.get(key) if key is not None else None
        if key is None or known is None:
            found[key or i] = item
            continue
        base, other = (known, item) if _weight(known) <= _weight(item) else (item, known)
        filled = {
            name: getattr(other, name)
            for name in _FILLED
            if getattr(base, name) is None
            and getattr(other, name) is not None
            and not (name == "reason" and _OUTCOME in (other.reason or ""))
        }
        exited = True if True in (base.exited, other.exited) else base.exited
        if exited is None and base.kind == other.kind == "kill" and base.by in _SIGNALLERS:
            exited = False
        found[key] = replace(base, **filled, exited=exited)
    return list(found.values())


_SEVERAL = 2


def _weight(item: Evidence) -> bool:
    """A death by signal 9 that names no cause says less than any line that names one."""
    return item.kind == "sigkill"


def subject(item: Evidence) -> str:
    """What a line is about; where it names nothing, the line itself."""
    if item.comm is not None and item.pid is not None:
        where = f" in pod {_pod(item)}" if item.pod else ""
        where += f" on node {item.node}" if item.node else ""
        return label(item.comm, item.pid) + where
    found = place(item.cgroup)
    pod, container = _pod(item) or found.pod, item.container_name or item.container
    own = _in_own_words(item, container)
    if own is not None:
        return own
    if item.cgroup == "/":
        return "the machine"
    if pod and container:
        return f"container {container} of pod {pod}"
    cut = " (its name is cut)" if item.cgroup_cut else ""
    for word, value in (
        ("pod", pod),
        ("container", container or found.container),
        ("unit", item.unit or (found.unit if _ends_in(item.cgroup, found.unit) else None)),
        ("cgroup", item.cgroup),
        ("job", item.job),
        ("process", item.comm),
    ):
        if value is not None:
            return f"{word} {value}{cut}"
    if item.pid is not None:
        return f"process {item.pid}"
    if item.kind == "sigkill":
        return f"{item.by} ({_shortened(item.text)})"
    return _UNNAMED.get(item.by, "something that the line does not name")


def _shortened(text: str) -> str:
    """A quotation, with a sign where it is cut."""
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS].rstrip()}…"


def _in_own_words(item: Evidence, container: str | None) -> str | None:
    """What a platform calls a thing that others call a job, a process or a container."""
    if item.by == "heroku" and container:
        return f"dyno {container}"
    if item.by == "slurm" and item.node and item.kind == "sigkill":
        return f"task {item.job} on node {item.node}"
    if item.by == "ray":
        kind = "the task" if "killing latest task" in item.text else "worker"
        worker = f"{kind} {item.job}" if item.job else "workers"
        return worker + (f" on node {item.node}" if item.node else "")
    if item.by == "nomad" and container:
        return f"task {container}"
    if item.by == "cloud-foundry" and item.job:
        return f"an instance of app {item.job}"
    if item.by == "yarn" and item.job:
        return f"the container of executor {item.job}"
    return None


def _ends_in(cgroup: str | None, unit: str | None) -> bool:
    """Whether a path is that of a unit, not of a cgroup below it."""
    return cgroup is not None and unit is not None and cgroup.rstrip("/").endswith(f"/{unit}")


_UNNAMED = {
    **dict.fromkeys(("docker", "containerd", "ecs", "conmon", "runc", "cri-o"), "a container"),
    **dict.fromkeys(("cloud-run", "app-engine", "cloud-functions", "render"), "an instance"),
    **dict.fromkeys(("pbs", "lsf", "htcondor"), "a job"),
    "kubelet": "a container",
    "mesos": "a container",
    "yarn": "a container",
    "slurm": "a job or step",
    "systemd": "a unit",
    "heroku": "a dyno",
    "nomad": "a task",
    "cloud-foundry": "an app instance",
}


def sentence(item: Evidence) -> str:
    """What a line says, with all its numbers."""
    who = name_of(item.by)
    if item.exited is False or _is_attempt(item) or asked_only(item):
        signal = item.signal or "SIGKILL"
        outcome = ", which did not exit" if item.exited is False else ""
        return f"{who} sent {signal} to {subject(item)}{outcome}{_why(item)}{_held(item)}"
    if item.kind == "kill" or (item.kind == "notice" and item.by == "systemd-oomd"):
        return (
            f"{who} killed {subject(item)}{_processes(item)}{_why(item)}{_held(item)}{_often(item)}"
        )
    if item.kind == "eviction":
        return _eviction(item)
    if item.kind == "notice":
        return (
            f"{_notice(item, who)}{_held(item)}{_often(item)}; the kernel's own report is not here"
        )
    return (
        f"{subject(item)}: SIGKILL, and nothing here shows that memory was the reason; any "
        "process may have sent it"
    )


def asked_only(item: Evidence) -> bool:
    """A signal that can be ignored was sent, and no line says that the process exited."""
    return item.by in _SIGNALLERS and item.exited is None and item.signal == "SIGTERM"


def _is_attempt(item: Evidence) -> bool:
    """systemd-oomd says which process it signals before it knows what comes of that."""
    return item.by == "systemd-oomd" and item.kind == "kill" and not (item.cgroup or item.unit)


def _pod(item: Evidence) -> str | None:
    if item.pod is None:
        return None
    return f"{item.namespace}/{item.pod}" if item.namespace and "/" not in item.pod else item.pod


def _notice(item: Evidence, who: str) -> str:
    if item.by == "slurm" and item.killer == "kernel":
        if item.node is not None and SRUN.search(item.text):
            tasks = "tasks" if re.search(r"[,-]", item.job or "") else "task"
            return f"{who} says that the kernel killed for {tasks} {item.job} on node {item.node}"
        process = (
            f", where the shell names {label(item.comm, item.pid)}"
            if item.pid and item.comm
            else ""
        )
        node = f" on node {item.node}" if item.node else ""
        return f"{who} says that the kernel killed in the cgroup of step {item.job}{node}{process}"
    reason = f" ({item.reason})" if item.reason else ""
    if item.by == "earlyoom":
        why = f", with {item.reason}" if item.reason else ""
        return (
            f"earlyoom had the kernel's OOM killer run (SysRq-f){why}: no line says what it killed"
        )
    if item.by == "kernel":
        return _of_kernel(item, reason)
    if item.by == "flux" and item.processes:
        node = f" on node {item.node}" if item.node else ""
        tasks = count_of(item.processes, "task")
        return f"{who} says that the kernel killed {tasks} of a job{node}{reason}"
    if item.pid is None and "System OOM encountered" in item.text:
        node = f"node {item.node}" if item.node else "the node"
        return f"{who} says that {node} ran out of memory and the kernel killed a process there"
    if item.killer == "kernel":
        if item.by == "systemd":
            return f"{who} says that the kernel killed a process of {subject(item)}"
        child = ", or a child of it" if _CHOICE in item.text else ""
        return f"{who} says that the kernel killed {subject(item)}{child}{reason}"
    if item.reason and "oom-kill" in item.reason:
        return (
            f"{who} says that {subject(item)} lost a process to an OOM killer{reason}: the "
            "kernel's or systemd-oomd, the line does not say which"
        )
    return f"{who} says that {subject(item)} ran out of memory{reason}"


def _of_kernel(item: Evidence, reason: str) -> str:
    """What the kernel says besides its reports, or a sentence says of it."""
    if item.comm and item.pid is not None:
        return f"a sentence says that the kernel killed {label(item.comm, item.pid)}{reason}"
    if item.comm:
        return f"the kernel killed {item.comm}{reason}, by a text that leaves out its number"
    if item.processes:
        of = f" of {item.cgroup}" if item.cgroup else ""
        return f"the kernel killed {count_of(item.processes, 'task')}{of} at once"
    times = "once" if item.count == 1 else f"{item.count} times"
    where = f" in cgroup {item.cgroup}" if item.cgroup else ""
    return f"the kernel's counter oom_kill says that it killed {times}{where}"


def is_for_memory(item: Evidence) -> bool:
    """Whether a line reports a death for lack of memory, and not of disk or for no known cause."""
    if item.kind == "eviction":
        return item.reason is None or "memory" in item.reason
    return item.kind in ("kill", "notice")


def _eviction(item: Evidence) -> str:
    parts = []
    if item.used_kb is not None:
        parts.append(f"{kb(item.used_kb)} used")
    if item.request_kb is not None:
        nothing = ": nothing was reserved for it" if item.request_kb == 0 else ""
        parts.append(f"request {kb(item.request_kb) if item.request_kb else 0}{nothing}")
    container = f"container {item.container_name}: " if item.container_name and parts else ""
    pod = _pod(item) or place(item.cgroup).pod
    who = f"pod {pod}" if pod else "a pod that the line does not name"
    numbers = f" ({container}{', '.join(parts)})" if parts else ""
    node = f" {item.node}" if item.node else ""
    short = item.reason or ("memory" if "memory" in item.text else "memory, disk or process ids")
    text = f"{name_of(item.by)} evicted {who}{numbers}, as the node{node} ran low on {short}"
    return f"{text}{_often(item)}; no OOM kill"


def _processes(item: Evidence) -> str:
    return f", {count_of(item.processes, 'process', 'processes')}" if item.processes else ""


def _why(item: Evidence) -> str:
    parts = []
    if item.adj is not None:
        parts.append(f"adj {item.adj}")
    text = f" ({', '.join(parts)})" if parts else ""
    if item.invoker is not None:
        text += f", asked by {item.invoker}"
    if not item.reason:
        return text
    pressure = _PRESSURE.search(item.reason)
    if pressure is None:
        return f"{text}, because of {item.reason}" if item.by == "systemd-oomd" else (
            f"{text}: {item.reason}"
        )  # fmt: skip
    of, now, limit = pressure["of"], _percent(pressure["is"]), _percent(pressure["limit"])
    span = f" for {_span(pressure['time'])}" if pressure["time"] else ""
    return f"{text}, because memory pressure of {of} was {now} (limit {limit}){span}"


def _span(text: str) -> str:
    """``20s`` as a person writes it."""
    return re.sub(r"(?<=\d)(?=[a-z])", " ", text)


def _percent(text: str) -> str:
    return text.removesuffix("%").removesuffix(".00") + " %"


def _held(item: Evidence) -> str:
    if item.used_kb is None:
        return f", limit {kb(item.limit_kb)}" if item.limit_kb else ""
    of = f" of {kb(item.limit_kb)}" if item.limit_kb else ""
    verb = "would free" if item.by in ("lowmemorykiller", "lmkd") else "held"
    return f"; it {verb} {kb(item.used_kb)}{of}"


def _often(item: Evidence) -> str:
    told = item.by == "kernel" and item.kind == "notice"
    text = f", {item.count} times" if item.count and item.count > 1 and not told else ""
    return text + (f", exit status {item.exit_code}" if item.exit_code is not None else "")


def no_kill_text(items: Sequence[Evidence], count: int) -> str:
    """One sentence where requests failed or memory was low, and no process was killed."""
    parts = []
    for means in dict.fromkeys(item.means for item in items):
        same = [item for item in items if item.means == means]
        parts.append(_no_kill_part(same[0], len(same)))
    more = count - len(items)
    also = f"; and {count_of(more, 'more line')} of this kind" if more > 0 else ""
    return f"no process was killed here: {'; '.join(parts)}{also}"


def _no_kill_part(item: Evidence, count: int) -> str:
    who = label(item.comm, item.pid) if item.comm and item.pid else item.comm
    facts = [
        f"order {item.order}" if item.order is not None else "",
        who or "",
        _shortened(item.reason or ""),
    ]
    if item.used_kb is not None and item.limit_kb is not None:
        facts.append(f"{kb(item.used_kb)} of {kb(item.limit_kb)}")
    shown = ", ".join(fact for fact in facts if fact)
    times = f", {count} times" if count > 1 else ""
    return f"{item.means}{f' ({shown})' if shown else ''}{times}, line {item.source.line}"
