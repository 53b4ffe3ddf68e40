"""Has the recording teach what starts of services took, in another process, while we guard."""

from oomkit.guard.messages import NOTICE, WARNING
from oomkit.guard.own_program import OwnProgram
from oomkit.policy.engine.starts import from_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.policy.engine.starts import Starts

LONGEST_S = 120.0
"""A recording that takes longer to read teaches nothing; it is read at the lowest priority."""


class Learning:
    """Learns once, from the recording as it was at the start.

    Args:
        argv: the program that prints what was learnt; empty: there is none.
        starts: what takes it in.
        say: writes a line of the log.
        clock: the monotonic one.

    Attributes:
        current: the program while it runs.
    """

    __slots__ = ("_argv", "_clock", "_say", "_starts", "current")

    def __init__(
        self,
        argv: tuple[str, ...],
        starts: "Starts",
        say: "Callable[[int, str], None]",
        clock: "Callable[[], float]",
    ) -> None:
        self._argv = argv
        self._starts = starts
        self._say = say
        self._clock = clock
        self.current: OwnProgram | None = None

    def begin(self) -> None:
        """Start the program, if there is one."""
        if self._argv:
            try:
                self.current = OwnProgram(self._argv, LONGEST_S, self._clock)
            except OSError as error:
                self._complain(str(error.strerror))

    def attend(self) -> None:
        """Take in what was learnt, once the program is over."""
        done = self.current
        if done is None or not done.finished():
            return
        self.current = None
        if done.fault:
            self._complain(done.fault)
        known = from_values(done.value or ())
        self._starts.take_in(known)
        if known:
            number = f"{len(known)} services" if len(known) > 1 else "one service"
            self._say(NOTICE, f"learnt from the recording what starts of {number} took")

    def close(self) -> None:
        """End the program, if it runs."""
        if self.current is not None:
            self.current.close()

    def _complain(self, fault: str) -> None:
        self._say(WARNING, f"the recording teaches nothing of the starts of services: {fault}")
