"""Processes of a run: holds that a kill cuts short, and forks where memory is low."""

import random
from typing import Any

from oomkit.model import play
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm
from oomkit.model.tasks import Proc
from oomkit.scenario import Run, scenario_from

HOLD = {"hold": "forever"}


def run(*tasks: dict[str, Any], **rest: Any) -> Run:
    raw = {"name": "n", "duration": "20s", "machine": {"ram": "512M"}, "task": list(tasks), **rest}
    return play(scenario_from(raw), audit=True)


def test_a_process_that_is_killed_while_it_holds_does_not_go_on_when_the_time_is_over() -> None:
    record = run(
        {"name": "holder", "steps": [{"touch": "300M"}, {"hold": "6s"}, {"touch": "10M"}]},
        {"name": "other", "start": "2s", "oom_score_adj": -1000,
         "steps": [{"touch": "300M", "rate": "200M/s"}, HOLD]},
        {"name": "clock", "steps": [{"hold": "9s"}]},
    )  # fmt: skip
    (kill,) = record.kills
    assert (kill.task, kill.t_s < 6.0) == ("holder", True)
    after = [mb for t, mb in zip(record.samples.t_s, record.samples.tasks["holder/0"].rss_mb,
                                 strict=True) if t >= kill.t_s + 1.0]  # fmt: skip
    assert after
    assert set(after) == {0.0}


def test_a_hold_ends_in_time_in_each_round() -> None:
    record = run({
        "name": "round", "loops": 3,
        "steps": [{"touch": "10M"}, {"hold": "2s"}, {"free": "all"}, {"hold": "1s"}],
    })  # fmt: skip
    assert (record.outcome, round(record.ended_s, 1)) == ("completed", 9.0)


def test_a_fork_takes_page_cache_that_can_be_reclaimed_and_fails_without() -> None:
    forker = {"name": "forker", "start": "9s", "steps": [{"fork": 1}, HOLD]}
    cached = run({"name": "reader", "steps": [{"read": "900M"}, HOLD]}, forker)
    assert cached.denied == ()
    assert "forker/1" in cached.samples.tasks
    full = run(
        {"name": "eater", "steps": [{"touch": "900M", "rate": "90M/s"}, HOLD]},
        {"name": "forker", "steps": [{"hold": "9s"}, {"fork": 1}, HOLD]},
        vm={"oom_killer_disabled": 1, "min_free_kbytes": 100},
    )
    assert [(one.call, one.limit) for one in full.denied] == [("fork", "free memory")]
    assert "forker/1" not in full.samples.tasks


def test_processes_are_found_by_id_and_orphans_belong_to_init() -> None:
    """By what a search through all of them would find, after any starts and exits."""
    draw = random.Random(11)
    scenario = scenario_from(
        {"name": "n", "duration": "1s", "machine": {"ram": "1G"},
         "task": [{"name": "t", "steps": [HOLD]}]}
    )  # fmt: skip
    machine = Machine(scenario)
    (spec,) = scenario.tasks
    parents: dict[int, int] = {}
    for pid in range(100, 400):
        alive = list(parents)
        if alive and draw.random() < 0.45:
            gone = draw.choice(alive)
            found = machine.by_pid(gone)
            assert found is not None
            machine.remove_process(found)
            del parents[gone]
            parents = {one: 1 if parent == gone else parent for one, parent in parents.items()}
        parent = draw.choice([1, *parents])
        proc = Proc(spec, pid, pid, parent, Mm(pid, None), (1.0,))
        proc.state = "run"
        proc.mm.users = 1
        machine.add_process(proc)
        parents[pid] = parent
        assert {p.pid: p.ppid for p in machine.procs} == parents
        assert [p.pid for p in machine.procs] == sorted(parents)
        assert {mm.mm_id for mm in machine.mms()} == set(parents)
        assert all(machine.by_pid(p) is not None for p in parents)
    assert machine.by_pid(99) is None
    assert len(set(parents.values())) > 10


def test_an_exit_is_waited_for_where_its_memory_is_charged() -> None:
    scenario = scenario_from({
        "name": "n", "machine": {"ram": "512M"},
        "task": [{"name": "x", "cgroup": "a/b", "steps": [HOLD]},
                 {"name": "y", "steps": [HOLD]}],
        "cgroup": [{"name": "a"}, {"name": "a/b"}, {"name": "c"}],
    })  # fmt: skip
    machine = Machine(scenario)
    inside, outside = (
        Proc(task, 0, pid, 1, Mm(pid, machine.groups.get(task.cgroup or "")), (1.0,))
        for pid, task in enumerate(scenario.tasks, 100)
    )
    machine.procs += [inside, outside]
    places = (None, *(machine.groups[name] for name in ("a", "a/b", "c")))
    for who, pending in (
        ((), [False] * 4), ((outside,), [True, False, False, False]),
        ((inside,), [True, True, True, False]),
    ):  # fmt: skip
        for proc in (inside, outside):
            proc.state = "exiting" if proc in who else "run"
        assert [machine.exit_pending(place) for place in places] == pending
