"""The reports within reach of what others say: none that is near is passed over."""

from hypothesis import given
from hypothesis import strategies as st

from oomkit.explain.proximity import NEAR_LINES, NEAR_S, Reach, nearness
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Report, Source

_SECOND = st.integers(0, 200)
_TIMES = (
    st.none() | st.just("no date") | _SECOND.map(lambda s: f"11-24T03:{s // 60:02}:{s % 60:02}")
)
_UPTIMES = st.none() | _SECOND.map(float)
_HOSTS = st.sampled_from([None, "a", "b"])
_FILES = st.sampled_from(["x", "y"])
_LINES = st.integers(1, 1500)


@st.composite
def _reports(draw: st.DrawFn) -> Report:
    line = draw(_LINES)
    return Report(
        source=Source(file=draw(_FILES), line=line, end_line=line + draw(st.integers(0, 300))),
        time=draw(_TIMES),
        uptime_s=draw(_UPTIMES),
        host=draw(_HOSTS),
        killed=(Killed(pid=draw(st.integers(1, 3)), comm="db"),),
    )


@st.composite
def _evidence(draw: st.DrawFn) -> Evidence:
    line = draw(_LINES)
    return Evidence(
        source=Source(file=draw(_FILES), line=line, end_line=line),
        by="somebody",
        kind=draw(st.sampled_from(["kill", "notice", "sigkill"])),
        text="",
        time=draw(_TIMES),
        uptime_s=draw(_UPTIMES),
        host=draw(_HOSTS),
        pid=draw(st.none() | st.integers(1, 3)),
        comm=draw(st.sampled_from([None, "db", "web"])),
    )


@given(st.lists(_reports(), max_size=20), _evidence())
def test_all_that_is_near_is_within_reach(reports: list[Report], item: Evidence) -> None:
    near = {i for i, report in enumerate(reports) if nearness(item, report) is not None}
    assert near <= Reach(reports).around(item)


def test_what_is_far_by_every_clock_is_not_looked_at() -> None:
    reports = [
        Report(source=Source(file="x", line=n * 1000, end_line=n * 1000 + 50), uptime_s=n * 200.0)
        for n in range(100)
    ]
    at = Source(file="x", line=50_060, end_line=50_060)
    item = Evidence(source=at, by="somebody", kind="notice", text="", uptime_s=10_001.0)
    assert Reach(reports).around(item) == {50}
    assert NEAR_S < 200
    assert NEAR_LINES < 1000
