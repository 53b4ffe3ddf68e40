"""Limits and promises: cgroups above RAM, forks that are refused, the kubelet's thresholds."""

from collections.abc import Iterator

from oomkit.kernel.cgroup_name import place
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.overcommit import OVERCOMMIT_NEVER, vm_enough_memory
from oomkit.kernel.state import Memcg, Snapshot, Task
from oomkit.posture.doctor.finding import (
    Case,
    File,
    Finding,
    command,
    drop_in,
    human,
    name,
    service_of,
    sysctl_file,
)
from oomkit.render.quantities import percent

FORKERS = frozenset(
    ["mongod", "postgres", "postmaster", "redis-server", "valkey-server", "keydb-server"]
)
"""Servers that fork, to save or for each client."""

_SHARE = 0.8
"""Of RAM, for the limit that is proposed."""


def findings(case: Case) -> Iterator[Finding]:
    """What promises more than there is, or refuses what is needed."""
    yield from _above_ram(case)
    yield from _throttled(case)
    yield from _fork_refused(case)
    yield from _eviction(case)


def _above_ram(case: Case) -> Iterator[Finding]:
    ram = case.snapshot.memory.total_ram_pages
    for memcg in case.snapshot.memcgs:
        if memcg.path == "/" or memcg.limit_pages is None or memcg.limit_pages < ram:
            continue
        wanted = int(ram * _SHARE)
        size = wanted * case.snapshot.page_size
        setting = f"cgroup.{memcg.path}.max={size // 1024}K"
        after = case.after(setting)
        inside = [t for t in case.snapshot.tasks if in_memcg(t.cgroup, memcg.path)]
        yield Finding(
            severity="warning",
            code="limit_above_ram",
            text=f"the limit of cgroup {memcg.path} never holds: it is not below RAM",
            evidence=(
                f"its limit is {case.size(memcg.limit_pages)}, MemTotal {human(case.ram_bytes)}",
                f"it has {len(inside)} of {len(case.snapshot.tasks)} processes",
            ),
            reason=(
                "mem_cgroup_out_of_memory() is for a charge above the limit; the machine runs out "
                "first, and a global OOM chooses among all processes"
            ),
            change=f"limit it to {human(size)}, {percent(_SHARE)} of RAM",
            files=_limit_file(memcg, size),
            commands=case.commands(setting),
            alters=f"a leak in it ends in it: {case.fate(after, memcg.path)}; now any process can: "
            f"{case.fate()}",
            checked_by="rules",
        )


def _limit_file(memcg: Memcg, size: int) -> tuple[File, ...]:
    unit = service_of(memcg.path) or place(memcg.path).unit
    if unit is None or memcg.path.rsplit("/", 1)[-1] != unit or "/user@" in memcg.path:
        return ()
    if unit.endswith(".scope"):
        return ()
    section = "Service" if unit.endswith(".service") else "Slice"
    return drop_in(unit, section, [f"MemoryMax={size}"], "limit")


def _throttled(case: Case) -> Iterator[Finding]:
    """``memory.high`` without swap: nothing to reclaim, so its tasks only sleep."""
    no_swap = case.snapshot.memory.total_swap_pages == 0
    for memcg in case.snapshot.memcgs:
        high = memcg.high_pages
        if high is None or memcg.version != 2 or memcg.usage_pages < high * 0.95:
            continue
        if not no_swap and memcg.swap_max_pages != 0:
            continue
        held = sum(t.rss_pages for t in case.snapshot.tasks if in_memcg(t.cgroup, memcg.path))
        if held < high // 2:
            continue  # mostly cache, which can be reclaimed
        size = high * case.snapshot.page_size
        setting = f"cgroup.{memcg.path}.max={size // 1024}K"
        yield Finding(
            severity="warning",
            code="high_without_swap",
            text=f"cgroup {memcg.path} is at memory.high and has nowhere to swap to",
            evidence=(
                f"memory.high is {case.size(high)}, memory.current {case.size(memcg.usage_pages)}",
                "the machine has no swap" if no_swap else "memory.swap.max is 0",
            ),
            reason=(
                "mem_cgroup_handle_over_high() lets tasks above memory.high sleep up to 2 s at "
                "each return to user space, and never kills: with nothing to reclaim they crawl"
            ),
            change="make it memory.max, so that the kernel ends the shortage, or give it swap",
            files=_limit_file(memcg, size),
            commands=case.commands(setting),
            alters=f"an OOM of it: {case.fate(case.after(setting), memcg.path)}; now its tasks are "
            "throttled without end",
            checked_by="rules",
        )


def _fork_refused(case: Case) -> Iterator[Finding]:
    largest: dict[str, Task] = {}
    for task in case.snapshot.tasks:
        if task.comm in FORKERS and _private(task) > _private(largest.get(task.comm)):
            largest[task.comm] = task
    for task in largest.values():
        if _may_fork(case.snapshot, case, task):
            continue
        verdict = _verdict(case.snapshot, case, task)
        after, setting = next(
            (made, word)
            for word in ("vm.overcommit_memory=0", "vm.overcommit_memory=1")
            if _may_fork(made := case.after(word), case, task)
        )
        value = int(setting.partition("=")[2])
        never = case.snapshot.sysctl.overcommit_memory == OVERCOMMIT_NEVER
        yield Finding(
            severity="critical" if never else "warning",
            code="fork_refused",
            text=f"{name(task)} forks, and fork() would fail now",
            evidence=(
                f"vm.overcommit_memory is {case.snapshot.sysctl.overcommit_memory}",
                f"it has at least {case.size(_private(task))} of private memory",
                f"{verdict} would be granted",
                f"Committed_AS is {case.size(case.snapshot.memory.committed_pages)}",
            ),
            reason=(
                "dup_mmap() charges every private writable mapping a second time, though copies "
                "are made only of what is written, and __vm_enough_memory() refuses with ENOMEM"
            ),
            change=f"set vm.overcommit_memory to {value}",
            files=sysctl_file("vm.overcommit_memory", value),
            commands=case.commands(setting),
            alters="fork() is granted; what is too much is then killed for, not refused: "
            + case.fate(after),
            checked_by="rules",
        )


def _private(task: Task | None) -> int:
    if task is None:
        return 0
    return (
        task.rss_pages if task.anon_rss_pages is None else task.anon_rss_pages
    ) + task.swap_pages


def _verdict(snapshot: Snapshot, case: Case, task: Task) -> str:
    found = vm_enough_memory(
        _private(task), snapshot.memory, snapshot.sysctl, case.rules,
        task=task, page_size=snapshot.page_size,
    )  # fmt: skip
    return f"at most {case.size(max(found.limit_pages or 0, 0))} ({found.limit})"


def _may_fork(snapshot: Snapshot, case: Case, task: Task) -> bool:
    return vm_enough_memory(
        _private(task), snapshot.memory, snapshot.sysctl, case.rules,
        task=task, page_size=snapshot.page_size,
    ).allowed  # fmt: skip


def _eviction(case: Case) -> Iterator[Finding]:
    found, memory = case.configuration, case.snapshot.memory
    if found is None or found.eviction_bytes is None or not memory.high_wmark_pages:
        return
    mark = memory.high_wmark_pages * case.snapshot.page_size
    if found.eviction_bytes > mark:
        return
    wanted = -(-(mark + case.ram_bytes // 20) // (1 << 20))
    text = (
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        f'evictionHard:\n  memory.available: "{wanted}Mi"\n'
    )
    yield Finding(
        severity="warning",
        code="eviction_too_late",
        text="the kernel kills before the kubelet evicts",
        evidence=(
            f"memory.available is {human(found.eviction_bytes)} ({found.eviction_from})",
            f"the zones' high watermarks are {human(mark)} (/proc/zoneinfo)",
        ),
        reason=(
            "below the watermarks allocations reclaim, stall and call out_of_memory(); the kubelet "
            "looks every 10 s and never sees its threshold first"
        ),
        change=f"evict below {human(wanted << 20)}",
        files=(File(path="/etc/kubernetes/kubelet.conf.d/90-oomkit.conf", text=text),),
        commands=command("with --config-dir=/etc/kubernetes/kubelet.conf.d", "systemctl",
                         "restart", "kubelet"),
        alters=f"pods are evicted with {human((wanted << 20) - mark)} left above the watermarks; "
        "now with nothing",
        checked_by="figures",
    )  # fmt: skip
