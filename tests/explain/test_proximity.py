"""The reports within reach of what others say: none that is near is passed over."""

from typing import Any

import pytest
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


@pytest.mark.parametrize(
    ("said", "path", "is_same"),
    [
        ({"unit": "web.service"}, "/system.slice/web.service", True),
        ({"unit": "web.service"}, "/system.slice/my-web.service", False),
        ({"cgroup": "/system.slice/web.service"}, "/system.slice/web.service/worker", True),
        ({"cgroup": "/user.slice/a"}, "/user.slice/ab", False),
        ({"cgroup": "/user.slice/a", "cgroup_cut": True}, "/user.slice/ab", True),
        ({"cgroup": "/"}, "/user.slice", False),
        ({"container": "0a1b2c3d4e5f"}, f"/docker/{'0a1b2c3d4e5f' * 5}abcd", True),
        (
            {"container": "0a1b2c3d4e5f"},
            f"/system.slice/docker-{'0a1b2c3d4e5f' * 5}abcd.scope",
            True,
        ),
        ({"container": "2c3d4e5f0a1b"}, f"/docker/{'0a1b2c3d4e5f' * 5}abcd", False),
        ({"pod": "web"}, "/kubepods/web-of-another", False),
        (
            {"pod": "shop/01234567-89ab-cdef-0123-456789abcdef"},
            "/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/x",
            True,
        ),
    ],
)
def test_cgroups_are_the_same_by_whole_parts_of_their_paths(
    said: dict[str, Any], path: str, is_same: bool
) -> None:
    item = Evidence(
        source=Source(file="x", line=2, end_line=2), by="somebody", kind="kill", text="", **said
    )
    report = Report(source=Source(file="x", line=1, end_line=1), scope="memcg", cgroup=path)
    assert (nearness(item, report) is not None) is is_same
