"""Play a scenario on a real kernel and on the model, and compare."""

import time

import msgspec

from oomkit.agree.compare import compare
from oomkit.agree.records import Agreement
from oomkit.model import play as play_model
from oomkit.real import Place, Played, play, refusals
from oomkit.scenario.format import Scenario
from oomkit.scenario.record import Run

SAMPLE_S = 0.1
"""Distance of the model's samples: that of the real ones."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Both runs and what they were compared to be."""

    agreement: Agreement
    played: Played
    model: Run


def agree_on(file: str, scenario: Scenario, place: Place, *, seed: int = 0) -> Agreement:
    """Compare one scenario; what the real world can't show is told as refused.

    Raises:
        RealError: nothing can be played there, or playing failed.
        ModelError: the model can't play it.
    """
    if reasons := refusals(scenario, place):
        return Agreement(
            file=file, scenario=scenario.name, on=place.world, refused="; ".join(reasons)
        )
    return pair(file, scenario, place, seed=seed).agreement


def pair(file: str, scenario: Scenario, place: Place, *, seed: int = 0) -> Pair:
    """Play a scenario on a real kernel, then on the model with the machine as it was found.

    Raises:
        RealError: it can't be played there, or playing failed.
        ModelError: the model can't play it.
    """
    began = time.perf_counter()
    played = play(scenario, place, seed=seed)
    real_s = time.perf_counter() - began
    began = time.perf_counter()
    model = play_model(played.scenario, seed=seed, sample_s=SAMPLE_S)
    model_s = time.perf_counter() - began
    agreement = compare(file, scenario, played.run, model)
    timed = msgspec.structs.replace(agreement, real_s=round(real_s, 3), model_s=round(model_s, 4))
    return Pair(agreement=timed, played=played, model=model)
