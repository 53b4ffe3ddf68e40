"""From what was observed on a real kernel to the record of a run, with reaction times."""

from collections.abc import Mapping, Sequence

import msgspec

from oomkit.model.boot import rootfs_pages
from oomkit.model.tasks import HUGE_PAGE
from oomkit.real.agent.heartbeat import ANSWER_S, REQUEST_S
from oomkit.real.kills import LogLine, kills_of, panic_text
from oomkit.real.observe import Observation, Seen, Sent
from oomkit.real.plan import effective_adj
from oomkit.scenario.definitions import freezes, lines_of, outcome_of, probe_of
from oomkit.scenario.format import Scenario, Task
from oomkit.scenario.read import walk_tasks
from oomkit.scenario.record import (
    Denied,
    Found,
    Freeze,
    Kill,
    Reaction,
    Run,
    Samples,
    Signal,
    TaskSamples,
    objectives,
)

LOW_SHARE = 0.10
"""Memory and swap under this share are called low: where earlyoom acts by default."""


def reaction(seen: Observation, ended_s: float, killer: str | None) -> Reaction:
    """Sum up a run whose reactions were measured.

    Args:
        seen: what the agent reported.
        ended_s: when the run ended; what lasted then, lasted to then.
        killer: the name of what ran beside the scenario.
    """
    low = [(t, is_low) for t, is_low in seen.low if t <= ended_s]
    sent = sorted((s for s in seen.sent if s.t_s >= 0), key=lambda signal: signal.t_s)
    first = next((s.t_s for s in sent if s.pid in seen.procs), None)
    requests, in_time = _requests(seen, ended_s)
    return Reaction(
        low_share=LOW_SHARE,
        low_s=next((round(t, 4) for t, is_low in low if is_low), None),
        signal_s=None if first is None else round(first, 4),
        back_s=_back(low, first),
        short_s=round(_lasted(low, ended_s), 4),
        longest_gap_s=_longest(seen.gaps["ordinary"], ended_s),
        longest_locked_gap_s=_longest(seen.gaps["locked"], ended_s),
        requests=requests,
        requests_in_time=in_time,
        signals=tuple(_signal(signal, seen, killer) for signal in sent),
    )


def _requests(seen: Observation, ended_s: float) -> tuple[int, int]:
    """What the service was asked in the run, and answered in time: nothing once all fell silent."""
    asked = max(int((ended_s - ANSWER_S) / REQUEST_S), 0)
    heard_s = ended_s if seen.done else min(seen.last_s, ended_s)
    heard = min(max(int((heard_s - ANSWER_S) / REQUEST_S), 0), asked)
    late = sum(0.0 <= due < heard * REQUEST_S for due, _ in seen.late)
    return asked, max(heard - late, 0)


def _back(low: list[tuple[float, bool]], signal_s: float | None) -> float | None:
    """When memory was not low from the first signal on; None: it never was again."""
    if signal_s is None:
        return None
    before = [is_low for t, is_low in low if t <= signal_s]
    if not before or not before[-1]:
        return round(signal_s, 4)
    return next((round(t, 4) for t, is_low in low if t > signal_s and not is_low), None)


def _lasted(low: list[tuple[float, bool]], ended_s: float) -> float:
    since: float | None = None
    whole = 0.0
    for t, is_low in [*low, (ended_s, False)]:
        if is_low and since is None:
            since = t
        elif not is_low and since is not None:
            whole += t - since
            since = None
    return whole


def _longest(gaps: list[tuple[float, float]], ended_s: float) -> float:
    """The longest gap within the run; what began before its start does not count."""
    inside = [length for end, length in gaps if end > 0 and end - length < ended_s]
    return round(max(inside, default=0.0), 4)


def _signal(sent: Sent, seen: Observation, killer: str | None) -> Signal:
    proc = seen.procs.get(sent.pid)
    return Signal(
        t_s=round(sent.t_s, 6),
        number=sent.number,
        by="kernel" if sent.from_kernel or killer is None else killer,
        pid=sent.pid,
        task=proc.name if proc is not None else "",
        instance=proc.instance if proc is not None else 0,
    )


_MB = 2**20
_GREW_MB = 1.0
_PAGE = 4096
_GROWTH_WINDOW_S = 10.0
"""Seconds before the first kill in which a task that took memory counts as growing."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A run on a real kernel, and what was played.

    Attributes:
        run: the record.
        scenario: the scenario with its machine as it was found: memory the kernel keeps for
            itself, memory in use before the start, speed of page faults. The model plays it
            when the two are compared.
        total_mb: MemTotal, or the cgroup's limit.
    """

    run: Run
    scenario: Scenario
    total_mb: float


def as_found(scenario: Scenario, found: Found | None, *, whole: bool) -> Scenario:
    """The scenario with its machine as the agent found it.

    Args:
        scenario: what was played.
        found: what the agent measured.
        whole: the machine is the scenario's own; a cgroup's host only lends its speed.
    """
    if found is None:
        return scenario
    scenario = with_costs(scenario, found.costs)
    machine = msgspec.structs.replace(scenario.machine, fault_bytes_s=found.fault_mb_s * _MB)
    if found.cpus_worth is not None:
        worth = min(found.cpus_worth, float(machine.cpus))
        machine = msgspec.structs.replace(machine, cpus_worth=worth)
    if whole:
        # What the model has in the page cache at the start: as much is free then as there was.
        total_pages = round(found.total_mb * _MB) // _PAGE
        cached = rootfs_pages(total_pages) * _PAGE + probe_of(machine.programs_bytes).text_bytes
        machine = msgspec.structs.replace(
            machine,
            kernel=scenario.machine.kernel,
            reserved_bytes=max(machine.ram_bytes - round(found.total_mb * _MB), 0),
            kernel_bytes=max(
                round((found.total_mb - found.free_mb) * _MB) - cached - _hugetlb_bytes(scenario), 0
            ),
        )
    return msgspec.structs.replace(scenario, machine=machine)


def _hugetlb_bytes(scenario: Scenario) -> int:
    """What was set aside as huge pages before the agent looked."""
    return scenario.vm.get("nr_hugepages", 0) * HUGE_PAGE * _PAGE


_COSTS = {
    "shared_fault_s": "share_bytes_s",
    "first_read_s": "first_read_bytes_s",
    "read_s": "read_bytes_s",
    "swap_out_s": "swap_out_bytes_s",
    "swap_in_s": "swap_in_bytes_s",
}
"""CPU time of a page as the agent measures it, and the machine's rate that it stands for."""


def with_costs(scenario: Scenario, costs: Mapping[str, float]) -> Scenario:
    """The scenario on a machine whose pages cost what was measured.

    Args:
        scenario: what is played.
        costs: as in :class:`~oomkit.scenario.record.Found`; what was not measured stays.
    """
    rates = {rate: _PAGE / costs[cost] for cost, rate in _COSTS.items() if costs.get(cost, 0.0) > 0}
    machine = msgspec.structs.replace(scenario.machine, **rates)
    return msgspec.structs.replace(scenario, machine=machine)


def assemble(
    scenario: Scenario,
    seen: Observation,
    lines: Sequence[LogLine],
    *,
    on: str,
    release: str,
    silent_s: float | None = None,
    killer: str | None = None,
    beats: bool = False,
    pace: float = 1.0,
) -> Run:
    """Make the record.

    Args:
        scenario: what was played.
        seen: what the agent reported.
        lines: the kernel's log since the start.
        on: name of the world.
        release: of the kernel that played it.
        silent_s: the agent fell silent and this is when it was given up; None: it did not.
        killer: what ran beside the scenario and kills, too.
        beats: whether reactions were measured.
        pace: seconds of the machine's clock in one of the host's.
    """
    log = list(lines)
    kills = kills_of(
        log,
        seen,
        release,
        killer=killer,
        adjs={task.name: effective_adj(task) for _, task in walk_tasks(scenario.tasks)},
    )
    panic = panic_text(log)
    ended = panic[0] if panic is not None else silent_s if silent_s is not None else seen.last_s
    frozen = _frozen(scenario, seen, ended, silent=silent_s is not None)
    roles = {task.name: task.role for _, task in walk_tasks(scenario.tasks)}

    def innocent(kill: Kill) -> bool:
        role = roles.get(kill.task)
        if role is not None:
            return role != "culprit"
        return not _was_growing(seen, seen.procs[kill.pid], kills[0].t_s)

    return Run(
        scenario=scenario.name,
        on=on,
        kernel=release,
        outcome=outcome_of(
            panicked=panic is not None,
            over=seen.done in ("ended", "holding"),
            frozen=frozen,
            ended_s=ended,
        ),
        ended_s=round(ended, 6),
        kills=kills,
        denied=_denied(seen),
        frozen=frozen,
        objectives=objectives(
            kills,
            frozen,
            innocent=innocent,
            protected=lambda kill: roles.get(kill.task) == "protected",
        ),
        log=tuple(map(str, sorted([*log, *_said(seen, killer)], key=lambda line: line.t_s))),
        samples=_samples(scenario, seen),
        reaction=reaction(seen, ended, killer) if beats else None,
        found=seen.found and msgspec.structs.replace(seen.found, pace=round(pace, 4)),
        instrument=seen.instrument(),
    )


def _said(seen: Observation, killer: str | None) -> list[LogLine]:
    """What the program beside the scenario wrote, under its name, and whether it ended."""
    said = [LogLine(max(t_s, 0.0), f"{killer}: {text}") for t_s, text in seen.daemon]
    if seen.daemon_end is not None:
        t_s, code = seen.daemon_end
        said.append(LogLine(max(t_s, 0.0), f"{killer}: (ended with status {code})"))
    return said


def _frozen(
    scenario: Scenario, seen: Observation, ended: float, *, silent: bool
) -> tuple[Freeze, ...]:
    """When rounds of the probe were late; silence is a round that is never over."""
    rounds = seen.probed()
    if silent and (not rounds or rounds[-1][1] is not None):
        rounds.append((seen.last_s, None))
    return freezes(rounds, ended, probe_of(scenario.machine.programs_bytes))


def _denied(seen: Observation) -> tuple[Denied, ...]:
    return tuple(
        Denied(
            t_s=round(refused.t_s, 6),
            task=seen.procs[refused.pid].name,
            instance=seen.procs[refused.pid].instance,
            call=refused.call,
            mb=round(refused.size_bytes / _MB, 3),
            limit=refused.error,
        )
        for refused in seen.refused
        if refused.pid in seen.procs
    )


def _was_growing(seen: Observation, proc: Seen, when: float) -> bool:
    """Whether it took memory shortly before the first kill."""
    held = [
        values[0] + values[1]
        for index, values in sorted(proc.curve.items())
        if when - _GROWTH_WINDOW_S <= seen.samples[index][0] <= when
    ]
    return len(held) < 2 or proc.start_s > when - _GROWTH_WINDOW_S or held[-1] - held[0] > _GREW_MB


def _samples(scenario: Scenario, seen: Observation) -> Samples:
    columns = list(zip(*seen.samples, strict=True)) or [()] * 9
    count = len(seen.samples)
    unit = {task.name: task for _, task in walk_tasks(scenario.tasks)}
    tasks = {
        f"{proc.name}/{proc.instance}": _curve(proc, unit[proc.name], count)
        for proc in sorted(seen.procs.values(), key=lambda proc: proc.start_s)
        if proc.name in unit
    }
    if seen.probed():
        tasks["probe/0"] = TaskSamples(
            rss_mb=[0.0] * count,
            swap_mb=[0.0] * count,
            progress=[float(sum(1 for _, over in seen.rounds if over <= t)) for t in columns[0]],
        )
    pressure = [
        [] if any(value < 0 for value in column) else [round(v, 2) for v in column]
        for column in columns[6:8]
    ]
    return Samples(
        t_s=[round(t, 3) for t in columns[0]],
        free_mb=list(columns[1]),
        available_mb=list(columns[2]),
        cached_mb=list(columns[3]),
        swap_free_mb=list(columns[4]),
        psi_some_avg10=pressure[0] or [0.0] * count,
        psi_full_avg10=pressure[1] or [0.0] * count,
        cpu_busy=list(columns[8]),
        lines_mb={
            name: [seen.lines[i][k] if i in seen.lines else 0.0 for i in range(count)]
            for k, name in enumerate(lines_of(scenario.machine) if seen.lines else ())
        },
        tasks=tasks,
    )


def _curve(proc: Seen, task: Task, count: int) -> TaskSamples:
    rss, swap, progress = [0.0] * count, [0.0] * count, [0.0] * count
    ends = sorted(proc.curve)
    last = 0.0
    for index in range(ends[0] if ends else count, count):
        values = proc.curve.get(index)
        if values is not None:
            rss[index], swap[index] = values[0], values[1]
            last = _progress(task, values[2], values[3])
        elif index > ends[-1] and proc.code == 0:
            last = 1.0
        progress[index] = round(last, 4)
    return TaskSamples(rss_mb=rss, swap_mb=swap, progress=progress)


def _progress(task: Task, loops: float, position: float) -> float:
    """Share of its steps done; each counts by the time the scenario gives it."""
    weights = [_seconds(task, index) for index in range(len(task.steps))]
    whole = sum(weights)
    if whole <= 0:
        return 0.0
    step = min(int(position), len(weights))
    done = sum(weights[:step])
    if step < len(weights):
        done += weights[step] * (position - step)
    share = done / whole
    if loops < 0:
        return share
    return loops + share if task.loops is None else (loops + share) / task.loops


def _seconds(task: Task, index: int) -> float:
    step = task.steps[index]
    if step.verb in ("work", "hold"):
        return step.seconds or 0.0
    if step.over_s is not None:
        return step.over_s
    return (step.size_bytes or 0) / (step.rate_bytes_s or 2.0**30)
