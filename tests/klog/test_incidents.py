"""Kills that belong together are one incident; what recurs is counted."""

from pathlib import Path

from oomkit.klog import read_log, read_records
from oomkit.klog.incidents import Incident, incidents, place_of, recurrences
from tests.klog.logs import path_of

KILL = (
    "[{at:5}.000000] Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:1kB, "
    "anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0\n"
)


def found_in(text: str, directory: Path) -> list[Incident]:
    path = directory / "x.log"
    path.write_text(text)
    return list(incidents(read_records(str(path))))


def test_a_group_kill_is_one_incident() -> None:
    name = "m-6.11-rc6-oom-group-kills-wrapped.log"
    (incident,) = incidents(read_log(str(path_of(name))))
    assert incident.by == "kernel"
    assert incident.cgroup == "/build-kernel-tmpfs"
    assert len(incident.victims) == 39


def test_kills_seconds_apart_are_one_shortage_and_hours_apart_are_not() -> None:
    name = "w-3.10.0-514-el7-24-reports.log"
    found = list(incidents(read_log(str(path_of(name)))))
    assert len(found) == 24
    rows = recurrences(found)
    assert (rows[0].kind, rows[0].name, rows[0].incidents) == ("comm", "yum-cron", 21)
    assert rows[0].first_time == "05-01T11:11:51"


def test_a_burst_of_kills_is_one_incident(tmp_path: Path) -> None:
    text = "".join(KILL.format(at=100 + i, pid=10 + i, comm="worker") for i in range(5))
    text += KILL.format(at=900, pid=99, comm="other")
    first, second = found_in(text, tmp_path)
    assert [pid for pid, _ in first.victims] == [10, 11, 12, 13, 14]
    assert [pid for pid, _ in second.victims] == [99]


def test_who_killed_is_told_apart(tmp_path: Path) -> None:
    text = (
        'Jan  4 10:00:00 web earlyoom[7]: sending SIGTERM to process 30 uid 1000 "tab": badness 9\n'
        "Jan  4 11:00:00 web kernel: Out of memory: Killed process 40 (db) total-vm:1kB, "
        "anon-rss:1kB, file-rss:1kB\n"
        "Jan  4 11:00:01 web systemd[1]: db.service: Main process exited, code=killed, "
        "status=9/KILL\n"
        "Jan  4 11:00:01 web systemd[1]: db.service: Failed with result 'oom-kill'.\n"
        "Jan  4 12:00:00 web systemd[1]: app.service: Main process exited, code=killed, "
        "status=9/KILL\n"
    )
    by_oomd, by_kernel, by_somebody = found_in(text, tmp_path)
    assert (by_oomd.by, by_oomd.comm) == ("earlyoom", "tab")
    assert (by_kernel.by, by_kernel.comm) == ("kernel", "db")
    assert by_kernel.unit == "db.service"
    assert len(by_kernel.evidence) == 2
    assert by_somebody.reports == ()
    assert by_somebody.evidence[0].kind == "sigkill"


def test_a_cgroups_path_names_its_owner() -> None:
    path = (
        "/kubepods.slice/kubepods-burstable.slice/"
        "kubepods-burstable-podf1c273d3_9b36_11ea_b3df_246e9693c184.slice/"
        "cri-containerd-" + "0123456789abcdef" * 4 + ".scope"
    )
    place = place_of(path)
    assert place.pod == "f1c273d3-9b36-11ea-b3df-246e9693c184"
    assert place.container == "0123456789abcdef" * 4
    assert place_of("/system.slice/nginx.service").unit == "nginx.service"
    assert place_of(None).unit is None
