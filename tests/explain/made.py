"""Reports made by hand: a machine of 4 GiB, a memory cgroup of 1 GiB, whose every number is known.

4 GiB are 1,048,576 pages of 4 kB or 4,194,304 kB; 1 GiB is 1,048,576 kB.
"""

from typing import Any

from oomkit.explain.explanation import explain
from oomkit.explain.records import Explanation, Finding
from oomkit.klog.evidence import Evidence
from oomkit.klog.memory_records import Counter, Memcg, Memory, NodeCounters, Zone
from oomkit.klog.records import Killed, Report, Source, TaskRow
from oomkit.records import replace

SOURCE = Source(file="kern.log", line=1, end_line=9)
GIB_PAGES = 1 << 18
GIB_KB = 1 << 20
MACHINE_PAGES = 4 * GIB_PAGES
DB = Killed(pid=7, comm="db", line=9)


def row(pid: int, comm: str, rss_pages: int, **more: Any) -> TaskRow:
    """A row as kernels from 4.15 on print it; without page tables, swap and adjustment."""
    fields: dict[str, Any] = {
        "uid": 1000, "total_vm_pages": 2 * rss_pages, "pgtables_bytes": 0, "swapents": 0,
        "oom_score_adj": 0, "line": pid,
    }  # fmt: skip
    return TaskRow(pid=pid, tgid=pid, comm=comm, rss_pages=rss_pages, **{**fields, **more})


def machine(*, nodes: Any = None, **counters: Any) -> Report:
    """A machine of 4 GiB without swap; counters in pages, those of its node in kB."""
    of_node = (NodeCounters(node=0, counters_kb=nodes),) if nodes else ()
    return Report(
        source=SOURCE,
        scope="global",
        gfp_mask="0x201da",
        order=0,
        killed=(DB,),
        memory=Memory(
            page_kb=4, counters_pages=counters, nodes=of_node, ram_pages=MACHINE_PAGES,
            reserved_pages=0, total_swap_kb=0, free_swap_kb=0,
        ),
    )  # fmt: skip


def with_memory(report: Report, **fields: Any) -> Report:
    """A report with other fields of its Mem-Info."""
    assert report.memory is not None
    return replace(report, memory=replace(report.memory, **fields))


def group(path: str = "/app", *, v2: bool = True, usage_kb: int = GIB_KB, **stats: Any) -> Report:
    """A memory cgroup at its limit of 1 GiB; stats in kB, but for the v1 names that are given."""
    return Report(
        source=SOURCE,
        scope="memcg",
        cgroup=path,
        killed=(DB,),
        memcg=Memcg(
            path=path,
            task_path=path,
            memory=Counter(usage_kb=usage_kb, limit_kb=GIB_KB, failcnt=0),
            swap=Counter(usage_kb=0, limit_kb=0) if v2 else None,
            stats={path: {name: size * 1024 for name, size in stats.items()}} if stats else {},
        ),
    )


def with_memcg(report: Report, **fields: Any) -> Report:
    """A report with other fields of its memory cgroup."""
    assert report.memcg is not None
    return replace(report, memcg=replace(report.memcg, **fields))


def zone(name: str, free: int | None, least: int | None, size: int | None, **more: Any) -> Zone:
    """A zone of node 0 in kB; its high watermark is its min watermark if not given."""
    return Zone(**{
        "node": 0, "name": name, "free_kb": free, "min_kb": least, "high_kb": least,
        "managed_kb": size, **more,
    })  # fmt: skip


def findings_of(report: Report) -> dict[str, Finding]:
    """The findings by their kind."""
    found = explain(report).findings
    assert len({one.kind for one in found}) == len(found)
    return {one.kind: one for one in found}


def text_of(report: Report, kind: str) -> str:
    """One finding's level and sentence."""
    found = findings_of(report)[kind]
    return f"{found.level}: {found.text}"


def shares_of(item: Explanation) -> dict[str, int]:
    """The uses of memory in kB."""
    assert item.where is not None
    return {share.key: share.kb for share in item.where.shares}


def said(kind: Any, by: str, text: str = "its words", line: int = 60, **fields: Any) -> Evidence:
    """What another than the kernel says."""
    source = Source(file=fields.pop("file", "kern.log"), line=line, end_line=line)
    return Evidence(source=source, by=by, kind=kind, text=text, **fields)


ZONES = (
    Zone(
        node=0, name="Normal", free_kb=4000, min_kb=8000, high_kb=12000, managed_kb=800_000,
        free_blocks=(1000, 0, 0, 0),
    ),
    Zone(node=0, name="HighMem", free_kb=900_000, min_kb=500, high_kb=1500, managed_kb=1_000_000),
)  # fmt: skip
