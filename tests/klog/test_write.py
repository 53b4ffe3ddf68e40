"""What the writer writes, the reader reads back, for every rule set (the inverse of each other)."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.klog import read_bytes
from oomkit.klog.records import Killed, Report
from oomkit.klog.write import stamped, write_report
from oomkit.klog.writeparts import rss_parts
from tests.klog.strategies import allocations, rule_sets, snapshots


def read_back(lines: list[str], *, stamp: bool) -> list[Report]:
    text = stamped(lines, 12345.678901) if stamp else lines
    return list(read_bytes("\n".join(text).encode() + b"\n", "x.log"))


@settings(max_examples=300, deadline=None)
@given(st.data(), snapshots(), rule_sets, st.booleans())
def test_reader_is_the_writers_inverse(
    data: st.DataObject, snapshot: Snapshot, rules: RuleSet, stamp: bool
) -> None:
    """R17: the kernel log of a decision holds what was decided."""
    allocation = data.draw(allocations(snapshot, rules))
    decision = decide(snapshot, allocation, rules)
    lines = write_report(snapshot, allocation, rules, decision)
    reports = read_back(lines, stamp=stamp)
    event(f"{decision.action} {decision.scope}")
    if not lines:
        assert reports == []
        return
    assert len(reports) == 1, [line for line in lines if not line.startswith("[")]
    (report,) = reports
    check_head(report, snapshot, allocation, rules, decision)
    check_tasks(report, snapshot, rules)
    check_end(report, snapshot, rules, decision)


def check_head(
    report: Report,
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
) -> None:
    if decision.action == "panic" and rules.badness == "classic":
        assert report.invoker is None
        return
    asker = next(task for task in snapshot.tasks if task.pid == allocation.pid)
    if rules.log_header not in ("2.6.11", "2.6.13"):
        assert report.invoker == asker.comm
        assert report.invoker_pid == asker.pid
    if rules.log_header != "2.6.11":
        assert report.order is not None
        assert max(report.order, 0) == allocation.order
    if allocation.sysrq:
        # Before 4.3 a report by SysRq looks like any other.
        expected = "sysrq" if rules.sysrq_never_panics else "global"
        assert report.scope == expected
    else:
        assert report.scope == decision.scope
    if allocation.memcg is not None and rules.log_memcg != "none":
        assert report.cgroup == allocation.memcg
        assert report.memcg is not None
        assert report.memcg.memory is not None
        limit = snapshot.memcgs[0].limit_pages
        expected_kb = None if limit is None else limit * snapshot.page_size // 1024
        assert report.memcg.memory.limit_kb == expected_kb
    if report.memory is not None:
        assert report.memory.ram_pages == snapshot.memory.total_ram_pages
        swap_kb = snapshot.memory.total_swap_pages * snapshot.page_size // 1024
        assert report.memory.total_swap_kb == swap_kb
        counters = report.memory.counters_pages
        memory = snapshot.memory
        if rules.log_meminfo in ("2.6.11", "2.6.28"):
            slab = memory.slab_reclaimable_pages + memory.slab_unreclaimable_pages
            assert counters["slab"] == slab
        else:
            assert counters["slab_unreclaimable"] == memory.slab_unreclaimable_pages
            assert counters["shmem"] == memory.shmem_pages
            assert counters["pagetables"] == memory.pgtable_pages
        assert counters["free"] == snapshot.memory.free_pages


def check_tasks(report: Report, snapshot: Snapshot, rules: RuleSet) -> None:
    by_pid = {task.pid: task for task in snapshot.tasks}
    for row in report.tasks:
        task = by_pid[row.pid]
        assert (row.tgid, row.uid, row.comm) == (task.pid, task.uid, task.comm)
        assert (row.total_vm_pages, row.rss_pages) == (task.total_vm_pages, task.rss_pages)
        if rules.log_table in ("3.6", "4.0", "4.15", "4.19", "6.8"):
            assert row.swapents == task.swap_pages
        if rules.log_table in ("4.15", "4.19", "6.8"):
            assert row.pgtables_bytes == task.pgtable_pages * snapshot.page_size
        if rules.log_table == "6.8":
            parts = (row.rss_anon_pages, row.rss_file_pages, row.rss_shmem_pages)
            assert parts == rss_parts(task)
        if rules.log_table not in ("none", "2.6.25"):
            assert row.oom_score_adj == task.oom_score_adj


def check_end(report: Report, snapshot: Snapshot, rules: RuleSet, decision: Decision) -> None:
    assert report.panic == decision.panic
    assert report.would_have == (decision.action == "would_kill")
    expected = []
    if decision.action == "kill":
        by_pid = {task.pid: task for task in snapshot.tasks}
        told = [
            victim
            for victim in decision.victims
            if victim.reason != "mm_sharer" or rules.log_kill in ("2.6.36", "el6")
        ]
        expected = [by_pid[victim.pid] for victim in told]
    assert [(k.pid, k.comm) for k in report.killed] == [(t.pid, t.comm) for t in expected]
    if expected:
        check_killed(report.killed[0], expected[0], snapshot, rules)
        in_table = any(row.tgid == expected[0].pid for row in report.tasks)
        if in_table and report.killed[0].total_vm_kb:
            assert report.page_kb == snapshot.page_size // 1024


def check_killed(killed: Killed, task: Task, snapshot: Snapshot, rules: RuleSet) -> None:
    kb = snapshot.page_size // 1024
    anon, files, shmem = rss_parts(task)
    if rules.log_kill in ("4.5", "5.1", "5.4"):
        rss = (killed.anon_rss_kb, killed.file_rss_kb, killed.shmem_rss_kb)
        assert rss == (anon * kb, files * kb, shmem * kb)
    if rules.log_kill in ("5.4", "el6"):
        assert killed.uid == task.uid
    if rules.log_kill == "5.4":
        assert killed.oom_score_adj == task.oom_score_adj
        assert killed.pgtables_kb == task.pgtable_pages * kb
    if rules.log_kill not in ("2.6.11", "2.6.16", "2.6.20"):
        assert killed.total_vm_kb == task.total_vm_pages * kb
