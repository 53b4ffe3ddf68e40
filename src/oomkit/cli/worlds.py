"""Where ``oomkit run`` plays: the model, a memory cgroup of this host, a kernel in QEMU."""

import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from oomkit.cli.common import fail
from oomkit.cli.progress import progress
from oomkit.cli.streams import say

if TYPE_CHECKING:
    from oomkit.agree import Pair
    from oomkit.policy.records import Policy
    from oomkit.scenario import Run, Scenario


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and what the views need to know besides.

    Attributes:
        run: the record.
        total_mb: MemTotal of the machine it ran on.
    """

    run: "Run"
    total_mb: float


class World(ABC):
    """Reads scenarios for a world and plays them there; trouble ends the command."""

    @abstractmethod
    def read(self, path: str, overrides: tuple[str, ...]) -> "Scenario":
        """Read a scenario as this world will play it."""

    @abstractmethod
    def check(self, path: str, scenario: "Scenario") -> None:
        """End the command if this world can't show the scenario."""

    @abstractmethod
    def play(
        self,
        path: str,
        scenario: "Scenario",
        policy: "Policy | None" = None,
        *,
        every_s: float | None = None,
    ) -> Shown:
        """Play it, guarded by a policy or by the kernel alone.

        Args:
            path: its file.
            scenario: what it says.
            policy: what guards the machine; the model alone takes one.
            every_s: distance of the model's samples; None: the default, whatever is
                shown of the run. Real worlds take them at 10 Hz.
        """


def world(on: str, kernel: str | None, *, seed: int, guard: str | None = None) -> World:
    """Return the world of a name.

    Args:
        on: ``model``, ``cgroup`` or ``qemu``.
        kernel: what ``--kernel`` says.
        seed: moves only what a scenario declares as random.
        guard: what ``--guard`` says.
    """
    if guard is not None and on != "qemu":
        fail("--guard needs --on qemu: a daemon acts on a whole machine")
    if on == "model":
        return _Model(kernel, seed)
    return real_world(on, kernel, seed=seed, guard=guard)


def real_world(on: str, kernel: str | None, *, seed: int, guard: str | None = None) -> "Real":
    """Return the real world of a name: ``cgroup`` or ``qemu``."""
    if on == "cgroup" and kernel is not None:
        fail("--kernel and --on cgroup don't go together: the kernel is this host's")
    return Real(cast("Literal['cgroup', 'qemu']", on), kernel, seed, guard)


def read(path: str, overrides: tuple[str, ...]) -> "Scenario":
    """Read a scenario, or end with a line for each fault in it."""
    from oomkit.scenario import ScenarioError, read_scenario

    try:
        return read_scenario(path, overrides=overrides)
    except ScenarioError as error:
        for line in error.lines():
            say(f"oomkit: {line}")
        sys.exit(2)


class _Model(World):
    def __init__(self, kernel: str | None, seed: int) -> None:
        self.kernel = kernel
        self.seed = seed

    def read(self, path: str, overrides: tuple[str, ...]) -> "Scenario":
        if self.kernel is not None:
            overrides = (*overrides, f"machine.kernel={self.kernel}")
        return read(path, overrides)

    def check(self, path: str, scenario: "Scenario") -> None:
        """The model plays whatever the format can say."""

    def play(
        self,
        path: str,
        scenario: "Scenario",
        policy: "Policy | None" = None,
        *,
        every_s: float | None = None,
    ) -> Shown:
        from oomkit.model import ModelError, play
        from oomkit.model.machine import Machine

        began = time.monotonic()
        try:
            with progress(lambda: f"the model plays {path!r}: {time.monotonic() - began:.0f} s"):
                run = play(scenario, policy=policy, seed=self.seed, sample_s=every_s)
        except ModelError as error:
            fail(f"{path}: {error}")
        return Shown(run=run, total_mb=Machine(scenario).total / 256)


class Real(World):
    """A real kernel: this host's, or one that is booted."""

    def __init__(
        self, on: Literal["cgroup", "qemu"], kernel: str | None, seed: int, guard: str | None
    ) -> None:
        from oomkit.real import Place

        self.place: Place = Place(world=on, kernel=kernel, guard=guard)
        self.seed = seed

    def read(self, path: str, overrides: tuple[str, ...]) -> "Scenario":
        """Read a scenario with the rules of the kernel that will play it."""
        from oomkit.real import RealError, kernel_for

        try:
            release = kernel_for(read(path, overrides), self.place)
        except RealError as error:
            fail(f"{path}: {error}")
        return read(path, (*overrides, f"machine.kernel={release}"))

    def check(self, path: str, scenario: "Scenario") -> None:
        """End the command if this kernel can't show the scenario."""
        from oomkit.real import RealError, refusals

        try:
            reasons = refusals(scenario, self.place)
        except RealError as error:
            fail(f"{path}: {error}")
        if reasons:
            fail(f"{path}: can't be played on {self.place.world}: {'; '.join(reasons)}")

    def play(
        self,
        path: str,
        scenario: "Scenario",
        policy: "Policy | None" = None,
        *,
        every_s: float | None = None,
    ) -> Shown:
        """Play it with real processes; a policy guards only the model."""
        from oomkit.real import play

        with self._reported(path, scenario):
            played = play(scenario, self.place, seed=self.seed)
        return Shown(run=played.run, total_mb=played.total_mb)

    def pair(self, path: str, scenario: "Scenario") -> "Pair":
        """Play it here and on the model."""
        from oomkit.agree import pair
        from oomkit.model import ModelError

        with self._reported(path, scenario):
            try:
                return pair(path, scenario, self.place, seed=self.seed)
            except ModelError as error:
                fail(f"{path}: {error}")

    @contextmanager
    def _reported(self, path: str, scenario: "Scenario") -> Iterator[None]:
        """Show how long it takes; trouble ends the command, as a signal does, with clean-up."""
        from oomkit.real import RealError

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _: sys.exit(128 + got))
        began = time.monotonic()

        def line() -> str:
            passed = time.monotonic() - began
            return (f"{self.place.world} plays {path!r}: {passed:.0f} s, the run takes "
                    f"{scenario.duration_s:g} s at most")  # fmt: skip

        try:
            with progress(line):
                yield
        except RealError as error:
            fail(f"{path}: {error}")
        except OSError as error:
            fail(f"{path}: {error.filename or self.place.world}: {error.strerror or error}")
