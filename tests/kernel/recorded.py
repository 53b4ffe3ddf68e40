"""What every rule set decides in a number of situations, as kept in ``tests/data/decided``.

``python -m tests.kernel.recorded`` writes the files anew, after a change that is meant; the
difference is to be held against the kernel's source before it is committed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from oomkit.kernel.alloc import decide
from oomkit.kernel.badness import oom_score, score_control
from oomkit.kernel.changes_2_6 import CHANGES as FIRST
from oomkit.kernel.changes_3_4 import CHANGES as SECOND
from oomkit.kernel.changes_5_7 import CHANGES as THIRD
from oomkit.kernel.constraint import control_for
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.counters import counting_error, counting_note, percpu_batch, uncounted_pages
from oomkit.kernel.overcommit import commit_limit_pages, vm_enough_memory
from oomkit.kernel.rank import asker_dies, near_equals, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Snapshot, Sysctl, Task
from oomkit.kernel.versions import history, rules_for
from oomkit.kernel.watermarks import watermarks_for, zones
from oomkit.kernel.why import why

KEPT = Path(__file__).parents[1] / "data" / "decided"
GIB = 1 << 18
"""In pages."""


def _tasks(**changes: dict[str, Any]) -> tuple[Task, ...]:
    """A small machine; ``p900={...}`` changes the task of that pid."""
    made = (
        Task(pid=1, comm="systemd", global_init=True, rss_pages=3000, total_vm_pages=42000),
        Task(pid=2, comm="kthreadd", kthread=True, has_mm=False),
        Task(pid=500, comm="sshd", ppid=1, rss_pages=1800, pgtable_pages=20, oom_score_adj=-1000,
             oom_adj=-17, total_vm_pages=3900, cap_sys_admin=True),
        Task(pid=812, comm="mysqld", ppid=1, uid=112, rss_pages=GIB, swap_pages=20000,
             anon_rss_pages=GIB - 9000, file_rss_pages=9000, shmem_rss_pages=0, pgtable_pages=700,
             pte_pages=690, pmd_pages=10, total_vm_pages=2 * GIB, start_s=10, cpu_jiffies=90000),
        Task(pid=900, comm="leak", ppid=1, uid=1000, rss_pages=GIB // 2, pgtable_pages=300,
             total_vm_pages=GIB, start_s=5000, cpu_jiffies=700, nice=5),
        Task(pid=901, comm="web", ppid=1, uid=33, rss_pages=20000, pgtable_pages=90,
             total_vm_pages=90000, cgroup="/pods/a", cap_sys_rawio=True, threads=40),
        Task(pid=902, comm="web", ppid=901, uid=33, rss_pages=30000, pgtable_pages=90,
             total_vm_pages=90000, cgroup="/pods/a", mm_id=7),
        Task(pid=903, comm="web", ppid=901, uid=33, rss_pages=30000, pgtable_pages=90,
             total_vm_pages=90000, cgroup="/pods/b", mm_id=7),
        Task(pid=950, comm="build", ppid=900, uid=0, euid=0, cap_sys_admin=True, rss_pages=50000,
             total_vm_pages=120000, swap_pages=9000, oom_score_adj=300, oom_adj=5, start_s=80000),
    )  # fmt: skip
    return tuple(msgspec.structs.replace(task, **changes.get(f"p{task.pid}", {})) for task in made)


def _machine(
    *, memory: dict[str, Any] | None = None, sysctl: dict[str, Any] | None = None,
    group: dict[str, Any] | None = None, **tasks: dict[str, Any],
) -> Snapshot:  # fmt: skip
    usual = Memory(
        total_ram_pages=4 * GIB, total_swap_pages=GIB, free_pages=9000, available_pages=20000,
        free_swap_pages=5000, file_pages=30000, shmem_pages=4000, anon_pages=3 * GIB,
        slab_reclaimable_pages=6000, slab_unreclaimable_pages=8000, committed_pages=2 * GIB,
        commit_limit_pages=3 * GIB, totalreserve_pages=12000, min_wmark_pages=4000,
        low_wmark_pages=5000, high_wmark_pages=6000, hugetlb_pages=512,
        nodes=(
            Node(node_id=0, present_pages=3 * GIB, spanned_pages=3 * GIB),
            Node(node_id=1, present_pages=GIB, spanned_pages=GIB),
        ),
    )  # fmt: skip
    return Snapshot(
        kernel="6.12", memory=msgspec.structs.replace(usual, **(memory or {})),
        sysctl=Sysctl(**(sysctl or {})), tasks=_tasks(**tasks),
        memcgs=(
            Memcg(path="/"), Memcg(path="/pods", usage_pages=90000, limit_pages=200000),
            Memcg(path="/pods/a", **{"limit_pages": 52000, "usage_pages": 51000,
                                     "swap_usage_pages": 100, **(group or {})}),
            Memcg(path="/pods/b", usage_pages=31000),
        ),
        uptime_s=90000, cpus=4,
    )  # fmt: skip


ASKED = Allocation(pid=950)
IN_A = Allocation(pid=901, memcg="/pods/a")
SITUATIONS: dict[str, tuple[Snapshot, Allocation]] = {
    "the machine runs out": (_machine(), ASKED),
    "nobody known asks": (_machine(), Allocation()),
    "a cgroup reaches its limit": (_machine(), IN_A),
    "a cgroup that dies as one": (_machine(group={"oom_group": True}), IN_A),
    "a cgroup whose OOM killer is off": (_machine(group={"oom_kill_disable": True}), IN_A),
    "memory and swap of a cgroup": (_machine(group={"memsw_limit_pages": 60000}), IN_A),
    "a cgroup without swap": (_machine(group={"swap_max_pages": 0, "swappiness": 0}), IN_A),
    "the parent's limit": (_machine(), Allocation(pid=903, memcg="/pods")),
    "high order": (_machine(), Allocation(pid=950, order=4)),
    "costly order at the edge": (_machine(), Allocation(pid=950, order=3)),
    "without __GFP_FS": (_machine(), Allocation(pid=950, gfp_fs=False)),
    "in a cgroup without __GFP_FS": (_machine(), Allocation(pid=901, memcg="/pods/a",
                                                            gfp_fs=False)),
    "must not fail": (_machine(), Allocation(pid=950, gfp_fs=False, gfp_nofail=True)),
    "gives up early": (_machine(), Allocation(pid=950, gfp_noretry=True)),
    "may fail": (_machine(), Allocation(pid=950, gfp_retry_mayfail=True)),
    "this node alone": (_machine(), Allocation(pid=950, gfp_thisnode=True)),
    "a low zone": (_machine(), Allocation(pid=950, low_zone=True)),
    "a system call": (_machine(), Allocation(pid=950, user_fault=False)),
    "a page fault": (_machine(), Allocation(pid=950, page_fault_oom=True)),
    "a page fault in a cgroup": (_machine(), Allocation(pid=901, memcg="/pods/a",
                                                        page_fault_oom=True)),
    "by hand": (_machine(), Allocation(pid=950, sysrq=True)),
    "a memory policy": (_machine(p950={"mempolicy_nodes": (1,)}, p900={"mempolicy_nodes": (0,)}),
                        Allocation(pid=950, nodemask=(1,))),
    "a cpuset": (_machine(p950={"mems_allowed": (1,)}, p812={"mems_allowed": (0,)},
                          p900={"mems_allowed": (0, 1)}), ASKED),
    "who asks dies": (_machine(sysctl={"oom_kill_allocating_task": 1}), ASKED),
    "who asks dies, at -1000": (_machine(sysctl={"oom_kill_allocating_task": 1}),
                                Allocation(pid=500)),
    "panics": (_machine(sysctl={"panic_on_oom": 1}), ASKED),
    "panics, not for a cgroup": (_machine(sysctl={"panic_on_oom": 1}), IN_A),
    "panics always": (_machine(sysctl={"panic_on_oom": 2}), IN_A),
    "the OOM killer is off": (_machine(sysctl={"oom_killer_disabled": 1}), ASKED),
    "everybody is protected": (_machine(**{
        f"p{pid}": {"oom_score_adj": -1000, "oom_adj": -17} for pid in (812, 900, 901, 902, 903,
                                                                        950)}), ASKED),
    "one is exiting": (_machine(p900={"exiting": True}), ASKED),
    "who asks is exiting": (_machine(p950={"exiting": True}), ASKED),
    "who asks is to die": (_machine(p950={"fatal_signal": True}), ASKED),
    "one is a victim already": (_machine(p900={"victim": True}), ASKED),
    "a victim that was reaped": (_machine(p900={"victim": True, "mm_reaped": True}), ASKED),
    "a victim without memory": (_machine(p900={"victim": True, "has_mm": False}), ASKED),
    "one dumps core": (_machine(p812={"coredump": True}), ASKED),
    "who asks dumps core": (_machine(p950={"coredump": True, "fatal_signal": True}), ASKED),
    "a vfork": (_machine(p812={"vfork": True}), ASKED),
    "one is frozen": (_machine(p812={"frozen": True}), ASKED),
    "one exits under a tracer": (_machine(p900={"exiting": True, "traced_exit": True}), ASKED),
    "swapoff": (_machine(p950={"oom_origin": True}), ASKED),
    "children": (_machine(p900={"ppid": 812}, p950={"ppid": 812}), ASKED),
    "a child of another memory": (_machine(p902={"ppid": 812}, p903={"ppid": 812, "mm_id": 8}),
                                  ASKED),
    "a raised adjustment": (_machine(p900={"oom_score_adj": 500, "oom_adj": 8}), ASKED),
    "a lowered adjustment": (_machine(p812={"oom_score_adj": -500, "oom_adj": -8}), ASKED),
    "sharers, one protected": (_machine(
        p902={"oom_score_adj": 900, "oom_adj": 15}, p903={"oom_score_adj": -1000, "oom_adj": -17},
    ), ASKED),
    "equals": (_machine(p900={"rss_pages": GIB, "swap_pages": 20000, "pgtable_pages": 700}), ASKED),
    "enough is free": (_machine(memory={"free_pages": GIB}), ASKED),
    "no swap": (_machine(memory={"total_swap_pages": 0, "free_swap_pages": 0}), ASKED),
}  # fmt: skip


def _plain(value: Any, *without: str) -> str:
    """A record on one line, without what is as it comes."""
    made = msgspec.to_builtins(value)
    if isinstance(made, dict):
        made = {
            key: part for key, part in made.items()
            if part not in (None, [], {}, "", False) and key not in without
        }  # fmt: skip
    return msgspec.json.encode(made).decode()


def _by_rules(lines_of: Callable[[RuleSet], Iterator[str]]) -> str:
    """Every line, with the rule sets that bring it, in order: the first and last of a stretch."""
    rows = [row.rules for row in history()]
    found: dict[str, list[int]] = defaultdict(list)
    for number, rules in enumerate(rows):
        for line in lines_of(rules):
            found[line].append(number)
    shown = []
    for line, numbers in found.items():
        stretches: list[list[int]] = []
        for number in dict.fromkeys(numbers):
            if stretches and number == stretches[-1][-1] + 1:
                stretches[-1].append(number)
            else:
                stretches.append([number])
        names = [" to ".join(dict.fromkeys((rows[part[0]].name, rows[part[-1]].name)))
                 for part in stretches]  # fmt: skip
        shown.append(f"{line}\n    {', '.join(names)}\n")
    return "".join(shown)


def _decided(snapshot: Snapshot, asked: Allocation, rules: RuleSet) -> Iterator[str]:
    decision = decide(snapshot, asked, rules)
    yield f"decision {_plain(decision, 'rules', 'trace')}"
    for step in decision.trace:
        yield f"trace {step}"
    yield f"measured against {control_for(snapshot, asked, rules).total_pages}"
    ranked = rank(snapshot, asked, rules)
    yield f"order {[row.task.pid for row in ranked]}"
    for row in ranked:
        yield f"rank of {row.task.pid}: {_plain(row, 'task', 'rank')}"
    for change in counterfactuals(snapshot, asked, rules, decision):
        yield f"change {_plain(change)}"
    for pid in (500, 812, 950):
        fate = why(snapshot, asked, rules, decision, pid)
        yield f"why {_plain(fate, 'trace', 'counterfactuals')}"
    scores = score_control(snapshot, rules)
    yield f"oom_score {[oom_score(task, scores) for task in snapshot.tasks]}"
    equal = near_equals(snapshot, asked, rules, decision.points or 0)
    yield f"near {[task.pid for task in equal]} {asker_dies(snapshot, decision, asked.pid)}"


def decided(name: str) -> str:
    """A situation: what is decided, by the rule sets that decide so."""
    return _by_rules(partial(_decided, *SITUATIONS[name]))


def rule_table() -> str:
    """Every rule set, and each stable release around those that brought a change."""
    lines = [f"{row.rules.name} {_plain(row.rules)}" for row in history()]
    for change in (*FIRST, *SECOND, *THIRD):
        lines.append(f"change {_plain(change)}")
        for branch, sublevel in change.backports:
            found = [f"{branch}.{n} {rules_for(f'{branch}.{n}').name}"
                     for n in (max(sublevel - 1, 1), sublevel)]  # fmt: skip
            lines.append("  " + ", ".join(found))
    return "\n".join(lines) + "\n"


def memory_rules() -> str:
    """Watermarks, overcommit and how far counters may be off, by the rule sets that say so."""
    shown = _by_rules(partial(_memory_rules, _machine()))
    sizes = [(pages, zones(pages)) for pages in (1000, 4096, 4097, GIB, 4 * GIB, 16 * GIB)]
    return f"{shown}zones {sizes}\nbatch {[percpu_batch(cpus) for cpus in (1, 8, 16, 17, 128)]}\n"


_KNOBS = ((0, 10, False), (0, 10, True), (65536, 10, False), (0, 500, False))


def _memory_rules(snapshot: Snapshot, rules: RuleSet) -> Iterator[str]:
    for pages in (4096, GIB, 16 * GIB):
        for knob, scale, thp in (
            (0, 10, False),
            (0, 10, True),
            (65536, 10, False),
            (0, 500, False),
        ):
            marks = watermarks_for(pages, rules, min_free_kbytes=knob, scale_factor=scale, thp=thp)
            yield f"watermarks {pages} {knob} {scale} {thp} {_plain(marks)}"
    for mode in (0, 1, 2):
        sysctl = Sysctl(overcommit_memory=mode)
        for pages in (1, 9000, 40000, GIB, 8 * GIB):
            for task in (None, snapshot.tasks[4]):
                said = vm_enough_memory(pages, snapshot.memory, sysctl, rules, task=task)
                yield f"overcommit {mode} {pages} {task and task.pid} {_plain(said)}"
    for admin in (True, False):
        for kbytes in (0, 8192):
            limit = commit_limit_pages(
                snapshot.memory, Sysctl(overcommit_kbytes=kbytes), rules, admin=admin
            )
            yield f"limit {admin} {kbytes} {limit}"
    for task in snapshot.tasks[3:6]:
        error = [counting_error(task, rules, cpus) for cpus in (None, 1, 4, 64)]
        yield f"counting {task.pid} {error}"
    touched = ((10, 1), (900, 3), (9, 40))
    yield f"uncounted {[uncounted_pages(rules, 4, pages, t) for pages, t in touched]}"
    note = counting_note(snapshot, ASKED, rules, snapshot.tasks[3])
    yield f"note {note}"


FILES: dict[str, Callable[[], str]] = {
    "rules": rule_table,
    "memory": memory_rules,
    **{name.replace(" ", "-"): partial(decided, name) for name in SITUATIONS},
}


def write() -> None:
    """Write all files anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for name, made in FILES.items():
        (KEPT / f"{name}.txt").write_text(made())


if __name__ == "__main__":
    write()
