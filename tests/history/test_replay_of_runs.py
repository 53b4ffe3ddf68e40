"""A modelled run under a policy, recorded and replayed: the policy decides the same again."""

from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.history.recording import Recording, read_recording
from oomkit.history.replay import replay
from oomkit.model import play
from oomkit.model.candidates import candidates
from oomkit.model.machine import Machine
from oomkit.model.policy_driver import PolicyDriver
from oomkit.policy.engine.decider import Assessment, Decider
from oomkit.policy.engine.reading import Reading
from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy
from oomkit.scenario import Run, read_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def recorded(
    name: str, policy: Policy, path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Run, Recording]:
    """Play a scenario, and record what the guard of the model looks at."""
    machines: list[Machine] = []
    ring = FlightRecorder(str(path), 1 << 22, wall=lambda: 1e9)
    begin, look = PolicyDriver.__init__, Decider.look

    def begin_recorded(driver: PolicyDriver, machine: Machine, *rest: Any) -> None:
        machines.append(machine)
        begin(driver, machine, *rest)

    def look_recorded(decider: Decider, reading: Reading) -> Assessment:
        tasks: list[Any] = candidates(machines[-1], decider.growth, with_scores=False)
        ring.sample(reading, tasks)
        return look(decider, reading)

    monkeypatch.setattr(PolicyDriver, "__init__", begin_recorded)
    monkeypatch.setattr(Decider, "look", look_recorded)
    run = play(read_scenario(str(SCENARIOS / f"{name}.toml")), policy=policy)
    monkeypatch.undo()
    ring.close()
    return run, read_recording(str(path))


@pytest.mark.parametrize("policy", ["default", "earlyoom", "nohang"])
@pytest.mark.parametrize(
    "name", ["database-and-leak", "leak-among-innocents", "swap-thrash", "browser-tabs"]
)
def test_the_first_victim_and_its_time_are_the_same(
    name: str, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_policy(policy)
    run, recording = recorded(name, found, tmp_path / "r", monkeypatch)
    played = replay(recording, found)
    kills = [kill for kill in run.kills if kill.by == policy]
    if not kills:
        assert (name, played.would_kill) == ("swap-thrash", ())
        return
    would = played.would_kill[0]
    # Of a dozen tabs of the same size another one may come first: sizes are recorded roughly.
    assert would.act["victim"]["comm"] == kills[0].task
    assert would.t_s == pytest.approx(kills[0].t_s, abs=0.2)
    if name != "browser-tabs":
        assert would.pids[0] == kills[0].pid
