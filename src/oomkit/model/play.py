"""Play a scenario on the modelled machine."""

from collections.abc import Callable

from oomkit.model.engine import Engine
from oomkit.model.sampler import MAX_REGULAR
from oomkit.policy.records import Policy
from oomkit.records import replace
from oomkit.scenario.format import Scenario
from oomkit.scenario.read import walk_tasks
from oomkit.scenario.record import Kill, Run, objectives


def play(
    scenario: Scenario,
    *,
    policy: Policy | None = None,
    seed: int = 0,
    sample_s: float | None = 1.0,
    most_samples: int = MAX_REGULAR,
    audit: bool = False,
) -> Run:
    """Play a scenario and return its record.

    Args:
        scenario: what to play.
        policy: the policy that guards the machine; None: the kernel is alone.
        seed: moves only what the scenario declares as random (``jitter``, ``spread``).
        sample_s: seconds between two samples; None: adaptive, the smaller the shorter the run is,
            with a sample at each kill, start and exit besides, and at the end of the run.
        most_samples: with an adaptive interval, at most about so many besides those.
        audit: check after every event that the pages of all uses add up to the machine's.

    Raises:
        ModelError: the machine is too small to start, or the steps are too short to
            be played.
        AssertionError: with ``audit``: memory accounting is inconsistent.
    """
    engine = Engine(
        scenario,
        policy=policy,
        seed=seed,
        sample_s=sample_s,
        most_samples=most_samples,
        audit=audit,
    )
    run = _played(engine, scenario, policy)
    return replace(run, log=tuple(engine.oom.log()))


def play_without_log(
    scenario: Scenario, *, policy: Policy | None, seed: int, most_samples: int
) -> tuple[Run, Callable[[], tuple[str, ...]]]:
    """Play a scenario, and leave it to the caller when the kernel's log is written.

    Arguments are those of :func:`play`, which says what is raised; the interval is adaptive.

    Returns:
        The record without its log, and what writes that.
    """
    engine = Engine(
        scenario,
        policy=policy,
        seed=seed,
        sample_s=None,
        most_samples=most_samples,
        audit=False,
    )
    run = _played(engine, scenario, policy)
    return run, lambda: tuple(engine.oom.log())


def _played(engine: Engine, scenario: Scenario, policy: Policy | None) -> Run:
    """The record of a run, without the kernel's log."""
    outcome = engine.run()
    roles = {task.name: task.role for _, task in walk_tasks(scenario.tasks)}
    frozen = engine.prober.freezes(engine.machine.now)
    kills = tuple(engine.lifecycle.kills)

    def innocent(kill: Kill) -> bool:
        role = roles[kill.task]
        if role is not None:
            return role != "culprit"
        return f"{kill.task}/{kill.instance}" in engine.lifecycle.idle_victims

    return Run(
        scenario=scenario.name,
        on="model",
        kernel=scenario.machine.kernel,
        policy=policy.name if policy is not None else None,
        outcome=outcome,
        ended_s=round(engine.machine.now, 6),
        kills=kills,
        denied=tuple(engine.lifecycle.denied),
        frozen=frozen,
        objectives=objectives(
            kills,
            frozen,
            innocent=innocent,
            protected=lambda kill: roles[kill.task] == "protected",
        ),
        log=(),
        samples=engine.sampler.samples(),
        eased=tuple(engine.driver.soft_acts.done) if engine.driver is not None else (),
    )
