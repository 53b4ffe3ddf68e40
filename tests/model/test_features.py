"""What a scenario can say besides taking memory, each seen in the record."""

from typing import Any

import pytest

from oomkit.model import ModelError, play
from oomkit.scenario import Run, scenario_from

HOLD = {"hold": "forever"}


def run(tasks: list[dict[str, Any]], **rest: Any) -> Run:
    raw = {"name": "n", "duration": "30s", "machine": {"ram": "512M"}, "task": tasks, **rest}
    return play(scenario_from(raw), audit=True)


def names(record: Run) -> list[str]:
    return [kill.task for kill in record.kills]


def test_at_changes_adjustments_knobs_limits_and_swap() -> None:
    big = {"name": "big", "steps": [{"touch": "250M"}, HOLD]}
    leak = {"name": "leak", "steps": [{"touch": "400M", "rate": "20M/s"}, HOLD]}
    assert names(run([big, leak])) == ["big"]
    spared = {"t": "5s", "task": {"big": {"oom_score_adj": -1000}}}
    assert names(run([big, leak], at=[spared])) == ["leak"]
    panics = run([big, leak], at=[{"t": "5s", "vm": {"panic_on_oom": 1}}])
    assert panics.outcome == "panicked"
    assert not names(run([big, leak], at=[{"t": "5s", "machine": {"swap": "1G"}}]))
    grouped = run(
        [{**big, "cgroup": "g"}],
        cgroup=[{"name": "g"}],
        at=[{"t": "5s", "cgroup": {"g": {"max": "100M"}}}],
    )
    assert names(grouped) == ["big"]
    assert grouped.kills[0].t_s == 5.0


def test_oom_killer_switched_on_again_kills() -> None:
    """R7: the switch can be set at any time of a run."""
    record = run(
        [{"name": "leak", "steps": [{"touch": "1G", "rate": "100M/s"}]}],
        vm={"oom_killer_disabled": 1},
        at=[{"t": "20s", "vm": {"oom_killer_disabled": 0}}],
    )
    assert [round(kill.t_s) for kill in record.kills] == [20]
    assert record.frozen[0].from_s < 6


def test_v1_oom_kill_disable_puts_tasks_to_sleep() -> None:
    record = run(
        [{"name": "t", "cgroup": "g", "steps": [{"touch": "200M", "rate": "50M/s"}]}],
        cgroup=[{"name": "g", "version": 1, "max": "100M", "oom_kill_disable": True}],
    )
    assert record.kills == ()
    assert record.samples.cpu_busy[-1] == 0.0
    assert record.outcome == "timed_out"


def test_sharers_of_an_address_space_die_together() -> None:
    record = run(
        [
            {"name": "main", "steps": [{"touch": "1G", "rate": "100M/s"}]},
            {"name": "peer", "start": "1s", "shares_mm_with": "main", "steps": [HOLD]},
        ]
    )
    assert sorted(names(record)) == ["main", "peer"]


def test_a_child_outside_of_the_cgroup_dies_before_its_parent() -> None:
    """Up to 2.6.32 it is sacrificed all the same; its death gives the cgroup nothing back."""
    record = run(
        [
            {
                "name": "parent",
                "cgroup": "g",
                "steps": [{"hold": "1s"}, {"touch": "200M", "rate": "50M/s"}],
                "children": [{"name": "child", "cgroup": "/", "steps": [{"touch": "50M"}, HOLD]}],
            }
        ],
        machine={"ram": "512M", "kernel": "2.6.32"},
        cgroup=[{"name": "g", "max": "64M"}],
    )
    assert names(record) == ["child", "parent"]
    assert record.kills[1].t_s > record.kills[0].t_s


def test_a_child_is_charged_to_the_cgroup_of_its_parent() -> None:
    """``cgroup_fork()``: it is born there, and stays where the scenario moves it to no other."""
    child = {"name": "child", "steps": [{"touch": "90M", "rate": "40M/s"}, HOLD]}
    parent = {"name": "parent", "cgroup": "g", "steps": [{"touch": "20M"}, HOLD]}

    def victims(**where: str) -> list[str]:
        grandchild = {**child, "name": "grandchild", **where}
        return names(
            run(
                [{**parent, "children": [{**child, "children": [grandchild], **where}]}],
                cgroup=[{"name": "g", "max": "100M"}],
            )
        )

    assert victims() == ["grandchild", "child"]
    assert victims(cgroup="/") == []


@pytest.mark.parametrize("reserved", ["512M", "510M"])
def test_a_machine_without_memory_to_hand_out_is_refused(reserved: str) -> None:
    with pytest.raises(ModelError, match=r"machine\.r"):
        run([{"name": "t", "steps": [HOLD]}], machine={"ram": "512M", "reserved": reserved})


def test_children_start_with_their_parent_and_restart_brings_tasks_back() -> None:
    record = run(
        [
            {
                "name": "p",
                "start": "2s",
                "steps": [{"hold": "1s"}],
                "children": [{"name": "c", "start": "1s", "steps": [{"hold": "1s"}]}],
            },
            {"name": "again", "restart": "4s", "steps": [{"hold": "1s"}]},
        ],
        duration="11s",
    )
    tasks = record.samples.tasks
    assert max(tasks["c/0"].rss_mb[:3]) == 0.0 < tasks["c/0"].rss_mb[4]
    assert {"again/0", "again/1", "again/2"} <= tasks.keys()


def test_memory_low_is_spared_while_others_have_something() -> None:
    def left(low: str) -> float:
        record = run(
            [
                {"name": "kept", "cgroup": "g", "steps": [{"touch": "150M"}, HOLD]},
                {"name": "other", "steps": [{"touch": "150M"}, HOLD]},
                {
                    "name": "grow",
                    "start": "2s",
                    "steps": [{"touch": "250M", "rate": "50M/s"}, HOLD],
                },
            ],
            machine={"ram": "512M", "swap": "1G"},
            cgroup=[{"name": "g", "low": low}],
        )
        return record.samples.tasks["kept/0"].rss_mb[-1]

    assert left("200M") > left("0") + 10


def test_fork_shares_pages_until_they_are_written() -> None:
    record = run(
        [{"name": "f", "steps": [{"touch": "200M"}, {"fork": 1}, {"hold": "3s"}, {"work": "4s"}]}]
    )
    free = record.samples.free_mb
    tasks = record.samples.tasks
    assert tasks["f/0"].rss_mb[2] > 195
    assert tasks["f/1"].rss_mb[2] > 195
    assert free[0] - free[2] < 230
    assert min(free) < free[2] - 100
    assert record.outcome == "completed"


def test_copies_grow_along_a_line_while_shared_pages_are_met_for_the_first_time() -> None:
    """A walk meets each page once in its first pass, so half the pass copies half the pages."""
    walk = {"work": "10s", "rate": "20M/s"}
    record = run([{"name": "f", "steps": [{"touch": "100M", "over": "1s"}, {"fork": 1}, walk]}])
    free = record.samples.free_mb
    assert free[1] - free[3] == pytest.approx(40, abs=4)
    assert free[1] - free[5] == pytest.approx(80, abs=4)
    assert free[1] - free[8] == pytest.approx(100, abs=4)
    assert free[8] == pytest.approx(free[10], abs=1)


def test_a_copy_forked_after_a_wait_does_the_next_step_too() -> None:
    steps = [{"touch": "10M"}, {"hold": "2s"}, {"fork": 1}, {"work": "3s"}]
    record = run([{"name": "f", "steps": steps}])
    assert record.ended_s == pytest.approx(5, abs=0.1)
    assert record.samples.tasks["f/1"].progress[4] < 0.9


@pytest.mark.parametrize("fault", ["300M/s", "1G/s"])
def test_memory_high_holds_a_task_back(fault: str) -> None:
    record = run(
        [{"name": "hog", "cgroup": "g", "steps": [{"touch": "300M", "rate": "40M/s"}]}],
        machine={"ram": "512M", "fault_rate": fault},
        cgroup=[{"name": "g", "high": "80M"}],
        duration="8s",
    )
    assert record.outcome == "timed_out"
    assert 80 < record.samples.tasks["hog/0"].rss_mb[-1] < 92


@pytest.mark.parametrize(
    ("kernel", "swapped"), [("2.6.32", True), ("3.10", False), ("6.12", False)]
)
def test_swappiness_0_kills_with_swap_free(kernel: str, *, swapped: bool) -> None:
    record = run(
        [{"name": "leak", "steps": [{"touch": "800M", "rate": "100M/s"}]}],
        machine={"ram": "512M", "swap": "128M", "kernel": kernel},
        vm={"swappiness": 0},
    )
    assert names(record) == ["leak"]
    assert (min(record.samples.swap_free_mb) < 64) is swapped


def test_nice_and_cpus_share_out_work() -> None:
    record = run(
        [
            {"name": "a", "nice": 0, "steps": [{"work": "5s"}]},
            {"name": "b", "nice": 5, "steps": [{"work": "5s"}]},
        ],
        machine={"ram": "512M", "cpus": 1},
    )
    done = {name: task.progress[4] for name, task in record.samples.tasks.items()}
    assert 2.8 < done["a/0"] / done["b/0"] < 3.3
    assert 9.9 < record.ended_s < 10.2


def test_objectives_follow_roles() -> None:
    record = run(
        [
            {"name": "db", "role": "protected", "steps": [{"touch": "250M"}, HOLD]},
            {"name": "leak", "start": "15s", "steps": [{"touch": "400M", "rate": "40M/s"}]},
        ]
    )
    assert names(record)[0] == "db"
    assert record.objectives.protected_killed == 1
    assert record.objectives.innocents_killed == 1
    assert record.objectives.freed_mb > 250


def test_loading_a_program_is_no_memory_pressure() -> None:
    """PSI counts waits for pages that were evicted, not for pages never read before."""
    start = {"name": "start", "program": "100M", "steps": [{"work": "20s", "set": "1M"}]}
    record = run([start], machine={"ram": "1G", "disk": "20M/s"})
    cached = record.samples.cached_mb
    assert 80 < cached[6] - cached[0] < 105
    assert max(record.samples.psi_some_avg10) == 0.0


@pytest.mark.parametrize(
    ("steps", "rest", "outcome"),
    [
        ([{"touch": "8M"}, HOLD], {}, "completed"),
        ([{"touch": "8M"}], {}, "completed"),
        ([{"touch": "8M"}, {"hold": "20s"}], {}, "timed_out"),
        ([{"hold": "1s"}, {"touch": "8M"}], {"loops": "forever"}, "timed_out"),
        ([{"hold": "1s"}], {"restart": "60s"}, "timed_out"),
    ],
)
def test_a_run_is_completed_when_nothing_is_left_to_happen(
    steps: list[dict[str, Any]], rest: dict[str, Any], outcome: str
) -> None:
    """A pause that ends is no end, nor is one in which the next start is waited for."""
    assert run([{"name": "t", "steps": steps, **rest}], duration="9500ms").outcome == outcome


def test_a_run_does_not_wait_for_the_pauses_of_the_dead() -> None:
    pausing = {"name": "pausing", "steps": [{"touch": "300M"}, {"hold": "20s"}]}
    record = run([pausing, {"name": "leak", "steps": [{"touch": "250M", "rate": "50M/s"}, HOLD]}])
    assert (record.outcome, names(record)) == ("completed", ["pausing"])
    assert record.ended_s < 10


def test_shared_memory_lives_as_long_as_its_last_mapping() -> None:
    """``dup_mmap()`` maps it into the child, and its file goes with the last mapping."""
    steps = [{"share": "100M"}, {"fork": 1}, {"hold": "2s"}, {"exit": 0}]
    clock = {"name": "clock", "steps": [{"hold": "5s"}]}
    cached = run([{"name": "f", "steps": steps}, clock]).samples.cached_mb
    assert cached[1] == pytest.approx(cached[0] + 100, abs=1)
    assert cached[4] == pytest.approx(cached[0], abs=1)

    steps = [{"share": "150M"}, {"fork": 1}, HOLD]
    maker = {"name": "maker", "oom_score_adj": 1000, "steps": steps}
    leak = {"name": "leak", "start": "1s", "steps": [{"touch": "400M", "rate": "80M/s"}]}
    record = run([maker, leak])
    # The maker's death gives back nothing that its child still maps; the child's makes room.
    first, second = record.kills
    assert (first.task, first.instance, second.task, second.instance) == ("maker", 0, "maker", 1)
    assert second.t_s - first.t_s < 0.3


def test_a_child_has_shared_memory_resident_when_it_has_come_by() -> None:
    """``vma_needs_copy()``: page tables of shared memory are not copied."""
    steps = [{"share": "100M"}, {"fork": 1}, {"hold": "2s"}, {"work": "5s", "rate": "50M/s"}]
    record = run([{"name": "f", "steps": steps}])
    maker, child = (record.samples.tasks[f"f/{i}"].rss_mb for i in (0, 1))
    assert maker[2] > 100 > 5 > child[2]
    assert child[3] == pytest.approx(42, abs=4)  # from 2.2 s on
    assert child[5] == pytest.approx(maker[5], abs=1)
    assert record.samples.cached_mb[5] - record.samples.cached_mb[0] < 105


def test_what_a_fork_is_charged_for_is_private_memory() -> None:
    """Shared memory is charged to its file, once (``shmem_acct_size()``)."""
    forks = [{"name": "f", "steps": [{"share": "150M"}, {"fork": 2}, HOLD]}]
    strict = {"overcommit_memory": 2, "overcommit_ratio": 60}
    assert run(forks, vm=strict).denied == ()
    private = [{"name": "f", "steps": [{"touch": "150M"}, {"fork": 2}, HOLD]}]
    assert [one.call for one in run(private, vm=strict).denied] == ["fork"]


def test_a_file_in_tmpfs_stays_charged_when_its_writer_is_gone() -> None:
    """``shmem_inode_acct_blocks()``: what is left of it counts until it is removed."""
    tasks = [
        {"name": "writer", "steps": [{"tmpfs": "150M"}]},
        {"name": "late", "start": "5s", "steps": [{"reserve": "100M"}, HOLD]},
    ]
    strict = {"overcommit_memory": 2, "overcommit_ratio": 50}
    assert [one.task for one in run(tasks, vm=strict).denied] == ["late"]
    assert run(tasks[1:], vm=strict).denied == ()


@pytest.mark.parametrize(("knob", "waits"), [(1, False), (0, True)])
def test_the_allocating_task_is_killed_whoever_else_exits(knob: int, *, waits: bool) -> None:
    """Its branch of ``out_of_memory()`` stands before ``select_bad_process()``, which waits."""
    writer = {"name": "writer", "count": 2, "steps": [{"tmpfs": "300M", "rate": "20M/s"}]}
    locker = {"name": "locker", "steps": [{"lock": "400M", "rate": "40M/s"}]}
    record = run([locker, writer], vm={"oom_kill_allocating_task": knob})
    assert names(record)[:2] == ["locker", "writer"]
    assert (record.kills[1].t_s > record.kills[0].t_s + 0.005) is waits


def test_strict_overcommit_refuses_one_caller_at_a_time() -> None:
    """``__vm_enough_memory()`` fails one request; what its task gives back serves the others."""
    grower = {"name": "g", "count": 3, "every": "30ms", "uid": 0}
    record = run(
        [{**grower, "steps": [{"touch": "90M", "rate": "30M/s"}, HOLD]}],
        vm={"overcommit_memory": 2, "overcommit_ratio": 45},
    )
    # Some 200 MB are allowed: one gives up its share, and the two others are done with 90 each.
    assert [one.task for one in record.denied] == ["g"]
    assert sum(task.rss_mb[-1] > 85 for task in record.samples.tasks.values()) == 2


def test_a_strided_step_asks_for_sixteen_strides_at_a_time() -> None:
    record = run(
        [{"name": "sparse", "uid": 0, "steps": [{"touch": "4G", "stride": "2M"}, HOLD]}],
        vm={"overcommit_memory": 2, "overcommit_ratio": 60},
    )
    (refused,) = record.denied
    assert refused.call == "mmap"
    assert refused.mb == pytest.approx((4096 - 8 * 32) / 512, abs=0.01)


@pytest.mark.parametrize(
    ("extra", "kept_mb"),
    [
        ({}, 11.8),  # the high watermarks and reserves, 5.7, and 150 % of the high ones
        ({"vm": {"watermark_boost_factor": 0}}, 5.7),
        ({"machine": {"unmovable_free": "1M"}}, 5.7),
        ({"vm": {"min_free_kbytes": 16384}}, 25.4),
    ],
)
def test_kswapd_keeps_free_what_the_high_watermarks_say(
    extra: dict[str, Any], kept_mb: float
) -> None:
    machine = {"ram": "512M", "swap": "1G", **extra.pop("machine", {})}
    leak = {"name": "leak", "steps": [{"touch": "900M", "rate": "50M/s"}]}
    record = run([leak], machine=machine, **extra)
    assert record.samples.free_mb[11:16] == pytest.approx([kept_mb] * 5, rel=0.05)


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [({}, 6.8), ({"swap_out_rate": "100G/s"}, 3.5), ({"swap_out_rate": "50M/s"}, 9.0)],
)
def test_swapping_out_costs_cpu_time(rates: dict[str, str], seconds: float) -> None:
    """``shrink_folio_list()``, ``try_to_unmap()`` and ``swap_writepage()`` run on some CPU."""
    machine = {"ram": "512M", "swap": "1G", "cpus": 1, "disk": "1G/s", "fault_rate": "250M/s"}
    record = run([{"name": "leak", "steps": [{"touch": "850M"}]}], machine={**machine, **rates})
    assert record.ended_s == pytest.approx(seconds, rel=0.35)
    assert min(record.samples.cpu_busy[1:-1]) == pytest.approx(1.0)
    if not rates:
        # 430 MB fit; each page of the other 420 takes 2.6 times as long as a fault.
        assert record.ended_s == pytest.approx((430 + 420 * 2.6) / 250, rel=0.05)


@pytest.mark.parametrize(
    ("cpus", "seconds"),
    [({"cpus": 2}, 4.0), ({"cpus": 2, "cpus_worth": 1}, 8.0), ({"cpus": 1, "cpus_worth": 2}, 8.0)],
)
def test_cpus_that_take_turns_are_worth_fewer(cpus: dict[str, int], seconds: float) -> None:
    hogs = [{"name": f"hog{i}", "steps": [{"work": "4s"}]} for i in range(2)]
    record = run(hogs, machine={"ram": "512M", **cpus})
    assert record.ended_s == pytest.approx(seconds, abs=0.01)
    assert record.samples.cpu_busy[1] == pytest.approx(1.0)
    alone = run(hogs[:1], machine={"ram": "512M", **cpus})
    assert alone.ended_s == pytest.approx(4.0, abs=0.01)


def test_swapping_in_costs_cpu_time() -> None:
    """``do_swap_page()``: work over memory that is in swap is slower on the fastest disk, too."""
    worker = {"name": "worker", "steps": [{"touch": "600M"}, {"work": "9s", "rate": "100M/s"}]}

    def ended(rate: str) -> float:
        machine = {"ram": "512M", "swap": "1G", "cpus": 1, "disk": "50G/s", "swap_in_rate": rate}
        return run([worker], machine=machine).ended_s

    assert ended("100M/s") > ended("100G/s") + 1.0


def test_what_was_used_longest_ago_is_swapped_out_first() -> None:
    """Reclaim goes by age, not by size (``evict_folios()``, the inactive list before)."""
    old = {"name": "old", "steps": [{"touch": "100M", "over": "1s"}, HOLD]}
    young = {"name": "young", "start": "3s", "steps": [{"touch": "600M", "over": "6s"}, HOLD]}
    record = run([young, old], machine={"ram": "512M", "swap": "1G", "disk": "1G/s"})
    curves = record.samples.tasks
    swapped = list(zip(record.samples.t_s, curves["old/0"].swap_mb, curves["young/0"].swap_mb,
                       strict=True))  # fmt: skip
    assert [both for _, *both in swapped if both[0] < 95][-1][1] == 0.0
    assert swapped[-1][1] == pytest.approx(100, abs=5)
    # What is in use is no older than now.
    user = {"name": "old", "steps": [{"touch": "100M", "over": "1s"}, {"work": "9s"}, HOLD]}
    used = run([young, user], machine={"ram": "512M", "swap": "1G", "disk": "1G/s"})
    assert max(used.samples.tasks["old/0"].swap_mb) == 0.0


def test_of_the_systems_programs_what_a_keystroke_needs_is_in_memory_at_the_start() -> None:
    machine = {"ram": "512M", "programs": "200M"}
    with_them = run([{"name": "a", "steps": [{"hold": "3s"}]}], machine=machine)
    without = run([{"name": "a", "steps": [{"hold": "3s"}]}])
    more_mb = with_them.samples.cached_mb[0] - without.samples.cached_mb[0]
    assert more_mb == pytest.approx(15168 / 1024, abs=0.1)


def test_with_memory_free_again_what_is_read_besides_stays_and_a_freeze_is_soon_over() -> None:
    """Read-ahead is wasted only where something is reclaimed meanwhile."""
    index = [{"read": "60M", "file": "f"}, {"work": "forever", "file": "f", "rate": "40M/s"}]
    record = run(
        [
            {"name": "index", "steps": index},
            {"name": "leak", "start": "8s", "steps": [{"touch": "600M", "rate": "12M/s"}, HOLD]},
        ],
        machine={"ram": "320M", "cpus": 1, "disk": "10M/s", "programs": "30M"},
        duration="60s",
    )
    (killed,) = record.kills
    (frozen,) = record.frozen
    assert frozen.from_s < killed.t_s < frozen.to_s
    # 15 MB at 10 MB/s, of which the index has the other half.
    assert frozen.to_s - killed.t_s == pytest.approx(2 * 1.5, abs=1.0)
    assert record.outcome == "timed_out"


@pytest.mark.parametrize(("hogs", "mb_s"), [(0, 80.0), (3, 159 / 4), (7, 159 / 8)])
def test_reading_a_file_costs_its_reader_cpu_time(hogs: int, mb_s: float) -> None:
    """``page_cache_ra_unbounded()``, ``filemap_add_folio()`` and the copy: 1.57 faults a page."""
    machine = {"ram": "512M", "cpus": 1, "disk": "80M/s", "fault_rate": "250M/s"}
    reader = {"name": "reader", "steps": [{"read": "300M"}]}
    hogs_too = [{"name": "hog", "count": hogs, "steps": [{"work": "60s"}]}] if hogs else []
    cached = run([reader, *hogs_too], machine=machine, duration="3s").samples.cached_mb
    assert cached[2] - cached[1] == pytest.approx(mb_s, rel=0.01)


def test_with_the_allocating_task_to_kill_one_that_can_not_be_waits_for_those_that_exit() -> None:
    """It was woken for what they give back, and asked again, at the same instant, for ever."""
    played = run(
        [
            {"name": "reader", "steps": [{"read": "743M", "file": "f"}, {"work": "3s"},
                                         {"read": "900M", "file": "f"}, {"touch": "571M"}]},
            {"name": "t1", "count": 2, "every": "0.768s", "spread": 0.3, "oom_score_adj": 1000,
             "nice": -9, "threads": 4, "program": "105M",
             "steps": [{"touch": "206M", "over": "0.472s"}, {"share": "271M", "rate": "109M/s"},
                       {"lock": "267M", "over": "0.17s"}]},
            {"name": "t2", "count": 2, "start": "0.273s", "every": "2.506s", "cgroup": "a/b",
             "steps": [{"share": "224M", "over": "0.449s"}, {"fork": 1},
                       {"lock": "345M", "over": "0.936s"}, {"work": "0.5s", "set": "159M"}]},
        ],
        duration="40s",
        machine={"ram": "128M", "swap": "1G", "kernel": "4.18"},
        vm={"overcommit_memory": 2, "oom_kill_allocating_task": 1},
        cgroup=[{"name": "a", "max": "781M", "low": "164M"},
                {"name": "a/b", "high": "273M", "swap_max": "141M"}],
    )  # fmt: skip
    assert played.outcome == "completed"


@pytest.mark.parametrize(("leak_mb", "took_s"), [(10, 1.25), (620, 7.4)])
def test_a_reader_waits_behind_what_is_swapped_out(leak_mb: int, took_s: float) -> None:
    """A 6.12 in QEMU took 7.4 s: of 20 MB/s the reader got 3.3, the leak's swap the rest."""
    reader = {"name": "reader", "start": "2s", "steps": [{"read": "24M"}]}
    leak = {"name": "leak", "steps": [{"touch": f"{leak_mb}M", "rate": "150M/s"}, HOLD]}
    machine = {"ram": "256M", "cpus": 1, "disk": "20M/s", "swap": "600M", "fault_rate": "272M/s"}
    raw = {"name": "n", "duration": "20s", "machine": machine, "task": [leak, reader]}
    samples = play(scenario_from(raw), sample_s=0.1).samples
    rss_mb = samples.tasks["reader/0"].rss_mb
    last_s = max(t for t, size in zip(samples.t_s, rss_mb, strict=True) if size)
    assert last_s - 2.0 == pytest.approx(took_s, rel=0.15)
