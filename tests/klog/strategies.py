"""Machines, requests and rule sets at random."""

from typing import Literal

from hypothesis import strategies as st

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Snapshot, Sysctl, Task
from oomkit.kernel.versions import history

rule_sets = st.sampled_from([row.rules for row in history()])

comms = st.one_of(
    st.sampled_from(
        [
            "mysqld",
            "tmux: server",
            "(sd-pam)",
            "runc:[2:INIT]",
            "kworker/0:2",
            "084",
            "a) b",
            "java",
            "...",
            "(...snipped...)",
            ":",
            "oom_reaper: x",
            "Kill process 1",
            "next-build (v16",
        ]
    ),
    # ": x" at the start of an unstamped line is how some mailers quote: nobody could tell.
    st.text("abcXYZ09-_:./()[] ", min_size=1, max_size=15)
    .map(str.strip)
    .filter(lambda comm: comm and not comm.startswith(": ")),
)
pages = st.integers(0, 1 << 24)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[Task, ...]:
    """Some processes with sizes that fit each other; pids grow as they are made."""
    pids = sorted(draw(st.lists(st.integers(2, 99999), min_size=1, max_size=8, unique=True)))
    return tuple(draw(one_task(pid)) for pid in pids)


@st.composite
def one_task(draw: st.DrawFn, pid: int) -> Task:
    anon, files, shmem = draw(pages), draw(pages), draw(st.integers(0, 1000))
    ptes, pmds = draw(st.integers(0, 5000)), draw(st.integers(0, 50))
    adj = draw(st.sampled_from([0, 0, 0, -1000, -998, -17, 300, 1000]))
    return Task(
        pid=pid,
        comm=draw(comms),
        ppid=draw(st.sampled_from([1, pid - 1])),
        uid=draw(st.sampled_from([0, 1000, 1001050000])),
        rss_pages=anon + files + shmem,
        anon_rss_pages=anon,
        file_rss_pages=files,
        shmem_rss_pages=shmem,
        swap_pages=draw(pages),
        pgtable_pages=ptes + pmds,
        pte_pages=ptes,
        pmd_pages=pmds,
        total_vm_pages=anon + files + shmem + draw(pages),
        oom_score_adj=adj,
        cgroup=draw(st.sampled_from(["/a", "/a/b", "/c"])),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    page_size = draw(st.sampled_from([4096, 4096, 16384, 65536]))
    limit = draw(st.one_of(st.none(), st.integers(1, 1 << 22)))
    versions: list[Literal[1, 2]] = [1, 2]
    version = draw(st.sampled_from(versions))
    group = Memcg(
        path="/a",
        version=version,
        limit_pages=limit,
        usage_pages=limit or draw(st.integers(1, 1 << 22)),
        swap_max_pages=draw(st.one_of(st.none(), pages)) if version == 2 else None,
        memsw_limit_pages=draw(st.one_of(st.none(), pages)) if version == 1 else None,
        oom_group=draw(st.booleans()),
    )
    return Snapshot(
        kernel="1.0",
        memory=Memory(
            total_ram_pages=draw(st.integers(1, 1 << 28)),
            total_swap_pages=draw(st.integers(0, 1 << 26)),
            free_pages=draw(pages),
            shmem_pages=draw(pages),
            slab_reclaimable_pages=draw(pages),
            slab_unreclaimable_pages=draw(pages),
        ),
        sysctl=Sysctl(
            panic_on_oom=draw(st.sampled_from([0, 0, 0, 1, 2])),
            oom_kill_allocating_task=draw(st.sampled_from([0, 0, 1])),
            would_have_oomkilled=draw(st.sampled_from([0, 0, 0, 1])),
        ),
        tasks=draw(tasks()),
        memcgs=(group, Memcg(path="/a/b"), Memcg(path="/c")),
        page_size=page_size,
    )


@st.composite
def allocations(draw: st.DrawFn, snapshot: Snapshot, rules: RuleSet) -> Allocation:
    asker = draw(st.sampled_from(snapshot.tasks))
    kind = draw(st.sampled_from(["global", "memcg", "sysrq"]))
    in_group = [task for task in snapshot.tasks if task.cgroup.startswith("/a")]
    # Memory cgroups came in 2.6.25, with the task table.
    if kind == "memcg" and in_group and rules.log_table != "none":
        asker = draw(st.sampled_from(in_group))
        return Allocation(pid=asker.pid, memcg="/a", order=0, user_fault=True)
    if kind == "sysrq":
        return Allocation(pid=asker.pid, sysrq=True)
    return Allocation(pid=asker.pid, order=draw(st.integers(0, 3)))
