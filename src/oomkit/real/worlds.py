"""The real worlds by name."""

from typing import Literal

import msgspec

from oomkit.real import cgroup, kernels, qemu
from oomkit.real.companions import companion_of
from oomkit.real.errors import RealError
from oomkit.real.run_record import Played
from oomkit.scenario.format import Scenario

World = Literal["cgroup", "qemu"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where scenarios are to be played.

    Attributes:
        world: a memory cgroup of this host, or a booted kernel.
        kernel: which kernel to boot, as :func:`oomkit.real.kernels.find` takes it; None: what
            suits each scenario.
        guard: which user-space OOM killer to take along into the guest, as
            :func:`oomkit.real.companions.companion_of` takes it, and have reactions measured; None:
            none, and nothing is measured.
    """

    world: World
    kernel: str | None = None
    guard: str | None = None


def why_not(scenario: Scenario, place: Place) -> str:
    """Why no scenario at all can be played there; empty if some can.

    Args:
        scenario: names the kernel where the place does not.
        place: where.
    """
    try:
        if place.world == "cgroup":
            cgroup.host_facts()
            return ""
        kernels.find(place.kernel, scenario.machine.kernel)
    except RealError as error:
        return str(error)
    return qemu.why_not()


def kernel_for(scenario: Scenario, place: Place) -> str:
    """Release of the kernel that will play a scenario.

    Raises:
        RealError: there is none.
    """
    if place.world == "cgroup":
        return cgroup.host_facts()[0].release
    return kernels.find(place.kernel, scenario.machine.kernel).release


def refusals(scenario: Scenario, place: Place) -> list[str]:
    """Why a scenario can't be played there; empty if it can.

    Raises:
        RealError: nothing at all can be played there.
    """
    if place.world == "cgroup":
        cgroup.host_facts()
        return cgroup.refusals(scenario)
    if place.guard is not None:
        companion_of(place.guard, scenario)
    return qemu.refusals(scenario, kernels.find(place.kernel, scenario.machine.kernel))


def play(scenario: Scenario, place: Place, *, seed: int = 0) -> Played:
    """Play a scenario with real processes on a real kernel.

    Args:
        scenario: what to play.
        place: where.
        seed: moves only what the scenario declares as random.

    Raises:
        RealError: it can't be played there, or what plays it failed.
    """
    if place.world == "cgroup":
        return cgroup.play(scenario, seed=seed)
    kernel = kernels.find(place.kernel, scenario.machine.kernel)
    companion = companion_of(place.guard, scenario) if place.guard is not None else None
    beats = place.guard is not None
    return qemu.play(scenario, kernel, seed=seed, companion=companion, beats=beats)
