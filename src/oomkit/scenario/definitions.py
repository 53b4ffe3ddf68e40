"""What the words of a run mean, in every world that plays a scenario.

docs/scenarios.md says the same in words (`What a run means`). The model imports what stands here;
a player on a real kernel hands its numbers to what runs there.
"""

from collections.abc import Iterable
from typing import Final, Literal

from oomkit.records import Record
from oomkit.scenario.format import Machine, Step, Verb
from oomkit.scenario.record import Freeze, Outcome

_KB: Final = 1024
_MB: Final = 1024 * _KB


class Probe(Record, frozen=True, kw_only=True):
    """The small interactive program by which a machine is judged usable or frozen.

    It runs from before the start, at nice 0, with its own pages locked, and its part of
    ``machine.programs`` is in memory at the start. Each round it goes over that part through a
    mapping, a byte a page; maps private anonymous memory, writes to every page of it and unmaps it;
    and computes until the round has used its CPU time, that of the faults included.

    Attributes:
        every_s: a round begins at each multiple of this, from the first on; one that is
            not over then takes the place of the next.
        cpu_s: CPU time of a round: all it takes on an idle machine.
        text_bytes: the part of ``machine.programs`` it goes over, from the start of the file.
        scratch_bytes: the anonymous memory.
        frozen_s: the machine is frozen while a round takes longer than this.
    """

    every_s: float = 1.0
    cpu_s: float = 0.010
    text_bytes: int
    scratch_bytes: int = 1 * _MB
    frozen_s: float = 1.0


KEYSTROKE: Final = (
    ("shell", 1948 * _KB),
    ("command", 2056 * _KB),
    ("terminal", 4092 * _KB),
    ("desktop", 7072 * _KB),
)
"""Text and libraries that programs touch between a keystroke and what it shows.

Measured on Debian 12 as ``Referenced`` of mapped files in ``/proc/PID/smaps`` after
``/proc/PID/clear_refs``: bash, which echoes a key; ls, which it starts; xterm, which draws both;
and Xvfb with openbox.
"""


def probe_of(programs_bytes: int) -> Probe:
    """The probe of a machine whose system needs that much text and libraries to react."""
    needed = sum(size for _, size in KEYSTROKE)
    return Probe(text_bytes=min(programs_bytes, needed))


def is_late(seconds: float, probe: Probe) -> bool:
    """Whether a round that took so long shows a frozen machine; microseconds don't count."""
    return round(seconds - probe.frozen_s, 6) > 0.0


def freezes(
    rounds: Iterable[tuple[float, float | None]], ended_s: float, probe: Probe
) -> tuple[Freeze, ...]:
    """When the machine was frozen: from the start of a late round until one is over.

    Late rounds of which each began within a round's distance after the one before are one freeze:
    nothing showed that the machine was usable in between.

    Args:
        rounds: when each round began and was over, in order; None: it was not.
        ended_s: when the run ended.
        probe: what went through them.
    """
    spans: list[tuple[float, float]] = []
    for began_s, over_s in rounds:
        until_s = ended_s if over_s is None else min(over_s, ended_s)
        if not is_late(until_s - began_s, probe):
            continue
        if spans and began_s - spans[-1][1] < probe.every_s:
            spans[-1] = (spans[-1][0], until_s)
        else:
            spans.append((began_s, until_s))
    return tuple(Freeze(from_s=round(a, 6), to_s=round(b, 6)) for a, b in spans)


_AT_THE_END_S: Final = 0.01
"""A freeze that lasts to within this of the end lasts to the end."""


def outcome_of(
    *, panicked: bool, over: bool, frozen: tuple[Freeze, ...], ended_s: float
) -> Outcome:
    """How a run ended.

    Args:
        panicked: the kernel did.
        over: nothing is left to happen: no task is to start any more, no ``[[at]]`` is to come,
            and every living task is at a ``hold = "forever"``. A pause that ends is work, and so
            is a task that goes through its steps again.
        frozen: the freezes.
        ended_s: when it ended.
    """
    if panicked:
        return "panicked"
    if over:
        return "completed"
    if frozen and frozen[-1].to_s >= ended_s - _AT_THE_END_S:
        return "frozen"
    return "timed_out"


class Request(Record, frozen=True, kw_only=True):
    """How a step asks for memory.

    Attributes:
        call: the system call that is refused; empty: it asks for none.
        charged: what of it counts towards Committed_AS, and when: ``whole``, at the start of the
            step; ``pieces``, as it comes to each piece of :func:`piece_bytes`; ``pages``, one by
            one as they are written; ``never``.
        ends: a refusal ends the task, with status 1; else it goes on with the next step.
    """

    call: Literal["", "mmap", "fork", "write"] = ""
    charged: Literal["whole", "pieces", "pages", "never"] = "never"
    ends: bool = True


REQUESTS: Final[dict[Verb, Request]] = {
    "reserve": Request(call="mmap", charged="whole"),
    "touch": Request(call="mmap", charged="pieces"),
    "peek": Request(call="mmap", charged="pieces"),
    "share": Request(call="mmap", charged="pieces"),
    "lock": Request(call="mmap", charged="pieces"),
    "tmpfs": Request(call="write", charged="pages"),
    "write": Request(call="write"),
    "fork": Request(call="fork", charged="whole", ends=False),
    "read": Request(),
    "work": Request(),
    "hold": Request(),
    "free": Request(),
    "exit": Request(),
}
"""Every step; ``touch``, ``peek`` and ``share`` ask only for what was not reserved before."""

_PIECE_BYTES: Final = 1 * _MB
"""As an allocator that maps its large blocks."""

_STRIDES_A_PIECE: Final = 16

_LOCKS_A_SECOND: Final = 10
"""Locked pieces a second at most where a rate is given, so that a slow step has few mappings."""

_PAGE: Final = 4096


def lines_of(machine: Machine) -> tuple[str, ...]:
    """Lines of ``/proc/meminfo`` that samples have besides the usual."""
    huge = ("AnonHugePages",) if machine.thp != "never" else ()
    return (*huge, "Zswap", "Zswapped") if machine.zswap else huge


def piece_bytes(step: Step, rate_bytes_s: float | None = None) -> int:
    """Address space that a step maps, and is charged for, at a time.

    Args:
        step: one whose request is charged in pieces or pages.
        rate_bytes_s: how fast it goes; None: as fast as the machine can.
    """
    if step.verb == "tmpfs":
        return _PAGE
    if step.verb == "lock" and rate_bytes_s is not None:
        return max(int(rate_bytes_s / _LOCKS_A_SECOND) // _PAGE * _PAGE, _PAGE)
    if step.scatter:
        return step.size_bytes or _PAGE
    return max(_PIECE_BYTES, _STRIDES_A_PIECE * (step.stride_bytes or _PAGE))
