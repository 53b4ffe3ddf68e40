"""Every development log: each report is found, its victim is right, none is invented."""

import pytest

from oomkit.klog import Report, read_log, replay_all
from tests.klog.logs import cell, manifest, path_of

NAMES = [row["file"] for row in manifest()]


def row_of(name: str) -> dict[str, str]:
    return next(row for row in manifest() if row["file"] == name)


def reports_in(name: str) -> list[Report]:
    return list(replay_all(read_log(str(path_of(name)))))


def unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


@pytest.mark.parametrize("name", NAMES)
def test_victims_are_those_of_the_manifest(name: str) -> None:
    killed = [victim for report in reports_in(name) for victim in report.killed]
    row = row_of(name)
    pids, comms = cell(row, "killed_pid"), cell(row, "killed_comm")
    found = [str(victim.pid) for victim in killed]
    # Lines that a poster pasted twice count once.
    assert found == (unique(pids) if name.startswith("m-6.11") else pids)
    if len(comms) == len(pids):
        by_pid = dict(zip(pids, comms, strict=True))
        assert all(by_pid[str(victim.pid)] == victim.comm for victim in killed)


@pytest.mark.parametrize("name", NAMES)
def test_heads_are_those_of_the_manifest(name: str) -> None:
    row, reports = row_of(name), reports_in(name)
    invokers = [report.invoker for report in reports if report.invoker and report.gfp_mask]
    assert unique([i for i in invokers if i]) == unique(cell(row, "invoker"))
    masks = [report.gfp_mask for report in reports if report.gfp_mask]
    assert unique([m for m in masks if m]) == unique(cell(row, "gfp_mask"))
    if len(cell(row, "gfp_mask")) > 1:
        assert len(masks) == len(cell(row, "gfp_mask"))
    orders = [str(report.order) for report in reports if report.order is not None]
    assert unique(orders) == unique(cell(row, "order"))
    kernels = {report.kernel for report in reports if report.kernel}
    if row["kernel_version"] != "unknown":
        assert kernels == {row["kernel_version"]}


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_those_of_the_manifest(name: str) -> None:
    row, reports = row_of(name), reports_in(name)
    sizes = [str(len(report.tasks)) for report in reports if report.tasks]
    assert sizes == [n for n in cell(row, "n_tasks") if n != "0"]
    complete = any(report.table_complete for report in reports)
    # A table on which nothing follows may go on where the excerpt ends.
    expected = row["complete_task_table"] == "yes" and "syzbot" not in name
    assert complete == expected
    ram = [r.memory.ram_pages for r in reports if r.memory and r.memory.ram_pages is not None]
    assert unique(list(map(str, ram))) == unique(cell(row, "total_ram_pages"))
    swap = [
        r.memory.total_swap_kb for r in reports if r.memory and r.memory.total_swap_kb is not None
    ]
    assert unique(list(map(str, swap))) == unique(cell(row, "total_swap_kb"))


@pytest.mark.parametrize("name", NAMES)
def test_scope_and_score_are_those_of_the_manifest(name: str) -> None:
    row, reports = row_of(name), reports_in(name)
    kinds = ["panic" if report.panic else report.scope for report in reports]
    assert row["kind"] in kinds
    scores = [str(report.selected.score) for report in reports if report.selected]
    assert scores == cell(row, "killed_score")


@pytest.mark.parametrize("name", NAMES)
def test_whole_tables_agree_with_the_kernel_or_say_why(name: str) -> None:
    for report in reports_in(name):
        if report.table_complete:
            assert report.agrees is not False
            assert report.agrees or report.why, report.source


def test_agreement_over_all_whole_tables() -> None:
    """Where the table is whole and somebody was chosen from it, the rules choose the same."""
    chosen = agreed = 0
    for name in NAMES:
        for report in reports_in(name):
            if report.table_complete and report.killed and report.agrees is not None:
                chosen += 1
                agreed += report.agrees
    assert chosen >= 60
    assert agreed == chosen


def problem_lines(name: str, kind: str) -> list[int | None]:
    return [p.line for r in reports_in(name) for p in r.problems if p.kind == kind]


def test_damage_is_reported_with_its_line() -> None:
    assert problem_lines("g-2.6.23-rc3-mm1-two-cc1-interleaved-wrapped.log", "interleaved") == [6]
    assert problem_lines("g-3.0.0-12-flasherav-rows-dropped.log", "row_missing") == [None]
    assert 15864 in problem_lines("w-2.6.32-642-el6-php-fpm-20-reports.log", "row_damaged")
    assert problem_lines("m-6.11-rc6-oom-group-kills-wrapped.log", "lines_repeated")
    assert len(problem_lines("m-6.18-custom-debug-lines-wrapped80.log", "line_wrapped")) >= 2
    assert problem_lines("g-6.1.119-el9-nfsd-table-missing.log", "no_table")
    assert problem_lines("g-4.4-ubuntu1604-rsync-head-missing-child.log", "table_header_missing")
