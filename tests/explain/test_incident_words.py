"""What belongs together, what stands near, what recurs and what stands twice: both sides of each
bound, and the line that sums it up.
"""

from typing import Any

import pytest

from oomkit.explain.cgroup_names import innermost
from oomkit.explain.explanation import kernel_faults
from oomkit.explain.files import with_kernels
from oomkit.explain.incidents import incidents, names
from oomkit.explain.proximity import Reach, distance_s, nearness, seconds, without_repeats
from oomkit.explain.recurring import Row, Tables, every_text, tables
from oomkit.klog.evidence import Evidence
from oomkit.klog.memory_records import Counter, Memory
from oomkit.klog.records import (
    KernelName,
    Killed,
    Problem,
    Report,
    Selected,
    Source,
    Summary,
)
from oomkit.records import replace
from tests.explain.made import group, machine, row, said, with_memcg

UID = "0a1b2c3d-1111-2222-3333-444455556666"
POD = f"/kubepods/burstable/pod{UID}"
DB = Killed(pid=7, comm="db")


def at(second: float | None = None, line: int = 1, lines: int = 9, **fields: Any) -> Report:
    """A report that begins at a line, with a stamp; it killed db if nothing else is given."""
    source = Source(file=fields.pop("file", "kern.log"), line=line, end_line=line + lines)
    made = {"scope": "global", "killed": (DB,), "uptime_s": second, **fields}
    return Report(source=source, **made)


def grouped(*reports: Report) -> list[tuple[int, ...]]:
    return [one.reports for one in incidents(reports, [])]


def alone(*evidence: Evidence) -> list[tuple[int, ...]]:
    return [one.evidence for one in incidents([], evidence)]


# -- reports of one shortage ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (at(100.0), at(130.0, 900), True),
        (at(100.0), at(130.1, 900), False),
        (at(100.0), at(110.0, host="b"), False),
        (at(100.0, host="b"), at(110.0, host="b"), True),
        (at(100.0), at(110.0, file="other"), False),
        (at(100.0), at(110.0, scope="cpuset"), False),
        (at(100.0), at(110.0, scope=None), True),
        (at(100.0, scope=None), at(110.0), True),
        (at(100.0, scope=None), at(110.0, scope=None), True),
        (at(100.0, scope="sysrq"), at(100.5, scope="sysrq"), False),
        (at(100.0, scope="memcg", cgroup="/a"), at(101.0, scope="memcg", cgroup="/a"), True),
        (at(100.0, scope="memcg", cgroup="/a"), at(101.0, scope="memcg", cgroup="/b"), False),
        # Without stamps lines count: 400 from the end of the one to the start of the other.
        (at(None, 1, 9), at(None, 410), True),
        (at(None, 1, 9), at(None, 411), False),
        (at(None, 1, 9), at(None, 10), True),
        (at(None, 1, 9), at(None, 9), False),
    ],
)
def test_reports_of_one_shortage(first: Report, second: Report, together: bool) -> None:
    assert grouped(first, second) == ([(0, 1)] if together else [(0,), (1,)])


def test_so_many_shortages_are_followed_at_once() -> None:
    """Of eight cgroups that run out in turn each is one incident; the ninth displaces the first."""

    def turns(count: int) -> list[tuple[int, ...]]:
        paths = [f"/{n}" for n in range(count)]
        return grouped(*(
            at(float(i), 10 * i + 1, scope="memcg", cgroup=path)
            for i, path in enumerate([*paths, paths[0]])
        ))  # fmt: skip

    assert turns(8)[0] == (0, 8)
    assert turns(9)[0] == (0,)
    assert len(turns(9)) == 10


def test_incidents_stand_in_the_order_of_the_logs() -> None:
    reports = [at(5.0, 50, file="b"), at(9.0, 20, file="b", scope="memcg", cgroup="/x"),
               at(1.0, 900, file="a")]  # fmt: skip
    evidence = [said("kill", "lmkd", line=30, file="b", pid=1, comm="x"),
                said("kill", "lmkd", line=5, file="a", pid=2, comm="y"),
                said("kill", "lmkd", line=2, file="c", pid=3, comm="z")]  # fmt: skip
    found = incidents(reports, evidence)
    assert [(one.number, one.reports, one.evidence) for one in found] == [
        (1, (1,), ()), (2, (), (0,)), (3, (0,), ()), (4, (), (1,)), (5, (2,), ()), (6, (), (2,)),
    ]  # fmt: skip


def test_an_incident_stands_where_its_first_line_does() -> None:
    evidence = [said("kill", "lmkd", line=10, pid=1, comm="x", uptime_s=1.0),
                said("kill", "lmkd", line=90, pid=1, comm="x", uptime_s=2.0),
                said("kill", "earlyoom", line=50, pid=2, comm="y", uptime_s=1.5)]  # fmt: skip
    evidence = [evidence[0], evidence[1], evidence[2]]
    assert [one.evidence for one in incidents([], evidence)] == [(0, 1), (2,)]


@pytest.mark.parametrize(
    ("reports", "summary"),
    [
        ([at(1.0)], "db[7] killed: the machine ran out of memory"),
        ([at(1.0, killed=(DB, Killed(pid=8, comm="db"), Killed(pid=9, comm="sh")))],
         "3 killed (db 2, sh): the machine ran out of memory"),
        ([at(1.0), at(1.9, 20, killed=(Killed(pid=8, comm="sh"),))],
         "2 killed (db, sh): the machine ran out of memory (2 reports)"),
        ([at(1.0), at(2.0, 20, killed=())],
         "db[7] killed in 1 s: the machine ran out of memory (2 reports)"),
        ([at(1.0, killed=(), panic="no")], "kernel panic: the machine ran out of memory"),
        ([at(1.0), at(3.0, 20, killed=(), panic="no")],
         "db[7] killed, then kernel panic in 2 s: the machine ran out of memory (2 reports)"),
        ([at(1.0, killed=(), no_killable=True)],
         "no process could be killed: the machine ran out of memory"),
        ([at(1.0, killed=(), summary=Summary(comm="db")),
          at(1.0, 20, killed=(), summary=Summary(comm="sh"))],
         "db chosen: the machine ran out of memory (2 reports)"),
        ([at(1.0, killed=(), summary=Summary(comm="db")), at(1.0, 20, killed=())],
         "db chosen: the machine ran out of memory (2 reports)"),
        ([at(1.0, killed=(), summary=Summary(comm="db")), at(1.0, 20, killed=(), no_killable=True)],
         "no process could be killed: the machine ran out of memory (2 reports)"),
        ([at(1.0, killed=())], "victim unknown: the machine ran out of memory"),
        ([at(1.0, killed=(), summary=Summary(pid=7))],
         "victim unknown: the machine ran out of memory"),
        ([at(1.0, scope="sysrq")], "db[7] killed: on request (SysRq-f)"),
        ([at(None), at(None, 20, killed=())],
         "db[7] killed: the machine ran out of memory (2 reports)"),
    ],
)  # fmt: skip
def test_an_incident_in_one_line(reports: list[Report], summary: str) -> None:
    assert [one.summary for one in incidents(reports, [])] == [summary]


@pytest.mark.parametrize(
    ("comms", "text"),
    [
        ("a", "a"),
        ("a b a", "a 2, b"),
        ("b a a", "a 2, b"),
        ("a b c", "a, b, c"),
        ("a b c d d", "d 2, a, b and 1 other name"),
        ("a b c d e", "a, b, c and 2 other names"),
    ],
)
def test_names_with_their_counts(comms: str, text: str) -> None:
    assert names(comms.split()) == text


# -- lines of others without a report ------------------------------------------------------------


def one(second: float | None, line: int, kind: str, by: str, **fields: Any) -> Evidence:
    return said(kind, by, fields.pop("text", "its words"), line=line, uptime_s=second, **fields)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        # One killer's, seconds apart.
        (one(0.0, 1, "kill", "lmkd", pid=1), one(30.0, 90, "kill", "lmkd", pid=2), True),
        (one(0.0, 1, "kill", "lmkd", pid=1), one(30.1, 90, "kill", "lmkd", pid=2), False),
        (one(0.0, 1, "kill", "lmkd", pid=1), one(9.0, 90, "kill", "nohang", pid=2), False),
        (one(0.0, 1, "kill", "lmkd", pid=1), one(9.0, 90, "notice", "lmkd", pid=2), True),
        (one(0.0, 1, "notice", "lmkd", pid=1), one(9.0, 90, "kill", "lmkd", pid=2), False),
        (one(0.0, 1, "kill", "lmkd", pid=1), one(9.0, 90, "sigkill", "lmkd", pid=2), False),
        (one(None, 1, "kill", "lmkd", pid=1), one(None, 9, "kill", "lmkd", pid=2), False),
        # About the same, by its clock or, without one, by its lines.
        (one(0.0, 1, "kill", "lmkd", pid=1), one(30.0, 90, "sigkill", "docker", pid=1), True),
        (one(0.0, 1, "kill", "lmkd", pid=1), one(30.1, 90, "sigkill", "docker", pid=1), False),
        (one(None, 1, "kill", "lmkd", pid=1), one(None, 401, "sigkill", "docker", pid=1), True),
        (one(None, 1, "kill", "lmkd", pid=1), one(None, 402, "sigkill", "docker", pid=1), False),
        (one(0.0, 1, "notice", "docker"), one(9.0, 90, "notice", "containerd"), False),
    ],
)
def test_lines_of_one_death(first: Evidence, second: Evidence, together: bool) -> None:
    assert alone(first, second) == ([(0, 1)] if together else [(0,), (1,)])


KILL = one(None, 10, "kill", "earlyoom", pid=1)
STEP = one(None, 10, "notice", "slurm", job="7.0", killer="kernel")
OOMD = one(None, 10, "kill", "systemd-oomd", pid=1)
BARE = one(None, 10, "sigkill", "celery", pid=1)
LOST = "WorkerLostError: Worker exited prematurely: signal 9"


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        # An exit status that names nothing is that of what was said to be killed.
        (KILL, one(None, 13, "sigkill", "bash"), True),
        (KILL, one(None, 14, "sigkill", "bash"), False),
        (KILL, one(None, 11, "sigkill", "bash", job="5"), False),
        (KILL, one(None, 11, "notice", "docker"), False),
        (KILL, one(None, 11, "sigkill", "bash", file="other"), False),
        (KILL, one(None, 10, "sigkill", "bash"), False),
        (BARE, one(None, 11, "sigkill", "bash"), False),
        (replace(KILL, uptime_s=5.0), one(35.0, 11, "sigkill", "bash"), True),
        (replace(KILL, uptime_s=5.0), one(35.1, 11, "sigkill", "bash"), False),
        # srun names the node of the task that slurmstepd has just named by its step.
        (STEP, one(None, 13, "notice", "slurm", job="0", node="n"), True),
        (STEP, one(None, 14, "notice", "slurm", job="0", node="n"), False),
        (STEP, one(None, 11, "notice", "slurm", job="0"), False),
        (replace(STEP, job=None), one(None, 11, "notice", "slurm", job="0", node="n"), False),
        (STEP, one(None, 11, "sigkill", "slurm", job="0", node="n"), False),
        (
            replace(STEP, text="srun: error: n: task 1: Out Of Memory"),
            one(None, 11, "notice", "slurm", job="0", node="n"),
            False,
        ),
        (replace(STEP, node="n"), one(None, 11, "notice", "slurm", job="0", node="n"), True),
        (replace(STEP, node="m"), one(None, 11, "notice", "slurm", job="0", node="n"), False),
        (replace(STEP, by="pbs"), one(None, 11, "notice", "slurm", job="0", node="n"), False),
        # systemd names the unit of the process that systemd-oomd has just signalled.
        (OOMD, one(None, 11, "sigkill", "systemd", unit="a.service"), True),
        (OOMD, one(None, 11, "sigkill", "docker", unit="a.service"), False),
        (KILL, one(None, 11, "sigkill", "systemd", unit="a.service"), False),
        (replace(OOMD, cgroup="/b"), one(None, 11, "sigkill", "systemd", unit="a.service"), False),
        # Celery's pool says again what it said of its process, around a traceback.
        (BARE, one(None, 22, "sigkill", "celery", text=LOST), True),
        (BARE, one(None, 23, "sigkill", "celery", text=LOST), False),
        (BARE, one(None, 10, "sigkill", "celery", text=LOST), False),
        (BARE, one(None, 22, "sigkill", "celery"), False),
        (BARE, one(None, 12, "sigkill", "celery", text=LOST, job="5"), False),
        (KILL, one(None, 22, "sigkill", "celery", text=LOST), False),
        (BARE, one(None, 12, "notice", "celery", text=LOST), False),
    ],
)
def test_lines_that_say_it_again(first: Evidence, second: Evidence, together: bool) -> None:
    found = incidents([], [first, second])
    assert [item.evidence for item in found] == ([(0, 1)] if together else [(0,), (1,)])
    if together:
        assert "more in the same half minute" not in found[0].summary


def test_what_says_it_again_is_not_what_the_next_is_held_against() -> None:
    again = one(35.0, 11, "sigkill", "bash")
    items = [replace(KILL, uptime_s=5.0), again, one(40.0, 12, "sigkill", "x", job="9")]
    assert alone(*items) == [(0, 1), (2,)]
    # 34 s after the first, though only 4 after the repetition
    items = [replace(KILL, uptime_s=5.0), again, one(39.0, 500, "kill", "earlyoom", pid=2)]
    assert alone(*items) == [(0, 1), (2,)]
    items = [replace(KILL, uptime_s=5.0), one(30.0, 300, "kill", "earlyoom", pid=2),
             one(50.0, 500, "kill", "earlyoom", pid=3)]  # fmt: skip
    assert alone(*items) == [(0, 1, 2)]


def test_a_repetition_gives_its_node_and_the_first_names_the_incident() -> None:
    (found,) = incidents([], [
        STEP,
        one(None, 12, "notice", "slurm", job="0", node="n9", killer="kernel"),
    ])  # fmt: skip
    assert found.summary == (
        "Slurm says that the kernel killed in the cgroup of step 7.0 on node n9; the kernel's own "
        "report is not here"
    )


def test_several_deaths_of_one_killer_are_counted() -> None:
    items = [one(float(n), 10 * n + 1, "kill", "lmkd", pid=n + 1, comm=f"t{n}") for n in range(3)]
    (found,) = incidents([], items)
    assert found.summary == "lmkd killed t0[1] (and 2 more in the same half minute)"


def test_what_others_say_joins_the_nearest_report() -> None:
    reports = [at(100.0), at(140.0, 500, scope="memcg", cgroup="/a")]
    near = [one(124.0, 300, "notice", "docker"), one(116.0, 300, "notice", "docker"),
            one(160.1, 300, "notice", "docker")]  # fmt: skip
    assert [item.evidence for item in incidents(reports, near)] == [(1,), (0, 2)]


# -- nearness ------------------------------------------------------------------------------------


def test_a_clock() -> None:
    assert seconds(at(5.0)) == 5.0
    assert seconds(at(5.0, time="2026-11-24T00:00:10")) == seconds(at(time="2026-11-24T00:00:10"))
    assert seconds(at(5.0, time="no date")) == 5.0
    assert seconds(at()) is None


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        (at(5.0), at(9.5), 4.5),
        (at(9.5), at(5.0), 4.5),
        (at(5.0, host="a"), at(9.5, host="b"), None),
        (at(5.0, host="a", time="11-24T00:00:00"), at(9.5, host="b", time="11-24T00:01:00"), 60.0),
        (at(time="2026-11-24T00:00:00"), at(time="2026-11-24T00:00:02.5"), 2.5),
        (at(time="2026-11-24T00:00:02"), at(time="2026-11-24T00:00:00"), 2.0),
        (at(time="2026-11-24T00:00:02+05:00"), at(time="2026-11-24T00:00:00"), 2.0),
        (at(time="02-29T00:00:00"), at(time="03-01T00:00:00"), 86400.0),
        (at(5.0), at(time="11-24T00:00:00"), None),
        (at(time="no date"), at(time="11-24T00:00:00"), None),
        (at(5.0, time="11-24T00:00:00"), at(time="no date"), None),
        (at(), at(), None),
    ],
)
def test_a_distance(a: Report, b: Report, apart: float | None) -> None:
    assert distance_s(a, b) == apart


@pytest.mark.parametrize(
    ("item", "apart"),
    [
        (one(160.0, 1, "notice", "docker"), 60.0),
        (one(160.1, 1, "notice", "docker"), None),
        (one(40.0, 1, "notice", "docker"), 60.0),
        (one(39.9, 1, "notice", "docker"), None),
        # What names the victim is nearer than all that does not.
        (one(160.0, 1, "kill", "lmkd", pid=7), 0.06),
        (one(160.0, 1, "kill", "lmkd", pid=8), None),
        (one(160.0, 1, "notice", "lmkd", pid=8), None),
        (one(160.0, 1, "kill", "lmkd"), None),
        (one(160.0, 1, "eviction", "kubelet"), None),
        (one(160.0, 1, "eviction", "kubelet", cgroup="/a/b"), 0.06),
        (one(160.0, 1, "notice", "x", unit="b"), 0.06),
        (one(160.0, 1, "notice", "x", pod="task"), 0.06),
        (one(160.0, 1, "notice", "x", container="task"), 0.06),
        (one(160.0, 1, "notice", "x", comm="a-name-of-15-chr-and-more"), 60.0),
        (one(160.0, 1, "notice", "x", comm="other"), None),
        (one(160.0, 1, "failure", "x"), None),
        (one(160.0, 1, "sigkill", "x"), 60.0),
        # 400 lines stand for 60 s, from the report's first line 1000 or its last, 1009.
        (one(None, 600, "notice", "x"), 60.0),
        (one(None, 599, "notice", "x"), None),
        (one(None, 1409, "notice", "x"), 60.0),
        (one(None, 1410, "notice", "x"), None),
        (one(None, 1029, "notice", "x"), 3.0),
        (one(None, 980, "notice", "x"), 3.0),
        (one(None, 1005, "notice", "x"), 0.0),
        (one(None, 1005, "notice", "x", file="other"), None),
    ],
)
def test_nearness_to_a_report(item: Evidence, apart: float | None) -> None:
    report = at(100.0, 1000, scope="memcg", cgroup="/a/b", summary=Summary(task_memcg="/a/b/task"),
                killed=(DB, Killed(pid=9, comm="a-name-of-15-ch")))  # fmt: skip
    found = nearness(item, report)
    assert found == (None if apart is None else pytest.approx(apart))


def test_a_report_without_a_cgroup_is_not_that_of_one_that_a_line_names() -> None:
    assert nearness(one(1.0, 1, "kill", "x", cgroup="/a"), at(1.0)) is None
    assert nearness(one(1.0, 1, "kill", "x", unit="one"), at(1.0, summary=Summary())) is None


def test_reports_within_reach_and_no_others() -> None:
    reports = [at(float(n), 5000 + n, 0) for n in range(0, 200, 10)]
    item = one(100.0, 1, "notice", "x")
    # 60 s to both sides and one more for rounding
    assert sorted(Reach(reports).around(item)) == list(range(4, 17))
    dated = [at(None, 5000, 0, time=f"2026-11-24T00:0{n // 60}:{n % 60:02}")
             for n in range(0, 200, 10)]  # fmt: skip
    item = replace(item, uptime_s=None, time="2026-11-24T00:01:40")
    assert sorted(Reach(dated).around(item)) == list(range(4, 17))
    lines = [at(None, 100 * n, 50) for n in range(20)]
    # 400 lines to both sides, and as many as the longest report has
    item = one(None, 1000, "notice", "x")
    assert sorted(Reach(lines).around(item)) == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    item = one(None, 1050, "notice", "x")
    assert sorted(Reach(lines).around(item)) == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    item = one(None, 1051, "notice", "x")
    assert sorted(Reach(lines).around(item)) == [7, 8, 9, 10, 11, 12, 13, 14]
    assert Reach(lines).around(replace(item, source=replace(item.source, file="x"))) == set()


# -- what recurs ---------------------------------------------------------------------------------


def counted(reports: list[Report], evidence: list[Evidence] | None = None) -> Tables:
    told = evidence or []
    return tables(reports, told, incidents(reports, told))


def test_what_recurs_in_numbers() -> None:
    reports = [
        at(0.0, 1, scope="memcg", cgroup="/a", time="2026-11-24T00:00:00"),
        at(9.0, 50, scope="memcg", cgroup="/a", time="2026-11-24T00:00:09",
           killed=(DB, Killed(pid=8, comm="sh"))),
        at(100.0, 100, scope="memcg", cgroup="/b", time="2026-11-24T00:01:40"),
        at(7209.0, 200, scope="memcg", cgroup="/a", time="2026-11-24T02:00:09", killed=()),
    ]  # fmt: skip
    found = counted(reports)
    first, last = "2026-11-24T00:00:00", "2026-11-24T02:00:09"
    assert found.cgroup == (
        Row(name="/a", incidents=2, killed=3, first=first, last=last, every_s=7209.0),
        Row(name="/b", incidents=1, killed=1, first=reports[2].time, last=reports[2].time),
    )
    assert [(r.name, r.incidents, r.killed, r.every_s) for r in found.comm] == [
        ("db", 2, 3, 100.0), ("sh", 1, 1, None),
    ]  # fmt: skip
    assert (found.unit, found.pod) == ((), ())


def test_the_most_frequent_come_first_then_the_deadliest_then_by_name() -> None:
    kills = [("b", 1), ("a", 1), ("c", 2)]
    reports = [
        at(1000.0 * n, 1000 * n + 1, scope="memcg", cgroup=f"/{name}",
           killed=tuple(Killed(pid=9 + k, comm=name) for k in range(count)))
        for n, (name, count) in enumerate([*kills, ("a", 0)])
    ]  # fmt: skip
    assert [(r.name, r.incidents, r.killed) for r in counted(reports).cgroup] == [
        ("/a", 2, 1), ("/c", 1, 2), ("/b", 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stamps", "every_s"),
    [
        ([{"uptime_s": 0.0}, {"uptime_s": 100.0}, {"uptime_s": 600.0}], 300.0),
        ([{"uptime_s": 0.0}, {"uptime_s": 100.0}, {}], None),
        ([{"uptime_s": 5.0}, {"uptime_s": 100.0}, {"time": "2026-11-24T00:00:00"}], None),
        ([{"time": "11-24T00:00:00"}, {"time": "11-24T00:10:00"}], 600.0),
        ([{"time": "11-24T00:00:00"}, {"time": "2026-11-24T00:10:00"}], None),
        ([{"time": "11-24T00:00:00"}, {"time": "11-24T00:10:00", "file": "b"}], None),
        ([{"time": "2026-11-24T00:00:00"}, {"time": "2026-11-24T00:10:00", "file": "b"}], 600.0),
        ([{"uptime_s": 0.0}, {"uptime_s": 100.0, "file": "b"}], None),
        ([{"uptime_s": 7.0}, {"uptime_s": 7.0, "host": "b"}], None),
    ],
)
def test_how_often(stamps: list[dict[str, Any]], every_s: float | None) -> None:
    reports = [at(None, 1000 * n + 1, scope="memcg", cgroup="/a")
               if not stamp else at(stamp.get("uptime_s"), 1000 * n + 1, scope="memcg", cgroup="/a",
                                    **{k: v for k, v in stamp.items() if k != "uptime_s"})
               for n, stamp in enumerate(stamps)]  # fmt: skip
    (found,) = counted(reports).cgroup
    assert found.every_s == every_s
    assert found.incidents == len(stamps)


@pytest.mark.parametrize(
    ("every_s", "text"),
    [
        (0.4, "every 0 s"),
        (59.4, "every 59 s"),
        (60.0, "every 1.0 min"),
        (3599.0, "every 60.0 min"),
        (3600.0, "every 1.0 h"),
        (86_399.0, "every 24.0 h"),
        (86_400.0, "every 1.0 d"),
        (129_600.0, "every 1.5 d"),
    ],
)
def test_an_interval_in_the_unit_that_fits(every_s: float, text: str) -> None:
    assert every_text(every_s) == text


def test_units_and_pods_that_recur() -> None:
    named = "pod shop/web, container app"
    unit = "/system.slice/db.service"
    reports = [
        at(0.0, 1, scope="memcg", cgroup=POD),
        at(1000.0, 1000, scope="memcg", cgroup=POD, owner=named),
        at(2000.0, 2000, scope="memcg", cgroup="/x", owner=named),
        at(3000.0, 3000, scope="memcg", cgroup=unit),
        at(4000.0, 4000, scope="memcg", cgroup="/x", summary=Summary(task_memcg=unit)),
        at(5000.0, 5000, scope="memcg", cgroup=unit, summary=Summary(task_memcg=POD)),
        at(6000.0, 6000, scope="memcg", cgroup=f"/system.slice/docker-{'ab' * 32}.scope"),
    ]
    found = counted(reports)
    assert [(r.name, r.incidents) for r in found.pod] == [(UID, 2), ("shop/web", 1)]
    assert [(r.name, r.incidents) for r in found.unit] == [("db.service", 2)]


@pytest.mark.parametrize(
    ("item", "killed"),
    [
        (one(0.0, 1, "kill", "oomd", cgroup="/a", processes=4, count=2), 4),
        (one(0.0, 1, "kill", "oomd", cgroup="/a", processes=0), 0),
        (one(0.0, 1, "kill", "oomd", cgroup="/a", count=3), 3),
        (one(0.0, 1, "kill", "oomd", cgroup="/a"), 1),
        (one(0.0, 1, "notice", "x", cgroup="/a", killer="kernel"), 1),
        (one(0.0, 1, "notice", "x", cgroup="/a"), 0),
        (one(0.0, 1, "sigkill", "x", cgroup="/a", killer="kernel"), 0),
        (one(0.0, 1, "eviction", "x", cgroup="/a"), 0),
    ],
)
def test_how_many_died_by_what_others_say(item: Evidence, killed: int) -> None:
    (found,) = counted([], [item]).cgroup
    assert (found.name, found.incidents, found.killed) == ("/a", 1, killed)


def test_what_others_say_recurs_by_its_own_names() -> None:
    items = [
        one(0.0, 1, "kill", "x", unit="a.service", pid=1, comm="db"),
        one(1000.0, 1000, "kill", "x", cgroup="/system.slice/a.service", pod="n/p"),
    ]
    found = counted([], items)
    assert [(r.name, r.incidents) for r in found.unit] == [("a.service", 2)]
    assert [r.name for r in found.pod] == ["n/p"]
    assert [r.name for r in found.comm] == ["db"]
    assert [r.name for r in found.cgroup] == ["/system.slice/a.service"]
    # Where the kernel's report is there, it is what counts.
    both = counted([at(0.0)], [one(1.0, 20, "notice", "x", unit="a.service")])
    assert both.unit == ()


# -- what stands twice ---------------------------------------------------------------------------

SIZED = Killed(pid=7, comm="db", total_vm_kb=100, anon_rss_kb=50, file_rss_kb=0, line=9)


def copy(line: int = 1, **fields: Any) -> Report:
    made = {"uptime_s": None, "killed": (SIZED,), **fields}
    return at(made.pop("uptime_s"), line, **made)


def reports_left(*reports: Report) -> int:
    return len(without_repeats(reports))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (copy(), copy(50), True),
        (copy(), copy(50, killed=(replace(SIZED, file_rss_kb=4),)), False),
        (copy(), copy(50, killed=(replace(SIZED, anon_rss_kb=4),)), False),
        (copy(), copy(50, killed=(replace(SIZED, total_vm_kb=4),)), False),
        (copy(), copy(50, killed=(replace(SIZED, pid=8),)), False),
        (copy(), copy(50, killed=(replace(SIZED, comm="x"),)), False),
        (copy(killed=(DB,)), copy(50, killed=(DB,)), False),  # too little is known
        (copy(host="a"), copy(50, host="b"), False),
        (copy(host="a"), copy(50), True),
        (copy(scope="memcg"), copy(50), False),
        (copy(scope=None), copy(50), True),
        (copy(uptime_s=5.0), copy(50, uptime_s=7.0), True),
        (copy(uptime_s=5.0), copy(50, uptime_s=7.1), False),
        (copy(uptime_s=5.0), copy(50), True),
        (copy(time="2026-11-24T00:00:00"), copy(50), True),
        (copy(time="2026-11-24T00:00:00"), copy(50, time="no date"), True),
        # One logger has one clock.
        (copy(time="2026-11-24T00:00:00"), copy(50, time="2026-11-24T00:00:02"), True),
        (copy(time="2026-11-24T00:00:00"), copy(50, time="2026-11-24T00:00:03"), False),
        (copy(time="2026-11-24T00:00:00"), copy(50, time="2026-11-24T01:00:00"), False),
        (copy(time="2026-11-24T00:00:00"), copy(50, time="2026-11-24T00:15:00.000"), True),
        # Those of two may be set to zones that are quarters of an hour apart, up to 14 h.
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T01:00:02"), True),
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T01:00:03"), False),
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T00:44:58"), True),
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T00:44:57"), False),
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T14:00:00"), True),
        (copy(time="2026-11-24T00:00:00"), copy(file="b", time="2026-11-24T14:00:01"), False),
    ],
)
def test_a_report_that_stands_twice(first: Report, second: Report, same: bool) -> None:
    assert reports_left(first, second) == (1 if same else 2)
    assert reports_left(second, first) == (1 if same else 2)


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({}, True),
        ({"invoker": "x"}, False),
        ({"gfp_mask": "0x1"}, False),
        ({"panic": "x"}, False),
        ({"uptime_s": 6.0}, False),
        ({"uptime_s": None}, False),
    ],
)
def test_a_report_without_a_victim_is_known_by_its_asker_and_stamp(
    fields: dict[str, Any], same: bool
) -> None:
    made: dict[str, Any] = {
        "killed": (), "uptime_s": 5.0, "invoker": "db", "gfp_mask": "0xd0", "panic": None
    }  # fmt: skip
    assert reports_left(copy(**made), copy(50, **{**made, **fields})) == (1 if same else 2)


def test_a_quoted_choice_is_its_reports() -> None:
    chosen = Selected(pid=7, comm="db", score=900)
    whole = copy(selected=chosen, invoker="sh", tasks=(row(7, "db", 9),))
    quoted = copy(50, selected=chosen, killed=(Killed(pid=7, comm="db", told_by="choice"),))
    assert reports_left(whole, quoted) == 1
    assert reports_left(quoted, whole) == 1
    assert reports_left(whole, replace(quoted, selected=replace(chosen, score=None))) == 2
    assert reports_left(whole, replace(quoted, selected=replace(chosen, score=0))) == 2
    assert reports_left(whole, replace(quoted, source=replace(quoted.source, file="b"))) == 2
    # With a victim, asker or table of its own it is a report of its own.
    assert reports_left(whole, replace(quoted, killed=(Killed(pid=9, comm="x"),))) == 2
    assert reports_left(whole, replace(quoted, invoker="y")) == 2
    assert reports_left(whole, replace(quoted, tasks=(row(7, "db", 8),))) == 2
    zero = replace(whole, selected=replace(chosen, score=0))
    assert reports_left(zero, replace(quoted, selected=replace(chosen, score=0))) == 1


def test_of_two_copies_the_one_that_shows_more_stays() -> None:
    plain = copy(1, time="2026-11-24T00:00:00", kernel="6.1.0", host="h", gfp_mask="0x1")
    fuller = copy(50, tasks=(row(7, "db", 9),), uptime_s=5.0)
    note = "the same report stands in kern.log:{}, too"
    for first, second in ((plain, fuller), (fuller, plain)):
        (found,) = without_repeats([first, second])
        assert found.source.line == 50
        assert found.tasks == fuller.tasks
        assert (found.time, found.uptime_s) == (plain.time, 5.0)
        assert (found.kernel, found.host) == ("6.1.0", "h")
        assert found.problems == (Problem(kind="lines_repeated", text=note.format(1)),)
    (same,) = without_repeats([copy(1), copy(50)])
    assert same.source.line == 1
    assert same.problems[0].text == note.format(50)
    (own,) = without_repeats([copy(uptime_s=0.0), copy(50, uptime_s=1.0, tasks=(row(1, "x", 1),))])
    assert own.uptime_s == 1.0
    (zero,) = without_repeats([copy(uptime_s=1.0), copy(50, uptime_s=0.0, tasks=(row(1, "x", 1),))])
    assert zero.uptime_s == 0.0


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"tasks": (row(7, "db", 1),), "memory": Memory()},
         {"tasks": (row(7, "db", 1), row(8, "x", 1))}),
        ({"gfp_mask": "0x1", "kernel": "6", "cgroup": "/a"}, {"memory": Memory()}),
        ({"memory": Memory()}, {"memory": Memory(), "summary": Summary()}),
        ({"killed": (SIZED, DB)}, {"gfp_mask": "0x1"}),
        ({}, {"killed": (SIZED, DB)}),
    ],
)  # fmt: skip
def test_what_shows_more(less: dict[str, Any], more: dict[str, Any]) -> None:
    first, second = copy(1, **less), copy(50, **more)
    assert [r.source.line for r in without_repeats([first, second])] == [50]
    assert [r.source.line for r in without_repeats([second, first])] == [50]


def test_several_copies_are_one() -> None:
    reports = [copy(1), copy(20, killed=(replace(SIZED, pid=8),)), copy(40), copy(60)]
    found = without_repeats(reports)
    assert [r.source.line for r in found] == [1, 20]
    assert len(found[0].problems) == 2


# -- which kernel --------------------------------------------------------------------------------


def named_by(*reports: Report, machines: tuple[KernelName, ...] = ()) -> list[str | None]:
    return [report.kernel for report in with_kernels(reports, machines)]


@pytest.mark.parametrize(
    ("reports", "kernels"),
    [
        ([at(1.0), at(2.0, 50, kernel="6.1")], ["6.1", "6.1"]),
        ([at(1.0, kernel="6.1"), at(2.0), at(3.0, kernel="6.2")], ["6.1", "6.1", "6.2"]),
        ([at(5.0, 50, kernel="6.1"), at(2.0, 90), at(3.0, 120, kernel="6.2")],
         ["6.1", "6.2", "6.2"]),  # its clock is behind that of the one before: another boot
        ([at(1.0, kernel="6.1", host="a"), at(2.0, host="b")], ["6.1", None]),
        ([at(1.0, kernel="6.1", host="a"), at(2.0)], ["6.1", "6.1"]),
        ([at(1.0, 1, kernel="6.1"), at(1.0, 1)], ["6.1", "6.1"]),
        ([at(None, time="2026-11-24T00:00:00", kernel="6.1"),
          at(None, 50, time="2026-11-25T00:00:00")], ["6.1", "6.1"]),
        ([at(None, time="2026-11-24T00:00:00", kernel="6.1"),
          at(None, 50, time="2026-11-25T00:00:01")], ["6.1", None]),
        ([at(None, time="2026-11-24T00:00:01", kernel="6.1"),
          at(None, 50, time="2026-11-24T00:00:00")], ["6.1", None]),
        ([at(None, time="2026-11-24T00:00:01", kernel="6.1"),
          at(None, 50, time="2026-11-24T00:00:01")], ["6.1", "6.1"]),
        ([at(None, kernel="6.1"), at(None, 50)], ["6.1", "6.1"]),
        ([at(1.0, kernel="6.1"), at(None, 50)], ["6.1", "6.1"]),
        ([at(1.0, time="2026-11-24T00:00:01", kernel="6.1"), at(None, 50)], ["6.1", None]),
        ([at(None, kernel="6.1"), at(None, 50, time="2026-11-24T00:00:01")], ["6.1", None]),
        ([at(1.0, time="2026-11-24T00:00:01", kernel="6.1"), at(3.0, 50)], ["6.1", "6.1"]),
        ([at(1.0), at(2.0)], [None, None]),
        # A name that the text of the report rules out.
        ([at(1.0, kernel="3.10"), at(2.0, kernel_range=("4.15", "5.0"))], ["3.10", None]),
        ([at(1.0, kernel="4.14"), at(2.0, kernel_range=("4.15", "5.0"))], ["4.14", None]),
        ([at(1.0, kernel="4.15"), at(2.0, kernel_range=("4.15", "5.0"))], ["4.15", "4.15"]),
        ([at(1.0, kernel="5.0.7"), at(2.0, kernel_range=("4.15", "5.0"))], ["5.0.7", "5.0.7"]),
        ([at(1.0, kernel="5.1"), at(2.0, kernel_range=("4.15", "5.0"))], ["5.1", None]),
        ([at(1.0, kernel="3.10.0-1.el7"), at(2.0, kernel_range=("4.15", "5.0"))],
         ["3.10.0-1.el7", "3.10.0-1.el7"]),
        ([at(1.0, kernel="2.6.32"), at(2.0, kernel_range=("2.6.25", "2.6.31"))], ["2.6.32", None]),
        ([at(1.0, kernel="2.6.31"), at(2.0, kernel_range=("2.6.25", "2.6.31"))],
         ["2.6.31", "2.6.31"]),
        ([at(1.0, kernel="mine"), at(2.0, kernel_range=("4.15", "5.0"))], ["mine", None]),
        ([at(1.0, kernel="99.1"), at(2.0, kernel_range=("6.8", "7.3"))], ["99.1", "99.1"]),
    ],
)  # fmt: skip
def test_the_kernel_of_a_neighbour(reports: list[Report], kernels: list[str | None]) -> None:
    assert named_by(*reports) == kernels


def test_the_nearest_before_is_asked_first() -> None:
    reports = [at(1.0, kernel="6.1"), at(2.0, kernel="6.2"), at(3.0), at(4.0, kernel="6.4")]
    assert named_by(*reports) == ["6.1", "6.2", "6.2", "6.4"]
    later = [at(3.0), at(4.0, 50, kernel="6.4"), at(5.0, 90, kernel="6.5")]
    assert named_by(*later) == ["6.4", "6.4", "6.5"]


@pytest.mark.parametrize(
    ("names_", "report", "kernel"),
    [
        ([KernelName(line=1, release="6.1")], at(1.0), "6.1"),
        ([KernelName(line=1, release="6.1"), KernelName(line=2, release="6.1")], at(1.0), "6.1"),
        ([KernelName(line=1, release="6.1"), KernelName(line=2, release="6.2")], at(1.0), None),
        ([KernelName(line=1, release="6.1", host="a")], at(1.0, host="b"), None),
        ([KernelName(line=1, release="6.1", host="a")], at(1.0, host="a"), "6.1"),
        ([KernelName(line=1, release="6.1", host="a")], at(1.0), "6.1"),
        ([KernelName(line=1, release="6.1")], at(1.0, host="b"), "6.1"),
        ([KernelName(line=1, release="3.10")], at(1.0, kernel_range=("4.15", "5.0")), None),
        ([KernelName(line=1, release="6.1")], at(1.0, kernel="5.4"), "5.4"),
    ],
)
def test_the_kernel_that_other_lines_name(
    names_: list[KernelName], report: Report, kernel: str | None
) -> None:
    assert named_by(report, machines=tuple(names_)) == [kernel]


# -- units within units --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("a.service", "a.service", False),
        ("a.service", "system.slice", True),
        ("a.service", "app.slice", False),
        ("a.scope", "system.slice", False),
        ("a-b.slice", "a.slice", True),
        ("ab.slice", "a.slice", False),
        ("getty@tty1.service", "system-getty.slice", True),
        ("getty.service", "system-getty.slice", False),
        ("sshd@1.service", "system-getty.slice", False),
        ("user@1000.service", "user.slice", True),
        ("user@1000.service", "user-1000.slice", True),
        ("user@1000.service", "user-1001.slice", False),
        ("user@1000.service", "system.slice", False),
        ("app-web.scope", "user@1000.service", True),
        ("vte-spawn-1.scope", "user@1000.service", True),
        ("tmux-spawn-1.scope", "user@1000.service", True),
        ("web.service", "user@1000.service", False),
        ("app-web.scope", "other.service", False),
    ],
)
def test_a_unit_within_another(inner: str, outer: str, within: bool) -> None:
    def lost(unit: str, **fields: Any) -> Evidence:
        return said("notice", "systemd", unit=unit, **fields)

    items = [lost(outer), lost(inner)]
    assert innermost(items) == ([lost(inner)] if within else items)
    if not within:
        return
    # Only systemd says of each unit above what it says of one.
    for other in (said("notice", "docker", unit=outer), said("notice", "systemd", cgroup="/a")):
        assert innermost([other, lost(inner)]) == [other, lost(inner)]
    for other in (said("sigkill", "systemd", unit=inner), said("notice", "docker", unit=inner)):
        assert innermost([lost(outer), other]) == [lost(outer), other]


# -- faults of the kernel ------------------------------------------------------------------------


def looping(idle: int, **fields: Any) -> list[Report]:
    made = {"scope": "memcg", "cgroup": "/a", "kernel": "4.19.0", **fields}
    first = at(0.0, killed=(Killed(pid=1, comm="a"),), **made)
    return [first, *(at(1.0 + n, killed=(), **made) for n in range(idle))]


def test_a_loop_of_a_cgroup_without_a_new_victim() -> None:
    reports = looping(3)
    (found,) = kernel_faults(reports[-1], reports)
    assert (found.kind, found.level) == ("memcg_oom_loop", "cause")
    assert found.text.startswith(
        "3 reports of this cgroup brought no new victim: the dying threads of a victim whose "
        "memory was already reaped call the OOM killer of their memory cgroup again and again "
        "(CVE-2026-93241); what helps: 7.3, or a stable kernel"
    )
    assert kernel_faults(reports[-1], reports[:-1]) == ()
    again = (Killed(pid=1, comm="a"),)
    assert kernel_faults(reports[0], [*reports[:3], replace(reports[3], killed=again)]) == (found,)
    fresh = (Killed(pid=1, comm="b"),)
    assert kernel_faults(reports[0], [*reports[:3], replace(reports[3], killed=fresh)]) == ()
    # Reports before the first victim are no loop.
    assert kernel_faults(reports[0], [*reports[1:], reports[0]]) == ()
    more = [*reports[:2], replace(reports[0], killed=fresh), *reports[2:]]
    assert kernel_faults(reports[0], more) == (found,)


def test_a_loop_is_of_one_cgroup_and_of_kernels_that_have_the_fault() -> None:
    reports = looping(3)
    other = [*reports[:3], replace(reports[3], cgroup="/b")]
    assert kernel_faults(reports[0], other) == ()
    machines = [*reports[:3], replace(reports[3], scope="global")]
    assert kernel_faults(reports[0], machines) == ()
    whole = [replace(r, scope="global") for r in reports]
    assert kernel_faults(whole[0], whole) == ()
    for kernel in ("4.4.0", "7.3.0"):
        without = looping(3, kernel=kernel)
        assert kernel_faults(without[0], without) == ()
    by_rules = looping(3, kernel=None, rules="4.19")
    assert [one.kind for one in kernel_faults(by_rules[0], by_rules)] == ["memcg_oom_loop"]


def test_soft_limits_that_have_no_effect() -> None:
    v1 = with_memcg(group(v2=False), memsw=Counter(usage_kb=0))
    report = replace(v1, kernel="7.3.0")
    (found,) = kernel_faults(report, [report])
    assert (found.kind, found.level) == ("soft_limit_ignored", "note")
    assert found.text == (
        "this machine limits memory by cgroup v1: memory.soft_limit_in_bytes of cgroup v1 has no "
        "effect and reads as unlimited (CVE-2026-93240); what helps: memory.low and memory.high "
        "of cgroup v2, or hard limits"
    )
    assert kernel_faults(replace(v1, kernel="7.2.0"), []) == ()
    assert kernel_faults(replace(group(), kernel="7.3.0"), []) == ()
    assert kernel_faults(replace(machine(), kernel="7.3.0"), []) == ()


def test_a_choice_of_linux_next_of_2020() -> None:
    report = replace(machine(), kernel="5.8.0-rc4-next-20200708", agrees=False)
    (found,) = kernel_faults(report, [report])
    assert (found.kind, found.level) == ("next_selection", "odd")
    assert found.text.startswith(
        "the victim is not the first of the kernel's own table: linux-next of 2020 carried"
    )
    for agrees in (True, None):
        assert kernel_faults(replace(report, agrees=agrees), []) == ()
    assert kernel_faults(replace(report, kernel="5.8.0"), []) == ()
