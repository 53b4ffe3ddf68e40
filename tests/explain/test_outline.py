"""Many logs are held as outlines: nothing that is printed may depend on it."""

from pathlib import Path

import pytest

from oomkit.explain.explanation import Case
from oomkit.explain.files import ReadLog, read_file
from oomkit.explain.outline import outline, restored
from oomkit.klog import LogError
from tests.klog.logs import bytes_of

pytestmark = pytest.mark.hermetic

NAMES = (
    "g-3.10.0-514-el7-sed-mysqld.log",
    "s-5.13-ubuntu-sysrq-order-1.log",
    "g-5.7-rc6-next-i386-mkfs-two-reports.log",
    "g-3.10.0-514-el7-sed-mysqld.log",
)
"""One of them twice: what stands in two logs is one report."""


@pytest.fixture
def logs(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{i}.log" for i in range(len(NAMES))]
    for path, name in zip(paths, NAMES, strict=True):
        path.write_bytes(bytes_of(name))
    return [str(path) for path in paths]


def cases(logs: list[str]) -> tuple[Case, Case]:
    """The logs in full, and as outlines."""
    return (
        Case([read_file(name) for name in logs]),
        Case([read_file(name, outlines=True) for name in logs]),
    )


def test_an_outline_gets_back_what_it_lacks(logs: list[str]) -> None:
    reports = [report for name in logs for report in read_file(name).reports]
    assert any(report.tasks for report in reports)
    for report in reports:
        short = outline(report)
        assert len(short.tasks) == len(report.tasks)
        assert set(short.tasks).isdisjoint(report.tasks)
        assert restored(short, report) == report


def test_incidents_and_tables_are_the_same(logs: list[str]) -> None:
    whole, short = cases(logs)
    assert len(whole.reports) == len(short.reports) > 3
    assert short.incidents == whole.incidents
    assert short.tables == whole.tables
    assert "ran out" in short.incidents[0].summary


def test_what_is_shown_in_full_is_read_again(logs: list[str]) -> None:
    whole, short = cases(logs)
    read: list[str] = []

    def noted(name: str) -> ReadLog:
        read.append(name)
        return read_file(name)

    short.restore([1], noted)
    assert read == [logs[1]]
    assert short.explain(1) == whole.explain(1)
    assert short.reports[0] != whole.reports[0], "it is not shown"
    every = range(len(whole.reports))
    short.restore(every, read_file)
    assert [short.explain(i) for i in every] == [whole.explain(i) for i in every]


def test_a_log_that_changed_meanwhile_is_named(logs: list[str]) -> None:
    _, short = cases(logs)
    Path(logs[1]).write_bytes(b"rotated\n")
    with pytest.raises(LogError, match=r"1\.log: it changed while it was read"):
        short.restore([1], read_file)
