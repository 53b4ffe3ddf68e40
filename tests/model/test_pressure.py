"""PSI's some and full from what threads do on their CPUs, worked out by hand."""

import pytest

from oomkit.kernel.versions import rules_for
from oomkit.model import play
from oomkit.model.demand import Demand
from oomkit.model.domains import Domain
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm
from oomkit.model.pressure import Cpus, Thread, busy_cpus, pressure, pressure_in
from oomkit.model.tasks import Proc
from oomkit.scenario import scenario_from
from oomkit.scenario.draws import Drawn
from oomkit.scenario.format import Step, Task
from tests.model.test_horizon import machine


def thread(
    cpu: int = 0, works: float = 0.0, *, asleep: float = 0.0, reclaims: float = 0.0,
    waiting: float = 0.0, io: float = 0.0, proc: Proc | None = None,
) -> tuple[int, Thread]:  # fmt: skip
    """A thread, behind the number of its CPU."""
    made = Thread(proc, works=works, reclaims=reclaims)
    made.asleep, made.stalled, made.waits_io = asleep, asleep + waiting, io
    return cpu, made


def placed(threads: list[tuple[int, Thread]]) -> list[Cpus]:
    numbers = {cpu for cpu, _ in threads}
    return [Cpus(1, [one for at, one in threads if at == cpu]) for cpu in sorted(numbers)]


def threads_of(machine: Machine, demands: list[Demand], queue: float) -> list[Thread]:
    """What runs on all CPUs, kswapd last."""
    busy = busy_cpus(machine, demands, queue)
    found = [one for cpus in busy for one in cpus.threads for _ in range(cpus.count)]
    return sorted(found, key=lambda one: one.proc is None)


@pytest.mark.parametrize(("threads", "some", "full"), [
    ([], 0.0, 0.0),
    ([thread(works=1.0)], 0.0, 0.0),
    # Alone on its CPU: whenever it waits, nothing else could run.
    ([thread(asleep=0.5)], 0.5, 0.5),
    ([thread(works=0.5, asleep=0.5)], 0.5, 0.5),
    # A quarter of the time both wait, half of it one: 1 - 0.5 * 0.5.
    ([thread(asleep=0.5), thread(asleep=0.5)], 0.75, 0.75),
    # Beside one that works half of the time, and beside one that always does.
    ([thread(asleep=0.5), thread(works=0.5)], 0.5, 0.25),
    ([thread(works=1.0), thread(asleep=0.95, works=0.05)], 0.95, 0.0),
    # On a CPU of its own: 0 there, 0.95 here, and both CPUs are always busy.
    ([thread(0, 1.0), thread(1, 0.05, asleep=0.95)], 0.475, 0.475),
    # A CPU that is busy a quarter of the time counts a quarter: (1 * 1 + 0 * 0.25) / 1.25.
    ([thread(0, asleep=1.0), thread(1, 0.25)], 0.8, 0.8),
    # So does one that waits for a disk: (1 * 1 + 0 * 1) / 2.
    ([thread(0, asleep=1.0), thread(1, 0.25, io=0.75)], 0.5, 0.5),
    # While it reclaims nothing else could run, though one is ready.
    ([thread(works=1.0), thread(reclaims=0.5, waiting=0.5)], 1.0, 0.5),
    # 0.3 reclaimed, and of the other 0.7 asleep while the other does not work: 0.2 * 0.6.
    ([thread(works=0.4), thread(reclaims=0.3, asleep=0.2, works=0.5)], 0.5, 0.3 + 0.2 * 0.6),
])  # fmt: skip
def test_some_waits_and_nothing_else_could_run(
    threads: list[tuple[int, Thread]], some: float, full: float
) -> None:
    assert pressure(placed(threads), counts_reclaimers=True) == pytest.approx((some, full))
    assert pressure(placed(threads), counts_reclaimers=False) == pytest.approx((some, full))


def test_alike_cpus_count_as_many_as_they_are() -> None:
    """Three that stall half of the time, and one that works: 3 * 0.5 / (3 * 0.5 + 1)."""
    (_, waits), (_, works) = thread(asleep=0.5), thread(works=1.0)
    cpus = [Cpus(3, [waits]), Cpus(1, [works])]
    assert pressure(cpus, counts_reclaimers=True) == pytest.approx((0.75 / 2.5, 0.75 / 2.5))


@pytest.mark.parametrize(("counts", "full"), [(True, 1.0), (False, 0.25)])
def test_who_reclaims_but_waits_for_its_cpu_could_not_work(counts: bool, full: float) -> None:
    """A cgroup's thread has the CPU for a quarter of the time; others have it for the rest."""
    group = Machine(scenario_from({
        "name": "n", "machine": {"ram": "512M"}, "cgroup": [{"name": "g"}],
        "task": [{"name": "t", "steps": [{"hold": "forever"}]}],
    })).groups["g"]  # fmt: skip
    inside = Proc(Task(name="x", steps=()), 1, 100, 1, Mm(1, group), Drawn(0.0, (), ()))
    outside = Proc(Task(name="y", steps=()), 2, 101, 1, Mm(2, None), Drawn(0.0, (), ()))
    threads = [
        thread(reclaims=0.25, waiting=0.75, proc=inside), thread(works=1.0, proc=outside),
        thread(reclaims=0.5),
    ]  # fmt: skip
    assert pressure_in(placed(threads), group, counts_reclaimers=counts) == pytest.approx(
        (1.0, full)
    )


@pytest.mark.parametrize(("kernel", "full"), [
    ("5.10", "none_runs"), ("5.15.54", "none_runs"), ("5.15.55", "all_stalled"),
    ("5.16", "none_runs"), ("5.17", "all_stalled"), ("6.12", "all_stalled"),
    ("7.3", "all_stalled"),
])  # fmt: skip
def test_since_when_reclaimers_are_told_from_those_that_work(kernel: str, full: str) -> None:
    assert rules_for(kernel).psi_full == full


def demand(
    on: Machine, *, cpus: float, kernel: float = 0.0, stall: float = 0.0, **more: float
) -> Demand:
    spec = Task(name="x", threads=int(more.pop("threads", 1)), steps=(Step(verb="work"),))
    made = Demand(Proc(spec, 1, 100, 1, Mm(1, None), Drawn(0.0, (), ())))
    made.domain = Domain(None, on.pools())
    made.cpus, made.kernel_cpus, made.stall = cpus, kernel, stall
    made.speed = made.cpu_share = 1.0
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_threads_go_where_least_runs() -> None:
    """1.0 to one CPU; 0.6 and 0.5 to the other; the sleeper beside the 1.0, which is less."""
    on = machine(cpus=2)
    wants = [
        demand(on, cpus=0.5), demand(on, cpus=1.0), demand(on, cpus=0.6),
        demand(on, cpus=0.0, stall=0.9),
    ]  # fmt: skip
    busy = busy_cpus(on, wants, 1.0)
    found = [[(one.works, one.asleep) for one in cpus.threads] for cpus in busy]
    assert sorted(found) == [[(0.6, 0.0), (0.5, 0.0)], [(1.0, 0.0), (0.0, 0.9)]]
    assert busy_cpus(on, wants[:3], 1.0) == [], "nothing waits"
    (both,) = busy_cpus(on, [demand(on, cpus=2.0, stall=0.1, speed=0.9, threads=3)], 1.0)
    assert (both.count, [one.works for one in both.threads]) == (2, [0.9])


def test_many_cpus_cost_no_more_than_few() -> None:
    """A thread for each of 8192 CPUs, of a hundred tasks; one more makes one CPU another."""
    on = machine(cpus=8192)
    many = [demand(on, cpus=8192.0, stall=0.1, speed=0.9, threads=8192) for _ in range(100)]
    busy = busy_cpus(on, [*many, demand(on, cpus=0.5)], 1.0)
    assert sorted((one.count, len(one.threads)) for one in busy) == [(1, 101), (8191, 100)]


def test_kswapd_reclaims_for_the_machine_as_much_as_one_cpu_can() -> None:
    on = machine(cpus=2)
    own, kswapd = threads_of(on, [demand(on, cpus=0.5, kernel=0.25)], 1.0)
    assert (own.works, own.reclaims, own.stalled) == (0.5, 0.0, 0.0)
    assert (kswapd.proc, kswapd.reclaims, kswapd.stalled) == (None, 0.25, 0.0)
    # 2.0 at half the speed are one CPU's; of 2.5 it leaves a fifth to the task.
    wants = demand(on, cpus=0.1, kernel=2.5, speed=0.5, cpu_share=0.5)
    own, kswapd = threads_of(on, [wants], 1.0)
    assert (kswapd.reclaims, kswapd.stalled) == (1.0, 0.0)
    assert own.reclaims == pytest.approx(0.2 * 2.5 * 0.5)


def test_at_a_cgroups_limit_a_task_reclaims_itself() -> None:
    on = machine({"name": "g", "max": "8M"})
    wants = demand(on, cpus=0.5, kernel=0.5, speed=0.6, cpu_share=0.6)
    wants.domain = Domain(on.groups["g"], [])
    # Ready all the time, for both alike; it has 0.6 of a CPU.
    (own,) = threads_of(on, [wants], 1.0)
    assert (own.works, own.reclaims, own.stalled) == pytest.approx((0.5, 0.3, 0.2))
    assert own.runs == pytest.approx(1.0)


def test_sleeping_above_memory_high_is_a_stall() -> None:
    """The task is above it for as long as the run lasts, and does nothing but sleep."""
    run = play(scenario_from({
        "name": "n", "duration": "30s", "machine": {"ram": "512M", "cpus": 1},
        "cgroup": [{"name": "g", "high": "40M"}],
        "task": [{"name": "t", "cgroup": "g", "steps": [{"touch": "200M", "rate": "100M/s"}]}],
    }))  # fmt: skip
    assert run.samples.psi_full_avg10[-1] > 80.0
