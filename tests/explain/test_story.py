"""What is made of a report: shares, shortage, findings, for whatever parts of it are there."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.explain.explanation import explain
from oomkit.explain.recurring import Tables
from oomkit.klog import read_bytes, replay_all
from oomkit.klog.memory_records import Counter, HugePages, Memcg, Memory, Slab, Zone
from oomkit.klog.records import Killed, Report, Source, TaskRow
from oomkit.records import replace, to_json
from oomkit.render.layout import Terminal
from oomkit.render.terminal import plain_lines
from oomkit.views.explain_json import report_object
from oomkit.views.explain_page import page_text
from oomkit.views.explain_report import explanation_report
from tests.explain.made import ZONES
from tests.klog.logs import bytes_of, manifest

SOURCE = Source(file="kern.log", line=1, end_line=9)
GIB_PAGES = 1 << 18


@cache
def known() -> list[Report]:
    """The first reports of each development log."""
    names = [row["file"] for row in manifest()]
    return [r for name in names for r in list(replay_all(read_bytes(bytes_of(name), name)))[:2]]


def machine(**counters: int) -> Report:
    """A machine of 4 GiB without swap whose memory is in the counters given, in pages."""
    return Report(
        source=SOURCE,
        scope="global",
        gfp_mask="0x201da",
        order=0,
        killed=(Killed(pid=7, comm="db", line=9),),
        memory=Memory(
            page_kb=4,
            counters_pages=counters,
            ram_pages=4 * GIB_PAGES,
            reserved_pages=0,
            total_swap_kb=0,
            free_swap_kb=0,
        ),
    )


def with_memory(report: Report, **fields: Any) -> Report:
    assert report.memory is not None
    memory = replace(report.memory, **fields)
    return replace(report, memory=memory)


def kinds(report: Report) -> dict[str, str]:
    return {finding.kind: finding.text for finding in explain(report).findings}


def test_shared_memory_is_not_counted_twice() -> None:
    where = explain(machine(active_anon=2 * GIB_PAGES, shmem=GIB_PAGES, free=1000)).where
    assert where is not None
    assert where.kb("shmem") == 1 << 20
    assert where.kb("anon") == 1 << 20
    assert where.kb("unaccounted") == (2 << 20) - 4000
    assert sum(share.kb for share in where.shares) == where.total_kb == 4 << 20


def test_locked_shared_memory_is_not_counted_twice() -> None:
    where = explain(machine(active_anon=10, unevictable=GIB_PAGES, shmem=GIB_PAGES)).where
    assert where is not None
    assert where.kb("shmem") == 1 << 20
    assert where.kb("unevictable") == 40
    assert where.kb("anon") == 0


@pytest.mark.parametrize(
    ("report", "kind", "words"),
    [
        (machine(slab_unreclaimable=2 * GIB_PAGES), "slab_leak", "2.00 GiB (50 %)"),
        (
            with_memory(
                machine(slab_unreclaimable=2 * GIB_PAGES),
                unreclaimable_slab=(
                    Slab(name="dentry", used_kb=1, total_kb=5000),
                    Slab(name="leaky", used_kb=1, total_kb=1 << 20),
                ),
            ),
            "slab_leak",
            "most in leaky 1.00 GiB, dentry",
        ),
        (machine(active_anon=GIB_PAGES, shmem=GIB_PAGES), "shmem", "1.00 GiB (25 %)"),
        (machine(pagetables=GIB_PAGES), "page_tables", "1.00 GiB"),
        (machine(unevictable=2 * GIB_PAGES), "unevictable", "mlock"),
        (machine(free=100), "unaccounted", "none of the kernel's counters"),
        (machine(active_anon=3 * GIB_PAGES), "no_swap", "there is no swap"),
        (
            with_memory(
                machine(active_anon=GIB_PAGES),
                hugepages=(HugePages(node=0, size_kb=2048, total=1024, free=1000, surplus=0),),
            ),
            "hugepages_unused",
            "lower vm.nr_hugepages",
        ),
        (
            with_memory(machine(active_anon=3 * GIB_PAGES), total_swap_kb=4096, free_swap_kb=8),
            "swap_full",
            "swap is full",
        ),
    ],
)
def test_findings_name_what_is_wrong(report: Report, kind: str, words: str) -> None:
    assert words in kinds(report)[kind]


def test_a_healthy_use_is_no_finding() -> None:
    anon, file = 11 * GIB_PAGES // 4, 9 * GIB_PAGES // 8
    assert set(kinds(machine(active_anon=anon, active_file=file, slab_unreclaimable=9000))) == {
        "no_swap"
    }


@pytest.mark.parametrize(
    ("gfp", "order", "zones", "kind"),
    [
        ("0xd0", 0, ZONES, "zone"),
        ("0x280d2", 0, ZONES, "machine"),  # may use high memory, so no zone of its own failed
        (
            "0xcc0(GFP_KERNEL)",
            2,
            (replace(ZONES[0], free_kb=9000),),
            "fragmentation",
        ),
        ("0xcc0(GFP_KERNEL)", 2, (ZONES[0],), "machine"),  # short of pages of any size
        ("0x0()", 0, (), "machine"),
    ],
)
def test_what_ran_out(gfp: str, order: int, zones: tuple[Zone, ...], kind: str) -> None:
    report = with_memory(machine(active_anon=GIB_PAGES, free=226_000), zones=zones)
    report = replace(report, gfp_mask=gfp, order=order)
    if gfp == "0x0()":
        assert explain(report).shortage.kind == "page_fault"
        report = with_memory(report, counters_pages={"free": 100})
    assert explain(report).shortage.kind == kind


def test_memory_in_cma_only_is_no_memory_for_the_kernel() -> None:
    zone = Zone(
        node=0, name="DMA", free_kb=200_000, min_kb=20_000, managed_kb=600_000,
        counters_kb={"free_cma": 190_000},
    )  # fmt: skip
    report = with_memory(machine(free=50_000), zones=(zone,))
    report = replace(report, gfp_mask="0xcc0(GFP_KERNEL)")
    short = explain(report).shortage
    assert (short.kind, short.what) == ("zone", "memory outside CMA")


def test_a_limit_below_a_cgroup_of_its_own_is_named_by_owner() -> None:
    path = "/kubepods.slice/kubepods-pod0a1b2c3d_1111_2222_3333_444455556666.slice/x.scope"
    report = Report(
        source=SOURCE,
        scope="memcg",
        cgroup=path,
        killed=(Killed(pid=7, comm="db"),),
        memcg=Memcg(path=path, memory=Counter(usage_kb=100, limit_kb=100)),
    )
    assert explain(report).headline == (
        "db[7] was killed: the memory cgroup of pod 0a1b2c3d-1111-2222-3333-444455556666 "
        "ran out of memory"
    )


def row(pid: int, comm: str, rss_pages: int) -> TaskRow:
    return TaskRow(
        pid=pid, tgid=pid, uid=0, comm=comm, total_vm_pages=rss_pages, rss_pages=rss_pages
    )


def test_many_small_ones_of_a_name_are_seen() -> None:
    rows = (*(row(10 + i, "php", GIB_PAGES // 8) for i in range(20)), row(7, "db", GIB_PAGES // 4))
    report = replace(machine(active_anon=3 * GIB_PAGES), tasks=rows)
    assert "20 processes named php hold 2.50 GiB" in kinds(report)["many_of_a_name"]
    assert "many_of_a_name" not in kinds(replace(report, tasks=rows[-3:]))


NOTHING: dict[str, Any] = {
    "scope": None, "cgroup": None, "memory": None, "memcg": None, "tasks": (), "killed": (),
    "selected": None, "summary": None, "gfp_mask": None, "order": None, "predicted": (),
    "kernel": None, "time": None, "uptime_s": None, "invoker": None, "problems": (), "rules": None,
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_missing_the_rest_is_reported(data: st.DataObject) -> None:
    """Any parts of any real report may be lost; text, JSON and page still come out whole."""
    report = data.draw(st.sampled_from(known()))
    lost = data.draw(st.sets(st.sampled_from(sorted(NOTHING))))
    report = replace(report, **{name: NOTHING[name] for name in lost})
    if data.draw(st.booleans()):
        (report,) = replay_all([report])
    item = explain(report)
    lines = plain_lines(explanation_report(item, 1), Terminal(unicode=data.draw(st.booleans())))
    assert all(line.isprintable() for line in lines)
    assert to_json(report_object(item))
    assert page_text([item], [report], [], [], Tables()).count("<details") == 1
    if item.where is not None:
        assert sum(share.kb for share in item.where.shares) <= item.where.total_kb


@given(
    st.lists(
        st.builds(
            Zone,
            node=st.integers(0, 3),
            name=st.sampled_from(["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"]),
            free_kb=st.none() | st.integers(0, 1 << 40),
            min_kb=st.none() | st.integers(0, 1 << 40),
            managed_kb=st.none() | st.integers(0, 1 << 40),
            lowmem_reserve_pages=st.lists(st.integers(0, 1 << 40), max_size=6).map(tuple),
            free_blocks=st.lists(st.integers(0, 1 << 40), max_size=14).map(tuple),
        ),
        max_size=6,
    ),
    st.integers(-1, 12),
    st.sampled_from(["0x0", "0xd0", "0x1", "0x4", "0x2", "0xa", "garbage", "0xffffffff(X)"]),
)
def test_any_zones_give_a_shortage(zones: list[Zone], order: int, gfp: str) -> None:
    report = with_memory(machine(free=10), zones=tuple(zones))
    assert explain(replace(report, order=order, gfp_mask=gfp)).headline


@pytest.mark.parametrize(
    ("kernel", "vendor"),
    [("5.10.0-60.18.0.50.oe2203.x86_64", "openEuler"), ("5.10.0-rc4-next-20201120", "linux-next"),
     ("5.10.11", None)],
)  # fmt: skip
def test_a_choice_against_the_rules_is_held_against_what_is_not_known_of_the_kernel(
    kernel: str, vendor: str | None
) -> None:
    rows = [
        TaskRow(pid=pid, tgid=pid, comm=comm, uid=0, total_vm_pages=9000, rss_pages=rss,
                pgtables_bytes=4096, swapents=0, oom_score_adj=0, line=pid)
        for pid, comm, rss in ((7, "db", 100), (8, "hog", 90000))
    ]  # fmt: skip
    against = replace(machine(), kernel=kernel, tasks=tuple(rows), table_complete=True)
    (report,) = replay_all([against])
    assert report.agrees is False
    assert report.why is not None
    assert "hog[8] comes first" in report.why
    assert ("were not read" in report.why) == (vendor is not None)
    assert vendor is None or vendor in report.why


def test_a_victim_of_an_earlier_report_is_not_chosen_again_by_what_would_have_changed_it() -> None:
    rows = tuple(
        TaskRow(pid=pid, tgid=pid, comm=comm, uid=0, total_vm_pages=99000, rss_pages=rss,
                pgtables_bytes=4096, swapents=0, oom_score_adj=0, line=pid)
        for pid, comm, rss in ((7, "db", 9000), (8, "hog", 90000), (9, "web", 500))
    )  # fmt: skip
    plain = replace(machine(), kernel="6.1.0", tasks=rows, table_complete=True)
    first = replace(plain, uptime_s=5.0, killed=(Killed(pid=8, comm="hog", line=9),))
    second = replace(plain, uptime_s=6.0)
    _, report = replay_all([first, second])
    assert report.agrees
    assert report.assumed.dying == (8,)
    (change,) = (one for one in explain(report).changes if one.kind == "oom_score_adj")
    assert change.pid == 7
    assert "web[9] dies instead" in change.text
