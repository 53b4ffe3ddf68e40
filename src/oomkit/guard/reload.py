"""Reads the policy again, in another process: reading TOML takes more than a small daemon has."""

import time

from oomkit.guard.own_program import OwnProgram
from oomkit.policy.engine.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_S = 10.0
"""A policy that takes longer to read is refused."""


class Reload(OwnProgram):
    """One attempt to read the policy.

    Attributes:
        plan: what came of it; None while it runs, or if the policy is wrong.
    """

    __slots__ = ("plan",)

    def __init__(
        self, argv: tuple[str, ...], clock: "Callable[[], float]" = time.monotonic
    ) -> None:
        """Start the program that prints the plan.

        Args:
            argv: the program.
            clock: the monotonic one.

        Raises:
            OSError: it can't be started.
        """
        super().__init__(argv, LONGEST_S, clock)
        self.plan: Plan | None = None

    def finished(self) -> bool:
        """Take what is there; says whether that was all, and ``plan`` or ``fault`` holds."""
        if not super().finished():
            return False
        if not self.fault:
            try:
                self.plan = Plan.from_values(self.value)
            except ValueError as error:
                self.fault = str(error)
        return True


class Reloads:
    """Has the policy read again, one attempt at a time.

    Args:
        argv: the program that prints the plan; empty: there is none.
        clock: the monotonic one.

    Attributes:
        current: the attempt that is under way; None: none is.
        owed: it was asked for again meanwhile: what is read may be from before that change.
    """

    __slots__ = ("_argv", "_clock", "current", "owed")

    def __init__(self, argv: tuple[str, ...], clock: "Callable[[], float]") -> None:
        self._argv = argv
        self._clock = clock
        self.current: Reload | None = None
        self.owed = False

    def ask(self) -> bool:
        """Whether an attempt is to be begun now; else it is, where there is one, owed."""
        self.owed = self.current is not None
        return bool(self._argv) and not self.owed

    def begin(self) -> None:
        """Begin an attempt.

        Raises:
            OSError: the program can't be started.
        """
        self.owed = False
        self.current = Reload(self._argv, self._clock)

    def ended(self) -> Reload | None:
        """The attempt that was under way, once it is over."""
        done = self.current
        if done is None or not done.finished():
            return None
        self.current = None
        return done

    def close(self) -> None:
        """End what is under way."""
        if self.current is not None:
            self.current.close()
