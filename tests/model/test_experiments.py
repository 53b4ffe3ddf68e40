"""The founding experiments, asserted from the record of a run."""

from itertools import pairwise
from pathlib import Path

import pytest

from oomkit.model import play
from oomkit.scenario import Run, read_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"

KERNELS = pytest.mark.parametrize("kernel", ["2.6.32-article", "6.12"])


def run(name: str, *overrides: str, sample_s: float = 1.0) -> Run:
    scenario = read_scenario(str(SCENARIOS / f"{name}.toml"), overrides=overrides)
    return play(scenario, sample_s=sample_s, audit=True)


def work_done(record: Run, at: int) -> float:
    tasks = record.samples.tasks.items()
    return sum(t.progress[at] for name, t in tasks if name.startswith("depmod/"))


@KERNELS
def test_r13_kills_until_the_rest_fits(kernel: str) -> None:
    """R13: after a while kill lines stand in the log; what is left finishes."""
    record = run("test1", f"machine.kernel={kernel}")
    assert record.outcome == "completed"
    assert 1 <= record.objectives.kills < 20
    assert record.kills[0].t_s > 10
    wanted = "Out of memory: kill process" if kernel.endswith("article") else "Killed process"
    assert sum(wanted in line for line in record.log) == record.objectives.kills


@KERNELS
def test_r13_panics_when_no_task_can_be_killed(kernel: str) -> None:
    """R13: the load goes on, no task may be killed, and the kernel panics."""
    record = run("test1-panic", f"machine.kernel={kernel}")
    assert record.outcome == "panicked"
    assert {kill.task for kill in record.kills} == {"cron"}
    assert "Kernel panic - not syncing" in record.log[-1]
    assert record.ended_s < 600


@KERNELS
def test_r14_swap_puts_the_hang_off(kernel: str) -> None:
    """R14: no kill line; memory, then swap fills; bits of it come free; work slows tenfold."""
    record = run("test2", f"machine.kernel={kernel}", sample_s=0.25)
    assert record.kills == ()
    assert not any("ill" in line and "process" in line for line in record.log)
    samples = record.samples
    swap, free = samples.swap_free_mb, samples.free_mb
    full = next(i for i, mb in enumerate(swap) if mb < 1.0)
    assert min(free[: swap.index(next(mb for mb in swap if mb < 2000))]) < 20  # memory first
    later = swap[full:]
    came_free = sum(1 for a, b in pairwise(later) if a < 0.5 < b)
    assert came_free >= 2
    before = work_done(record, full // 2) / samples.t_s[full // 2]
    left_s = samples.t_s[-1] - samples.t_s[full]
    after = (work_done(record, len(samples.t_s) - 1) - work_done(record, full)) / left_s
    assert after < before / 10
    assert record.outcome == "frozen"


@KERNELS
def test_r15_hangs_but_answers_ping(kernel: str) -> None:
    """R15: no kill line; the probe makes no progress while ping is still answered."""
    record = run("test3", f"machine.kernel={kernel}")
    assert record.kills == ()
    assert record.outcome == "frozen"
    half = len(record.samples.t_s) // 2
    probe = record.samples.tasks["probe/0"].progress
    ping = record.samples.tasks["ping/0"].progress
    assert probe[half] == probe[-1]
    assert ping[-1] - ping[half] == pytest.approx(300, abs=1)
    assert record.samples.free_mb[-1] < 14  # the marks, and what the DMA zone reserves


def test_r16_tasks_without_a_page_hold_their_cpus() -> None:
    """R16: with OOM off the CPUs are busy and nothing gets done; swap only puts that off."""
    without = run("test3")
    with_swap = run("test2")
    for record in (without, with_swap):
        samples = record.samples
        last = len(samples.t_s) - 1
        assert samples.cpu_busy[last] == 1.0
        assert work_done(record, last) == work_done(record, last // 2)
    assert with_swap.frozen[0].from_s > 1.5 * without.frozen[0].from_s


def test_r17_samples_add_up_like_free() -> None:
    """R17: a sample every second, with what free would have shown."""
    record = run("test1")
    samples = record.samples
    assert samples.t_s[:3] == [0.0, 1.0, 2.0]
    rss = samples.tasks["depmod/0"].rss_mb
    assert max(rss) > 100
    for free, available, cached in zip(
        samples.free_mb, samples.available_mb, samples.cached_mb, strict=True
    ):
        assert 0 <= available <= free + cached + 1


@pytest.mark.parametrize(
    ("ram", "kills"), [("2G", range(1)), ("1536M", range(1, 3)), ("1G", range(7, 10))]
)
def test_twenty_depmod_of_today(ram: str, kills: range) -> None:
    record = run("depmod-1g", f"machine.ram={ram}")
    assert record.outcome == "completed"
    assert record.objectives.kills in kills
    ended = [t.progress[-1] for n, t in record.samples.tasks.items() if n.startswith("depmod/")]
    assert sum(done > 0.99 for done in ended) == 20 - record.objectives.kills


def test_twenty_depmod_on_768_mb_stall_for_minutes_before_the_first_kill() -> None:
    record = run("depmod-1g", "machine.ram=768M")
    first = record.kills[0].t_s
    stalled = [f for f in record.frozen if f.from_s < first]
    assert sum(min(f.to_s, first) - f.from_s for f in stalled) > 120
    assert max(record.samples.psi_some_avg10) > 90


@pytest.mark.parametrize(("swap", "bound_s"), [("2G", 45), ("0", 20)])
def test_hogs_without_a_killer_stop_the_probe_as_a_real_kernel_did(
    swap: str, bound_s: float
) -> None:
    """R14, R15 repeated: the real probe last finished at 27 s (10 s without swap)."""
    from oomkit.scenario import scenario_from

    ram = "2G" if swap != "0" else "1G"
    record = play(
        scenario_from(
            {
                "name": "hogs",
                "duration": "2m",
                "machine": {"ram": ram, "swap": swap, "disk": "200M/s"},
                "vm": {"oom_killer_disabled": 1, "would_have_oomkilled": 1},
                "task": [{"name": "hog", "count": 20, "steps": [{"touch": "1G", "rate": "10M/s"}]}],
            }
        )
    )
    probe = record.samples.tasks["probe/0"].progress
    stopped = next(i for i, answers in enumerate(probe) if answers == probe[-1])
    assert 1 < record.samples.t_s[stopped] < bound_s
    assert record.samples.swap_free_mb[-1] < 0.1
    assert record.samples.tasks["ping/0"].progress[-1] == 120
    assert record.kills == ()
