"""faults: which kernels have them, and where explain and the posture name them."""

import pytest

from oomkit.explain.explanation import Case
from oomkit.explain.files import ReadLog
from oomkit.kernel.faults import FAULTS, MEMCG_LOOP, NEXT_SELECTION, SOFT_LIMIT, has_fault
from oomkit.kernel.state import Memcg, Memory, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.klog.memory_records import Counter
from oomkit.klog.memory_records import Memcg as Part
from oomkit.klog.records import Killed, Report, Source
from oomkit.posture.assess import assess
from oomkit.records import replace


@pytest.mark.parametrize(
    ("release", "codes"),
    [
        ("4.14.177", set()),
        ("4.19.304", {"memcg_oom_loop"}),
        ("6.1.0-56-cloud-amd64", {"memcg_oom_loop"}),
        ("7.1.13+deb13-cloud-amd64", {"memcg_oom_loop"}),
        ("7.2.5", {"memcg_oom_loop"}),
        ("7.2.6", {"soft_limit_ignored"}),
        ("7.3.4+deb13-cloud-amd64", {"soft_limit_ignored"}),
        ("5.8.0-rc4-next-20200710", {"memcg_oom_loop", "next_selection"}),
        ("5.8.0-rc4", {"memcg_oom_loop"}),
        ("no kernel", set()),
    ],
)
def test_which_kernels_have_which_faults(release: str, codes: set[str]) -> None:
    assert {fault.code for fault in FAULTS if has_fault(fault, release)} == codes


def _report(line: int, *, kernel: str, killed: int | None = None, cgroup: str = "/a") -> Report:
    dead = (Killed(pid=killed, comm="x", line=line),) if killed else ()
    return Report(
        source=Source(file="k", line=line, end_line=line + 5), uptime_s=100.0 + line / 100,
        kernel=kernel, scope="memcg", cgroup=cgroup, killed=dead, no_killable=not dead,
    )  # fmt: skip


def _kinds(reports: list[Report], index: int = -1) -> set[str]:
    case = Case([ReadLog(name="k", reports=tuple(reports))])
    return {f.kind for f in case.explain(len(reports) + index).findings}


@pytest.mark.parametrize(
    ("kernel", "idle", "other", "found"),
    [
        ("7.1.13", 3, 0, True),
        ("7.1.13", 2, 0, False),
        ("7.1.13", 2, 5, False),
        ("7.3.4", 9, 0, False),
    ],
)
def test_a_cgroup_without_progress_is_a_known_loop(
    kernel: str, idle: int, other: int, found: bool
) -> None:
    reports = [_report(1, kernel=kernel, killed=7)]
    reports += [_report(10 + 10 * i, kernel=kernel) for i in range(idle)]
    reports += [_report(500 + 10 * i, kernel=kernel, cgroup="/b") for i in range(other)]
    assert (MEMCG_LOOP.code in _kinds(reports, -1 - other)) == found


def test_kills_one_after_the_other_are_no_loop() -> None:
    reports = [_report(10 * i, kernel="7.1.13", killed=i) for i in range(1, 9)]
    assert MEMCG_LOOP.code not in _kinds(reports)


@pytest.mark.parametrize(("kernel", "found"), [("7.1.13", False), ("7.3.4", True)])
def test_soft_limits_are_named_on_v1_alone(kernel: str, found: bool) -> None:
    counter = Counter(usage_kb=1, limit_kb=2, failcnt=0)
    report = _report(1, kernel=kernel, killed=7)
    v1 = replace(report, memcg=Part(path="/a", memory=counter, memsw=counter))
    v2 = replace(report, memcg=Part(path="/a", memory=counter, swap=counter))
    assert (SOFT_LIMIT.code in _kinds([v1])) == found
    assert SOFT_LIMIT.code not in _kinds([v2])


def test_linux_nexts_choice_is_excused() -> None:
    report = _report(1, kernel="5.8.0-rc4-next-20200710", killed=7)
    assert NEXT_SELECTION.code in _kinds([replace(report, agrees=False)])
    assert NEXT_SELECTION.code not in _kinds([replace(report, agrees=True)])


def _codes(
    kernel: str, *, threads: int = 20_000, version: int = 2, limit: int | None = 900
) -> set[str]:
    group = Memcg(path="/pod", version=2 if version == 2 else 1, limit_pages=limit)
    task = Task(pid=9, comm="java", rss_pages=300, threads=threads, cgroup="/pod/c")
    init = Task(pid=1, comm="init", global_init=True)
    snapshot = Snapshot(
        kernel=kernel, memory=Memory(total_ram_pages=100_000, available_pages=90_000),
        tasks=(init, task), memcgs=(Memcg(path="/", version=group.version), group),
    )  # fmt: skip
    return {item.code for item in assess(snapshot, rules_for(kernel)).attention}


def test_the_posture_warns_where_a_fault_can_strike() -> None:
    assert MEMCG_LOOP.code in _codes("7.1.13")
    assert MEMCG_LOOP.code not in _codes("7.1.13", threads=999)
    assert MEMCG_LOOP.code not in _codes("7.1.13", limit=None)
    assert MEMCG_LOOP.code not in _codes("7.3.4")
    assert SOFT_LIMIT.code in _codes("7.3.4", version=1)
    assert SOFT_LIMIT.code not in _codes("7.3.4")
    assert SOFT_LIMIT.code not in _codes("6.19.14", version=1)
