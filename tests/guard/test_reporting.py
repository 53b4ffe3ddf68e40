"""What is written of what the guard did: sentences, counts, records, and faults in writing."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import reporter as module
from oomkit.guard.act_record import ActRecord, SignalRecord, candidates, reason
from oomkit.guard.config import Places, Settings
from oomkit.guard.messages import ERROR, NOTICE, WARNING, MessageWriter, acted, ended
from oomkit.guard.records import (
    CountedKillsRecord,
    ErrorRecord,
    KernelKillRecord,
    Origin,
    VictimRecord,
    WarnRecord,
    rounded,
)
from oomkit.guard.reporter import REPEAT_S, Counters, Reporter
from oomkit.guard.writer import Writer
from oomkit.host.self_protection import run_first
from oomkit.policy.engine.candidate import Ranked
from oomkit.policy.engine.decider import Act, Decider
from oomkit.policy.engine.reading import Reading
from tests.policy.making import LOW, VERY_LOW, plan, process, reading

pytestmark = pytest.mark.hermetic

MIB = 1024.0


def choice(pid: int = 10, mib: float = 100.0, *, members: int = 1, **fields: Any) -> Ranked:
    made = Ranked(process(pid, mib))
    made.members = tuple(process(pid + n, mib, tmpfs_growth_kb=fields.pop("wrote", None))
                         for n in range(members))  # fmt: skip
    made.freed_kb = mib * MIB * members
    made.score = made.freed_kb
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def decided(*ranked: Ranked, **rest: Any) -> Act:
    decider = Decider(plan(LOW))
    decider.look(reading(1.0, 0.09))
    act = decider.choose([process(10, 100)])
    assert act is not None
    act.choice, act.ranked = ranked[0], list(ranked)
    for name, value in rest.items():
        setattr(act, name, value)
    return act


EVIDENCE = "available 92.2 MiB <= 102 MiB"


@pytest.mark.parametrize(("ranked", "rest", "text"), [
    ([choice()], {}, "sent SIGTERM to p10[10], which frees 100 MiB: "),
    ([choice(members=3, level="tree")], {},
     "sent SIGTERM to p10[10] and 2 more of its tree, which frees 300 MiB: "),
    ([choice(members=2, level="namesakes")], {},
     "sent SIGTERM to p10[10] and 1 more of its name, which frees 200 MiB: "),
    ([choice()], {"signals": ()}, "sent a signal to p10[10], which frees 100 MiB: "),
    ([choice()], {"command": ("/run", "it")},
     "ran /run for p10[10] instead of SIGTERM, which frees 100 MiB: "),
    ([choice(members=2, level="tree", wrote=2048.0)], {},
     ("sent SIGTERM to p10[10] and 1 more of its tree, which frees 200 MiB and wrote 2.00 MiB to "
     "tmpfs: ")),
])  # fmt: skip
def test_what_was_done_is_one_sentence(
    ranked: list[Ranked], rest: dict[str, Any], text: str
) -> None:
    said = acted(decided(*ranked, **rest), dry_run=False)
    assert said == text + EVIDENCE


def test_in_a_dry_run_it_would_have_been() -> None:
    act = decided(choice(), command=("/run",))
    assert acted(act, dry_run=True).startswith("would send SIGTERM to p10[10], which frees")


def test_two_that_would_have_been_next_and_the_note_are_named() -> None:
    ruled_out = choice(14, 90.0, verdict="never: comm p14")
    others = [choice(11, 50.0), ruled_out, choice(12, 40.0), choice(13, 30.0)]
    act = decided(choice(note="alone: x"), *others)
    assert acted(act, dry_run=False).endswith(
        f"{EVIDENCE}; next: p11[11] 50.0 MiB, p12[12] 40.0 MiB; alone: x"
    )


@pytest.mark.parametrize(("outcome", "text"), [
    ("died", "x[7] exited after 13 ms; 2.00 MiB came free"),
    ("gone", "x[7]: exited before it could be signalled"),
    ("refused", "x[7]: could not be signalled"),
    ("protected", "x[7]: is protected by now, and was left alone"),
    ("spared", "x[7]: memory recovered; waiting without escalation"),
    ("survived", "x[7]: did not exit within a minute"),
    ("other", "x[7]: other"),
    (None, "x[7]: "),
])  # fmt: skip
def test_how_it_ended_is_one_sentence(outcome: str | None, text: str) -> None:
    record = made_record()
    record.outcome, record.freed_kb, record.died_after_ms = outcome, 2048, 12.6
    assert ended(record) == text


def made_record(**fields: Any) -> ActRecord:
    record = ActRecord(
        Origin("p", dry_run=False), "7-1-100", 100.0, 50.0, level="hard",
        why_now={"rule": 0, "cgroup": None, "evidence": []},
        victim=VictimRecord(7, 1, "x", expected_kb=1000, members=((7, "x"),)),
        reason="", candidates=[], considered=1, command=None,
    )  # fmt: skip
    for name, value in fields.items():
        setattr(record, name, value)
    return record


# Why this one


def ranked(pid: int, score: float, **factors: float) -> Ranked:
    made = Ranked(process(pid))
    made.score, made.factors = score, tuple(factors.items())
    return made


def test_the_reason_names_the_factor_that_decided() -> None:
    first = ranked(10, 600.0, gain_kb=200.0, prefer=3.0)
    second = ranked(11, 150.0, gain_kb=150.0, prefer=1.0)
    assert reason([first, second]) == "score 4 times that of p11[11], most by prefer"
    alone = ranked(9, 900.0)
    alone.verdict = "never: comm p9"
    assert reason([alone, first, alone, second]) == (
        "score 4 times that of p11[11], most by prefer"
    )
    assert reason([alone, first, alone]) == "no other process can be chosen"
    assert reason([alone]) == "no process can be chosen"
    assert reason([]) == "no process can be chosen"


def test_a_factor_that_only_one_has_counts_as_one_for_the_other() -> None:
    first, second = ranked(10, 600.0, gain_kb=100.0, age=3.0), ranked(11, 100.0, gain_kb=100.0)
    assert reason([first, second]) == "score 6 times that of p11[11], most by age"
    equal = ranked(12, 100.0, gain_kb=100.0)
    assert reason([equal, second]) == "score 1 times that of p11[11]"
    worse = ranked(13, 120.0, gain_kb=100.0, age=0.5)
    assert reason([worse, second]) == "score 1.2 times that of p11[11]"
    nothing = ranked(14, 100.0, gain_kb=0.0, age=2.0)
    assert reason([ranked(15, 200.0, gain_kb=9.0, age=3.0), nothing]) == (
        "score 2 times that of p14[14], most by age"
    )


@pytest.mark.parametrize(("mine", "theirs"), [(0.0, 5.0), (5.0, 0.0), (-1.0, -2.0)])
def test_without_scores_above_0_there_is_no_ratio(mine: float, theirs: float) -> None:
    assert reason([ranked(10, mine), ranked(11, theirs)]) == "first, ahead of p11[11]"


def test_of_the_ranking_the_first_twenty_are_recorded() -> None:
    rows = candidates(choice(pid, 1.0) for pid in range(10, 40))
    assert [row["pid"] for row in rows] == list(range(10, 30))
    one = choice(10, 2.0, members=3, score=1234.56, verdict="x")
    one.candidate.growth_kb, one.candidate.uid = 7.0, 33
    one.factors = (("gain_kb", 2048.0), ("prefer", 0.5))
    (row,) = candidates([one])
    assert row == {
        "pid": 10, "comm": "p10", "uid": 33, "anon_kb": 2048, "shmem_kb": 0, "swap_kb": 0,
        "pgtables_kb": 0, "oom_score_adj": 0, "growth_kb": 7, "cpu_s": 0, "dies_with": 2,
        "freed_kb": 6144, "score": 1235, "factors": {"gain_kb": 2048, "prefer": 0.5},
        "verdict": "x",
    }  # fmt: skip


@pytest.mark.parametrize(("value", "short"), [
    (None, None), (float("inf"), None), (float("nan"), None), (0.0, 0), (5.0, 5), (1.23456, 1.235),
    (999.9994, 999.999), (1000.4, 1000), (-0.25, -0.25), (-1000.6, -1001), (1e6 + 0.7, 1000001),
    (2.0001, 2), (0.0004, 0),
])  # fmt: skip
def test_numbers_keep_what_matters(value: float | None, short: float | None) -> None:
    found = rounded(value)
    assert found == short
    assert type(found) is type(short)


@pytest.mark.parametrize(("length", "kept"), [(4096, 4096), (4097, 4097), (9000, 4097)])
def test_a_command_line_is_cut(length: int, kept: int) -> None:
    one = choice()
    one.candidate.cmdline = "x" * length
    cmdline = VictimRecord.of(one).cmdline
    assert cmdline is not None
    assert len(cmdline) == kept
    assert cmdline.endswith("\u2026") == (length > 4096)
    one.candidate.cmdline = None
    assert VictimRecord.of(one).cmdline is None


def test_an_act_says_all_that_was_known() -> None:
    record = ActRecord.of(decided(choice(members=2, level="tree", note="n")), Origin(
        "p", dry_run=True), 5.1234567)  # fmt: skip
    assert (record.id, record.time_s, record.mono_s, record.level) == (
        "10-10-1.000", 5.123457, 1.0, "soft",
    )  # fmt: skip
    assert (record.victim.members, record.victim.note, record.victim.expected_kb) == (
        ((10, "p10"), (11, "p11")), "n", 204800,
    )  # fmt: skip
    killed = [record.killed]
    for name in ("TERM", "KILL"):
        record.signals.append(SignalRecord(7, name, "", 1.0, ""))
        killed.append(record.killed)
    assert killed == [False, False, True]
    assert "spared" not in record.to_values()
    assert "resumed" not in record.to_values()
    assert "outcome" not in record.to_values()


@pytest.mark.parametrize("change", [
    {"policy": 5}, {"id": None}, {"level": 1}, {"reason": b""}, {"time_s": "x"},
    {"mono_s": 2.0**63}, {"mono_s": -(2.0**63)}, {"mono_s": float("nan")}, {"rule": 1.5},
    {"rule": None}, {"considered": "1"}, {"evidence": {}}, {"candidates": None}, {"command": "x"},
    {"cgroup": 5}, {"outcome": 1}, {"freed_kb": "1"}, {"freed_after_ms": float("inf")},
    {"died_after_ms": []}, {"signals": 5}, {"spared": [{}]}, {"victim": {}},
])  # fmt: skip
def test_an_act_that_holds_something_else_is_of_another_version(change: dict[str, Any]) -> None:
    values = {**made_record().to_values()}
    ActRecord.from_values(values)
    with pytest.raises((TypeError, KeyError, ValueError)):
        ActRecord.from_values({**values, **change})


@pytest.mark.parametrize("change", [
    {"command": None}, {"command": ["x"]}, {"command": ("x",)}, {"cgroup": "/a"}, {"rule": 2},
    {"mono_s": 2.0**62}, {"outcome": "died", "freed_kb": 1, "freed_after_ms": 2.5,
                          "died_after_ms": None}, {"resumed": True}, {"time_s": 5},
])  # fmt: skip
def test_what_may_be_missing_may_be_missing(change: dict[str, Any]) -> None:
    again = ActRecord.from_values({**made_record().to_values(), **change})
    kept = again.to_values()
    for name, value in change.items():
        if value is not None:
            assert kept[name] == value


@pytest.mark.parametrize("change", [
    {"pid": None}, {"start_time": 1.5}, {"comm": 5}, {"level": None}, {"note": None}, {"user": 5},
    {"exe": b""}, {"cmdline": 1}, {"cgroup": 1}, {"unit": 1}, {"container": []}, {"uid": "0"},
    {"cpu_s": "1"}, {"expected_kb": float("inf")}, {"members": [{"pid": 1}]}, {"members": 5},
])  # fmt: skip
def test_a_victim_that_holds_something_else_is_of_another_version(change: dict[str, Any]) -> None:
    values = made_record().victim.to_values()
    again = VictimRecord.from_values({**values, "uid": None, "user": "me", "cpu_s": None})
    assert (again.user, again.members) == ("me", ((7, "x"),))
    with pytest.raises((TypeError, KeyError, ValueError)):
        VictimRecord.from_values({**values, **change})


# Counts


def test_records_are_counted_as_they_are_made() -> None:
    counters = Counters(5.0)
    assert counters.values() == {
        "started_s": 5.0, "last_act_s": None, "acts": {}, "signals": {}, "eases": {}, "freed_kb": 0,
        "kernel_kills": 0, "warnings": 0,
    }  # fmt: skip
    state = decided(choice()).state
    origin = Origin("p", dry_run=False)
    act = made_record(signals=[
        SignalRecord(7, "TERM", "", 1.0, ""), SignalRecord(7, "KILL", "", 1.0, ""),
        SignalRecord(8, "TERM", "", 1.0, "gone"), SignalRecord(9, "TERM", "", 1.0, ""),
    ])  # fmt: skip
    counters.count(act)
    assert counters.values()["acts"] == {}, "it is under way"
    for outcome, freed_kb in (("died", 700), ("died", 70), ("survived", None)):
        act.outcome, act.freed_kb = outcome, freed_kb
        counters.count(act)
    for record in (
        WarnRecord(origin, state), WarnRecord(origin, state), ErrorRecord(origin, "x"),
        KernelKillRecord(5, "x", "global", 1.0, []), CountedKillsRecord(4, {}),
    ):  # fmt: skip
        counters.count(record)
    assert counters.values() == {
        "started_s": 5.0, "last_act_s": 100.0, "acts": {"died": 2, "survived": 1},
        "signals": {"TERM": 6, "KILL": 3}, "eases": {},
        "freed_kb": 770, "kernel_kills": 5, "warnings": 2,
    }  # fmt: skip


# The reporter


class Kills:
    """Stands in for the kernel's log."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.missing: list[str] = []
        self.kmsg_fd = 5
        self.found: list[Any] = []
        self.looks: list[tuple[float, float, bool]] = []
        self.log_news = "news"
        self.closed = False
        kills.append(self)

    def look(self, mono_s: float, wall_s: float, *, final: bool) -> list[Any]:
        self.looks.append((mono_s, wall_s, final))
        found, self.found = self.found, []
        return found

    def close(self) -> None:
        self.closed = True


kills: list[Kills] = []


class Threadless:
    """Stands in for the thread that writes: does so when it is asked to."""

    def __init__(self, *flushes: Callable[[], object], begin: Any) -> None:
        self.flushes = flushes
        self.begin = begin
        self.kicks = 0
        self.answers = True
        writers.append(self)

    def kick(self) -> None:
        self.kicks += 1
        for flush in self.flushes:
            flush()

    def stop(self, timeout_s: float) -> bool:
        assert timeout_s == 1.0
        return self.answers


writers: list[Threadless] = []


class Setup:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_s, self.wall_s = 100.0, 1.7e9
        self.made: list[Reporter] = []

    def reporter(self, killed: Any = None, **settings: Any) -> Reporter:
        made = Reporter(
            Settings(plan(LOW, VERY_LOW), **settings), lambda: self.now_s, lambda: self.wall_s,
            killed,
        )  # fmt: skip
        self.made.append(made)
        return made

    def said(self) -> list[str]:
        return (self.directory / "stderr").read_text().splitlines()


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    kills.clear()
    writers.clear()
    out = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def writer(**options: Any) -> MessageWriter:
        return MessageWriter(out, **options)

    monkeypatch.setattr(module, "MessageWriter", writer)
    monkeypatch.setattr(module, "KernelKills", Kills)
    monkeypatch.setattr(module, "Writer", Threadless)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    made = Setup(tmp_path)
    yield made
    for one in made.made:
        one.close()
    os.close(out)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_go_to_stderr_with_priorities_only_under_systemd(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.reporter().line(WARNING, "one")
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    setup.reporter().line(NOTICE, "two")
    assert setup.said() == ["one", "<5>two"]


def test_what_still_holds_is_said_once_a_minute(setup: Setup) -> None:
    reporter = setup.reporter()
    assert reporter.repeat(ERROR, "no eligible process although 1")
    assert not reporter.repeat(ERROR, "no eligible process although 2")
    assert reporter.repeat(ERROR, "another")
    setup.now_s += REPEAT_S - 0.1
    assert not reporter.repeat(ERROR, "no eligible process although 3")
    setup.now_s += 0.2
    assert reporter.repeat(ERROR, "no eligible process although 4")
    assert setup.said() == [
        "no eligible process although 1", "another", "no eligible process although 4",
    ]  # fmt: skip
    assert REPEAT_S == 60.0


def test_what_differs_in_its_first_words_is_another_thing(setup: Setup) -> None:
    reporter = setup.reporter()
    assert reporter.repeat(ERROR, "x" * 23 + "a")
    assert reporter.repeat(ERROR, "x" * 23 + "b")
    assert not reporter.repeat(ERROR, "x" * 23 + "a, more")


def test_records_go_to_the_journal_and_are_counted(setup: Setup) -> None:
    journal = setup.directory / "journal"
    reporter = setup.reporter(journal=str(journal))
    reporter.record(ErrorRecord(Origin("p", dry_run=True), "x"))
    (record,) = records(journal)
    assert (record["kind"], record["text"], record["time_s"], record["mono_s"]) == (
        "error", "x", 1.7e9, 100.0,
    )  # fmt: skip
    assert writers[0].kicks == 1
    assert reporter.full_files == 0
    setup.reporter().record(ErrorRecord(Origin("p", dry_run=True), "x"))
    assert setup.made[1].full_files == 0


def reading_now() -> Reading:
    return Reading(7.0, 1000.0, 500.0, 20.0, 10.0, psi_some_us=3.0, psi_full_us=2.0)


def test_the_status_file_says_what_the_daemon_is_doing(setup: Setup) -> None:
    path, journal = setup.directory / "status", setup.directory / "journal"
    reporter = setup.reporter(status=str(path), journal=str(journal))
    origin = Origin("p", dry_run=True)
    reporter.record(made_record(outcome="died", freed_kb=700))
    reporter.status(origin, 2, reading_now(), looks=77, under_way=1)
    status = json.loads(path.read_text())
    cpu_s = status.pop("cpu_s")
    assert 0 <= cpu_s < 1e6
    assert status == {
        "n": 1, "policy": "p", "dry_run": True, "time_s": 1.7e9, "mono_s": 7.0,
        "pid": os.getpid(), "level": 2, "level_name": "soft", "looks": 77, "under_way": 1,
        "mem_total_kb": 1000.0, "available_kb": 500.0, "swap_total_kb": 20.0,
        "swap_free_kb": 10.0, "psi_us": {"some": 3.0, "full": 2.0}, "started_s": 1.7e9,
        "last_act_s": 100.0, "acts": {"died": 1}, "signals": {}, "eases": {}, "freed_kb": 700,
        "kernel_kills": 0, "warnings": 0, "faults": {}, "waiting": 0, "lost": 0, "end": 1,
    }  # fmt: skip
    bare = setup.reporter(status=str(setup.directory / "bare"))
    bare.status(origin, 0, reading_now(), looks=1, under_way=0)
    assert "waiting" not in json.loads((setup.directory / "bare").read_text())
    kicks = writers[0].kicks
    setup.reporter().status(origin, 0, reading_now(), looks=1, under_way=0)
    assert (writers[0].kicks, writers[2].kicks) == (kicks, 0)


def test_a_recorder_is_told_of_moments_deaths_and_kills(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = setup.directory / "recording"
    reporter = setup.reporter(recording=str(path), recording_bytes=1 << 16,
                              status=str(setup.directory / "status"))  # fmt: skip
    assert reporter.records_tasks
    assert not setup.reporter().records_tasks
    marks: list[Any] = []
    samples: list[int] = []
    ring = "oomkit.guard.flight_recorder.FlightRecorder"
    monkeypatch.setattr(f"{ring}.mark", lambda _s, *given, **named: marks.append((given, named)))
    monkeypatch.setattr(f"{ring}.sample", lambda _s, _r, top: samples.append(len(top)))
    reporter.sample(reading_now(), [process(pid) for pid in range(40)])
    assert samples == [32]
    reporter.record(made_record(outcome="died", freed_kb=700))
    reporter.record(made_record(outcome="survived"))
    reporter.record(made_record())
    assert marks == [((2, 50.0, 7, "x"), {"by": "p", "freed_kb": 700})]
    kill = KernelKillRecord(5, "leak", "global", 1.0, [])
    kill.mono_s = 100.0
    torn = KernelKillRecord(None, "leak", "global", 1.0, [])
    torn.mono_s = 100.0
    kills[0].found = [kill, torn]
    marks.clear()
    reporter.kernel_kills()
    assert marks == [((1, 100.0, 5, "leak"), {"by": "kernel"})]
    reporter.status(Origin("p", dry_run=True), 0, reading_now(), looks=1, under_way=0)
    assert json.loads((setup.directory / "status").read_text())["ring_lost"] == 0


def test_who_learns_of_starts_hears_of_victims_that_died(setup: Setup) -> None:
    heard: list[tuple[int, float]] = []
    reporter = setup.reporter(lambda pid, t_s: heard.append((pid, t_s)))
    reporter.record(made_record(outcome="survived"))
    reporter.record(made_record(outcome="dry_run"))
    assert heard == []
    reporter.record(made_record(outcome="died"))
    kill, torn = (KernelKillRecord(pid, "leak", "global", 1.0, []) for pid in (5, None))
    kill.mono_s = torn.mono_s = 100.0
    kills[-1].found = [kill, torn]
    reporter.kernel_kills()
    assert heard == [(7, 50.0), (5, 100.0)]


def test_kills_of_the_kernel_are_recorded_and_those_since_the_start_announced(
    setup: Setup,
) -> None:
    journal = setup.directory / "journal"
    reporter = setup.reporter(journal=str(journal))
    before, now = (KernelKillRecord(pid, "leak", "global", 1.0, []) for pid in (5, 6))
    counted = CountedKillsRecord(3, {"/a": 3})
    before.mono_s, now.mono_s, counted.mono_s = 99.9, 100.0, 101.0
    kills[0].found = [before, now, counted]
    setup.now_s = 105.0
    reporter.kernel_kills()
    assert kills[0].looks == [(105.0, 1.7e9, False)]
    assert [record["kind"] for record in records(journal)] == ["kernel_kill"] * 3
    assert setup.said() == [
        "the kernel's OOM killer killed leak[6]", "the kernel's OOM killer killed 3 processes",
    ]  # fmt: skip
    reporter.kernel_kills(final=True)
    assert kills[0].looks[1] == (105.0, 1.7e9, True)


def test_where_the_kernel_is_watched(setup: Setup) -> None:
    places = Places(proc="/p", cgroups="/c", cgroup_version=2)
    reporter = setup.reporter(places=places, state="/s")
    assert kills[0].given == {
        "vmstat": "/p/vmstat", "cgroups": ("/c", "memory.events.local"), "seen": "/s.kmsg",
    }  # fmt: skip
    log_news: Any = reporter.log_news
    assert (reporter.sees_log, log_news) == (True, "news")
    setup.reporter(places=Places(proc="/p", cgroups="/c", cgroup_version=1))
    assert kills[1].given["cgroups"] == ("/c", "memory.oom_control")
    assert kills[1].given["seen"] is None
    setup.reporter(places=Places(proc="/p"))
    assert kills[2].given["cgroups"] is None
    for fd, sees in ((0, True), (-1, False)):
        kills[0].kmsg_fd = fd
        assert reporter.sees_log is sees


def test_a_place_in_the_log_that_cant_be_stored_is_said(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing(Kills):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.missing = ["/s.kmsg: Permission denied", "/dev/kmsg: Permission denied"]

    monkeypatch.setattr(module, "KernelKills", Missing)
    setup.reporter(state="/s").line(NOTICE, "x")
    text = "/s.kmsg: Permission denied; the kernel's kills may be recorded twice"
    assert setup.said() == [text, "x"]
    setup.reporter().line(NOTICE, "y")
    assert setup.said() == [text, "x", "y"]


def test_a_thread_of_an_armed_guard_runs_first_and_records_come_before_a_slow_stderr(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"journal": str(setup.directory / "j"), "status": str(setup.directory / "s")}
    setup.reporter(**options)
    assert writers[0].begin is None
    setup.reporter(dry_run=False, **options)
    assert writers[1].begin is run_first

    def names(one: Threadless) -> list[str]:
        return [type(flush.__self__).__name__ for flush in one.flushes]  # type: ignore[attr-defined]  # all are methods

    assert names(writers[0]) == ["MessageWriter", "Journal", "Status"]
    slow: Any = vars(module)["MessageWriter"]

    def blocking(**given: Any) -> MessageWriter:
        made: MessageWriter = slow(**given)
        made.never_blocks = False
        return made

    monkeypatch.setattr(module, "MessageWriter", blocking)
    setup.reporter(**options)
    assert names(writers[2]) == ["Journal", "Status", "MessageWriter"]


def test_a_fault_in_writing_is_said_once_and_its_end(setup: Setup) -> None:
    journal = setup.directory / "later/journal"
    status = setup.directory / "later/status"
    reporter = setup.reporter(journal=str(journal), status=str(status))
    written = [reporter.are_written]
    reporter.record(ErrorRecord(Origin("p", dry_run=True), "x"))
    for _ in range(2):
        kicks = writers[0].kicks
        reporter.check()
        assert writers[0].kicks > kicks, "it is tried again"
    written.append(reporter.are_written)
    missing = "No such file or directory"
    assert setup.said() == [
        f"journal {journal}: {missing}; records wait in memory", f"status {status}: {missing}",
    ]  # fmt: skip
    journal.parent.mkdir()
    reporter.status(Origin("p", dry_run=True), 0, reading_now(), looks=1, under_way=0)
    assert json.loads(status.read_text())["faults"] == {"journal": missing, "status": missing}
    reporter.check()
    assert setup.said()[2:] == ["journal can be written again", "status can be written again"]
    assert [*written, reporter.are_written] == [True, False, True]
    kicks = writers[0].kicks
    reporter.check()
    assert writers[0].kicks == kicks


def test_another_fault_of_the_same_file_is_said_too(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = setup.directory / "journal"
    reporter = setup.reporter(journal=str(path))
    write = os.write
    fault = [errno.ENOSPC]

    def fails(fd: int, data: bytes) -> int:
        if data.startswith(b"{"):
            raise OSError(fault[0], os.strerror(fault[0]))
        return write(fd, data)

    monkeypatch.setattr(os, "write", fails)
    for code in (errno.ENOSPC, errno.ENOSPC, errno.EDQUOT):
        fault[0] = code
        reporter.record(ErrorRecord(Origin("p", dry_run=True), "x"))
        reporter.check()
    assert setup.said() == [
        f"journal {path}: No space left on device; records wait in memory",
        f"journal {path}: Disk quota exceeded; records wait in memory",
    ]


def test_the_journal_is_opened_again_for_logrotate(setup: Setup) -> None:
    path = setup.directory / "journal"
    reporter = setup.reporter(journal=str(path))
    reporter.record(ErrorRecord(Origin("p", dry_run=True), "one"))
    path.rename(setup.directory / "old")
    reporter.reopen()
    reporter.record(ErrorRecord(Origin("p", dry_run=True), "two"))
    assert [record["text"] for record in records(path)] == ["two"]
    setup.reporter().reopen()


@pytest.mark.parametrize("answers", [True, False])
def test_a_disk_that_does_not_answer_is_not_asked_again_at_the_end(
    setup: Setup, answers: bool
) -> None:
    reporter = setup.reporter(journal=str(setup.directory / "journal"))
    writers[0].answers = answers
    reporter.close()
    assert kills[0].closed is answers
    setup.made.clear()


# The writer of lines


class Slow:
    """``os.write`` that takes so many bytes at a time, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.got = b""
        self.takes: list[int | OSError] = []
        monkeypatch.setattr(os, "write", self)

    def __call__(self, _fd: int, data: bytes) -> int:
        take = self.takes.pop(0) if self.takes else len(data)
        if isinstance(take, OSError):
            raise take
        self.got += data[:take]
        return min(take, len(data))


def test_what_cant_be_written_waits_and_a_line_goes_on_where_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    writer = MessageWriter(fd)
    slow = Slow(monkeypatch)
    slow.takes = [3, BlockingIOError(), 2, BlockingIOError()]
    writer.line(4, "abcdef")
    assert (slow.got, writer.waiting) == (b"abc", True)
    writer.line(4, "ghi")
    assert slow.got == b"abcde"
    writer.flush()
    assert (slow.got, writer.waiting) == (b"abcdef\nghi\n", False)
    monkeypatch.undo()
    os.close(fd)


def test_without_a_reader_what_waits_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    writer = MessageWriter(fd)
    slow = Slow(monkeypatch)
    slow.takes = [OSError(errno.EPIPE, "Broken pipe")]
    writer.line(4, "abcdef")
    assert not writer.waiting
    writer.line(4, "ghi")
    assert slow.got == b"ghi\n"
    monkeypatch.undo()
    os.close(fd)


def test_deferred_lines_wait_for_a_thread(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    writer = MessageWriter(fd, deferred=True, priorities=True)
    writer.line(3, "one")
    assert writer.waiting
    assert (tmp_path / "out").read_text() == ""
    writer.close()
    assert (tmp_path / "out").read_text() == "<3>one\n"
    os.close(fd)


def test_a_pipe_whose_files_are_used_up_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = os.pipe()
    writer = MessageWriter(here)
    fails: list[OSError] = []
    open_ = os.open

    def scarce(path: str, *rest: int, **named: int) -> int:
        if fails and path.startswith("/proc/self/fd/"):
            raise fails.pop(0)
        return open_(path, *rest, **named)

    monkeypatch.setattr(os, "open", scarce)
    for code in (errno.EMFILE, errno.ENFILE):
        fails.append(OSError(code, "Too many open files"))
        writer.line(4, "kept")
        assert writer.waiting
    fails.append(OSError(errno.EACCES, "Permission denied"))
    writer.flush()
    assert not writer.waiting, "it is not ours to write to"
    writer.line(4, "read")
    assert os.read(there, 99) == b"read\n"
    os.close(here)
    os.close(there)


def test_a_pipe_that_cant_be_opened_again_may_block(monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = os.pipe()

    def none(*_: object, **__: object) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as refused:
        refused.setattr(os, "open", none)
        writer = MessageWriter(here)
    assert not writer.never_blocks
    writer.line(4, "x")
    assert os.read(there, 99) == b"x\n"
    os.close(here)
    os.close(there)
    assert MessageWriter(here).never_blocks, "what is closed keeps nobody waiting"


# The thread


def test_a_flush_that_fails_keeps_none_of_the_others_back() -> None:
    called: list[str] = []

    def broken() -> None:
        called.append("broken")
        raise OSError("x")

    writer = Writer(broken, lambda: called.append("fine"), begin=lambda: called.append("begin"))
    writer.kick()
    assert writer.stop(20.0)
    assert called[:3] == ["begin", "broken", "fine"]
    assert writer.failures == called.count("broken")
    assert called.count("fine") == called.count("broken") <= 2


def test_the_end_is_not_waited_for_longer_than_that() -> None:
    there, here = os.pipe()
    writer = Writer(lambda: os.read(there, 1))
    writer.kick()
    assert not writer.stop(0.01)
    os.write(here, b"xx")
    assert writer.stop(20.0)
    os.close(here)
    os.close(there)


def test_lines_that_wait_for_stderr_are_not_written_yet_and_are_tried_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = setup.reporter()
    write = os.write
    full: list[int] = [1]

    def writing(fd: int, data: bytes) -> int:
        if full:
            raise BlockingIOError
        return write(fd, data)

    monkeypatch.setattr(os, "write", writing)
    reporter.line(NOTICE, "late")
    written = [reporter.are_written]
    full.clear()
    reporter.check()
    assert [*written, reporter.are_written] == [False, True]
    assert setup.said() == ["late"]
