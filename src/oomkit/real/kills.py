"""Kills, panics and their reasons, from the kernel's log of a run."""

import re
import signal

import msgspec

from oomkit.kernel.rank import near_equals
from oomkit.klog.reader import read_bytes
from oomkit.klog.records import Killed, Report
from oomkit.klog.replay import inputs_of, replay_all
from oomkit.real.observe import Observation, Seen
from oomkit.scenario.record import Kill

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(\d+\.\d+)\](?:\[[^\]]*\])? ?(.*)$")
_KILLED = re.compile(r"Killed process (\d+) \(")
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
_PAGE_KB = 4


class LogLine(msgspec.Struct, frozen=True):
    """A line of the kernel's log, with seconds since the start of the run."""

    t_s: float
    text: str

    def __str__(self) -> str:
        """As ``dmesg`` shows it."""
        return f"[{self.t_s:12.6f}] {self.text}"


def stamped(console: str, mark: str) -> list[LogLine]:
    """The lines of a console from the one that holds ``mark`` on, on the run's clock.

    Lines without the kernel's stamp belong to the line before them.
    """
    lines: list[LogLine] = []
    zero: float | None = None
    now = 0.0
    for raw in console.splitlines():
        match = _STAMP.match(raw)
        if match is None:
            if zero is not None and raw.strip():
                lines.append(LogLine(now, raw.rstrip()))
            continue
        now = float(match[1]) - (zero or 0.0)
        if zero is None:
            if mark in match[2]:
                zero = float(match[1])
            continue
        lines.append(LogLine(now, match[2]))
    return lines


def panic_text(lines: list[LogLine]) -> tuple[float, str] | None:
    """When and why the kernel panicked; None if it did not."""
    for line in lines:
        if (match := _PANIC.search(line.text)) is not None:
            return line.t_s, match[1]
    return None


def kills_of(
    lines: list[LogLine],
    seen: Observation,
    release: str,
    *,
    killer: str | None,
    adjs: dict[str, int],
) -> tuple[Kill, ...]:
    """The kills of tasks that the agent started, in order of time.

    Args:
        lines: the kernel's log; each of its kill lines is a kill.
        seen: what the agent reported.
        release: of the kernel.
        killer: another killer: what ended by SIGKILL or SIGTERM without a kill line is its; None:
            there is none.
        adjs: a task's name to the ``oom_score_adj`` it started with, for those kills.
    """
    text = f"Linux version {release}\n" + "\n".join(map(str, lines))
    reports = tuple(replay_all(tuple(read_bytes(text.encode(), "console"))))
    details = {killed.pid: (report, killed) for report in reports for killed in report.killed}
    kills = []
    dead = set()
    for line in lines:
        match = _KILLED.search(line.text)
        if match is None or int(match[1]) not in seen.procs:
            continue
        pid = int(match[1])
        if pid in dead:
            continue  # one of a group killed as one: named as the chosen one, then with the group
        dead.add(pid)
        report, killed = details.get(pid, (None, None))
        kills.append(_kill(line.t_s, pid, seen, report, killed))
    if killer is not None:
        by_kernel = {kill.pid for kill in kills}
        kills += [
            _killed_by(killer, proc, adjs.get(proc.name, 0), seen)
            for proc in seen.procs.values()
            if _was_signalled(proc, seen) and proc.pid not in by_kernel
        ]
        kills.sort(key=lambda kill: kill.t_s)
    return tuple(kills)


def _was_signalled(proc: Seen, seen: Observation) -> bool:
    """Whether a signal ended it; for a task whose parent is a task only the trace shows it."""
    if proc.code is not None or proc.end_s is None:
        return proc.code in (-signal.SIGKILL, -signal.SIGTERM)
    return any(s.pid == proc.pid and s.t_s <= proc.end_s for s in seen.sent)


def _killed_by(killer: str, proc: Seen, adj: int, seen: Observation) -> Kill:
    """A kill the kernel's log does not name; what it held is known from its last sample.

    Where signals were traced it is as old as the first one; else only the victim's end shows it.
    """
    sent = [signal.t_s for signal in seen.sent if signal.pid == proc.pid]
    when = sent[0] if sent else proc.end_s if proc.end_s is not None else proc.start_s
    word = re.compile(rf"\b{proc.pid}\b")
    # A dying task's later samples show what is left of it.
    held = [values for i, values in proc.curve.items() if seen.samples[i][0] <= when]
    rss_mb, swap_mb = held[-1][:2] if held else (0.0, 0.0)
    return Kill(
        t_s=round(when, 6),
        task=proc.name,
        instance=proc.instance,
        pid=proc.pid,
        by=killer,
        would_have=False,
        badness=None,
        oom_score_adj=adj,
        freed_mb=round(rss_mb + swap_mb, 3),
        work_lost_s=round(proc.cpu_s, 3),
        # Our guard names the next candidate at the end of a line about another.
        trace=tuple(
            text
            for t_s, text in seen.daemon
            if t_s >= 0 and word.search(text.partition("; next: ")[0])
        ),
    )


def _kill(
    t_s: float, pid: int, seen: Observation, report: Report | None, killed: Killed | None
) -> Kill:
    proc = seen.procs[pid]
    freed_kb = 0
    if killed is not None:
        freed_kb = (killed.anon_rss_kb or 0) + (killed.pgtables_kb or 0)
    badness = None
    tied: tuple[str, ...] = ()
    if report is not None:
        row = next((row for row in report.tasks if row.pid == pid), None)
        freed_kb += (row.swapents or 0) * _PAGE_KB if row is not None else 0
        badness = next((p.badness for p in report.predicted if p.pid == pid), None)
        tied = _tied(pid, badness, report, seen)
    return Kill(
        t_s=round(t_s, 6),
        task=proc.name,
        instance=proc.instance,
        pid=pid,
        by="kernel",
        would_have=False,
        badness=badness,
        oom_score_adj=(killed.oom_score_adj if killed is not None else None) or 0,
        freed_mb=round(freed_kb / 1024, 3),
        work_lost_s=round(proc.cpu_s, 3),
        trace=_trace(report) if report is not None else (),
        tied_with=tied,
    )


def _tied(pid: int, badness: int | None, report: Report, seen: Observation) -> tuple[str, ...]:
    """The equal candidates, and what died by the same decision."""
    pids = [killed.pid for killed in report.killed]
    inputs = inputs_of(report)
    if inputs is not None and badness is not None:
        near = near_equals(inputs.snapshot, inputs.allocation, inputs.rules, badness)
        pids += [task.pid for task in near]
    others = (seen.procs[other] for other in dict.fromkeys(pids) if other in seen.procs)
    return tuple(f"{proc.name}/{proc.instance}" for proc in others if proc.pid != pid)


def _trace(report: Report) -> tuple[str, ...]:
    """The decision as the kernel's own report has it."""
    steps = []
    if report.invoker is not None:
        steps.append(f"{report.invoker} invoked oom-killer: order={report.order}")
    if report.constraint is not None:
        steps.append(f"constrained_alloc: {report.constraint}")
    if report.predicted:
        first = report.predicted[0]
        steps.append(f"select_bad_process: {first.comm} ({first.pid}), badness {first.badness}")
    steps.extend(
        f"oom_kill_process: {killed.comm} ({killed.pid}), {killed.killed_as or 'killed'}"
        for killed in report.killed
    )
    return tuple(steps)
