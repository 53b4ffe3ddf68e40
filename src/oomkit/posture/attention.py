"""What deserves attention on a machine, each finding in a sentence."""

from collections.abc import Iterator, Sequence
from typing import Literal

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.cgroup_name import place, qos_of, short_name
from oomkit.kernel.decision import Decision
from oomkit.kernel.faults import MEMCG_LOOP, SOFT_LIMIT, has_fault
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rank import Ranked, others_are_hidden
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memcg, Memory, Pressure, Snapshot, Task
from oomkit.kernel.versions import doubt
from oomkit.records import Record
from oomkit.render.quantities import label, percent, time_share

Severity = Literal["critical", "warning", "info"]
_ORDER: tuple[Severity, ...] = ("critical", "warning", "info")

DATABASES = frozenset(
    [
        "postgres",
        "postmaster",
        "mysqld",
        "mariadbd",
        "mongod",
        "mongos",
        "redis-server",
        "valkey-server",
        "memcached",
        "oracle",
        "sqlservr",
        "clickhouse-serv",
        "clickhouse-server",
        "cassandra",
        "influxd",
        "etcd",
        "slapd",
        "beam.smp",
        "cockroach",
        "tidb-server",
        "tikv-server",
        "db2sysc",
    ]
)
"""Servers that keep data others depend on, as ``comm`` shows them."""

LIFELINES = frozenset(
    [
        "sshd",
        "sshd-session",
        "dropbear",
        "systemd",
        "systemd-logind",
        "systemd-journald",
        "dbus-daemon",
        "dbus-broker",
        "NetworkManager",
        "systemd-network",
        "dhclient",
        "login",
        "agetty",
        "Xorg",
        "Xwayland",
        "gnome-shell",
        "kwin_wayland",
        "containerd",
        "dockerd",
        "kubelet",
        "crio",
    ]
)
"""Without these the machine can be neither reached nor repaired."""

_NEAR_LIMIT = 0.95
_CROWD = 1000
"""Threads from which on those that die get into each other's way."""
_HEADROOM = 0.05


class Attention(Record, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        severity: ``critical`` where harm is near or great.
        code: a stable name for scripts.
        text: the finding in one sentence.
        cgroup: path of the memory cgroup it is about; None: none.
    """

    severity: Severity
    code: str
    text: str
    cgroup: str | None = None


def attention(
    snapshot: Snapshot,
    rules: RuleSet,
    decision: Decision,
    ranked: Sequence[Ranked],
    commit_limit_pages: int,
) -> tuple[Attention, ...]:
    """Look for what deserves attention, worst first.

    Args:
        snapshot: the machine.
        rules: its kernel's rules.
        decision: what a global OOM would do now.
        ranked: all tasks, worst first.
        commit_limit_pages: CommitLimit.
    """
    items = [
        *_victims(snapshot, decision, ranked),
        *_knobs(snapshot, rules),
        *_memory(snapshot.memory),
        *_unfreeable(snapshot, rules),
        *_commit(snapshot, commit_limit_pages),
        *_cgroups(snapshot),
        *_pressure(snapshot.pressure, rules),
        *_kernel(snapshot.kernel),
        *_faults(snapshot),
    ]
    items.sort(key=lambda item: _ORDER.index(item.severity))
    return tuple(items)


def _item(severity: Severity, code: str, text: str) -> Attention:
    return Attention(severity=severity, code=code, text=text)


def _victims(
    snapshot: Snapshot, decision: Decision, ranked: Sequence[Ranked]
) -> Iterator[Attention]:
    eligible = [row.task for row in ranked if row.eligible]
    if others_are_hidden(snapshot, decision):
        text = "none of the processes seen here can be killed; others are hidden"
        yield _item("info", "others_hidden", text)
        return
    if decision.action == "panic":
        yield _item("critical", "panic", f"running out of memory means a panic: {decision.panic}")
    if not eligible:
        yield _item("critical", "nothing_killable", "no process can be killed")
        return
    if all(task.comm in LIFELINES for task in eligible):
        names = ", ".join(sorted({task.comm for task in eligible}))
        yield _item("critical", "only_lifelines", f"nothing is killable but {names}")
    top = eligible[0]
    if top.comm in DATABASES:
        text = f"a database tops the list: {label(top.comm, top.pid)} dies first"
        yield _item("warning", "database_first", text)
    elif top.comm in LIFELINES:
        text = f"{label(top.comm, top.pid)} dies first, and with it the way into this machine"
        yield _item("warning", "lifeline_first", text)
    if len(decision.victims) > 1:
        text = (
            f"{len(decision.victims)} processes die together, {label(top.comm, top.pid)} among them"
        )
        yield _item("info", "many_victims", text)


def _knobs(snapshot: Snapshot, rules: RuleSet) -> Iterator[Attention]:
    sysctl = snapshot.sysctl
    if sysctl.panic_on_oom and rules.panic_on_oom != "none":
        where = "any OOM, even of one cgroup," if sysctl.panic_on_oom == 2 else "a global OOM"
        text = f"vm.panic_on_oom is {sysctl.panic_on_oom}: {where} panics the machine"
        yield _item("warning", "panic_on_oom", text)
    if sysctl.oom_kill_allocating_task:
        text = "vm.oom_kill_allocating_task is set: an OOM kills the task that requests memory"
        yield _item("warning", "allocating_task", text)
    if sysctl.would_have_oomkilled:
        text = "vm.would_have_oomkilled is set: nothing is killed, the machine will hang"
        yield _item("warning", "would_have", text)
    if sysctl.overcommit_memory == 1:
        text = "vm.overcommit_memory is 1: every mapping is granted, however large"
        yield _item("info", "overcommit_always", text)


def _memory(memory: Memory) -> Iterator[Attention]:
    if memory.available_pages is not None and memory.total_ram_pages:
        left = memory.available_pages + memory.free_swap_pages
        share = left / (memory.total_ram_pages + memory.total_swap_pages)
        if share < _HEADROOM:
            text = f"{percent(share)} of memory and swap is left"
            yield _item("critical", "memory_low", text)
        elif share < 2 * _HEADROOM:
            yield _item("warning", "memory_low", f"{percent(share)} of memory and swap is left")
    if memory.total_swap_pages == 0:
        text = "no swap: once the page cache is gone, OOM comes within milliseconds"
        yield _item("info", "no_swap", text)
    elif memory.free_swap_pages < memory.total_swap_pages * _HEADROOM:
        yield _item("warning", "swap_full", "swap is full")


def _unfreeable(snapshot: Snapshot, rules: RuleSet) -> Iterator[Attention]:
    """Memory that no kill gives back."""
    total = snapshot.memory.total_ram_pages
    if not total:
        return
    if snapshot.memory.shmem_pages > total // 2:
        share = snapshot.memory.shmem_pages / total
        text = f"{percent(share)} of RAM is shared memory or tmpfs, which killing may not free"
        yield _item("warning", "shmem", text)
    guarded: list[Task] = [t for t in snapshot.tasks if t.has_mm and is_disabled(t, rules)]
    pages = sum(task.rss_pages + task.swap_pages for task in guarded)
    if pages > total // 2:
        part = percent(pages / total)
        text = f"{part} of RAM belongs to {len(guarded)} processes that are never killed"
        yield _item("warning", "protected_memory", text)
    if snapshot.memory.slab_unreclaimable_pages > total // 4:
        share = snapshot.memory.slab_unreclaimable_pages / total
        yield _item(
            "warning", "slab", f"{percent(share)} of RAM is unreclaimable kernel memory (slab)"
        )
    if snapshot.memory.hugetlb_pages > total // 2:
        share = snapshot.memory.hugetlb_pages / total
        yield _item("warning", "hugetlb", f"{percent(share)} of RAM is set aside for huge pages")


def _commit(snapshot: Snapshot, limit: int) -> Iterator[Attention]:
    if snapshot.sysctl.overcommit_memory != 2 or limit <= 0:
        return
    left = (limit - snapshot.memory.committed_pages) / limit
    if left < _HEADROOM:
        text = f"commit headroom is {percent(max(left, 0))}: mappings and forks are about to fail"
        yield _item("critical", "commit_headroom", text)


def _cgroups(snapshot: Snapshot) -> Iterator[Attention]:
    """Memory cgroups near their limits; of a pod's, and of nested ones, the one that matters."""
    near = [memcg for memcg in snapshot.memcgs if _fullness(memcg) >= _NEAR_LIMIT]
    pods: dict[str, list[Memcg]] = {}
    shown = []
    for memcg in near:
        pod = place(memcg.path).pod
        if pod is not None:
            pods.setdefault(pod, []).append(memcg)
        elif not any(_explains(other, memcg) for other in near):
            shown.append(memcg)
    # Of equally full ones the container rather than its pod.
    shown += [max(group, key=lambda m: (_fullness(m), len(m.path))) for group in pods.values()]
    for memcg in sorted(shown, key=near.index):
        text = f"{_owner(memcg.path)} is at {percent(_fullness(memcg))} of its limit"
        text += " (page cache included)"
        if memcg.oom_kill_disable:
            text += "; its OOM killer is off, so its tasks will hang"
        yield Attention(severity="warning", code="cgroup_near_limit", text=text, cgroup=memcg.path)


def _fullness(memcg: Memcg) -> float:
    return memcg.usage_pages / memcg.limit_pages if memcg.limit_pages else 0.0


def _explains(below: Memcg, above: Memcg) -> bool:
    """A cgroup near its limit holds nearly all of what one above it holds."""
    inside = below.path != above.path and in_memcg(below.path, above.path)
    return inside and not above.oom_kill_disable and below.usage_pages >= 0.9 * above.usage_pages


def _owner(path: str) -> str:
    found = place(path)
    if found.pod is None:
        return short_name(path) if found.container else f"cgroup {path}"
    pod, _, container = short_name(path).partition(", ")
    return f"{pod} ({qos_of(path)})" + (f", {container}," if container else "")


def _pressure(pressure: Pressure | None, rules: RuleSet) -> Iterator[Attention]:
    if pressure is None:
        if rules.psi:
            yield _item("info", "no_psi", "no PSI: a freeze can't be seen coming (boot with psi=1)")
        return
    if pressure.full_avg10 >= 10:
        text = f"tasks stalled on memory {time_share(pressure.full_avg10 / 100)} of the last 10 s"
        yield _item("critical", "pressure", text)
    elif pressure.some_avg10 >= 10:
        share = time_share(pressure.some_avg10 / 100)
        text = f"some task stalled on memory {share} of the last 10 s"
        yield _item("warning", "pressure", text)


def _kernel(release: str) -> Iterator[Attention]:
    text = doubt(release)
    if text is not None:
        yield _item("info", "unsure_kernel", text)


def _faults(snapshot: Snapshot) -> Iterator[Attention]:
    """Known faults of this kernel, where this machine can run into them."""
    limited = [m.path for m in snapshot.memcgs if m.limit_pages is not None and m.path != "/"]
    crowds = [
        task
        for task in snapshot.tasks
        if task.threads >= _CROWD and any(in_memcg(task.cgroup, path) for path in limited)
    ]
    if crowds and has_fault(MEMCG_LOOP, snapshot.kernel):
        largest = max(crowds, key=lambda task: task.threads)
        text = (
            f"{label(largest.comm, largest.pid)} has {largest.threads} threads in a limited "
            f"cgroup, and in this kernel {MEMCG_LOOP.what}; what helps: {MEMCG_LOOP.cure}"
        )
        yield _item("info", MEMCG_LOOP.code, text)
    if any(group.version == 1 for group in snapshot.memcgs) and has_fault(
        SOFT_LIMIT, snapshot.kernel
    ):
        text = f"in this kernel {SOFT_LIMIT.what}; what helps: {SOFT_LIMIT.cure}"
        yield _item("info", SOFT_LIMIT.code, text)
