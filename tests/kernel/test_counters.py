"""counters: how far the kernel may miscount, and when that makes a choice too close to call."""

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.counters import counting_error, counting_note, percpu_batch
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation, Memory, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.kernel.why import why


def _machine(*rss: int, cpus: int | None = 8, kernel: str = "6.18.15") -> Snapshot:
    tasks = tuple(
        Task(pid=pid, comm=f"t{pid}", rss_pages=pages) for pid, pages in enumerate(rss, start=100)
    )
    memory = Memory(total_ram_pages=1_000_000)
    return Snapshot(kernel=kernel, memory=memory, tasks=tasks, cpus=cpus)


@pytest.mark.parametrize(("cpus", "batch"), [(1, 32), (2, 32), (16, 32), (17, 34), (250, 500)])
def test_a_batch_is_two_pages_a_cpu_and_at_least_32(cpus: int, batch: int) -> None:
    assert percpu_batch(cpus) == batch


@pytest.mark.parametrize(
    ("version", "threads", "pages"),
    [
        ("2.6.33", 3, 0),
        ("2.6.36", 1, 65 * 16),
        ("5.10.262", 3, 3 * 65 * 16),
        ("6.1.176", 1, 65 * 16),
        ("6.2", 3, 4 * 31 * 8),
        ("6.19.14", 1, 4 * 31 * 8),
        ("7.0.0-38-generic", 3, 0),
        ("7.3.4+deb13-cloud-amd64", 1, 0),
    ],
)
def test_the_error_follows_from_how_a_version_counts(
    version: str, threads: int, pages: int
) -> None:
    task = Task(pid=1, comm="x", threads=threads)
    assert counting_error(task, rules_for(version), 8) == pages


def test_the_error_is_unknown_without_the_number_of_cpus() -> None:
    assert counting_error(Task(pid=1, comm="x"), rules_for("6.18"), None) is None
    snapshot = _machine(9, 8, cpus=None)
    assert counting_note(snapshot, Allocation(), rules_for("6.18"), snapshot.tasks[0]) == ()


@pytest.mark.parametrize(("second", "close"), [(9000 - 2 * 992, True), (9000 - 2 * 992 - 1, False)])
def test_first_and_second_are_too_close_when_the_errors_of_both_reach(
    second: int, close: bool
) -> None:
    snapshot = _machine(9000, second)
    rules = rules_for(snapshot.kernel)
    decision = decide(snapshot, Allocation(), rules)
    lines = why(snapshot, Allocation(), rules, decision, 100).counting
    assert "8 CPUs, batches of 32" in lines[0]
    assert any("too close to call: t100[100] and t101[101]" in line for line in lines) == close


def test_nothing_is_said_where_counts_are_exact() -> None:
    snapshot = _machine(9000, 8999, kernel="7.3.4")
    rules = rules_for(snapshot.kernel)
    decision = decide(snapshot, Allocation(), rules)
    assert why(snapshot, Allocation(), rules, decision, 100).counting == ()


def test_the_error_of_now_shows_where_the_kernel_prints_both_numbers() -> None:
    task = Task(
        pid=100, comm="t", rss_pages=900, anon_rss_pages=800, file_rss_pages=150, shmem_rss_pages=0
    )
    memory = Memory(total_ram_pages=10000)
    snapshot = Snapshot(kernel="6.18", memory=memory, tasks=(task,), cpus=2)
    lines = counting_note(snapshot, Allocation(), rules_for("6.18"), task)
    assert "its resident pages are now counted 50 fewer than they are" in lines


def test_a_reaped_victim_is_refused_its_charge_from_7_3_on() -> None:
    dying = Task(pid=100, comm="t", rss_pages=9, victim=True, mm_reaped=True, cgroup="/c")
    other = Task(pid=101, comm="o", rss_pages=900, cgroup="/c")
    memory = Memory(total_ram_pages=10000)
    for version, killed in (("7.1.13", True), ("7.2.5", True), ("7.2.6", False), ("7.3", False)):
        snapshot = Snapshot(kernel=version, memory=memory, tasks=(dying, other))
        decision = decide(snapshot, Allocation(pid=100, memcg="/c"), rules_for(version))
        assert (decision.action == "kill") == killed, version


def test_a_cgroup_no_longer_waits_for_a_victim_that_exits_from_6_19_on() -> None:
    """Seen on booted 6.19 to 7.3, not on 6.18: docs/agreement.md, a limit lowered."""
    exiting = Task(pid=100, comm="t", rss_pages=900, victim=True, exiting=True, cgroup="/c")
    other = Task(pid=101, comm="o", rss_pages=9, cgroup="/c")
    memory = Memory(total_ram_pages=10000)
    for version, killed in (("6.18.15", False), ("6.19.14", True), ("7.3.4", True)):
        snapshot = Snapshot(kernel=version, memory=memory, tasks=(exiting, other))
        rules = rules_for(version)
        in_cgroup = decide(snapshot, Allocation(memcg="/c"), rules)
        assert [victim.pid for victim in in_cgroup.victims] == [101] * killed, version
        assert decide(snapshot, Allocation(), rules).action != "kill", version


def test_a_leader_that_exits_before_its_threads_is_still_met() -> None:
    leader = Task(pid=100, comm="t", rss_pages=900, exiting=True, threads=3, cgroup="/c")
    snapshot = Snapshot(kernel="7.3.4", memory=Memory(total_ram_pages=10000), tasks=(leader,))
    found = OomControl(snapshot, Allocation(memcg="/c"), rules_for("7.3.4"))
    assert list(found.candidates()) == [leader]


def test_a_process_that_exits_in_a_cgroup_is_listed_with_its_reason() -> None:
    """From 6.19 on a cgroup's OOM killer passes over it; it has memory and no protection."""
    exiting = Task(pid=100, comm="t", rss_pages=900, exiting=True, cgroup="/c")
    other = Task(pid=101, comm="o", rss_pages=9, cgroup="/c")
    memory = Memory(total_ram_pages=10000)
    snapshot = Snapshot(kernel="6.19", memory=memory, tasks=(exiting, other))
    rules, allocation = rules_for("6.19"), Allocation(memcg="/c")
    reason = "is exiting, so a memory cgroup's OOM killer does not meet it"
    rows = rank(snapshot, allocation, rules)
    assert [(row.task.pid, row.reason) for row in rows] == [(101, None), (100, reason)]
    decision = decide(snapshot, allocation, rules)
    said = why(snapshot, allocation, rules, decision, 100)
    assert said.verdict == f"t[100] can't be chosen: {reason}"
