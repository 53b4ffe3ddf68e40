"""The guard as the live view reads it: its status file and its journal."""

import json
from pathlib import Path

import pytest

from oomkit.guard.writer import Status
from oomkit.history.records import Act, KernelKill
from oomkit.top import guard_state
from oomkit.top.guard_state import MAX_RECORDS, GuardReader

ACT = {
    "kind": "act",
    "time_s": 10.0,
    "boot_id": "b",
    "id": 1,
    "policy": "default",
    "dry_run": False,
}
VICTIM = {"pid": 77, "comm": "leak"}


def lines(path: Path, *records: object) -> None:
    with path.open("a") as file:
        for record in records:
            file.write((record if isinstance(record, str) else json.dumps(record)) + "\n")


def reader(tmp_path: Path, *journals: Path) -> GuardReader:
    (tmp_path / "proc/812").mkdir(parents=True, exist_ok=True)
    return GuardReader(
        str(tmp_path / "status.json"), [str(path) for path in journals], str(tmp_path / "proc")
    )


def test_a_guard_that_runs_is_read_from_its_status_file(tmp_path: Path) -> None:
    status = Status(str(tmp_path / "status.json"))
    status.write(
        {"policy": "default", "dry_run": True, "pid": 812, "level": 2, "started_s": 5.0,
         "acts": {"died": 3}, "under_way": 1, "kernel_kills": 4, "faults": {"journal": "full"}}
    )  # fmt: skip
    state = reader(tmp_path).read()
    assert (state.runs, state.policy, state.dry_run, state.level) == (True, "default", True, "soft")
    assert (state.pid, state.since_s, state.under_way, state.kernel_kills) == (812, 5.0, 1, 4)
    assert state.acts == {"died": 3}
    assert state.faults == {"journal": "full"}
    status.write({"policy": "default", "dry_run": False, "pid": 813, "level": 0})
    state = reader(tmp_path).read()
    assert (state.runs, state.dry_run, state.level) == (False, False, "calm")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"n": 1, "end": 2, "pid": 812}', '{"n": 1, "end": 1, "pid": "x"}',
     '{"n": 1, "end": 1, "pid": -1}', "\xff" * 9],
)  # fmt: skip
def test_a_status_file_that_says_nothing_is_no_guard(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text, encoding="latin-1")
    assert not reader(tmp_path).read().runs


def test_no_files_are_no_guard(tmp_path: Path) -> None:
    state = reader(tmp_path, tmp_path / "journal").read()
    assert not state.runs
    assert state.records == ()
    assert state.no_records == f"{tmp_path}/journal: No such file or directory"


def test_an_act_is_read_once_as_it_ended_and_damage_is_passed_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    lines(
        journal,
        {"kind": "start", "time_s": 1.0},
        {**ACT, "victim": VICTIM},
        "{ not json",
        '{"kind": "act", "time_s": "never"}',
        {**ACT, "victim": VICTIM, "outcome": "died", "freed_kb": 5.0},
        {"kind": "stop", "time_s": 30.0},
    )
    with journal.open("a") as file:
        file.write('{"kind": "kernel_kill", "time')
    state = reader(tmp_path, journal).read()
    assert [record.kind for record in state.records] == ["stop", "act", "start"]
    act = state.last_act
    assert isinstance(act, Act)
    assert act.outcome == "died"


def test_a_journal_that_grows_is_read_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    lines(journal, {"kind": "start", "time_s": 1.0})
    read = reader(tmp_path, journal)
    assert read.read().last_act is None
    lines(journal, {"kind": "kernel_kill", "time_s": 2.0, "pid": 5, "comm": "java"})
    act = read.read().last_act
    assert isinstance(act, KernelKill)
    assert act.comm == "java"


def test_only_the_end_of_a_long_journal_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_state, "TAIL_BYTES", 400)
    journal = tmp_path / "journal"
    lines(journal, *({"kind": "warn", "time_s": float(i)} for i in range(100)))
    found = reader(tmp_path, journal).read().records
    assert 3 < len(found) < 20
    assert [record.time_s for record in found] == [99.0 - i for i in range(len(found))]


def test_full_files_of_the_journal_are_read_as_far_as_needed(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    lines(tmp_path / "journal.2", *({"kind": "warn", "time_s": float(i)} for i in range(100)))
    lines(tmp_path / "journal.1", {"kind": "stop", "time_s": 200.0})
    lines(journal, {"kind": "start", "time_s": 300.0})
    found = reader(tmp_path, journal).read().records
    assert len(found) == MAX_RECORDS
    assert [record.time_s for record in found[:3]] == [300.0, 200.0, 99.0]


def test_the_first_journal_that_can_be_read_counts(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    lines(tmp_path / "second", {"kind": "start", "time_s": 1.0})
    state = reader(tmp_path, tmp_path / "none", tmp_path / "folder", tmp_path / "second").read()
    assert len(state.records) == 1
    assert state.no_records == ""
    state = reader(tmp_path, tmp_path / "none", tmp_path / "folder").read()
    assert "folder" in state.no_records  # that one is there and can't be read
