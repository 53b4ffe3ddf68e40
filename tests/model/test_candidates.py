"""What a policy is told about the processes of a run."""

from typing import Any

from oomkit.model.candidates import candidates, memory_key, sizes, tmpfs_key
from oomkit.model.engine import Engine
from oomkit.policy.engine.candidate import Growth
from oomkit.scenario import scenario_from


def test_growth_of_memory_and_of_what_was_written_to_tmpfs_are_separate() -> None:
    hold = {"hold": "forever"}
    tasks: list[dict[str, Any]] = [
        {"name": "writer", "steps": [{"touch": "8M"}, {"tmpfs": "64M"}, hold]},
        {"name": "grower", "steps": [{"touch": "32M"}, hold]},
    ]
    raw = {"name": "n", "duration": "9s", "machine": {"ram": "512M"}, "task": tasks}
    engine = Engine(scenario_from(raw), seed=0, sample_s=1.0)
    engine.run()
    writer, grower = engine.machine.procs
    noted = sizes(engine.machine)
    assert {key: round(kb) for key, kb in noted.items()} == {
        memory_key(writer): 8 * 1024,
        tmpfs_key(writer): 64 * 1024,
        memory_key(grower): 32 * 1024,
    }
    growth = Growth(10.0)
    growth.note(0.0, 0.0, {**noted, memory_key(writer): 0.0, tmpfs_key(writer): 0.0})
    found = {c.comm: c for c in candidates(engine.machine, growth, with_scores=False)}
    assert round(found["writer"].growth_kb or 0) == 8 * 1024
    assert round(found["writer"].tmpfs_growth_kb or 0) == 64 * 1024
    assert (found["grower"].growth_kb, found["grower"].tmpfs_growth_kb) == (0.0, 0.0)
