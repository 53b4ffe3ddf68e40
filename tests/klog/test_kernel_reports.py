"""Real reports of the oldest and newest kernels that the battery boots, read back."""

from pathlib import Path

import pytest

from oomkit.kernel.versions import rules_for
from oomkit.klog import read_bytes
from oomkit.klog.memory_records import Protection
from oomkit.klog.records import Report
from oomkit.klog.replay import replay_all

DATA = Path(__file__).parent.parent / "data" / "kernel-reports"


def _reports(name: str) -> list[Report]:
    path = DATA / f"{name}-scattered-counts.log"
    return list(replay_all(read_bytes(path.read_bytes(), path.name)))


@pytest.mark.parametrize(
    ("name", "kernel", "victims"),
    [
        ("5.10.262", "5.10.0-46-cloud-amd64", ["plain", "scattered", "leak"]),
        ("6.19.14", "6.19.14+deb13-cloud-amd64", ["plain", "scattered", "leak"]),
        ("7.3.4", "7.3.4+deb13-cloud-amd64", ["scattered", "plain", "leak"]),
    ],
)
def test_each_kernels_reports_are_read_whole_and_agree(
    name: str, kernel: str, victims: list[str]
) -> None:
    """Up to 6.19 approximate counters choose the plain one, from 7.0 on exact ones the other."""
    reports = _reports(name)
    assert [report.killed[0].comm for report in reports] == victims
    for report in reports:
        assert report.kernel == kernel
        assert report.rules == rules_for(kernel).name
        assert report.agrees is True, report.why
        assert report.table_complete
        assert report.problems == ()
        assert report.memory is not None
        assert report.memory.total_swap_kb == 0


def test_what_only_new_kernels_print() -> None:
    by_name = {name: _reports(name)[0] for name in ("5.10.262", "6.19.14", "7.3.4")}
    nothing = Protection(min_kb=0, low_kb=0)
    assert [report.protection for report in by_name.values()] == [None, nothing, nothing]
    gpus = [
        report.memory is not None and "gpu_active" in report.memory.nodes[0].counters_kb
        for report in by_name.values()
    ]
    assert gpus == [False, False, True]
    ranges = [report.kernel_range for report in by_name.values()]
    assert [span[0] if span else None for span in ranges] == ["5.4", "6.19", "7.3"]
