"""Settings of units and their cgroups: what a kill takes along, and whether anything comes back."""

from collections.abc import Iterator
from shlex import quote

from oomkit.host.configuration import Unit
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Memcg, Task
from oomkit.posture.advice import Advice
from oomkit.posture.attention import DATABASES, LIFELINES
from oomkit.posture.doctor.finding import (
    Case,
    File,
    Finding,
    ancestors,
    command,
    drop_in,
    human,
    name,
    service_of,
)
from oomkit.render.quantities import count_of, percent

_TO_SPARE = DATABASES | LIFELINES
_NAMED = 5
_MUCH = 0.1
"""Of RAM, for what a protected unit holds to matter."""
_NO_SERVICE = ("oneshot", "dbus", "")
"""``Type=`` of units that end by themselves, or are started on demand."""


def findings(case: Case) -> Iterator[Finding]:
    """Settings of units that make a kill worse, or that have no effect."""
    units = case.configuration.units if case.configuration else ()
    for unit in units:
        tasks = [t for t in case.snapshot.tasks if unit.cgroup and in_memcg(t.cgroup, unit.cgroup)]
        kept = [t for t in tasks if t.comm in _TO_SPARE]
        if unit.name.endswith(".service") and "/user@" not in unit.cgroup:
            yield from _stopped_whole(case, unit, tasks, kept)
            yield from _stays_down(case, unit, kept)
            yield from _protected(case, unit, tasks, kept)
    yield from _managed(case, units)
    for memcg in case.groups:
        yield from _taken_along(case, memcg)
        yield from _high_above_max(case, memcg)
        yield from _unprotected(case, memcg)


def _of_unit(unit: Unit, code: str, *settings: str, section: str = "Service") -> tuple[File, ...]:
    return drop_in(unit.name, section, settings, code)


def _at_start(unit: Unit) -> str:
    return f"systemctl daemon-reload takes it up; {unit.name} need not be started again"


def _stopped_whole(
    case: Case, unit: Unit, tasks: list[Task], kept: list[Task]
) -> Iterator[Finding]:
    """``OOMPolicy=stop`` where the kernel would only have ended a child."""
    if unit.oom_policy != "stop" or not kept or len(tasks) < 2:
        return
    pids = {t.pid for t in tasks}
    victim = next((row.task for row in case.eligible if row.task.pid in pids), None)
    if victim is None or victim.ppid not in pids:
        return  # its main process, without which the service ends anyway
    yield Finding(
        severity="warning",
        code="unit_stopped_whole",
        text=f"one kill in {unit.name} stops all of it",
        evidence=(
            f"OOMPolicy of {unit.name} is stop (systemctl show), which is systemd's default",
            f"it has {len(tasks)} processes, {name(kept[0])} among them",
        ),
        reason=(
            "oom_kill_process() ends one process, and the cgroup's oom_kill count in "
            "memory.events goes up; systemd watches that count and stops the unit for it"
        ),
        change="leave the rest to the service, which sees its child die",
        files=_of_unit(unit, "oom-policy", "OOMPolicy=continue"),
        commands=command(_at_start(unit), "systemctl", "daemon-reload"),
        alters=f"an OOM in it: {name(victim)} dies, and the others stay; now all "
        f"{len(tasks)} processes end",
        checked_by="rules",
    )


def _stays_down(case: Case, unit: Unit, kept: list[Task]) -> Iterator[Finding]:
    """``Restart=no`` of what others depend on."""
    if unit.restart != "no" or unit.kind in _NO_SERVICE or not kept:
        return
    killable = {row.task.pid for row in case.eligible}
    main = next((t for t in kept if t.pid in killable), None)
    if main is None:
        return
    yield Finding(
        severity="warning",
        code="unit_stays_down",
        text=f"{name(main)} stays down once it is killed",
        evidence=(
            f"Restart of {unit.name} is no (systemctl show)",
            f"/proc/{main.pid}/oom_score_adj is {main.oom_score_adj}, so it can be chosen",
        ),
        reason=(
            "SIGKILL of oom_kill_process() can't be handled; the unit fails with the result "
            "oom-kill, and only Restart= has systemd start it again"
        ),
        change="have it started again after a failure",
        files=_of_unit(unit, "restart", "Restart=on-failure", "RestartSec=5"),
        commands=command(_at_start(unit), "systemctl", "daemon-reload"),
        alters=f"if {name(main)} is killed it comes back after 5 s; now the next OOM: "
        + case.fate(),
        checked_by="rules",
    )


def _protected(case: Case, unit: Unit, tasks: list[Task], kept: list[Task]) -> Iterator[Finding]:
    """``OOMScoreAdjust=-1000``, which all that a service starts inherits."""
    held = sum(t.rss_pages + t.swap_pages for t in tasks)
    guards = {d.pid for d in case.configuration.daemons} if case.configuration else set()
    if unit.oom_score_adj != -1000 or kept or guards & {t.pid for t in tasks}:
        return
    if held < case.snapshot.memory.total_ram_pages * _MUCH:
        return
    largest = sorted(tasks, key=lambda t: t.rss_pages + t.swap_pages, reverse=True)[:_NAMED]
    settings = [f"task.{t.pid}.oom_score_adj=0" for t in largest]
    yield Finding(
        severity="warning",
        code="unit_protected",
        text=f"{unit.name} and all it starts are never killed, with "
        f"{percent(held / case.snapshot.memory.total_ram_pages)} of RAM",
        evidence=(
            f"OOMScoreAdjust of {unit.name} is -1000 (systemctl show)",
            (
                f"{count_of(len(tasks), 'process', 'processes')} of it "
                f"{'holds' if len(tasks) == 1 else 'hold'} {case.size(held)}"
            ),
        ),
        reason=(
            "oom_score_adj is inherited by fork(), and oom_badness() gives LONG_MIN to each that "
            "has -1000: what leaks there is paid for by all others"
        ),
        change="take the protection away",
        files=_of_unit(unit, "adj", "OOMScoreAdjust=0"),
        commands=case.commands(*settings),
        alters=case.next_oom(case.after(*settings)),
        checked_by="rules",
    )


def _managed(case: Case, units: tuple[Unit, ...]) -> Iterator[Finding]:
    """``ManagedOOM...=kill`` without systemd-oomd."""
    asking = [u for u in units if u.managed]
    found = case.configuration
    if not asking or found is None or any(d.name == "systemd-oomd" for d in found.daemons):
        return
    others = [d.name for d in found.daemons if d.acts is not False]
    where = ", ".join(u.name for u in asking[:_NAMED])
    yield Finding(
        severity="info" if others else "warning",
        code="managed_oom_unheeded",
        text=f"systemd-oomd is asked to watch {where}, and does not run",
        evidence=tuple(
            f"{setting} of {u.name} is kill (systemctl show)"
            for u in asking[:_NAMED] for setting in u.managed
        ),
        reason=(
            "the kernel counts stalls (psi_memstall_enter()) and kills for none of them: "
            "systemd-oomd alone reads these settings"
        ),
        change=f"leave it to {others[0]}, and take the settings out" if others
        else "start systemd-oomd",
        files=tuple(
            file
            for u in asking[:_NAMED] if others
            for file in _of_unit(
                u, "managed", *(f"{setting}=auto" for setting in u.managed),
                section="Slice" if u.name.endswith(".slice") else "Service",
            )
        ),
        commands=command("at once, and from each boot on", "systemctl", "daemon-reload") if others
        else command("at once, and from each boot on", "systemctl", "enable", "--now",
                     "systemd-oomd.service"),
        alters=f"the settings say what happens: {others[0]} acts" if others
        else f"a stall in them ends a cgroup; now nothing does before the next OOM: {case.fate()}",
        checked_by="reason",
    )  # fmt: skip


def _taken_along(case: Case, memcg: Memcg) -> Iterator[Finding]:
    """``memory.oom.group`` (``OOMPolicy=kill``) around what others depend on."""
    found = place(memcg.path)
    if not memcg.oom_group or found.pod is not None or found.container is not None:
        return
    inside = [t for t in case.snapshot.tasks if in_memcg(t.cgroup, memcg.path)]
    killable = [row.task for row in case.eligible if row.task.pid in {t.pid for t in inside}]
    lost = next((t for t in inside if t.comm in _TO_SPARE and t in killable), None)
    others = {t.comm for t in inside} - _TO_SPARE
    if lost is None or not others or killable[0] == lost:
        return
    setting = f"cgroup.{memcg.path}.oom_group=false"
    unit = service_of(memcg.path)
    own = unit is not None and memcg.path.endswith(f"/{unit}")
    yield Finding(
        severity="warning",
        code="group_takes_along",
        text=f"a kill in cgroup {memcg.path} takes {name(lost)} along",
        evidence=(
            f"memory.oom.group of {memcg.path} is 1",
            f"{name(killable[0])} in it is larger",
        ),
        reason=(
            "mem_cgroup_get_oom_group() finds the group above the victim, and oom_kill_process() "
            "ends every process in it but those at -1000"
        ),
        change="let the kernel end one process of it",
        files=drop_in(unit, "Service", ["OOMPolicy=continue"], "oom-policy") if own and unit
        else (),
        commands=case.commands(setting),
        alters=case.next_oom(case.after(setting), memcg.path),
        checked_by="rules",
    )  # fmt: skip


def _high_above_max(case: Case, memcg: Memcg) -> Iterator[Finding]:
    if memcg.high_pages is None or memcg.limit_pages is None or memcg.version != 2:
        return
    if memcg.high_pages < memcg.limit_pages or memcg.limit_pages == 0:
        return
    size = memcg.limit_pages * 9 // 10 * case.snapshot.page_size
    setting = f"cgroup.{memcg.path}.high={size // 1024}K"
    unit = service_of(memcg.path)
    own = unit is not None and memcg.path.endswith(f"/{unit}")
    yield Finding(
        severity="info",
        code="high_above_max",
        text=f"memory.high of cgroup {memcg.path} has no effect: it is not below memory.max",
        evidence=(
            (
                f"memory.high is {case.size(memcg.high_pages)}, "
                f"memory.max {case.size(memcg.limit_pages)}"
            ),
        ),
        reason=(
            "try_charge_memcg() meets memory.max first and calls mem_cgroup_out_of_memory(); "
            "tasks are slowed down only between memory.high and memory.max"
        ),
        change=f"set it to {human(size)}, 90 % of memory.max",
        files=drop_in(unit, "Service", [f"MemoryHigh={size}"], "high") if own and unit else (),
        commands=case.commands(setting),
        alters=f"its tasks are slowed down, and watchers see pressure, from {human(size)} on; now "
        f"the first sign is a kill: {case.fate(memcg=memcg.path)}",
        checked_by="rules",
    )


def _unprotected(case: Case, memcg: Memcg) -> Iterator[Finding]:
    """``memory.min`` and ``memory.low`` reach no further than those above, the root's left out."""
    by_path = {one.path: one for one in case.snapshot.memcgs}
    for setting, option in (("min_pages", "MemoryMin"), ("low_pages", "MemoryLow")):
        wanted = getattr(memcg, setting)
        above = [by_path.get(path) for path in ancestors(memcg.path)]
        # A group whose record is not there can't be judged.
        if not wanted or None in above:
            continue
        short = [one for one in above if one is not None and getattr(one, setting) < wanted]
        if not short:
            continue
        file = f"memory.{setting.removesuffix('_pages')}"
        size = wanted * case.snapshot.page_size
        slices = [one.path.rsplit("/", 1)[-1] for one in short if one.path.endswith(".slice")]
        least = min(getattr(one, setting) for one in short)
        yield Finding(
            severity="info",
            code="protection_cut",
            text=f"{file} of cgroup {memcg.path} protects {case.size(least)}, not "
            f"{case.size(wanted)}",
            evidence=(
                f"{file} of {memcg.path} is {case.size(wanted)}",
                *(f"{file} of {one.path} is {case.size(getattr(one, setting))}" for one in short),
            ),
            reason=(
                "effective_protection() shares out what the parent has: nothing below a cgroup is "
                "protected more than it is itself"
            ),
            change=f"give the cgroups above it as much: {human(size)}",
            files=tuple(
                file_ for one in slices
                for file_ in drop_in(one, "Slice", [f"{option}={size}"], file.replace(".", "-"))
            ),
            commands=tuple(
                Advice(words=("echo", str(size), ">", quote(f"/sys/fs/cgroup{one.path}/{file}")),
                       lasts="at once, as long as the cgroup is there")
                for one in short if one.path.isprintable()
            ),
            alters=f"reclaim spares {human(size)} of it; now {case.size(least)}",
            checked_by="figures",
        )  # fmt: skip
