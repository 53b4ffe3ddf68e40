"""What is compared between a modelled and a real run, and what many such comparisons sum up to."""

from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

from oomkit.scenario.record import Found, Instrument, Outcome

FIRST_TARGET = 0.95
"""Share of the scenarios in which the first victim has to be the same."""

ORDER_TARGET = 0.85
"""Share of the scenarios in which all victims have to be the same, in the same order."""

RATIO_TARGET = 1.3
"""Maximum factor between the times of the first kill."""

Verdict = Literal["same", "tie", "differs"]
"""``tie``: they differ only in the order among equal tasks."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on the model and on a real kernel.

    Attributes:
        file: the scenario's file as it was named.
        scenario: its name.
        on: the real world.
        kernel: its release.
        refused: why it can't be played there; empty where it was.
        failed: why playing it failed; empty where it did not.
        outcome: how it ended on the real kernel; None where it was not played.
        model_outcome: how it ended on the model.
        victims: ``name/instance`` of the tasks killed by the real kernel, in order.
        model_victims: the tasks killed on the model.
        first: whether the first victim is the same (also if there is none on either).
        order: whether all are the same, in the same order.
        denied: refused requests on the real kernel, ``name: call``, in order.
        model_denied: those on the model.
        first_kill_s: time of the first kill, or of the panic, on the real kernel.
        model_first_kill_s: the same on the model.
        ratio: real time by modelled time; None if one of them killed no task.
        curve: which memory curve is compared: MemAvailable, or what is free of a cgroup's limit.
        curve_error: median absolute difference of it, as a share of RAM.
        swap_error: the same of SwapFree; None without swap.
        frozen: from when to when the real machine was frozen.
        model_frozen: the same of the model.
        overlap: time in which both were frozen as a share of that in which one was; None: neither
            was.
        real_s: how long the real run took, start of the machine included.
        model_s: how long the model took.
    """

    file: str
    scenario: str
    on: str
    kernel: str = ""
    refused: str = ""
    failed: str = ""
    outcome: Outcome | None = None
    model_outcome: Outcome | None = None
    victims: tuple[str, ...] = ()
    model_victims: tuple[str, ...] = ()
    first: Verdict = "same"
    order: Verdict = "same"
    denied: tuple[str, ...] = ()
    model_denied: tuple[str, ...] = ()
    first_kill_s: float | None = None
    model_first_kill_s: float | None = None
    ratio: float | None = None
    curve: Literal["available", "free"] = "available"
    curve_error: float | None = None
    swap_error: float | None = None
    frozen: tuple[tuple[float, float], ...] = ()
    model_frozen: tuple[tuple[float, float], ...] = ()
    overlap: float | None = None
    real_s: float = 0.0
    model_s: float = 0.0

    @property
    def played(self) -> bool:
        """It was played on both."""
        return not self.refused and not self.failed

    @property
    def same_outcome(self) -> bool:
        """Both ended alike, and refused the same requests."""
        return self.outcome == self.model_outcome and self.denied == self.model_denied

    @property
    def in_time(self) -> bool:
        """The first kills are near enough, or there are none."""
        if self.ratio is None:
            return (self.first_kill_s is None) == (self.model_first_kill_s is None)
        return 1 / RATIO_TARGET <= self.ratio <= RATIO_TARGET


class MeasuredKernel(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one kernel.

    Attributes:
        on: the world.
        kernel: its release.
        found: the machine, with what pages cost.
        instrument: what measured it.
    """

    on: str
    kernel: str
    found: Found
    instrument: Instrument | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What ``oomkit agree --measure --json`` prints.

    Attributes:
        measured: a row for each kernel.
    """

    measured: list[MeasuredKernel]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What comparisons on one kernel sum up to.

    Attributes:
        on: the real world.
        kernel: its release.
        played: scenarios that were played.
        refused: scenarios it can't show.
        failed: scenarios it should have played, and something broke.
        outcome: how many ended alike.
        first: how many had the same first victim.
        order: how many had all victims the same.
        ties: in how many of them equals died in another order.
        in_time: in how many the first kill came in time.
        curve_error: median of their medians.
        frozen: in how many one of both machines was frozen.
        overlap: median of their overlaps; None: there is none.
        meets: whether the targets are met.
    """

    on: str
    kernel: str
    played: int
    refused: int
    failed: int
    outcome: int
    first: int
    order: int
    ties: int
    in_time: int
    curve_error: float | None
    frozen: int = 0
    overlap: float | None = None
    meets: bool


def summarise(found: Sequence[Agreement]) -> list[Summary]:
    """Sum up, a row for each world and kernel, in the order they come."""
    worlds = dict.fromkeys((one.on, one.kernel) for one in found)
    return [
        _summary(on, kernel, [one for one in found if (one.on, one.kernel) == (on, kernel)])
        for on, kernel in worlds
    ]


def _summary(on: str, kernel: str, found: Sequence[Agreement]) -> Summary:
    played = [one for one in found if one.played]
    outcome = sum(one.same_outcome for one in played)
    first = sum(one.first != "differs" for one in played)
    order = sum(one.order != "differs" for one in played)
    in_time = sum(one.in_time for one in played)
    failed = sum(bool(one.failed) for one in found)
    overlaps = [one.overlap for one in played if one.overlap is not None]
    errors = [one.curve_error for one in played if one.curve_error is not None]
    return Summary(
        on=on,
        kernel=kernel,
        played=len(played),
        refused=sum(bool(one.refused) for one in found),
        failed=failed,
        outcome=outcome,
        first=first,
        order=order,
        ties=sum(one.order == "tie" for one in played),
        in_time=in_time,
        curve_error=median(errors) if errors else None,
        frozen=len(overlaps),
        overlap=median(overlaps) if overlaps else None,
        meets=not failed
        and outcome == in_time == len(played)
        and first >= FIRST_TARGET * len(played)
        and order >= ORDER_TARGET * len(played),
    )
