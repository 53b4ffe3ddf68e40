"""Every scenario of the repository plays, and shows what its comment says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.model import play
from oomkit.scenario import Run, read_scenario

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))


def victims(record: Run) -> list[str]:
    return [kill.task for kill in record.kills]


SHOWS: dict[str, Callable[[Run], bool]] = {
    "all-protected": lambda r: r.outcome == "panicked" and not r.kills,
    "browser-tabs": lambda r: set(victims(r)) == {"tab"} and not r.objectives.protected_killed,
    "compile": lambda r: r.outcome == "completed" and bool(r.kills),
    "container-at-limit": lambda r: victims(r) == ["worker"] and min(r.samples.free_mb) > 2000,
    "database-and-leak": lambda r: (
        victims(r)[0] == "postgres" and r.objectives.protected_killed == 1
    ),
    "desktop-freeze": lambda r: r.frozen[0].from_s < r.kills[0].t_s and victims(r) == ["leak"],
    "fork-bomb": lambda r: victims(r).count("bomb") > 3 and "sshd" not in victims(r),
    "leak-among-innocents": lambda r: victims(r) == ["leak"],
    "oom-group": lambda r: sorted(victims(r)) == ["main", "sidecar", "sidecar"],
    "overcommit-2": lambda r: not r.kills and [d.task for d in r.denied] == ["batch"],
    "page-tables": lambda r: victims(r)[0] == "sparse",
    "redis-fork": lambda r: not r.kills and [d.call for d in r.denied] == ["fork"],
    "swap-thrash": lambda r: not r.kills and max(r.samples.psi_some_avg10) > 80,
    "tmpfs-filler": lambda r: victims(r)[:3] == ["app"] * 3 and r.objectives.innocents_killed == 3,
}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_plays_and_shows_what_it_says(path: Path) -> None:
    record = play(read_scenario(str(path)), audit=True)
    assert record.samples.t_s
    shows = SHOWS.get(path.stem)
    if shows is not None:
        assert shows(record)


def test_redis_saves_when_overcommit_is_allowed() -> None:
    path = next(p for p in SCENARIOS if p.stem == "redis-fork")
    record = play(read_scenario(str(path), overrides=["vm.overcommit_memory=1"]), audit=True)
    assert not record.denied
    assert "redis/1" in record.samples.tasks


def test_a_raised_adjustment_sends_the_leak_first() -> None:
    path = next(p for p in SCENARIOS if p.stem == "database-and-leak")
    record = play(read_scenario(str(path), overrides=["task.postgres.oom_score_adj=-900"]))
    assert victims(record)[0] == "leak"


def test_old_kernels_do_not_see_page_tables() -> None:
    path = next(p for p in SCENARIOS if p.stem == "page-tables")
    record = play(read_scenario(str(path), overrides=["machine.kernel=2.6.38"]))
    assert victims(record)[0] != "sparse"
