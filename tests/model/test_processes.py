"""Processes of a run: holds that a kill cuts short, and forks where memory is low."""

import random
from typing import Any

import pytest

from oomkit.model import play
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.scenario import Run, scenario_from
from oomkit.scenario.draws import Drawn
from oomkit.scenario.format import Step, Task
from tests.model.test_address_spaces import holding
from tests.model.test_horizon import machine

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
        proc = Proc(spec, pid, pid, parent, Mm(pid, None), Drawn(0.0, (1.0,), ()))
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
        Proc(
            task, 0, pid, 1, Mm(pid, machine.groups.get(task.cgroup or "")), Drawn(0.0, (1.0,), ())
        )
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


# Starts, exits and records, on a machine made for one question


class Stage:
    """A machine with processes that come and go, and what was told of them."""

    def __init__(self, *cgroups: dict[str, Any], **values: Any) -> None:
        self.on = machine(*cgroups, **values)
        self.timers = Timers()
        self.started: list[str] = []
        self.gone: list[str] = []
        self.kills = 0
        self.lifecycle = Lifecycle(
            self.on, self.timers, random.Random(1),
            on_start=lambda proc: self.started.append(proc.key), on_kill=self._kill,
            on_exit=lambda proc: self.gone.append(proc.key),
        )  # fmt: skip

    def _kill(self) -> None:
        self.kills += 1

    def at(self, now: float) -> None:
        self.on.now = now
        self.timers.run_due(now)

    def start(self, **spec: Any) -> Proc:
        """Start a process at once."""
        spec.setdefault("steps", (FOR_EVER,))
        self.lifecycle.schedule(Task(**{"name": "t", **spec}), self.on.now)
        self.at(self.on.now)
        return self.on.procs[-1]


FOR_EVER = Step(verb="hold")


def test_when_the_processes_of_an_entry_start() -> None:
    stage = Stage()
    stage.lifecycle.schedule(Task(name="t", count=3, start_s=1.0, every_s=2.0, steps=(FOR_EVER,)),
                             10.0)  # fmt: skip
    assert stage.lifecycle.pending_starts == 3
    for now, count in ((10.9, 0), (11.0, 1), (12.9, 1), (13.0, 2), (14.9, 2), (15.0, 3)):
        stage.at(now)
        assert (len(stage.started), stage.lifecycle.pending_starts) == (count, 3 - count)
    assert stage.started == ["t/0", "t/1", "t/2"]
    assert [(proc.pid, proc.start_s) for proc in stage.on.procs] == [
        (100, 11.0), (101, 13.0), (102, 15.0)
    ]  # fmt: skip


def test_a_start_that_is_drawn_is_late_by_no_more_than_is_declared() -> None:
    stage = Stage()
    stage.lifecycle.schedule(Task(name="t", count=50, jitter_s=4.0, steps=(FOR_EVER,)), 10.0)
    stage.at(14.0)
    starts = [proc.start_s for proc in stage.on.procs]
    assert len(starts) == 50
    stage = Stage()
    stage.lifecycle.schedule(Task(name="t", count=50, jitter_s=4.0, steps=(FOR_EVER,)), 10.0)
    stage.at(12.0)
    assert 10 < len(stage.on.procs) < 40


def test_a_start_waits_for_memory_to_the_page() -> None:
    """What zones keep less half the least mark, 64 pages, 10 tables and 6 of the kernel's."""
    stage = Stage()
    marks = stage.on.watermarks
    spared = min(marks.floor_pages - marks.min_pages / 2.0, stage.on.total / 64.0)
    needed = spared + 64 + 10 + 6
    stage.on.free = needed - 1.0
    stage.lifecycle.schedule(Task(name="t", steps=(FOR_EVER,)), 0.0)
    stage.at(0.0)
    assert (stage.started, stage.lifecycle.pending_starts) == ([], 1)
    assert len(stage.lifecycle.waiting_starts) == 1
    stage.lifecycle.retry_starts()
    assert (stage.started, len(stage.lifecycle.waiting_starts)) == ([], 1)
    stage.on.free = needed
    stage.lifecycle.retry_starts()
    assert (stage.started, stage.lifecycle.pending_starts) == (["t/0"], 0)
    assert stage.lifecycle.waiting_starts == []
    assert stage.on.free == needed - 16


def test_in_an_evicted_cgroup_nothing_starts_and_its_files_go_with_its_last_process() -> None:
    """As the kubelet removes a pod with its volumes in memory."""
    stage = Stage({"name": "pod"}, {"name": "pod/c"}, {"name": "other"})
    one, two = (stage.start(name=name, cgroup="pod/c") for name in ("one", "two"))
    files = {name: stage.on.tmpfs_of(stage.on.groups[name]) for name in ("pod", "pod/c", "other")}
    for pool in files.values():
        pool.resident, pool.swapped, pool.charged = 100.0, 20.0, 150.0
    stage.on.committed = 1000.0
    stage.lifecycle.evict(stage.on.groups["pod"])
    stage.lifecycle.schedule(Task(name="late", cgroup="pod/c", steps=(FOR_EVER,)), 0.0)
    stage.lifecycle.schedule(Task(name="beside", cgroup="other", steps=(FOR_EVER,)), 0.0)
    stage.at(0.0)
    assert stage.started == ["one/0", "two/0", "beside/0"]
    assert stage.lifecycle.pending_starts == 0
    stage.lifecycle.exit(one)
    stage.at(1.0)
    assert (stage.gone, files["pod"].resident) == (["one/0"], 100.0)
    free = stage.on.free
    stage.lifecycle.exit(two)
    stage.at(2.0)
    assert [files[name].resident for name in files] == [0.0, 0.0, 100.0]
    assert [files[name].swapped for name in files] == [0.0, 0.0, 20.0]
    assert stage.on.committed == 1000.0 - 2 * 150.0
    assert stage.on.free == free + 200.0 + 10 + 6


def test_an_address_space_is_shared_with_one_that_is_there() -> None:
    stage = Stage()
    main = stage.start(name="main")
    peer = stage.start(name="peer", shares_mm_with="main")
    assert peer.mm is main.mm
    assert main.mm.users == 2
    for proc in (main, peer):
        stage.lifecycle.exit(proc)
    stage.at(1.0)
    alone = stage.start(name="peer", shares_mm_with="main")
    assert alone.mm is not main.mm
    assert (alone.instance, alone.mm.users) == (1, 1)


@pytest.mark.parametrize(("killed", "delay_s"), [(False, 0.0), (True, 0.005)])
def test_an_exit_takes_as_long_as_there_is_to_unmap(killed: bool, delay_s: float) -> None:
    """An eighth of what faulting it in took; 5 ms from a fatal signal to the first page."""
    stage = Stage()
    proc = holding(stage.start(), 8000.0)
    proc.mm.shmem.resident, proc.mm.locked = 500.0, 90.0
    proc.spinning = proc.asleep = True
    stage.lifecycle.exit(proc, killed=killed)
    assert (proc.state, proc.killed, proc.spinning, proc.asleep) == (
        "exiting", killed, False, False,
    )  # fmt: skip
    takes = delay_s + 8600.0 / (8.0 * stage.on.fault_pages_s)
    assert proc.end_s == pytest.approx(takes)
    stage.lifecycle.exit(proc)
    assert proc.end_s == pytest.approx(takes), "it is exiting already"
    stage.at(takes - 1e-6)
    assert stage.gone == []
    free = stage.on.free
    stage.at(takes + 1e-6)
    assert (stage.gone, proc.state, proc.killed) == (["t/0"], "dead", False)
    assert stage.on.free == free + 8600.0 + 6
    assert stage.on.by_pid(100) is None


def test_a_process_that_is_to_be_restarted_is_after_that_time() -> None:
    stage = Stage()
    proc = stage.start(restart_s=2.0)
    stage.lifecycle.exit(proc)
    stage.at(1.0)
    assert stage.lifecycle.pending_starts == 1
    stage.at(2.9)
    assert stage.started == ["t/0"]
    stage.at(3.0)
    assert (stage.started, stage.lifecycle.pending_starts) == (["t/0", "t/1"], 0)


def test_what_is_recorded_of_a_kill() -> None:
    stage = Stage()
    idle = stage.start(name="idle", oom_score_adj=5)
    grows = stage.start(name="grows", steps=(Step(verb="touch", size_bytes=1 << 30),))
    stage.on.now, idle.cpu_s = 1.25, 0.12345
    for proc, would_have in ((idle, True), (idle, False), (grows, False)):
        stage.lifecycle.kill(
            proc, by="kernel", freed_pages=640.0, trace=("why",), badness=7,
            tied_with=("x/0",), would_have=would_have,
        )  # fmt: skip
    first, second, third = stage.lifecycle.kills
    assert (first.would_have, second.would_have, third.would_have) == (True, False, False)
    assert (first.task, first.instance, first.pid, first.by) == ("idle", 0, 100, "kernel")
    assert (first.t_s, first.badness, first.oom_score_adj, first.freed_mb) == (1.25, 7, 5, 2.5)
    assert (first.work_lost_s, first.trace, first.tied_with) == (0.123, ("why",), ("x/0",))
    assert stage.lifecycle.idle_victims == {"idle/0"}
    assert stage.kills == 3
    assert (idle.state, grows.state) == ("exiting", "exiting")


@pytest.mark.parametrize(("ended_s", "low_s", "growing"), [
    (None, None, False), (30.0, None, True), (20.0, None, True), (19.9, None, False),
    (18.0, 28.0, True), (17.9, 28.0, False),
])  # fmt: skip
def test_who_took_memory_shortly_before_it_ran_low_was_growing(
    ended_s: float | None, low_s: float | None, growing: bool
) -> None:
    """Within ten seconds before memory ran low, or before now."""
    stage = Stage()
    proc = stage.start()
    stage.on.now, stage.on.low_since_s, proc.last_growth_s = 30.0, low_s, ended_s
    assert stage.on.was_growing(proc) is growing


def test_a_child_goes_on_where_its_parent_is() -> None:
    stage = Stage()
    fork = Step(verb="fork", count=2)
    parent = stage.start(
        oom_score_adj=3, loops=4, steps=(Step(verb="touch", size_bytes=4096), fork, FOR_EVER)
    )
    parent.mm.charged, stage.on.committed, parent.oom_score_adj = 50.0, 50.0, 9
    parent.loop = 2
    stage.lifecycle.finish_step(parent)
    stage.lifecycle.start_forked()
    assert stage.started == ["t/0", "t/1", "t/2"]
    assert [(p.ppid, p.oom_score_adj, p.loop, p.step) for p in stage.on.procs[1:]] == [
        (100, 9, 2, 2), (100, 9, 2, 2)
    ]  # fmt: skip
    assert [proc.mm.charged for proc in stage.on.procs] == [50.0, 50.0, 50.0]
    assert stage.on.committed == 150.0
    assert all(proc.state == "hold" for proc in stage.on.procs)
    assert stage.on.procs[1].done_s == parent.done_s - parent.nominal[1]


def test_a_fork_that_is_not_to_be_charged_is_refused() -> None:
    """Of RAM and swap 135,072 pages; the second child would be one too much."""
    stage = Stage(vm={"overcommit_memory": 2, "overcommit_ratio": 100})
    fork = Step(verb="fork", count=2)
    parent = stage.start(uid=0, steps=(Step(verb="touch", size_bytes=4096), fork, FOR_EVER))
    parent.mm.charged = stage.on.committed = 50_000.0
    stage.lifecycle.finish_step(parent)
    assert stage.started == ["t/0", "t/1"]
    (denied,) = stage.lifecycle.denied
    assert (denied.call, denied.limit, denied.mb) == ("fork", "CommitLimit 528 MiB", 195.312)
    assert (parent.state, stage.on.committed) == ("hold", 100_000.0)


def test_a_call_that_fails_ends_its_process() -> None:
    stage = Stage()
    proc = stage.start(steps=(Step(verb="reserve", size_bytes=1 << 40), FOR_EVER))
    (denied,) = stage.lifecycle.denied
    assert (denied.task, denied.call, denied.mb, denied.t_s) == ("t", "mmap", 1048576.0, 0.0)
    assert proc.state == "exiting"
    assert proc.mm.reserved == 0.0


def test_reserved_address_space_is_mapped_and_touched_later() -> None:
    stage = Stage()
    proc = stage.start(steps=(Step(verb="reserve", size_bytes=40960), FOR_EVER))
    assert (proc.mm.reserved, proc.mm.mapped, proc.mm.charged) == (10.0, 910.0, 10.0)
    assert (proc.state, proc.step) == ("hold", 1)


@pytest.mark.parametrize(("loops", "steps", "rounds"), [
    (1, 1, 1), (3, 1, 3), (1, 0, 1),
])  # fmt: skip
def test_steps_that_take_no_time_are_gone_through_at_once(
    loops: int, steps: int, rounds: int
) -> None:
    stage = Stage()
    proc = stage.start(loops=loops, steps=(Step(verb="free"),) * steps)
    assert (proc.state, proc.loop) == ("exiting", rounds)


@pytest.mark.parametrize(("kernel", "step", "anon", "shmem"), [
    # 3 threads, 100 pages each: up to 6.1 34 of each wait in its counter, from 6.2 on 4.
    ("6.1", Step(verb="touch", size_bytes=300 * 4096, scatter=3), 102, 0),
    ("6.18", Step(verb="touch", size_bytes=300 * 4096, scatter=3), 8, 0),
    ("6.18", Step(verb="share", size_bytes=300 * 4096, scatter=3), 0, 8),
    ("7.3", Step(verb="touch", size_bytes=300 * 4096, scatter=3), 0, 0),
    ("6.18", Step(verb="touch", size_bytes=300 * 4096), 0, 0),
])  # fmt: skip
def test_pages_that_threads_touched_wait_to_be_counted(
    kernel: str, step: Step, anon: int, shmem: int
) -> None:
    """On the machine's two CPUs at most two counters hold some."""
    stage = Stage(kernel=kernel)
    proc = stage.start(steps=(step, FOR_EVER))
    stage.lifecycle.finish_step(proc)
    assert (proc.mm.uncounted_anon, proc.mm.uncounted_shmem) == (anon, shmem)
    assert proc.last_growth_s == 0.0
