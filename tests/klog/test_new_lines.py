"""Lines that came with 6.19 to 7.3: protection, memory of GPUs, allocations that wait."""

import pytest

from oomkit.explain.explanation import Case
from oomkit.explain.files import ReadLog
from oomkit.kernel.alloc import decide
from oomkit.kernel.state import Allocation, Memcg, Memory, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.klog import read_bytes
from oomkit.klog.memory_records import Protection
from oomkit.klog.records import Report
from oomkit.klog.write import stalled, stamped, write_report

LEAK = Task(pid=700, comm="leak", rss_pages=90_000, pgtable_pages=200, cgroup="/pods/a")
GROUPS = (
    Memcg(path="/"),
    Memcg(path="/pods", usage_pages=95_000, min_pages=50_000, low_pages=1 << 50),
    Memcg(path="/pods/a", usage_pages=92_000, min_pages=100),
    Memcg(path="/pods/b", usage_pages=3_000, low_pages=4_000),
)


def _snapshot(kernel: str, groups: tuple[Memcg, ...] = GROUPS) -> Snapshot:
    memory = Memory(total_ram_pages=100_000, anon_pages=90_000, free_pages=500)
    return Snapshot(kernel=kernel, memory=memory, tasks=(LEAK,), memcgs=groups)


def _lines(kernel: str, memcg: str | None = None, groups: tuple[Memcg, ...] = GROUPS) -> list[str]:
    snapshot, rules = _snapshot(kernel, groups), rules_for(kernel)
    allocation = Allocation(pid=700, memcg=memcg)
    return write_report(snapshot, allocation, rules, decide(snapshot, allocation, rules))


def _read(lines: list[str], uptime_s: float = 500.0) -> list[Report]:
    return _read_text(stamped(lines, uptime_s))


def _read_text(lines: list[str]) -> list[Report]:
    return list(read_bytes("\n".join(lines).encode() + b"\n", "x.log"))


@pytest.mark.parametrize(
    ("memcg", "least", "low"), [(None, 50_000, 95_000), ("/pods", 100, 3_000), ("/pods/a", 0, 0)]
)
def test_what_children_protect_is_written_and_read(memcg: str | None, least: int, low: int) -> None:
    (report,) = _read(_lines("6.19.14", memcg))
    assert report.protection == Protection(min_kb=4 * least, low_kb=4 * low)
    assert report.scope == ("memcg" if memcg else "global")


def test_protection_is_of_6_19_and_of_cgroup_v2() -> None:
    assert _read(_lines("6.18.15"))[0].protection is None
    v1 = (Memcg(path="/a", version=1),)
    assert _read(_lines("6.19.14", groups=v1))[0].protection is None


@pytest.mark.parametrize(
    ("kernel", "first"),
    [("6.18.15", "6.8"), ("7.0.4", "6.19"), ("7.1.13", "7.1"), ("7.3.4", "7.3")],
)
def test_a_report_without_a_name_tells_its_age_by_its_lines(kernel: str, first: str) -> None:
    lines = [line for line in _lines(kernel) if "Not tainted" not in line]
    (report,) = _read(lines)
    assert report.kernel_range is not None
    assert report.kernel_range[0] == first


def test_memory_of_gpus_is_shown_and_found() -> None:
    lines = [
        line.replace("gpu_active:0kB gpu_reclaim:0kB", "gpu_active:120000kB gpu_reclaim:8000kB")
        for line in _lines("7.1.13")
    ]
    case = Case([ReadLog(name="x.log", reports=tuple(_read(lines)))])
    told = case.explain(0)
    assert told.where is not None
    assert told.where.kb("gpu") == 128_000
    assert [f.level for f in told.findings if f.kind == "gpu"] == ["cause"]


def test_protected_memory_is_found() -> None:
    told = Case([ReadLog(name="x.log", reports=tuple(_read(_lines("7.2.12"))))]).explain(0)
    texts = [f.text for f in told.findings if f.kind == "protected"]
    assert len(texts) == 1
    assert "memory.low" in texts[0]


@pytest.mark.parametrize(("kernel", "lines"), [("7.1.13", 0), ("7.2.12", 1), ("7.3.4", 1)])
def test_an_allocation_that_waits_is_warned_of_from_7_2_on(kernel: str, lines: int) -> None:
    rules = rules_for(kernel)
    assert len(stalled(LEAK, 10.4, Allocation(), rules)) == lines
    assert stalled(LEAK, 9.9, Allocation(), rules) == []


def test_warnings_before_a_report_witness_the_freeze() -> None:
    rules = rules_for("7.3.4")
    warnings = [
        *stamped(stalled(LEAK, 10.2, Allocation(order=1), rules), 470.0),
        *stamped(stalled(LEAK, 21.0, Allocation(), rules), 481.0),
    ]
    noise = [f"[  490.{i:06}] usb 1-1: reset" for i in range(3000)]
    reports = _read_text([*warnings, *noise, *stamped(_lines("7.3.4"), 500.0)])
    (report,) = reports
    assert [(s.comm, s.waited_s, s.order) for s in report.stalls] == [
        ("leak", 10, 1),
        ("leak", 21, 0),
    ]
    told = Case([ReadLog(name="x.log", reports=tuple(reports))]).explain(0)
    (text,) = [f.text for f in told.findings if f.kind == "stalled"]
    assert text == (
        "an allocation of leak had waited 21 s for memory, 19 s before the kill: "
        "memory was short for 40 s at least"
    )


def test_a_warning_long_before_a_report_is_about_another_shortage() -> None:
    rules = rules_for("7.3.4")
    warning = stamped(stalled(LEAK, 12.0, Allocation(), rules), 100.0)
    (report,) = _read_text([*warning, *stamped(_lines("7.3.4"), 500.0)])
    assert report.stalls == ()


def test_warnings_of_4_10_are_read_in_milliseconds() -> None:
    said = "cc1: page allocation stalls for 10104ms, order:0, mode:0x14201ca(GFP_NOFS)"
    old = f"[  495.000000] {said}"
    (report,) = _read_text([old, *stamped(_lines("4.12"), 500.0)])
    assert [(s.comm, s.waited_s) for s in report.stalls] == [("cc1", 10.104)]
