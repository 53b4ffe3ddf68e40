"""Reports that stand in the logs twice are found among those that may be the same, no others."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.explain import proximity
from oomkit.explain.proximity import without_repeats
from oomkit.klog.records import Killed, Report, Source

pytestmark = pytest.mark.hermetic


def report(line: int, host: str | None, pid: int, time: str | None) -> Report:
    victim = Killed(pid=pid, comm="java", anon_rss_kb=4096, total_vm_kb=8192)
    return Report(
        source=Source(file=f"{line % 3}.log", line=line, end_line=line),
        host=host, time=time, scope="global", killed=(victim,),
    )  # fmt: skip


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b"]),
        st.integers(1, 2),
        st.sampled_from([None, "05-01T10:00:00", "05-01T10:00:01", "05-01T12:00:00"]),
    ),
    max_size=12,
).map(lambda rows: [report(i, *row) for i, row in enumerate(rows)])


@given(REPORTS)
def test_hosts_leave_out_none_that_may_be_the_same(reports: list[Report]) -> None:
    def of_all(places: dict[str, list[int]], _: str | None) -> list[int]:
        return sorted(i for found in places.values() for i in found)

    with patch.object(proximity, "of_host", of_all):
        expected = without_repeats(reports)
    assert without_repeats(reports) == expected


def test_reports_of_other_hosts_are_not_compared() -> None:
    """A fleet's containers die of the same limit with the same numbers."""
    reports = [report(i, f"web-{i}", 7, None) for i in range(300)]
    with patch.object(proximity, "is_same", wraps=proximity.is_same) as compared:
        assert without_repeats(reports) == reports
    assert compared.call_count == 0
