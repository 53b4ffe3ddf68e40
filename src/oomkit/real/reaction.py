"""How fast the killer acted on a real kernel, from heartbeats, signals and the memory's meter."""

from oomkit.real.observe import Observation, Sent
from oomkit.scenario.record import Reaction, Signal

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
    return Reaction(
        low_share=LOW_SHARE,
        low_s=next((round(t, 4) for t, is_low in low if is_low), None),
        signal_s=None if first is None else round(first, 4),
        back_s=_back(low, first),
        short_s=round(_lasted(low, ended_s), 4),
        longest_gap_s=_longest(seen.gaps["ordinary"], ended_s),
        longest_locked_gap_s=_longest(seen.gaps["locked"], ended_s),
        signals=tuple(_signal(signal, seen, killer) for signal in sent),
    )


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
