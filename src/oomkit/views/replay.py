"""A recording replayed, as a person reads it."""

from collections.abc import Iterator, Sequence
from typing import Literal

from oomkit.history.recording import Mark, Recording
from oomkit.history.replay import KernelKill, Replay, WouldEase, WouldKill
from oomkit.printable import printable
from oomkit.render.document import Document, Text
from oomkit.render.quantities import count_of, kb, label, seconds
from oomkit.views.history import evidence_lines, local_time, starts_lines, victim_of

_INDENT = " " * 10


def recording_line(recording: Recording) -> str:
    """What was recorded, in one line."""
    first, last = recording.samples[0], recording.samples[-1]
    boots = last.boot - first.boot + 1
    times = f"{local_time(first.wall_s)} to {local_time(last.wall_s)}"
    parts = [f"{len(recording.samples):,} samples", f"kernel {printable(recording.kernel)}"]
    if boots > 1:
        parts.append(f"{boots} boots")
    if recording.damaged:
        parts.append(f"{count_of(recording.damaged, 'damaged slot')} skipped")
    return f"{printable(recording.path)}: {times}, {', '.join(parts)}"


def replay_report(recording: Recording, replays: Sequence[Replay]) -> Document:
    """What was recorded; under each policy what happened and what would have, then the sum."""
    page = Document(Text(recording_line(recording)))
    for i, played in enumerate(replays):
        if i:
            page.line()
        _add_replay(page, played)
    return page


def _add_replay(page: Document, played: Replay) -> None:
    page.text(f"under the policy {printable(played.policy)}")
    if played.missing:
        page.text(f"not recorded, so these conditions never hold: {', '.join(played.missing)}")
    page.line()
    found = events(played)
    day = ""
    for wall_s, _, lines in found:
        date, _, clock = local_time(wall_s).partition(" ")
        if date != day:
            page.line(date)
            day = date
        for i, line in enumerate(lines):
            page.text(line, first=_INDENT if i else f"{clock:<10}", rest=f"{_INDENT}  ")
    if found:
        page.line()
    for line in sums(played):
        page.text(line)


def events(played: Replay) -> list[tuple[float, Literal["would", "kill", "act"], list[str]]]:
    """What happened and what would have, in the order of time: when, what sort, and in words."""
    found: list[tuple[int, float, float, Literal["would", "kill", "act"], Iterator[str]]] = []
    found += [(w.boot, w.t_s, w.wall_s, "would", _would(w)) for w in played.would_kill]
    found += [
        (k.mark.boot, k.mark.t_s, k.mark.wall_s, "kill", _kernel(k, played))
        for k in played.kernel_kills
    ]
    found += [(w.boot, w.t_s, w.wall_s, "would", _would_ease(w)) for w in played.would_ease]
    found += [(m.boot, m.t_s, m.wall_s, "act", _acted(m)) for m in played.acts]
    found.sort(key=lambda event: event[:2])
    return [(wall_s, kind, list(lines)) for _, _, wall_s, kind, lines in found]


def _would(would: WouldKill) -> Iterator[str]:
    act = would.record
    how = would.signals[0] if would.signals else "no signal"
    yield f"would have killed {victim_of(act)} ({how}, {act.level})"
    yield from evidence_lines(act.evidence)
    expected_kb = act.victim.expected_kb if act.victim is not None else None
    yield f"frees {kb(expected_kb or 0)}; {printable(act.reason or '')}"
    yield from starts_lines(act)


def _would_ease(would: WouldEase) -> Iterator[str]:
    name = label(would.comm, would.pid)
    of = f"{printable(would.cgroup)}, because of {name}" if would.cgroup else name
    done = {"reclaim": "reclaimed memory of", "throttle": "slowed down", "freeze": "frozen"}
    yield f"would have {done.get(would.act, printable(would.act))} {of}"


def _kernel(kill: KernelKill, played: Replay) -> Iterator[str]:
    name = label(kill.mark.comm, kill.mark.pid)
    if kill.ahead_s is not None:
        yield f"the kernel killed {name}: {seconds(kill.ahead_s)} after the policy would have"
    elif kill.after is not None:
        earlier = played.would_kill[kill.after]
        ahead = seconds(kill.mark.t_s - earlier.t_s)
        victim = victim_of(earlier.record)
        yield f"the kernel killed {name}; {victim} would have been dead for {ahead}"
    else:
        yield f"the kernel killed {name}; the policy would not have acted before"


def _acted(mark: Mark) -> Iterator[str]:
    name = label(mark.comm, mark.pid)
    yield f"{printable(mark.by) or 'the policy in force'} acted on {name}"


def sums(played: Replay) -> Iterator[str]:
    """What it comes to, a line each."""
    kills = len(played.would_kill)
    yield f"would have killed: {kills or 'none'}"
    if played.would_ease:
        yield f"softer acts: {len(played.would_ease)}; the recording goes on as if there were none"
    if played.kernel_kills:
        ahead = [k.ahead_s for k in played.kernel_kills if k.ahead_s is not None]
        other = sum(k.ahead_s is None and k.after is not None for k in played.kernel_kills)
        parts = [f"the kernel killed: {len(played.kernel_kills)}"]
        if ahead:
            parts.append(
                f"{len(ahead)} of them {seconds(min(ahead))} or more after the policy would have"
            )
        if other:
            parts.append(f"{other} that might have lived, as the policy had acted before")
        late = len(played.kernel_kills) - len(ahead) - other
        if late:
            parts.append(f"{late} without the policy having acted")
        yield "; ".join(parts)
    else:
        yield "the kernel killed: none"
    yield f"low memory, by this policy, for {seconds(played.warned_s)}"
    yield f"evaluated at recorded samples, at most {seconds(played.longest_gap_s)} apart"
