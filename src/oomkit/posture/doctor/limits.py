"""Limits and promises: cgroups above RAM, each or together, and forks that are refused."""

from collections.abc import Iterator

from oomkit.kernel.cgroup_name import label_in, place
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.overcommit import OVERCOMMIT_NEVER, Commit, vm_enough_memory
from oomkit.kernel.state import Memcg, Snapshot, Task
from oomkit.posture.assess import memory_left_pages
from oomkit.posture.doctor.finding import (
    Case,
    File,
    Finding,
    ancestors,
    drop_in,
    human,
    name,
    service_of,
    sysctl_file,
)
from oomkit.posture.whatif import held_pages
from oomkit.records import Record
from oomkit.render.quantities import count_of, percent

SAVERS = frozenset(["keydb-server", "redis-server", "valkey-server"])
"""Servers that fork to save, as large as they are then."""
FORKERS = SAVERS | {"mongod", "postgres", "postmaster"}
"""Servers that fork, to save or for each client."""

_SHARE = 0.8
"""Of RAM, for the limits that are proposed."""
_NAMED = 5
_TYPED = 20


class _Domain(Record, frozen=True, kw_only=True):
    """What limits are within: the machine, or a cgroup that has a limit itself.

    Attributes:
        within: that cgroup; None: the machine.
        room: pages that there are.
        members: the outermost cgroups with a limit in it, largest limit first.
        limits: their limits in pages, by path.
        held: pages that each holds and no limit can take back, by path.
    """

    within: Memcg | None
    room: int
    members: tuple[Memcg, ...]
    limits: dict[str, int]
    held: dict[str, int]

    @property
    def promised(self) -> int:
        """All limits together."""
        return sum(self.limits.values())

    @property
    def growth_share(self) -> float:
        """The share that is left of what each may still grow by; not above 0: they hold too much.

        All together get what there is, of the machine a part of it, but never less than they hold.
        """
        held = sum(self.held.values())
        if held == self.promised:
            return 0.0
        share = int(self.room * _SHARE) if self.within is None else self.room
        return (max(share, (held + self.room) // 2) - held) / (self.promised - held)

    def proposed(self) -> dict[str, int]:
        """Limits that fit together, in pages; none where what is held does not fit."""
        share = self.growth_share
        if share <= 0:
            return {}
        return {
            path: self.held[path] + int((limit - self.held[path]) * share)
            for path, limit in self.limits.items()
        }


def findings(case: Case) -> Iterator[Finding]:
    """What promises more than there is, or refuses what is needed."""
    domains = list(_overbooked(case))
    machine = next((d.proposed() for d in domains if d.within is None), {})
    yield from _above_ram(case, machine)
    for domain in domains:
        yield _together(case, domain)
    yield from _throttled(case)
    yield from _fork_refused(case)


def _overbooked(case: Case) -> Iterator[_Domain]:
    """Where limits together promise more than there is."""
    ram = case.snapshot.memory.total_ram_pages
    by_path = {m.path: m for m in case.snapshot.memcgs if m.limit_pages is not None}
    # One that is not below RAM limits nothing, unless nothing in it is limited.
    real = {path: m for path, m in by_path.items() if (m.limit_pages or 0) < ram}
    around = {above for path in real for above in ancestors(path)}
    counted = {path: m for path, m in by_path.items() if path in real or path not in around}
    inside: dict[str, list[Memcg]] = {}
    for path, memcg in counted.items():
        if path != "/":
            above = next((p for p in reversed(ancestors(path)) if p in counted), "/")
            inside.setdefault(above, []).append(memcg)
    for above, every in inside.items():
        within = real.get(above)
        room = (within.limit_pages if within else None) or ram
        members = [m for m in every if within is None or (m.limit_pages or 0) < room]
        # For one that never holds what is proposed for it.
        limits = {m.path: int(room * _SHARE) for m in members}
        limits |= {m.path: m.limit_pages or 0 for m in members if m.path in real}
        members.sort(key=lambda m: limits[m.path], reverse=True)
        if sum(limits.values()) > room:
            held = {m.path: min(_held(case, m), limits[m.path]) for m in members}
            yield _Domain(
                within=within, room=room, members=tuple(members), limits=limits, held=held
            )


def _held(case: Case, memcg: Memcg) -> int:
    """Anonymous and shared memory; what several processes share is not above what is charged."""
    held = sum(held_pages(t) for t in case.snapshot.tasks if in_memcg(t.cgroup, memcg.path))
    return min(held, memcg.usage_pages or held)


def _together(case: Case, domain: _Domain) -> Finding:
    page, within = case.snapshot.page_size, domain.within
    proposed = {path: pages * page for path, pages in domain.proposed().items()}
    settings = [f"cgroup.{path}.max={size // 1024}K" for path, size in proposed.items()]
    after = case.after(*settings)
    names = {m.path: label_in(case.snapshot, m.path) for m in domain.members}
    shown = domain.members[:_NAMED]
    rest = domain.promised - sum(domain.limits[m.path] for m in shown)
    others = len(domain.members) - len(shown)
    largest = next((m for m in domain.members if domain.held[m.path]), domain.members[0]).path
    where = "RAM" if within is None else f"the limit of cgroup {within.path} that they are in"
    has = (
        f"MemTotal is {human(case.ram_bytes)}"
        if within is None
        else f"the limit of {within.path} is {case.size(domain.room)}"
    )
    reason = (
        "try_charge_memcg() holds a charge against the limits of the cgroup and of those above "
        "it, never against its neighbours': a limit reserves nothing. Where several grow, "
    )
    scope = within.path if within else None
    now = case.fate(memcg=scope)
    if within is None:
        reason += (
            "pages run out before any is at its limit, and out_of_memory() chooses among all "
            "processes of the machine"
        )
        left = domain.room - sum(proposed.values()) // page
        gain = f"all at their limits leave {case.size(left)} to the rest of the machine; "
        now = f"now, with pages gone before a limit is reached: {now}"
    else:
        reason += (
            f"{within.path} is at its limit first, and mem_cgroup_out_of_memory() chooses among "
            "all processes in it"
        )
        gain = f"all at their limits fit into {within.path}; "
        now = f"now an OOM of {within.path}: {now}"
    fate = f"a leak in {names[largest]} ends in it"
    if domain.held[largest]:
        fate += f": {case.fate(after, largest)}"
    return Finding(
        severity="warning" if within is None else "info",
        code="limits_above_ram" if within is None else "limits_above_parent",
        text=f"{len(domain.members)} limits together are above {where}",
        evidence=(
            f"they are {case.size(domain.promised)}, {has}",
            *(f"{names[m.path]}: {_limit_words(case, m, domain)}" for m in shown),
            *([f"{count_of(others, 'other', 'others')}: {case.size(rest)}"] if others else []),
        ),
        reason=reason,
        change=_shared_out(case, domain),
        files=tuple(f for m in domain.members for f in _limit_file(m, proposed.get(m.path))),
        commands=tuple(dict.fromkeys(case.commands(*settings[:_TYPED]))),
        alters=f"{gain}{fate}; {now}" if proposed else f"nothing yet; {now}",
        checked_by="rules",
    )


def _limit_words(case: Case, memcg: Memcg, domain: _Domain) -> str:
    now, held = case.size(memcg.limit_pages or 0), case.size(domain.held[memcg.path])
    if memcg.limit_pages != domain.limits[memcg.path]:
        now += f", taken as {case.size(domain.limits[memcg.path])}"
    return f"a limit of {now}, {held} held"


def _shared_out(case: Case, domain: _Domain) -> str:
    if domain.growth_share <= 0:
        held = case.size(sum(domain.held.values()))
        return f"move some of them elsewhere, or add memory: they hold {held} already"
    total = case.size(sum(domain.proposed().values()))
    many = len(domain.members) > _TYPED
    more = f"; below are the commands for the {_TYPED} largest" if many else ""
    return (
        f"limit them to {total} together: each to what it holds and "
        f"{percent(domain.growth_share)} of what it may still grow by{more}"
    )


def _above_ram(case: Case, together: dict[str, int]) -> Iterator[Finding]:
    """Args: case: the machine; together: limits that fit beside the others', by path."""
    ram = case.snapshot.memory.total_ram_pages
    for memcg in case.groups:
        if memcg.limit_pages is None or memcg.limit_pages < ram:
            continue
        wanted = together.get(memcg.path, int(ram * _SHARE))
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
            change=f"limit it to {human(size)}, {percent(wanted / ram)} of RAM"
            + (", beside the other limits" if memcg.path in together else ""),
            files=_limit_file(memcg, size),
            commands=case.commands(setting),
            alters=f"a leak in it ends in it: {case.fate(after, memcg.path)}; now any process can: "
            f"{case.fate()}",
            checked_by="rules",
        )


def _limit_file(memcg: Memcg, size: int | None) -> tuple[File, ...]:
    """A drop-in for the unit that a cgroup is; none where it is no unit, or for no size."""
    unit = service_of(memcg.path) or place(memcg.path).unit
    if (
        size is None
        or unit is None
        or memcg.path.rsplit("/", 1)[-1] != unit
        or "/user@" in memcg.path
    ):
        return ()
    if unit.endswith(".scope") or unit.startswith("kubepods"):
        return ()  # what made it keeps to its own figures
    section = "Service" if unit.endswith(".service") else "Slice"
    return drop_in(unit, section, [f"MemoryMax={size}"], "limit")


def _throttled(case: Case) -> Iterator[Finding]:
    """``memory.high`` without swap: nothing to reclaim, so its tasks only sleep."""
    no_swap = case.snapshot.memory.total_swap_pages == 0
    for memcg in case.groups:
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
    comms = {task.pid: task.comm for task in case.snapshot.tasks}
    largest: dict[str, Task] = {}
    for task in case.snapshot.tasks:
        if task.comm not in FORKERS or comms.get(task.ppid) == task.comm:
            continue  # what one of them forked does not fork itself
        if _private(task) > _private(largest.get(task.comm)):
            largest[task.comm] = task
    for task in largest.values():
        if _may_fork(case.snapshot, case, task):
            yield from _fork_soon_refused(case, task)
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


def _fork_soon_refused(case: Case, task: Task) -> Iterator[Finding]:
    """One that saves by fork(), and will be refused with memory left, as it grows."""
    snapshot = case.snapshot
    if task.comm not in SAVERS or snapshot.sysctl.overcommit_memory != OVERCOMMIT_NEVER:
        return
    granted = _granted(snapshot, case, task).limit_pages or 0
    # What it grows by is committed, and is asked for once more by fork().
    grows = (granted - _private(task)) // 2
    left = memory_left_pages(snapshot) - grows
    if left <= 0:
        return
    after = case.after("vm.overcommit_memory=1")
    yield Finding(
        severity="warning",
        code="fork_soon_refused",
        text=f"{name(task)} forks, and fork() fails once it has grown by {case.size(grows)}",
        evidence=(
            "vm.overcommit_memory is 2",
            f"it has at least {case.size(_private(task))} of private memory",
            f"{_verdict(snapshot, case, task)} would be granted",
            f"{case.size(memory_left_pages(snapshot))} of memory and swap are left",
        ),
        reason=(
            "dup_mmap() charges every private writable mapping a second time, and "
            "__vm_enough_memory() refuses by what is committed, whatever is free"
        ),
        change="set vm.overcommit_memory to 1",
        files=sysctl_file("vm.overcommit_memory", 1),
        commands=case.commands("vm.overcommit_memory=1"),
        alters=f"fork() is granted; now it is refused with {case.size(left)} left. What is too "
        f"much is then killed for, not refused: {case.fate(after)}",
        checked_by="rules",
    )


def _private(task: Task | None) -> int:
    if task is None:
        return 0
    return (
        task.rss_pages if task.anon_rss_pages is None else task.anon_rss_pages
    ) + task.swap_pages


def _granted(snapshot: Snapshot, case: Case, task: Task) -> Commit:
    """The kernel's answer to its fork()."""
    return vm_enough_memory(
        _private(task), snapshot.memory, snapshot.sysctl, case.rules,
        task=task, page_size=snapshot.page_size,
    )  # fmt: skip


def _verdict(snapshot: Snapshot, case: Case, task: Task) -> str:
    found = _granted(snapshot, case, task)
    return f"at most {case.size(max(found.limit_pages or 0, 0))} ({found.limit})"


def _may_fork(snapshot: Snapshot, case: Case, task: Task) -> bool:
    return _granted(snapshot, case, task).allowed
