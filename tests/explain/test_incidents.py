"""Which reports and which lines of others belong together, and what recurs."""

import pytest

from oomkit.explain.cgroup_names import place
from oomkit.explain.explanation import related
from oomkit.explain.incidents import incidents
from oomkit.explain.killer import death, verdict
from oomkit.explain.recurring import tables
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Report, Source
from oomkit.records import from_json, replace, to_json

POD = "/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/" + "ab" * 32


def report(second: int, comm: str = "db", pid: int = 7, cgroup: str | None = None) -> Report:
    return Report(
        source=Source(file="log", line=100 * second + 1, end_line=100 * second + 50),
        time=f"2026-11-24T03:{second // 60:02}:{second % 60:02}",
        scope="memcg" if cgroup else "global",
        cgroup=cgroup,
        killed=(Killed(pid=pid, comm=comm, line=100 * second + 49),),
    )


def said(second: int, kind: str, by: str, **fields: object) -> Evidence:
    record = {
        "source": {"file": "log", "line": 100 * second + 60, "end_line": 100 * second + 60},
        "by": by,
        "kind": kind,
        "text": f"{by} says so",
        "time": f"2026-11-24T03:{second // 60:02}:{second % 60:02}",
        **fields,
    }
    return from_json(to_json(record), type=Evidence)


def test_seconds_apart_is_one_incident() -> None:
    found = incidents([report(0), report(10, pid=8), report(35, pid=9), report(300)], [])
    assert [item.reports for item in found] == [(0, 1, 2), (3,)]
    assert found[0].summary == "3 killed (db 3) in 35 s: the machine ran out of memory (3 reports)"
    assert [item.number for item in found] == [1, 2]


def test_another_cgroup_or_scope_is_another_incident() -> None:
    found = incidents([report(0, cgroup="/a"), report(1, cgroup="/b"), report(2)], [])
    assert [item.reports for item in found] == [(0,), (1,), (2,)]
    found = incidents([report(0, cgroup="/a"), report(1), report(2, cgroup="/a")], [])
    assert [item.reports for item in found] == [(0, 2), (1,)]


def test_lines_of_others_join_the_kill_they_are_about() -> None:
    reports = [report(0, cgroup=POD), report(200, pid=9)]
    evidence = [
        said(1, "notice", "containerd", container="ab" * 32),
        said(2, "sigkill", "kubelet"),
        said(201, "notice", "systemd", unit="db.service"),
        said(400, "sigkill", "docker", comm="web"),
        said(500, "kill", "earlyoom", comm="chrome", pid=77),
    ]
    found = incidents(reports, evidence)
    assert [item.evidence for item in found] == [(0, 1), (2,), (3,), (4,)]
    assert "SIGKILL, and nothing here shows that memory was the reason" in found[2].summary
    assert found[3].summary == "earlyoom killed chrome[77]"


def test_a_kill_of_another_is_not_the_kernels() -> None:
    found = incidents([report(0, pid=7)], [said(1, "kill", "earlyoom", pid=8, comm="db")])
    assert [item.evidence for item in found] == [(), (0,)]


def test_the_kernels_line_settles_who_killed() -> None:
    item = said(1, "notice", "containerd", container="ab" * 32)
    answer = verdict(report(0), [item])
    assert answer.by == "kernel"
    assert [proof.line for proof in answer.evidence] == [49, 160]
    nobody = replace(report(0), killed=())
    assert verdict(nobody).by == "unknown"
    assert verdict(replace(nobody, panic="Out of memory")).by == "nobody"
    assert related(report(0), [said(1, "kill", "earlyoom", pid=8)]) == ()


@pytest.mark.parametrize(
    ("kind", "by", "killer", "words"),
    [
        ("kill", "systemd-oomd", "systemd-oomd", "systemd-oomd killed unit a.service"),
        ("kill", "nohang", "nohang", "nohang killed"),
        ("eviction", "kubelet", "kubelet", "no OOM kill"),
        ("notice", "docker", "unknown", "the kernel's own report is not here"),
        ("sigkill", "docker", "unknown", "any process may have sent it"),
    ],
)
def test_userspace_killers_are_distinguished(kind: str, by: str, killer: str, words: str) -> None:
    answer = death(said(0, kind, by, unit="a.service"))
    assert answer.by == killer
    assert words in answer.text


def test_what_recurs() -> None:
    reports = [report(s, comm, cgroup=POD) for s, comm in ((0, "db"), (600, "db"), (1200, "web"))]
    found = incidents(reports, [])
    counted = tables(reports, [], found)
    assert [(row.name, row.incidents) for row in counted.comm] == [("db", 2), ("web", 1)]
    assert counted.pod[0].name == "0a1b2c3d-1111-2222-3333-444455556666"
    assert counted.cgroup[0].every_s == 600
    assert counted.unit == ()


@pytest.mark.parametrize(
    ("path", "unit", "pod", "container"),
    [
        ("/system.slice/nginx.service", "nginx.service", None, None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/run-u640.service",
         "run-u640.service", None, None),
        ("/system.slice/docker-" + "ab" * 32 + ".scope", "system.slice", None, "abababababab"),
        (POD, None, "0a1b2c3d-1111-2222-3333-444455556666", "abababababab"),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b2c3d_1111_2222_"
         "3333_444455556666.slice/cri-containerd-" + "cd" * 32 + ".scope",
         "kubepods-besteffort.slice", "0a1b2c3d-1111-2222-3333-444455556666", "cdcdcdcdcdcd"),
        ("/", None, None, None),
        (None, None, None, None),
    ],
)  # fmt: skip
def test_names_are_read_off_a_path(
    path: str | None, unit: str | None, pod: str | None, container: str | None
) -> None:
    found = place(path)
    assert (found.unit, found.pod, found.container) == (unit, pod, container)
