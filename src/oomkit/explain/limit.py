"""A memory cgroup at its limit: what the limit would have had to be, and what to look at next."""

import re
from collections.abc import Iterator

from oomkit.explain.cgroup_names import ID_CHARS, place
from oomkit.explain.memory_breakdown import swapped_kb
from oomkit.explain.records import Advice, Breakdown, Change
from oomkit.klog.memory_records import Memcg
from oomkit.klog.records import Report
from oomkit.render.quantities import kb, label, percent, share

_ROOM = 1.25
_STEP_KB = 64 << 10
_SMALL_STEP_KB = 1 << 10
_SHOWN = 2
_GUEST = re.compile(r"/(?:lxc|lxc\.payload)[./](?:payload\.)?(?P<id>\d{3,9})(?=/|$)")
_TOOLS = (("libpod", "podman"), ("nerdctl", "nerdctl"))
_BY_DOCKER = re.compile(r"/docker/([\w.-]+)")
_HEAPS = {
    "java": "java: -Xmx or -XX:MaxRAMPercentage, with room for metaspace, threads, buffers",
    "node": "node: --max-old-space-size",
    "mysqld": "mysqld: innodb_buffer_pool_size and the buffers of each connection",
    "mariadbd": "mariadbd: innodb_buffer_pool_size and the buffers of each connection",
    "postgres": "postgres: shared_buffers, work_mem and max_connections",
    "redis-server": "redis: maxmemory, with room for the copy that a save makes",
    "php-fpm": "php-fpm: pm.max_children times memory_limit",
    "beam.smp": "RabbitMQ: vm_memory_high_watermark",
    "mongod": "mongod: storage.wiredTiger.engineConfig.cacheSizeGB",
}
_QOS = {
    "besteffort": "BestEffort: it has no requests, and on a full node it dies first",
    "burstable": "Burstable: its request is below its limit, so the node may run out first",
    "guaranteed": "Guaranteed: its request is its limit",
}


def limit_change(report: Report, where: Breakdown | None) -> Iterator[Change]:
    """The limit with which there would have been no need to kill, and what sat in it."""
    if report.scope != "memcg":
        return
    name, now_kb = _limit_hit(report.memcg)
    if now_kb is None or where is None:
        owner = f" of {report.cgroup}" if report.cgroup else ""
        text = f"a higher limit{owner}: how high it was, and what sat in it, the log does not show"
        yield Change(kind="limit", knob=name, unit="kb", text=text)
        return
    wanted = max(where.total_kb + swapped_kb(report, where), now_kb)
    roomy = _rounded(wanted, _STEP_KB)
    if roomy > 2 * wanted:
        roomy = _rounded(wanted, _SMALL_STEP_KB)
    room = "a quarter" if roomy < 2 * wanted else "room"
    text = f"{name} above {kb(wanted)} (was {kb(now_kb)}), with {room} to spare {kb(roomy)}"
    text += f", by {_setting(report, name, roomy)}"
    held = _held(report, where)
    if held:
        text += f"; in it sat {held}"
    yield Change(kind="limit", knob=name, now=now_kb, needed=wanted, unit="kb", text=text)


def _rounded(wanted: float, step: int) -> int:
    return -int(-wanted * _ROOM // step) * step


def _limit_hit(part: Memcg | None) -> tuple[str, int | None]:
    """Which of its limits a cgroup was at, and that limit in kB."""
    if part is None or part.memory is None:
        return "memory.max", None
    if part.swap is not None:
        return "memory.max", part.memory.limit_kb
    for name, counter in (
        ("memory.limit_in_bytes", part.memory),
        ("memory.memsw.limit_in_bytes", part.memsw),
        ("memory.kmem.limit_in_bytes", part.kmem),
    ):
        if (
            counter is not None
            and counter.limit_kb
            and counter.usage_kb * 50 >= counter.limit_kb * 49
        ):
            return name, counter.limit_kb
    return "memory.limit_in_bytes", part.memory.limit_kb


def _setting(report: Report, name: str, size_kb: int) -> str:
    """How the limit is set, for the owner of the cgroup."""
    path = report.cgroup or ""
    mib = size_kb // 1024
    found = place(path)
    guest = _GUEST.search(path)
    if found.pod:
        return f"resources.limits.memory: {mib}Mi of the container in the pod's spec"
    if "ecs" in path.lower().split("/")[1:2] or "/ecstasks" in path:
        return f"memory: {mib} (MiB) of the container or task in the ECS task definition"
    if found.container:
        return f"{_tool(path)} update --memory {mib}m --memory-swap {mib}m {found.container}"
    if guest:
        return f"pct set {guest['id']} --memory {mib}"
    if "/slurm" in path:
        return f"sbatch --mem={mib}M"
    if found.unit and path.rstrip("/").endswith(found.unit):
        return f"systemctl set-property {found.unit} MemoryMax={mib}M"
    by_docker = _BY_DOCKER.fullmatch(path)
    if by_docker:
        return f"docker update --memory {mib}m --memory-swap {mib}m {by_docker[1]}"
    if not path.startswith("/"):
        return f"echo {mib}M to its {name}"
    base = "/sys/fs/cgroup" if name == "memory.max" else "/sys/fs/cgroup/memory"
    return f"echo {mib}M > {base}{path.rstrip('/')}/{name}"


def _tool(path: str) -> str:
    """What a container without a pod is managed with."""
    return next((tool for mark, tool in _TOOLS if mark in path), "docker")


def _held(report: Report, where: Breakdown) -> str:
    """What filled the cgroup: the largest uses, and the largest of its processes."""
    uses = sorted(where.shares, key=lambda use: -use.kb)[:_SHOWN]
    texts = [f"{use.label} {kb(use.kb)}" for use in uses if use.kb * 20 >= where.total_kb]
    size_kb = report.page_kb
    rows = sorted(report.tasks, key=lambda row: -row.rss_pages)[:_SHOWN]
    tasks = [f"{label(row.comm, row.tgid)} {kb(row.rss_pages * size_kb)}" for row in rows]
    text = ", ".join(texts)
    return f"{text} ({'; '.join(tasks)})" if text and tasks else text or "; ".join(tasks)


def advice(report: Report, where: Breakdown | None) -> tuple[Advice, ...]:
    """What to look at next where a container or another memory cgroup was at its limit."""
    return tuple(_advice(report, where)) if report.scope == "memcg" else ()


def _advice(report: Report, where: Breakdown | None) -> Iterator[Advice]:
    comm = max(report.tasks, key=lambda row: row.rss_pages).comm if report.tasks else (
        report.killed[0].comm if report.killed else None
    )  # fmt: skip
    if comm is not None:
        known = next((text for name, text in _HEAPS.items() if comm.startswith(name)), None)
        how = known or "its own bounds on heap, caches and workers"
        text = f"if {comm} should do with less: a leak, or a size set too large ({how})"
        yield Advice(kind="leak", text=text)
    path = _task_path(report)
    found = place(path)
    if found.pod:
        yield from _of_pod(path, found.pod, report)
    if found.container and (report.owner is None or found.container in report.owner):
        container = found.container[:ID_CHARS]
        command = f"crictl ps -a --id {container}" if found.pod else (
            f"{_tool(path)} ps -a --filter id={container}"
        )  # fmt: skip
        yield Advice(kind="container_name", text=f"the container's name: {command}")
    if where is not None and where.limit_kb and where.kb("shmem") * 4 > where.limit_kb:
        shmem = where.kb("shmem")
        text = f"tmpfs counts against the limit: {kb(shmem)} ({share(shmem, where.limit_kb)})"
        yield Advice(kind="tmpfs", text=text)


def _task_path(report: Report) -> str:
    summary, part = report.summary, report.memcg
    deepest = (summary.task_memcg if summary else None) or (part.task_path if part else None)
    return deepest or report.cgroup or ""


def _of_pod(path: str, uid: str, report: Report) -> Iterator[Advice]:
    qos = next((name for name in ("besteffort", "burstable") if name in path), "guaranteed")
    text = f"QoS {_QOS[qos]}"
    adj = next((v.oom_score_adj for v in report.killed if v.oom_score_adj is not None), None)
    if adj is None and report.killed:
        pid = report.killed[0].pid
        adj = next((row.oom_score_adj for row in report.tasks if row.tgid == pid), None)
    if qos == "burstable" and adj is not None and 2 < adj < 999:
        part = percent((1000 - adj) / 1000)
        text += f"; its oom_score_adj {adj} means a request of about {part} of the node's memory"
    yield Advice(kind="qos", text=text)
    if report.owner is not None:
        return
    command = (
        "kubectl get pods -A -o custom-columns=UID:.metadata.uid,NS:.metadata.namespace,"
        f"NAME:.metadata.name | grep {uid}"
    )
    yield Advice(kind="pod_name", text=f"the pod's name: {command}")
