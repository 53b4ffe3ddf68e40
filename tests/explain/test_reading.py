"""Logs that are read, followed and redacted: what is taken once, counted, waited for, left out."""

import os
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from oomkit.explain import files, follow, pod_names
from oomkit.explain.files import Counter, ReadLog, dated, read_file, read_files
from oomkit.explain.redact import Redactor
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import LogError
from oomkit.klog.memory_records import Memory, Slab
from oomkit.klog.records import Killed, Problem, Reaped, Report, Selected, Summary
from oomkit.records import replace
from tests.explain.made import group, machine, row, said, with_memcg
from tests.klog.logs import bytes_of, path_of

LEAKER = bytes_of("m-5.2-rc7-leaker.log")
JAVA = bytes_of("g-2.6.32-431-el6-java.log")
JAVA_PATH = str(path_of("g-2.6.32-431-el6-java.log"))
FAILURE = "Nov 24 03:00:{:02} host kernel: db: page allocation failure: order:{}, mode:0xd0\n"


# -- reading -------------------------------------------------------------------------------------


def read_text(tmp_path: Path, text: str | bytes, **fields: Any) -> ReadLog:
    log = tmp_path / "log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_file(str(log), **fields)


def test_lines_that_killed_nobody_are_counted_and_the_first_20_retained(tmp_path: Path) -> None:
    for count, kept in ((1, 1), (20, 20), (23, 20)):
        text = "".join(FAILURE.format(n % 60, n) for n in range(count))
        found = read_text(tmp_path, text)
        assert (found.no_kill_count, len(found.no_kill)) == (count, kept)
        assert [item.order for item in found.no_kill] == list(range(kept))
        assert (found.evidence, found.reports, found.error) == ((), (), None)
    assert read_text(tmp_path, "nothing\n").no_kill_count == 0


class _Records:
    """Stands for the reader of a log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *records: Any) -> ReadLog:
        def read_records(name: str | None, **_: int) -> Iterator[Any]:
            yield from records

        self._monkeypatch.setattr(files, "read_records", read_records)
        return read_file("x.log")


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> _Records:
    return _Records(monkeypatch)


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        ({"line": 60}, 1),
        ({"line": 61}, 1),
        ({"line": 59}, 1),
        ({"line": 62}, 2),
        ({"line": 58}, 2),
        ({"line": 60, "by": "other"}, 2),
        ({"line": 60, "text": "other"}, 2),
        ({"line": 60, "time": "11-24T00:00:00"}, 2),
    ],
)
def test_a_line_that_was_read_twice_is_taken_once(
    records: _Records, second: dict[str, Any], taken: int
) -> None:
    first = said("notice", "docker", line=60)
    more = said(**{"kind": "notice", "by": "docker", **second})
    found = records(first, more)
    assert len(found.evidence) == taken
    assert found.evidence[0] == first


@pytest.mark.parametrize("line", [1, 2, 9, 10])
def test_the_first_line_of_its_kind_is_taken_wherever_it_stands(
    records: _Records, line: int
) -> None:
    assert len(records(said("notice", "docker", line=line)).evidence) == 1


def test_three_copies_side_by_side_are_one(records: _Records) -> None:
    found = records(*(said("notice", "docker", line=n) for n in (60, 61, 62, 70)))
    assert [item.source.line for item in found.evidence] == [60, 70]


def test_what_precedes_an_error_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str | None, **_: int) -> Iterator[Any]:
        yield machine()
        raise LogError("x.log: it broke")

    monkeypatch.setattr(files, "read_records", broken)
    found = read_file("x.log")
    assert (len(found.reports), found.error) == (1, "x.log: it broke")


def test_progress_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counter = Counter()
    assert (counter.log, counter.reports) == ("", 0)
    seen: list[int] = []

    def reports(name: str | None, **_: int) -> Iterator[Any]:
        for n in range(2):
            yield replace(machine(), uptime_s=100.0 * n)
            seen.append(counter.reports)

    monkeypatch.setattr(files, "read_records", reports)
    read_file("x.log", counter)
    assert (counter.log, counter.reports, seen) == ("x.log", 2, [1, 2])


def test_the_running_kernels_log_has_its_name_and_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        files, "read_records", lambda _, **__: iter([replace(machine(), uptime_s=0)])
    )
    counter = Counter()
    found = read_file(None, counter)
    assert (found.name, counter.log) == ("/dev/kmsg", "/dev/kmsg")
    assert found.reports[0].time is not None
    assert read_file("x.log").reports[0].time is None


def test_a_report_of_the_running_kernel_gets_its_date() -> None:
    import time

    now_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    then = dated(replace(machine(), uptime_s=now_s - 3600)).time
    assert then is not None
    ago = (datetime.now(UTC) - datetime.fromisoformat(then)).total_seconds()
    assert 3598 < ago < 3900
    assert "." not in then
    # A stamp that is ahead of the clock is of now.
    ahead = dated(replace(machine(), uptime_s=now_s + 3600)).time
    assert ahead is not None
    assert -1 < (datetime.now(UTC) - datetime.fromisoformat(ahead)).total_seconds() < 300
    known = replace(machine(), uptime_s=5.0, time="2026-11-24T00:00:00")
    assert dated(known) == known
    assert dated(machine()) == machine()


def test_logs_are_read_in_their_order() -> None:
    counter = Counter()
    found = list(read_files([JAVA_PATH, "/no/such/file"], counter=counter))
    assert [(one.name, len(one.reports)) for one in found] == [(JAVA_PATH, 1), ("/no/such/file", 0)]
    assert (counter.log, counter.reports) == ("/no/such/file", 1)


# -- names of pods -------------------------------------------------------------------------------

UID = "6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b"
ID = "3f" * 32
OTHER = "4e" * 32
POD_LINE = f'kubelet: pod="shop/web" podUID="{UID}"'


def looked(tmp_path: Path, text: str, *ids: str) -> tuple[dict[str, str], dict[str, str]]:
    log = tmp_path / "log"
    log.write_text(text)
    pods, containers = pod_names.look(str(log), {one.encode() for one in ids})
    return (
        {key.decode(): b"/".join(value).decode() for key, value in pods.items()},
        {key.decode(): value.decode() for key, value in containers.items()},
    )


def test_ids_are_looked_for_in_every_line(tmp_path: Path) -> None:
    web, db = f'pod="shop/web" {UID}', f'{ID} pod="shop/db"'
    for text in (f"{web}\n{db}\n", f"{web}\n{db}", f"x\n{web}\ny\n\n{db}\nz", f"{db}\n{web}"):
        pods, _ = looked(tmp_path, text, UID, ID)
        assert pods == {UID: "shop/web", ID: "shop/db"}
    assert looked(tmp_path, f"{UID}\n{web}\n{UID}", UID)[0] == {UID: "shop/web"}
    assert looked(tmp_path, f"{UID}\n\n{web}", UID)[0] == {UID: "shop/web"}
    assert looked(tmp_path, f'{UID}\npod="shop/web"\n', UID) == ({}, {})
    # The first that names it counts.
    assert looked(tmp_path, f'{web}\npod="a/b" {UID}\n', UID)[0] == {UID: "shop/web"}


def test_long_lines_are_looked_at_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_names, "MAX_LINE", 100)
    line = f'{UID} pod="shop/web"'
    for pad, found in ((100 - len(line), True), (101 - len(line), False)):
        text = f"{'x' * (pad - 1)} {line}"
        assert (UID in looked(tmp_path, f"{text}\n", UID)[0]) == found
    # The rest of a block that is longer than a line may be is left out.
    monkeypatch.setattr(pod_names, "BLOCK_BYTES", 101)
    assert looked(tmp_path, "x" * 101 + f"\n{line}\n", UID)[0] == {UID: "shop/web"}
    split = "x" * 50 + f"\n{'y' * 20} {line}\n"
    assert looked(tmp_path, split, UID)[0] == {UID: "shop/web"}


def test_a_rest_of_a_block_is_retained_up_to_the_longest_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_names, "MAX_LINE", 60)
    line = f'{UID} pod="a/b"'  # 48 characters
    for block, found in ((60, True), (61, False)):
        monkeypatch.setattr(pod_names, "BLOCK_BYTES", block)
        # The first block has the line's beginning and blanks; its end comes with the second.
        text = line[:40] + "z" * 0 + line[40:] + " " * (block - len(line)) + " end\n"
        assert (UID in looked(tmp_path, text, UID)[0]) == found


def test_containers_by_their_own_id_or_the_line_s(tmp_path: Path) -> None:
    created = f"Created container {ID}: shop/web/nginx"
    assert looked(tmp_path, created, ID)[1] == {ID: "nginx"}
    assert looked(tmp_path, f"{created} {OTHER}", OTHER)[1] == {}
    named = f'containerName="app" {UID} {ID} {OTHER}'
    assert looked(tmp_path, named, UID, ID)[1] == {ID: "app"}
    assert looked(tmp_path, named, ID, OTHER)[1] == {ID: "app", OTHER: "app"}
    both = f'containerName="app" Created container {ID}: shop/web/nginx'
    assert looked(tmp_path, both, ID)[1] == {ID: "app"}
    assert looked(tmp_path, f'containerName="a" {ID}\ncontainerName="b" {ID}', ID)[1] == {ID: "a"}


def test_so_many_ids_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text(f'pod="shop/web" {UID}\n')
    reports = [group(f"/kubepods/pod{UID}"), group("/kubepods/pod" + UID.replace("6b", "7c", 1))]
    monkeypatch.setattr(pod_names, "MAX_IDS", 2)
    named = pod_names.with_names(str(log), reports)
    assert [one.owner for one in named] == ["pod shop/web", None]
    monkeypatch.setattr(pod_names, "MAX_IDS", 1)
    assert [one.owner for one in pod_names.with_names(str(log), reports)] == [None, None]


def test_a_container_without_a_name_keeps_its_id(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f'pod="shop/web" {UID}\n')
    with_container = group(f"/kubepods/pod{UID}/{ID}")
    known = replace(group(f"/kubepods/pod{UID}"), owner="known")
    reports = [with_container, group(f"/kubepods/pod{UID}"), machine(), known, group("/other")]
    assert [one.owner for one in pod_names.with_names(str(log), reports)] == [
        "pod shop/web, container 3f3f3f3f3f3f", "pod shop/web", None, "known", None,
    ]  # fmt: skip
    for name in (None, str(tmp_path), str(tmp_path / "none")):
        assert pod_names.with_names(name, reports) == tuple(reports)


def test_a_log_that_can_not_be_read_again_names_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1f\x8b broken")
    report = group(f"/kubepods/pod{UID}")
    assert pod_names.with_names(str(log), [report]) == (report,)


# -- following -----------------------------------------------------------------------------------


def told(chunks: list[bytes | None], **fields: Any) -> list[Report | Evidence]:
    return list(follow.follow_chunks(iter(chunks), "x.log", **fields))


def test_what_bytes_tell_as_they_come() -> None:
    whole = told([LEAKER])
    assert [item.source.line for item in whole] == [1]
    assert told([LEAKER[:5000], LEAKER[5000:]]) == whole
    assert told([LEAKER.rstrip(b"\n")]) == whole
    assert told([LEAKER[:5000], b"", LEAKER[5000:]]) == whole
    assert told([b"line\n" * 7, b"half ", b"a line\n", LEAKER])[0].source.line == 9
    assert told([]) == []


def test_a_report_is_over_after_a_second_of_silence() -> None:
    """It is told when the clock shows a whole second without a byte, not before."""
    given: list[int] = []

    def heard(times: list[float]) -> int:
        """How many quiet chunks had come before the report was told."""
        clock = iter(times)
        quiet = 0

        def chunks() -> Iterator[bytes]:
            nonlocal quiet
            yield LEAKER
            for _ in times:
                quiet += 1
                yield b""

        for _ in follow.follow_chunks(chunks(), "x.log", None, lambda: next(clock)):
            given.append(quiet)
            return quiet
        return -1

    assert follow.SETTLE_S == 1.0
    assert heard([10.0, 11.0, 12.0]) == 2
    assert heard([10.0, 10.9, 11.1]) == 3
    assert heard([10.0, 10.4, 10.9, 10.99]) == 4  # at the end of the pipe


def test_bytes_end_a_silence() -> None:
    clock = iter([10.0, 10.9, 11.2])
    chunks: list[bytes | None] = [JAVA[:4000], b"", JAVA[4000:4500], b"", JAVA[4500:], b""]
    found = told(chunks, clock=lambda: next(clock))
    assert [len(item.tasks) for item in found if isinstance(item, Report)] == [78]


def test_a_line_without_an_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b"[1.000001] Out of memory: Killed process 7 (db) total-vm:9kB\n"
    monkeypatch.setattr(follow, "MAX_LINE", 50)
    assert len(told([b"x" * 50, b"\n" + line])) == 1
    assert len(told([line[:-1][:50], line[50:]])) == 1
    assert len(told([line[:-1][:51], line[51:]])) == 0


def test_another_file_ends_what_was_before() -> None:
    found = told([LEAKER[:-40], None, b"a line\n", LEAKER])
    assert [item.source.line for item in found] == [1, 2]
    assert told([LEAKER, b"half a line", None, LEAKER])[1].source.line == 1


def test_names_are_left_out_while_following() -> None:
    (found,) = told([LEAKER], redactor=Redactor())
    assert isinstance(found, Report)
    assert found.killed[0].comm.startswith("comm-")
    kill = b'Nov 24 03:00:01 h earlyoom[5]: sending SIGTERM to process 7 uid 0 "db": badness 9\n'
    redacted = told([kill], redactor=Redactor())
    assert [isinstance(item, Evidence) for item in redacted] == [True]
    assert "db" not in str(redacted)
    assert '"db"' in str(told([kill]))


class _Follower:
    """Follows a log in a thread; what it tells can be waited for."""

    def __init__(self, name: str | None) -> None:
        self._told: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._follow, args=(name,), daemon=True)
        self._thread.start()

    def _follow(self, name: str | None) -> None:
        try:
            for item in follow.follow(name):
                self._told.put(item)
            self._told.put("ended")
        except Exception as error:
            self._told.put(error)

    def next(self) -> Any:
        return self._told.get(timeout=60)


def test_a_pipe_ends_with_its_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    follower = _Follower(str(pipe))
    with pipe.open("wb") as writer:
        writer.write(LEAKER)
    assert follower.next().killed[0].pid == 23793
    assert follower.next() == "ended"


def test_a_pipe_that_falls_silent_tells_what_it_brought(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    follower = _Follower(str(pipe))
    with pipe.open("wb") as writer:
        writer.write(LEAKER)
        writer.flush()
        assert follower.next().killed[0].pid == 23793
    assert follower.next() == "ended"


def test_a_file_that_grows_is_cut_and_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    follower = _Follower(str(log))
    with log.open("ab") as writer:
        writer.write(LEAKER)
    first = follower.next()
    assert (first.killed[0].pid, first.source.line, first.source.file) == (23793, 2, str(log))
    log.write_bytes(b"short\n")  # cut: shorter than what was read
    with log.open("ab") as writer:
        writer.write(JAVA)
    second = follower.next()
    assert second.killed[0].pid == 18938
    moved = tmp_path / "new"
    moved.write_bytes(b"one\ntwo\n" + LEAKER)
    log.unlink()
    moved.rename(log)
    third = follower.next()
    assert (third.killed[0].pid, third.source.line) == (23793, 3)


def test_what_can_not_be_followed(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=f"{tmp_path}: Is a directory"):
        next(follow.follow(str(tmp_path)))
    with pytest.raises(LogError, match="/no/such/file: No such file or directory"):
        next(follow.follow("/no/such/file"))


def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A machine whose /dev/kmsg can't be opened, with this for a journalctl."""
    command = tmp_path / "bin/journalctl"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(follow, "KMSG", str(tmp_path / "kmsg"))


def test_the_journal_stands_in_for_the_kernels_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = path_of("m-5.2-rc7-leaker.log")
    journal(tmp_path, monkeypatch, f"cat {log}; echo $@ >> {tmp_path}/asked")
    (report,) = follow.follow(None)
    assert isinstance(report, Report)
    assert report.killed[0].pid == 23793
    assert report.source.file == str(tmp_path / "kmsg")
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--quiet --dmesg --output=short-iso-precise --lines=1",
        "--quiet --dmesg --output=short-iso-precise --lines=all --follow",
    ]


@pytest.mark.parametrize("script", ["true", None])
def test_neither_kernel_log_nor_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    journal(tmp_path, monkeypatch, script or "true")
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LogError) as caught:
        next(follow.follow(None))
    assert str(caught.value) == (
        f"{tmp_path}/kmsg: No such file or directory; expected to be run as root, or a journal, "
        "or a FILE"
    )


def test_records_of_the_running_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read of /dev/kmsg is a record; a pipe of records stands for it."""
    kmsg = tmp_path / "kmsg"
    os.mkfifo(kmsg)
    monkeypatch.setattr(follow, "KMSG", str(kmsg))
    text = b"6,1,5000000,-;Out of memory: Killed process 7 (db) total-vm:9kB, anon-rss:4kB"
    reader = follow.follow(None)
    keep = os.open(kmsg, os.O_RDWR)
    try:
        os.write(keep, text)
        report = next(reader)
    finally:
        os.close(keep)
    assert isinstance(report, Report)
    assert (report.killed[0].pid, report.uptime_s) == (7, 5.0)


# -- redaction -----------------------------------------------------------------------------------


def test_the_same_name_is_the_same_token() -> None:
    redactor = Redactor()
    report = replace(
        group("/system.slice/secret.service/inner"), host="myhost", cpuset="/mine", invoker="java",
        oom_group="/system.slice/secret.service", panic="secret panic of java",
        kill_text="java stopped by myhost",
        tasks=(row(7, "java", 1), row(8, "a-name-of-15-chr-and-more", 1, uid=0)),
        selected=Selected(pid=7, comm="java"),
        summary=Summary(cpuset="/mine", oom_memcg="/x", task_memcg="/x/y", comm="java", uid=1000),
        killed=(Killed(pid=7, comm="java", uid=1000), Killed(pid=9, comm="web", uid=1001)),
        reaped=(Reaped(pid=7, comm="java"),),
        problems=(Problem(kind="row_damaged", text="the row of java is damaged"),),
        memory=Memory(unreclaimable_slab=(Slab(name="dentry(12:secret)", used_kb=1, total_kb=2),)),
    )  # fmt: skip
    found = redactor.report(report)
    assert found.source.file == "file-1"
    assert found.host == "host-1"
    assert found.cgroup == "/system.slice/cgroup-1.service/cgroup-2"
    assert found.oom_group == "/system.slice/cgroup-1.service"
    assert found.cpuset == "/cgroup-3"
    assert (found.invoker, found.killed[0].comm, found.killed[1].comm) == (
        "comm-1", "comm-1", "comm-3",
    )  # fmt: skip
    assert [task.comm for task in found.tasks] == ["comm-1", "comm-2"]
    assert [task.uid for task in found.tasks] == [60001, 0]
    assert [victim.uid for victim in found.killed] == [60001, 60002]
    assert found.selected is not None
    assert found.selected.comm == "comm-1"
    assert found.reaped[0].comm == "comm-1"
    assert found.summary is not None
    assert (found.summary.cpuset, found.summary.uid) == ("/cgroup-3", 60001)
    assert (found.summary.oom_memcg, found.summary.task_memcg) == (
        "/cgroup-4",
        "/cgroup-4/cgroup-5",
    )
    assert found.memcg is not None
    assert found.memcg.path == found.memcg.task_path == found.cgroup
    assert found.panic == "secret panic of comm-1"
    assert found.kill_text == "comm-1 stopped by host-1"
    assert found.problems[0].text == "the row of comm-1 is damaged"
    assert found.memory is not None
    assert found.memory.unreclaimable_slab == (Slab(name="dentry", used_kb=1, total_kb=2),)
    assert redactor.host("myhost") == "host-1"
    assert redactor.host("other") == "host-2"


def test_stats_of_cgroups_keep_their_numbers() -> None:
    report = with_memcg(group("/mine", anon=5), task_path=None)
    found = Redactor().report(report)
    assert found.memcg is not None
    assert found.memcg.stats == {"/cgroup-1": {"anon": 5120}}
    assert found.memcg.task_path is None


def test_what_is_not_there_stays_away() -> None:
    bare = Report(source=machine().source, killed=(Killed(pid=7, comm="db"),))
    found = Redactor().report(bare)
    assert found == replace(
        bare, source=replace(bare.source, file="file-1"), killed=(Killed(pid=7, comm="comm-1"),)
    )
    for name in ("-", "/dev/kmsg"):
        kept = replace(bare, source=replace(bare.source, file=name))
        assert Redactor().report(kept).source.file == name


@pytest.mark.parametrize(
    ("path", "redacted"),
    [
        ("/", "/"),
        ("/..", "/.."),
        (f"/docker/{ID}", "/docker/container-1"),
        (f"/system.slice/docker-{ID}.scope", "/system.slice/docker-container-1.scope"),
        (f"/kubepods/burstable/pod{UID}/{ID}", "/kubepods/burstable/pod-1/container-1"),
        (
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod"
            f"{UID.replace('-', '_')}.slice"),
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod-1.slice",
        ),
        ("/user.slice/user-1000.slice/x.scope", "/user.slice/cgroup-1.slice/cgroup-2.scope"),
        ("/a.socket/b.mount/c.swap", "/cgroup-1.socket/cgroup-2.mount/cgroup-3"),
        ("/init.scope", "/init.scope"),
    ],
)  # fmt: skip
def test_a_path_keeps_what_every_machine_has(path: str, redacted: str) -> None:
    assert Redactor().report(replace(machine(), cgroup=path)).cgroup == redacted


def test_what_others_say_without_names() -> None:
    redactor = Redactor()
    item = said(
        "kill", "systemd-oomd", "Killed secret", host="h", comm="java", cgroup="/mine/x.service",
        unit="x.service", pod="shop/web", namespace="shop", container=ID, container_name="app",
        node="h", job="7.0", invoker="java[9]", reason="pressure of /mine/x.service by java is 9%",
        pid=9, used_kb=5,
    )  # fmt: skip
    found = redactor.evidence(item)
    assert found == replace(
        item, source=replace(item.source, file="file-1"), text="(kill; text left out)",
        host="host-1", comm="comm-1", cgroup="/cgroup-1/cgroup-2.service",
        unit="cgroup-2.service", pod="namespace-1/pod-1", namespace="namespace-1",
        container="container-1", container_name="container-name-1", node="host-1", job="job-1",
        invoker="comm-1[9]", reason="pressure of /cgroup-1/cgroup-2.service by comm-1 is 9%",
    )  # fmt: skip
    other = redactor.evidence(
        said("notice", "docker", pod="web", invoker="java", container=ID[:12])
    )
    assert (other.pod, other.invoker, other.container) == ("pod-1", "comm-1", "container-1")
    assert redactor.evidence(said("notice", "docker")).pod is None


def test_numbers_count_by_first_appearance_and_a_guess_can_not_be_checked() -> None:
    one, other = Redactor(), Redactor()
    assert [one.host(name) for name in ("a", "b", "a")] == ["host-1", "host-2", "host-1"]
    assert other.host("b") == "host-1"


def test_a_kernel_s_host_is_left_out_with_the_others(tmp_path: Path) -> None:
    text = "Nov 24 03:00:01 myhost kernel: Linux version 6.1.0 (x) #1\n"
    kill = (
        "Nov 24 03:00:05 myhost kernel: Out of memory: Killed process 7 (db) total-vm:9kB, "
        "anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n"
    )
    plain = read_text(tmp_path, text + kill)
    redacted = read_text(tmp_path, text + kill, redactor=Redactor())
    assert [one.kernel for one in plain.reports] == ["6.1.0"]
    assert [one.kernel for one in redacted.reports] == ["6.1.0"]
    assert "myhost" not in str(redacted.reports)
