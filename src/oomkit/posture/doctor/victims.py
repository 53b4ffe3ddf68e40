"""The victims: adjustments that do the opposite, all protected, daemons side by side."""

from collections.abc import Iterator

from oomkit.host.configuration import Configuration, Daemon
from oomkit.kernel.adj import is_disabled
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rank import others_are_hidden
from oomkit.kernel.state import OOM_DISABLE, Allocation, Task
from oomkit.posture.attention import DATABASES, LIFELINES
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
from oomkit.posture.whatif import held_pages
from oomkit.render.quantities import count_of, percent

_MAX_ZRAM = 4 << 30
_SYSTEMD_OOMD = "systemd-oomd"
_MUCH = 0.25
"""Of RAM, for a shielded process to matter."""
_NAMED = 5


def findings(case: Case) -> Iterator[Finding]:
    """Settings that lead to a bad choice of victim."""
    yield from _unguarded(case)
    yield from _two_daemons(case)
    yield from _killable_daemon(case)
    yield from _raised(case)
    yield from _other_scale(case)
    yield from _shielded(case)
    yield from _wrong_first(case)
    yield from _all_protected(case)
    yield from _group_protected(case)
    yield from _allocating_task(case)
    yield from _panic(case)


def _unguarded(case: Case) -> Iterator[Finding]:
    found, memory = case.configuration, case.snapshot.memory
    if found is None or memory.total_swap_pages or _acting(found):
        return
    if not any(task.global_init for task in case.snapshot.tasks):
        return  # others are hidden, and a guard may be among them
    idle = [
        f"{d.name}[{d.pid}] " + ("is a dry run" if d.acts is False else "runs, but no unit asks it "
                                 "to act (ManagedOOMSwap=, ManagedOOMMemoryPressure=)")
        for d in found.daemons
    ]  # fmt: skip
    swap = min(case.ram_bytes // 2, _MAX_ZRAM) // case.snapshot.page_size
    after = case.after(f"machine.swap={swap * case.snapshot.page_size // 1024}K")
    options = 'OOMKIT_GUARD_OPTIONS="--act --policy default"\n'
    yield Finding(
        severity="critical",
        code="no_swap_no_guard",
        text="there is no swap, and nothing acts before the kernel does",
        evidence=(
            "SwapTotal of /proc/meminfo is 0",
            *(idle or ["no earlyoom, nohang, oomd, systemd-oomd or oomkit guard runs"]),
        ),
        reason=(
            "anonymous pages can't be reclaimed without swap, so the kernel drops page cache, code "
            "of running programs too, and reads it back; out_of_memory() is called only once "
            "reclaim makes no progress at all, until then the machine stalls"
        ),
        change="arm the guard, and give the machine swap in zram",
        files=(
            File(path="/etc/default/oomkit-guard", text=options),
            File(
                path="/etc/systemd/zram-generator.conf",
                text="[zram0]\nzram-size = min(ram / 2, 4096)\n",
            ),
        ),
        commands=(
            *command("at once, and from each boot on", "systemctl", "enable", "--now",
                     "oomkit-guard.service"),
            *command("at once, and from each boot on; needs the package of zram-generator",
                     "systemctl", "start", "systemd-zram-setup@zram0.service"),
        ),
        alters=f"the guard ends a process before the stall; with zram {case.left(after)}",
        checked_by="rules",
    )  # fmt: skip


def _acting(found: Configuration) -> list[Daemon]:
    """Daemons that send signals: no dry runs, and systemd-oomd only where a unit asks it to."""
    asked = not found.units or any(unit.managed for unit in found.units)
    return [d for d in found.daemons if d.acts is not False and (asked or d.name != _SYSTEMD_OOMD)]


def _two_daemons(case: Case) -> Iterator[Finding]:
    found = case.configuration
    acting = _acting(found) if found else []
    if len(acting) < 2:
        return
    stays = next((d for d in acting if d.name == "oomkit guard"), acting[0])
    units = [d.name.replace(" ", "-") + ".service" for d in acting if d is not stays]
    yield Finding(
        severity="warning",
        code="two_daemons",
        text=f"{len(acting)} daemons act on the same shortage: "
        + ", ".join(f"{d.name}[{d.pid}]" for d in acting),
        evidence=tuple(f"process {d.pid} is {d.name}" for d in acting),
        reason=(
            "a victim's memory comes back only after exit_mm(), which may take seconds; a second "
            "daemon sees the same shortage meanwhile and kills another process for it"
        ),
        change=f"keep {stays.name}, stop the others",
        commands=command("at once, and from each boot on", "systemctl", "disable", "--now", *units),
        alters=f"one shortage is answered once, by {stays.name}",
        checked_by="reason",
    )


def _killable_daemon(case: Case) -> Iterator[Finding]:
    found = case.configuration
    by_pid = {task.pid: task for task in case.snapshot.tasks}
    for daemon in found.daemons if found else ():
        task = by_pid.get(daemon.pid)
        if task is None or is_disabled(task, case.rules) or task.oom_score_adj <= -900:
            continue
        unit = service_of(task.cgroup)
        yield Finding(
            severity="info",
            code="daemon_killable",
            text=f"{daemon.name}[{daemon.pid}] can itself be killed for want of memory",
            evidence=(f"/proc/{task.pid}/oom_score_adj is {task.oom_score_adj}",),
            reason="oom_badness() skips a process only at oom_score_adj -1000",
            change="protect it",
            files=drop_in(unit, "Service", ["OOMScoreAdjust=-1000"], "adj") if unit else (),
            commands=case.commands(f"task.{task.pid}.oom_score_adj=-1000"),
            alters=case.next_oom(case.after(f"task.{task.pid}.oom_score_adj=-1000")),
            checked_by="rules",
        )


def _raised(case: Case) -> Iterator[Finding]:
    """A database or a lifeline that is offered to the killer."""
    known = DATABASES | LIFELINES
    for row in case.eligible:
        task = row.task
        if task.comm not in known or task.oom_score_adj <= 0:
            continue
        setting = f"task.{task.pid}.oom_score_adj=0"
        kind = "a database" if task.comm in DATABASES else "needed to reach the machine"
        yield Finding(
            severity="warning",
            code="adj_opposite",
            text=f"{name(task)} is {kind}, and is offered to the killer by its oom_score_adj",
            evidence=(
                f"/proc/{task.pid}/oom_score_adj is {task.oom_score_adj}",
                f"it holds {case.size(task.rss_pages + task.swap_pages)}",
            ),
            reason=(
                f"oom_badness() adds {task.oom_score_adj} thousandths of RAM and swap, "
                f"{case.size(_worth(case, task))}, to what it really holds"
            ),
            change="set it to 0",
            files=_unit_adj(case, task, 0),
            commands=case.commands(setting),
            alters=case.next_oom(case.after(setting)),
            checked_by="rules",
        )


def _other_scale(case: Case) -> Iterator[Finding]:
    """-17 of ``oom_adj``, written to ``oom_score_adj``."""
    if case.rules.adj_files == "oom_adj":
        return
    meant = [row.task for row in case.eligible if row.task.oom_score_adj == OOM_DISABLE][:_NAMED]
    if not meant:
        return
    settings = [f"task.{t.pid}.oom_score_adj=-1000" for t in meant]
    files = {file.path: file for t in meant for file in _unit_adj(case, t, -1000)}
    yield Finding(
        severity="warning",
        code="adj_of_old_scale",
        text=f"{', '.join(name(t) for t in meant)}: -17 protects next to nothing",
        evidence=tuple(f"/proc/{t.pid}/oom_score_adj is -17" for t in meant),
        reason=(
            "-17 is OOM_DISABLE of the old oom_adj; oom_badness() takes oom_score_adj in "
            f"thousandths, and -17 of them are {case.size(-_worth(case, meant[0]))}"
        ),
        change="set it to -1000 where it must never be killed",
        files=tuple(files.values()),
        commands=case.commands(*settings),
        alters=case.next_oom(case.after(*settings)),
        checked_by="rules",
    )


def _shielded(case: Case) -> Iterator[Finding]:
    """What fills memory is passed over for something small."""
    shielded = [
        row.task for row in case.eligible
        if row.task.oom_score_adj < 0 and row.task.comm not in DATABASES | LIFELINES
        and place(row.task.cgroup).pod is None  # the kubelet sets it by what is requested
    ]  # fmt: skip
    ram = case.snapshot.memory.total_ram_pages
    task = max(shielded, key=_size, default=None)
    if task is None or _size(task) < ram * _MUCH or not case.decision.victims:
        return
    by_pid = {t.pid: t for t in case.snapshot.tasks}
    victim = by_pid.get(case.decision.victims[0].pid)
    if victim is None or victim == task or _size(victim) * 2 > _size(task):
        return
    setting = f"task.{task.pid}.oom_score_adj=0"
    yield Finding(
        severity="warning",
        code="hog_shielded",
        text=f"{name(victim)} dies for {name(task)}, which holds {percent(_size(task) / ram)} of "
        "RAM",
        evidence=(
            f"/proc/{task.pid}/oom_score_adj is {task.oom_score_adj}",
            f"/proc/{victim.pid}/oom_score_adj is {victim.oom_score_adj}",
            f"they hold {case.size(_size(task))} and {case.size(_size(victim))}",
        ),
        reason=(
            f"oom_badness() takes {-task.oom_score_adj} thousandths of RAM and swap, "
            f"{case.size(-_worth(case, task))}, off what it really holds, so one kill after "
            "another frees little"
        ),
        change="set it to 0, or protect by a limit on the others",
        files=_unit_adj(case, task, 0),
        commands=case.commands(setting),
        alters=case.next_oom(case.after(setting)),
        checked_by="rules",
    )


def _size(task: Task) -> int:
    return task.rss_pages + task.swap_pages


def _worth(case: Case, task: Task) -> int:
    memory = case.snapshot.memory
    return (memory.total_ram_pages + memory.total_swap_pages) * task.oom_score_adj // 1000


def _unit_adj(case: Case, task: Task, value: int) -> tuple[File, ...]:
    """A drop-in, where the unit is that process's alone or all of the unit would follow."""
    unit = service_of(task.cgroup)
    others = {t.oom_score_adj for t in case.snapshot.tasks if service_of(t.cgroup) == unit}
    if unit is None or others != {task.oom_score_adj}:
        return ()
    return drop_in(unit, "Service", [f"OOMScoreAdjust={value}"], "adj")


def _wrong_first(case: Case) -> Iterator[Finding]:
    """What must not die tops the list without having been offered."""
    if len(case.eligible) < 2 or case.eligible[0].task.oom_score_adj > 0:
        return
    task = case.eligible[0].task
    if task.comm not in DATABASES | LIFELINES:
        return
    changes = counterfactuals(case.snapshot, Allocation(), case.rules, case.decision)
    needed = [c.needed for c in changes if c.kind == "oom_score_adj" and c.pid == task.pid]
    if not needed:
        return
    setting = f"task.{task.pid}.oom_score_adj={needed[0]}"
    yield Finding(
        severity="warning",
        code="database_first" if task.comm in DATABASES else "lifeline_first",
        text=f"{name(task)} is the first to die",
        evidence=(
            f"it holds {case.size(task.rss_pages + task.swap_pages)}, the most of all that can die",
            f"/proc/{task.pid}/oom_score_adj is {task.oom_score_adj}",
        ),
        reason="select_bad_process() takes the largest, whatever it is for",
        change=f"lower its oom_score_adj to {needed[0]}, or limit what else may grow",
        files=_unit_adj(case, task, needed[0]),
        commands=case.commands(setting),
        alters=case.next_oom(case.after(setting)),
        checked_by="rules",
    )


def _all_protected(case: Case) -> Iterator[Finding]:
    tasks = [t for t in case.snapshot.tasks if t.has_mm and not t.global_init]
    guarded = [t for t in tasks if is_disabled(t, case.rules)]
    pages = sum(t.rss_pages + t.swap_pages for t in guarded)
    if others_are_hidden(case.snapshot, case.decision) or not guarded:
        return
    if case.eligible and pages <= case.snapshot.memory.total_ram_pages // 2:
        return
    could = [t for t in guarded if t.comm not in LIFELINES | DATABASES]
    could.sort(key=_size, reverse=True)
    chosen = could[:_NAMED]
    if not could and not case.eligible:
        chosen = [max(guarded, key=_size)]  # a database that dies is better than a panic
    if not chosen:
        return
    settings = [f"task.{t.pid}.oom_score_adj=0" for t in chosen]
    files = {file.path: file for t in chosen for file in _unit_adj(case, t, 0)}
    yield Finding(
        severity="warning" if case.eligible else "critical",
        code="all_protected",
        text=f"{count_of(len(guarded), 'process is', 'processes are')} never killed, with "
        f"{case.size(pages)} of {human(case.ram_bytes)} of RAM",
        evidence=tuple(f"/proc/{t.pid}/oom_score_adj is -1000 ({t.comm})" for t in chosen),
        reason=(
            "oom_badness() gives LONG_MIN to a protected process; when no other is left "
            "out_of_memory() panics ('System is deadlocked on memory')"
        ),
        change="take the protection from the largest that is neither database nor lifeline"
        if chosen[0].comm not in LIFELINES | DATABASES
        else "take the protection from the largest",
        files=tuple(files.values()),
        commands=case.commands(*settings),
        alters=case.next_oom(case.after(*settings)),
        checked_by="rules",
    )


def _group_protected(case: Case) -> Iterator[Finding]:
    """A limit around nothing that may be killed."""
    for memcg in case.groups:
        if memcg.limit_pages is None:
            continue
        inside = [t for t in case.snapshot.tasks if t.has_mm and in_memcg(t.cgroup, memcg.path)]
        held = min(sum(held_pages(t) for t in inside), memcg.usage_pages or memcg.limit_pages)
        # A daemon that locked itself into a small limit is far from it.
        if not all(is_disabled(t, case.rules) for t in inside) or held * 4 < memcg.limit_pages:
            continue
        chosen = max(inside, key=_size, default=None)
        if chosen is None:
            continue
        setting = f"task.{chosen.pid}.oom_score_adj=0"
        yield Finding(
            severity="warning",
            code="group_protected",
            text=f"cgroup {memcg.path} has a limit, and nothing in it may be killed",
            evidence=(
                f"its limit is {case.size(memcg.limit_pages)}, {case.size(held)} held",
                *(f"/proc/{t.pid}/oom_score_adj is -1000 ({t.comm})" for t in inside[:_NAMED]),
            ),
            reason=(
                "mem_cgroup_out_of_memory() finds no victim and the charge fails: system calls "
                "return ENOMEM, page faults are tried again for ever, and the group hangs"
            ),
            change=f"take the protection from {name(chosen)}, or the limit from the group",
            files=_unit_adj(case, chosen, 0),
            commands=case.commands(setting),
            alters=case.next_oom(case.after(setting), memcg.path),
            checked_by="rules",
        )


def _allocating_task(case: Case) -> Iterator[Finding]:
    if not case.snapshot.sysctl.oom_kill_allocating_task:
        return
    yield Finding(
        severity="warning",
        code="allocating_task",
        text="the allocating process is killed, whether it caused the shortage or not",
        evidence=("vm.oom_kill_allocating_task is 1",),
        reason="out_of_memory() then kills current before it looks for the worst",
        change="set it to 0",
        files=sysctl_file("vm.oom_kill_allocating_task", 0),
        commands=case.commands("vm.oom_kill_allocating_task=0"),
        alters=case.next_oom(case.after("vm.oom_kill_allocating_task=0"))
        + "; so far it is whichever asks",
        checked_by="rules",
    )


def _panic(case: Case) -> Iterator[Finding]:
    found, value = case.configuration, case.snapshot.sysctl.panic_on_oom
    if not value or case.rules.panic_on_oom == "none" or found is None or found.panic_timeout_s:
        return
    after = case.after("vm.panic_on_oom=0")
    yield Finding(
        severity="critical",
        code="panic_hangs",
        text="an OOM panics the machine, which then stays down until it is reset by hand",
        evidence=(f"vm.panic_on_oom is {value}", "kernel.panic is 0"),
        reason="check_panic_on_oom() calls panic(), which loops for ever when panic_timeout is 0",
        change="reboot 10 s after a panic; or do not panic (vm.panic_on_oom = 0)",
        files=sysctl_file("kernel.panic", 10),
        commands=command("at once, until reboot", "sysctl", "-w", "kernel.panic=10"),
        alters="the machine comes back by itself; without the panic " + case.next_oom(after),
        checked_by="rules",
    )
