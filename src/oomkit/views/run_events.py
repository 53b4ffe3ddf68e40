"""What happened in a run, in order: the record's own events, and what its curves show."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal

from oomkit.model.boot import UPTIME_AT_START_S
from oomkit.printable import printable
from oomkit.records import Record, replace
from oomkit.render.quantities import count_of, mb, seconds, time_share
from oomkit.scenario import Denied, Freeze, Kill, Run, Scenario
from oomkit.scenario.record import SoftAct
from oomkit.views.kill_reasons import full_cgroup, reason_lines, victim_of
from oomkit.views.run_curves import Curve, Uses, curves, swap_total_mb, uses

Kind = Literal[
    "start", "end", "short", "swap", "pressure", "freeze", "kill", "would_have", "denied", "knob",
    "panic", "outcome", "eased",
]  # fmt: skip


class Happening(Record, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        t_s: when.
        kind: what sort of thing.
        what: one sentence.
        why: reasons and consequences, a line each.
        kill: index in the run's kills.
        many: stands for several.
    """

    t_s: float
    kind: Kind
    what: str
    why: tuple[str, ...] = ()
    kill: int | None = None
    many: bool = False


_SHORT = 0.1
"""Memory is called short when less than this share of it is available."""

_STALL_PERCENT = 10.0
_STANDSTILL_PERCENT = 50.0
_SWAP_BEGINS_MB = 1.0
_SWAP_FULL = 0.01


def starts(by_name: Mapping[str, list[Curve]]) -> list[Happening]:
    """A line for each name: how many tasks started, and until when."""
    found = []
    for name, group in by_name.items():
        first, last = group[0].start_s, group[-1].start_s
        what = _several(name, len(group), "starts", "start")
        if last - first >= 1.0:
            what += f", the last at {seconds(last)}"
        found.append(Happening(t_s=first, kind="start", what=what))
    return found


def ends(by_name: Mapping[str, list[Curve]]) -> list[Happening]:
    """A line for each name: how many tasks came to their own end, and when the first did."""
    found = []
    for name, group in by_name.items():
        ended = sorted(
            curve.end_s for curve in group if curve.kill is None and curve.end_s is not None
        )
        if not ended:
            continue
        if len(group) == 1:
            what = f"{printable(name)} ends"
        else:
            what = f"{len(ended)} of {len(group)} {printable(name)} have ended"
        if ended[-1] - ended[0] >= 1.0:
            what += f", the first at {seconds(ended[0])}"
        found.append(Happening(t_s=ended[-1], kind="end", what=what))
    return found


def shortage(run: Run, use: Uses) -> list[Happening]:
    """When MemAvailable first falls below a tenth of memory."""
    total = use.total_mb
    for t, available in zip(run.samples.t_s, run.samples.available_mb, strict=False):
        if total > 0 and available < _SHORT * total:
            what = f"low memory: {mb(max(available, 0.0))} of {mb(total)} available"
            return [Happening(t_s=t, kind="short", what=what)]
    return []


def swap(run: Run, scenario: Scenario | None) -> list[Happening]:
    """When swap comes into use, when it is full, and what comes free of it later."""
    total = swap_total_mb(run, scenario)
    if total <= 0:
        return []
    found = []
    curve = list(zip(run.samples.t_s, run.samples.swap_free_mb, strict=False))
    begin = next((t for t, free in curve if free <= total - _SWAP_BEGINS_MB), None)
    if begin is not None:
        found.append(Happening(t_s=begin, kind="swap", what="tasks' memory begins to go to swap"))
    full = next((t for t, free in curve if free <= _SWAP_FULL * total), None)
    if full is not None:
        rises = _rises([free for t, free in curve if t >= full])
        times = "once" if rises == 1 else f"{rises} times"
        why = (f"afterwards some of it comes free {times}",) if rises else ()
        what = f"swap is full ({mb(total)})"
        found.append(Happening(t_s=full, kind="swap", what=what, why=why))
    return found


def pressure(run: Run) -> list[Happening]:
    """When tasks first wait for memory, and when nothing else is done any more."""
    samples = run.samples
    found = []
    for values, least, what in (
        (samples.psi_some_avg10, _STALL_PERCENT, "tasks wait for memory: PSI some avg10"),
        (samples.psi_full_avg10, _STANDSTILL_PERCENT, "nearly nothing moves: PSI full avg10"),
    ):
        for t, value in zip(samples.t_s, values, strict=False):
            if value >= least:
                found.append(
                    Happening(t_s=t, kind="pressure", what=f"{what} {time_share(value / 100)}")
                )
                break
    return found


def _rises(values: list[float]) -> int:
    """How often a curve turns from falling or level to rising."""
    rising = False
    count = 0
    for before, after in pairwise(values):
        if after > before and not rising:
            count += 1
        if after != before:
            rising = after > before
    return count


def _by_name(known: Sequence[Curve]) -> dict[str, list[Curve]]:
    ordered = sorted(known, key=lambda curve: curve.name)
    return {name: list(group) for name, group in groupby(ordered, key=lambda curve: curve.name)}


def _several(name: str, count: int, one: str, many: str) -> str:
    return f"{printable(name)} {one}" if count == 1 else f"{count} {printable(name)} {many}"


_SHOWN = {"kill": 12, "would_have": 4, "denied": 4, "freeze": 4}
"""Maximum number of events of a kind listed one by one; the rest share a line."""

_ROW = 3
"""Maximum number of kills of one name listed one by one."""

_ENDINGS = {
    "completed": "every task ended, or holds what it has for ever",
    "panicked": "the kernel panicked",
    "frozen": "the machine is unusable and stays so",
    "timed_out": "the scenario's duration is over, and tasks are still at work",
}

_ALL_ENDED = "every task ended"


def happenings(
    run: Run,
    scenario: Scenario | None = None,
    *,
    every_one: bool = False,
    known: Sequence[Curve] | None = None,
    use: Uses | None = None,
) -> list[Happening]:
    """Return what happened, in order of time.

    Args:
        run: the record.
        scenario: what was played, for the knobs it changes on the way and the memory's size.
        every_one: list every kill, refusal and freeze; else many of a kind are summed up.
        known: the run's curves, where they are known.
        use: what its memory is used for, where that is known.
    """
    known = curves(run) if known is None else known
    by_name = _by_name(known)
    found: list[Happening] = []
    if scenario is not None:
        found += _knobs(scenario, run.ended_s)
    found += starts(by_name)
    found += shortage(run, uses(run, scenario) if use is None else use)
    found += swap(run, scenario)
    found += pressure(run)
    found += _freezes(run.frozen, run.ended_s, every_one)
    found += _kills(run, every_one)
    found += _limited([_denied(one) for one in run.denied], "denied", every_one)
    found += map(_eased, run.eased)
    found += ends(by_name)
    # A task's end is sampled, and may come out a moment later than the end of the run.
    found = [_until(one, run.ended_s) for one in found]
    found.sort(key=lambda one: one.t_s)
    return [*found, ending(run, known)]


Nested = tuple[Happening, list["Nested"]]
"""A happening, and where it stands for many, those."""


def nested(run: Run, scenario: Scenario | None = None) -> list[Nested]:
    """What happened, in order of time, the many of a kind below the line that sums them up.

    Args:
        run: the record.
        scenario: as of :func:`happenings`.
    """
    summed = happenings(run, scenario)
    apart = {one.kill for one in summed if one.kill is not None}
    found: list[Nested] = [(one, []) for one in summed]
    sums = [one for one in found if one[0].many and one[0].kind in ("kill", "would_have")]
    for i, kill in enumerate(run.kills):
        if i in apart:
            continue
        one = _kill(i, kill, run.kernel)
        alike = [each for each in sums if each[0].kind == one.kind]
        before = [each for each in alike if each[0].t_s <= one.t_s]
        (before or alike)[-1 if before else 0][1].append((one, []))
    for one, parts in found:
        if one.many and one.kind == "denied":
            parts += [(_denied(each), []) for each in run.denied[_SHOWN["denied"] :]]
        elif one.many and one.kind == "freeze":
            shorter = sorted(run.frozen, key=_lasted, reverse=True)[_SHOWN["freeze"] :]
            shorter.sort(key=lambda each: each.from_s)
            parts += [(_freeze(each, run.ended_s), []) for each in shorter]
    return found


def ending(run: Run, known: Sequence[Curve]) -> Happening:
    """How the run ended, whose curves are known."""
    why = _panic_line(run.log) if run.outcome == "panicked" else None
    return Happening(
        t_s=run.ended_s,
        kind="panic" if run.outcome == "panicked" else "outcome",
        what=_ALL_ENDED if _all_ended(run, known) else _ENDINGS[run.outcome],
        why=(printable(why), f"({log_clock(run)})") if why else (),
    )


def log_clock(run: Run) -> str:
    """What the times in the kernel's log count from, which is not the start of the run."""
    if run.on == "model":
        return f"the log's clock began {seconds(UPTIME_AT_START_S)} before the run"
    return "the log's clock counts from the kernel's boot"


def _all_ended(run: Run, found: Sequence[Curve]) -> bool:
    """Whether the samples show that every task had ended when the run was completed."""
    ended = (curve.end_s is not None or curve.kill is not None for curve in found)
    return run.outcome == "completed" and bool(found) and all(ended)


def _until(one: Happening, end_s: float) -> Happening:
    return replace(one, t_s=end_s) if one.t_s > end_s else one


def _panic_line(log: Iterable[str]) -> str | None:
    return next((line for line in reversed(list(log)) if "Kernel panic" in line), None)


def _kill(index: int, kill: Kill, kernel: str) -> Happening:
    by = "the kernel" if kill.by == "kernel" else printable(kill.by)
    if kill.would_have:
        what = f"{by} would have killed {victim_of(kill)}, which lives"
    else:
        what = f"{by} kills {victim_of(kill)}"
    cgroup = full_cgroup(kill)
    if cgroup is not None:
        what += f": cgroup {printable(cgroup)} is at its limit"
    return Happening(
        t_s=kill.t_s,
        kind="would_have" if kill.would_have else "kill",
        what=what,
        why=reason_lines(kill, kernel),
        kill=index,
    )


def _denied(one: Denied) -> Happening:
    return Happening(
        t_s=one.t_s,
        kind="denied",
        what=f"{printable(one.call)} of {mb(one.mb)} by {printable(one.task)}/{one.instance} fails",
        why=(printable(one.limit),) if one.limit else (),
    )


def _eased(one: SoftAct) -> Happening:
    task = f"{printable(one.task)}/{one.instance}"
    of = printable(one.cgroup) or task
    if one.act == "reclaim":
        what = f"reclaims {mb(one.mb)} of {of}"
    elif one.act == "throttle":
        what = f"slows {of} down above {mb(one.mb)}, for {seconds(one.lasts_s)}"
    else:
        what = f"has {of} stand still, for {seconds(one.lasts_s)}"
    because = f", because of {task}" if one.cgroup else ""
    return Happening(t_s=one.t_s, kind="eased", what=f"the policy {what}{because}")


def _freezes(frozen: Sequence[Freeze], end_s: float, every_one: bool) -> list[Happening]:
    """The longest freezes one by one, the shorter ones in a line."""
    if every_one or len(frozen) <= _SHOWN["freeze"] + 1:
        return [_freeze(one, end_s) for one in frozen]
    by_length = sorted(frozen, key=_lasted, reverse=True)
    listed, rest = by_length[: _SHOWN["freeze"]], by_length[_SHOWN["freeze"] :]
    first, last = min(one.from_s for one in rest), max(one.to_s for one in rest)
    what = (
        f"{len(rest)} shorter freezes until {seconds(last)}, "
        f"{seconds(sum(_lasted(one) for one in rest))} in all"
    )
    short = Happening(t_s=first, kind="freeze", what=what, many=True)
    return [*(_freeze(one, end_s) for one in listed), short]


def _freeze(freeze: Freeze, end_s: float) -> Happening:
    until = "until the end" if freeze.to_s >= end_s else f"until {seconds(freeze.to_s)}"
    return Happening(
        t_s=freeze.from_s,
        kind="freeze",
        what=f"the machine freezes for {seconds(_lasted(freeze))}, {until}",
        why=("a small program that takes 10 ms takes over 1 s",),
    )


def _lasted(freeze: Freeze) -> float:
    return max(freeze.to_s - freeze.from_s, 0.0)


def _knobs(scenario: Scenario, end_s: float) -> list[Happening]:
    found = []
    for at in scenario.at:
        if at.t_s > end_s:
            continue
        changes = [f"vm.{name} = {value}" for name, value in at.vm.items()]
        for owner, fields in (*at.tasks.items(), *at.cgroups.items()):
            changes += [f"{owner}.{name} = {value}" for name, value in fields.items()]
        if at.swap_bytes is not None:
            changes.append(f"swap = {mb(at.swap_bytes / 2**20)}")
        what = f"the scenario sets {', '.join(changes)}"
        found.append(Happening(t_s=at.t_s, kind="knob", what=printable(what)))
    return found


def _kills(run: Run, every_one: bool) -> list[Happening]:
    """The kills; where they are many, only the first of a row of tasks of one name are listed."""
    found = [_kill(i, kill, run.kernel) for i, kill in enumerate(run.kills)]
    dead = [one for one, kill in zip(found, run.kills, strict=True) if not kill.would_have]
    named = [one for one, kill in zip(found, run.kills, strict=True) if kill.would_have]
    if not every_one and len(dead) > _SHOWN["kill"] + 1:
        dead = _by_rows(dead, run.kills)
    return [
        *_limited(dead, "kill", every_one),
        *_limited(named, "would_have", every_one),
    ]


def _by_rows(found: list[Happening], kills: Sequence[Kill]) -> list[Happening]:
    listed: list[Happening] = []
    by_name = groupby(found, key=lambda one: kills[one.kill or 0].task)
    for name, row in by_name:
        members = list(row)
        if len(members) <= _ROW + 1:
            listed += members
            continue
        rest = members[_ROW:]
        freed = sum(kills[one.kill or 0].freed_mb for one in rest)
        what = (
            f"and {len(rest)} more {printable(name)} until {seconds(rest[-1].t_s)}, "
            f"which frees {mb(freed)}"
        )
        listed += members[:_ROW]
        listed.append(Happening(t_s=rest[0].t_s, kind="kill", what=what, many=True))
    return listed


def _limited(
    found: list[Happening],
    kind: Literal["kill", "would_have", "denied"],
    every_one: bool,
) -> list[Happening]:
    shown = _SHOWN[kind]
    if every_one or len(found) <= shown + 1:
        return found
    rest = found[shown:]
    names = {"kill": "kill", "would_have": "would-have kill", "denied": "refusal"}
    last = max(one.t_s for one in rest)
    what = f"and {count_of(len(rest), 'more ' + names[kind])} until {seconds(last)}"
    return [*found[:shown], Happening(t_s=rest[0].t_s, kind=kind, what=what, many=True)]
