"""Records: what the guard writes is what the history reads, field by field."""

import json
from typing import Any

import pytest

from oomkit.guard.act_record import ActRecord, SignalRecord
from oomkit.guard.journal import encode
from oomkit.guard.records import (
    CountedKillsRecord,
    ErrorRecord,
    KernelKillRecord,
    Origin,
    Record,
    ReloadRecord,
    StartRecord,
    StopRecord,
    WarnRecord,
)
from oomkit.history import records as history
from oomkit.policy.engine.decider import Decider
from tests.policy.making import VERY_LOW, plan, process, reading

pytestmark = pytest.mark.hermetic

ORIGIN = Origin("default", dry_run=False)


def written(record: Record) -> dict[str, Any]:
    """A record as the journal has it."""
    values: dict[str, Any] = json.loads(encode({"time_s": 5.0, **record.to_values()}))
    return values


def decided(t_s: float = 7.0, **how: Any) -> ActRecord:
    decider = Decider(plan(VERY_LOW, how=how))
    decider.look(reading(t_s, 0.01))
    long = process(
        20, 20, comm="leak\udcff", uid=5, cmdline="x" * 5000, user="me", unit="a.service"
    )
    act = decider.choose([process(10, 10), long])
    assert act is not None
    return ActRecord.of(act, ORIGIN, 1000.0)


def ended() -> ActRecord:
    record = decided()
    record.signals.append(SignalRecord(20, "KILL", "chosen", 7.01, ""))
    record.spared.append((9, "never: comm x"))
    record.outcome, record.freed_kb = "died", 20480
    record.freed_after_ms, record.died_after_ms = 12.5, 3.0
    return record


def test_an_act_that_begins_says_what_is_known() -> None:
    values = written(decided())
    assert list(values) == [
        "time_s", "kind", "level", "rule", "cgroup", "evidence", "victim", "reason", "candidates",
        "considered", "command", "id", "mono_s", "policy", "dry_run", "signals",
    ]  # fmt: skip
    victim = values["victim"]
    assert list(victim) == [
        "pid", "start_time", "comm", "uid", "user", "exe", "cmdline", "cgroup", "unit",
        "container", "cpu_s", "level", "note", "expected_kb", "members",
    ]  # fmt: skip
    assert (victim["pid"], victim["comm"], victim["members"][0]["pid"]) == (20, "leak\\xff", 20)
    assert len(victim["cmdline"]) == 4097
    assert (values["id"], values["time_s"], values["mono_s"]) == ("20-20-7.000", 1000.0, 7.0)
    assert list(values["candidates"][0]) == [
        "pid", "comm", "uid", "anon_kb", "shmem_kb", "swap_kb", "pgtables_kb", "oom_score_adj",
        "growth_kb", "cpu_s", "dies_with", "freed_kb", "score", "factors", "verdict",
    ]  # fmt: skip


def test_when_it_began_is_known_to_the_microsecond() -> None:
    assert decided(7.1234567).mono_s == 7.123457


def test_an_act_that_ended_is_read_by_the_history() -> None:
    act = history.read_record(written(ended()))
    assert isinstance(act, history.Act)
    assert act.victim is not None
    assert (act.victim.pid, act.victim.user, act.victim.unit) == (20, "me", "a.service")
    assert act.signals is not None
    assert [(one.pid, one.name, one.t_s, one.error) for one in act.signals] == [
        (20, "KILL", 7.01, "")
    ]
    assert (act.outcome, act.freed_kb, act.freed_after_ms) == ("died", 20480, 12.5)
    assert (act.policy, act.dry_run, act.rule, act.level) == ("default", False, 0, "hard")
    assert act.evidence is not None
    assert [one.name for one in act.evidence] == ["available"]
    assert act.candidates is not None
    assert [(one.pid, one.verdict) for one in act.candidates] == [(20, ""), (10, "")]


def test_an_act_under_way_survives_the_guard() -> None:
    record = ended()
    again = ActRecord.from_values(record.to_values())
    assert again.to_values() == record.to_values()
    assert again.killed
    assert (again.victim.pid, again.victim.start_time, again.victim.uid) == (20, 20, 5)


@pytest.mark.parametrize("lost", ["victim", "signals", "policy", "evidence", "id"])
def test_an_act_that_another_version_left_is_refused(lost: str) -> None:
    values = ended().to_values()
    del values[lost]
    with pytest.raises(KeyError):
        ActRecord.from_values(values)


def warned() -> WarnRecord:
    decider = Decider(plan({"level": "warn", "available": "20%"}))
    return WarnRecord(ORIGIN, decider.look(reading(1.0, 0.1)).state)


def kernel_kill() -> KernelKillRecord:
    return KernelKillRecord(7, "x", "memcg", 3.5, [b"one \xff", b"two"], 4)


@pytest.mark.parametrize(
    ("record", "kind", "cls"),
    [
        (StartRecord(ORIGIN, "/p.toml", ("no swap",), 1), "start", history.Record),
        (StopRecord(ORIGIN, 2), "stop", history.Record),
        (ReloadRecord(ORIGIN), "reload", history.Reloaded),
        (ReloadRecord(ORIGIN, "bad"), "reload", history.Reloaded),
        (ErrorRecord(ORIGIN, "disk full"), "error", history.Record),
        (warned(), "warn", history.Warned),
        (kernel_kill(), "kernel_kill", history.KernelKill),
        (CountedKillsRecord(2, {"/a": 2}), "kernel_kill", history.KernelKill),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_kind_is_read_as_its_class(record: Record, kind: str, cls: type) -> None:
    values = written(record)
    read = history.read_record(values)
    assert values["kind"] == kind
    assert type(read) is cls
    for name in set(values) & set(cls.__struct_fields__):
        value = getattr(read, name)
        if isinstance(value, (str, int, float, bool)):
            assert value == values[name]


def test_kinds_say_what_is_theirs() -> None:
    assert written(ReloadRecord(ORIGIN))["ok"] is True
    bad = written(ReloadRecord(ORIGIN, "bad"))
    assert (bad["ok"], bad["text"]) == (False, "bad")
    start = written(StartRecord(ORIGIN, "/p.toml", ("no swap",), 1))
    assert (start["source"], start["missing"], start["resumed"]) == ("/p.toml", ["no swap"], 1)
    kill = written(kernel_kill())
    assert (kill["seen"], kill["scope"], kill["lines_dropped"]) == ("kmsg", "memcg", 4)
    counted = written(CountedKillsRecord(2, {"/a": 2}))
    assert (counted["seen"], counted["count"], counted["cgroups"]) == ("vmstat", 2, {"/a": 2})
