"""The loop of a policy at work: read the machine, decide, signal, choose, note sizes.

The daemon, the replay of recordings and the model all run this one. They differ in what they read
from (:class:`Sensors`), and in what a decision does (:class:`Actuator`).
"""

from oomkit.policy.engine.reading import left_kb

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from oomkit.policy.engine.candidate import Candidate, Growth, Ranked
    from oomkit.policy.engine.decider import Act, Assessment, Decider
    from oomkit.policy.engine.easing import Ease
    from oomkit.policy.engine.escalation import Signal
    from oomkit.policy.engine.reading import CgroupReading, Reading

    class Sensors(Protocol):
        """What a policy reads."""

        def reading(self, now_s: float, /) -> Reading | None:
            """The machine at a moment; None if it can't be read."""

        def candidates(
            self, reading: Reading, growth: Growth, /
        ) -> tuple[Sequence[Candidate], Sequence[CgroupReading]]:
            """The processes to choose among, how much each has grown, and the memory cgroups."""

        def sizes(self, reading: Reading, growth: Growth, /) -> dict[tuple[int, int], float]:
            """The size of each process by pid and start time, kB, for growth to be counted from."""

    class Actuator(Protocol):
        """What carries decisions out."""

        def signal(self, signals: tuple[Signal, ...], /) -> None:
            """Send signals to processes that were signalled before, and did not exit."""

        def check(self, choice: Ranked, /) -> str:
            """Why a choice must not be made after all; empty where it may."""

        def act(self, act: Act, reading: Reading, /) -> bool:
            """Carry out a choice; False where it turned out that it must not be."""

        def ease(self, ease: Ease, reading: Reading, /) -> bool:
            """Do a softer act than a signal; False where it can't or must not be done."""


MAX_CHOICES = 4
"""Choices made at once, where each turns out to be protected as its signal is due."""

NOTHING = "nothing"
"""There was nothing to choose."""
ACTED = "acted"
"""A choice was made and carried out."""
NO_CANDIDATE = "no candidate"
"""No process can be chosen."""
REFUSED = "refused"
"""Every choice turned out to be protected as its signal was due."""


class PolicyDriver:
    """Drives a decider.

    Between :meth:`look` and :meth:`perform` time may pass.

    Args:
        decider: the policy.
        sensors: what it reads.
        actuator: carries its decisions out.

    Attributes:
        reading: the last one; None before the first.
    """

    __slots__ = ("_actuator", "_sensors", "decider", "reading")

    def __init__(self, decider: "Decider", sensors: "Sensors", actuator: "Actuator") -> None:
        self.decider = decider
        self._sensors = sensors
        self._actuator = actuator
        self.reading: Reading | None = None

    def look(self, now_s: float) -> "Assessment | None":
        """Read the machine, and return what that calls for; None if it can't be read."""
        reading = self._sensors.reading(now_s)
        if reading is None:
            return None
        self.reading = reading
        return self.decider.look(reading)

    def perform(self, look: "Assessment") -> str:
        """Do what the last look called for.

        Returns:
            what came of choosing: :data:`NOTHING`, :data:`ACTED`, :data:`NO_CANDIDATE` or
            :data:`REFUSED`.
        """
        reading, growth = self.reading, self.decider.growth
        assert reading is not None, "nothing was looked at"
        if look.signals:
            self._actuator.signal(look.signals)
        outcome = self._choose(reading) if look.choose else NOTHING
        if look.ease:
            self._ease(reading)
        if look.sizes:
            growth.note(reading.t_s, left_kb(reading), self._sensors.sizes(reading, growth))
        return outcome

    def _choose(self, reading: "Reading") -> str:
        for _ in range(MAX_CHOICES):
            candidates, groups = self._sensors.candidates(reading, self.decider.growth)
            act = self.decider.choose(candidates, groups, check=self._actuator.check)
            if act is None:
                return NO_CANDIDATE
            if self._actuator.act(act, reading):
                return ACTED
        return REFUSED

    def _ease(self, reading: "Reading") -> None:
        """Do the least harmful of the softer acts that can be done."""
        decider = self.decider
        candidates, groups = self._sensors.candidates(reading, decider.growth)
        for _ in range(MAX_CHOICES):
            ease = decider.ease(candidates, groups)
            if ease is None:
                return
            done = self._actuator.ease(ease, reading)
            decider.eased(ease, done=done)
            if done:
                return

    def died(self, pid: int, start_time: int, now_s: float) -> None:
        """Note that a process has exited."""
        self.decider.died(pid, start_time, now_s)
