"""The store: every record once, whatever the journal went through."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.guard.journal import Journal, encode
from oomkit.history.import_journal import take_in
from oomkit.history.store import Imported, Store, StoreError


def act(n: int, outcome: str | None, comm: str = "leak") -> dict[str, object]:
    victim = {"pid": 100 + n, "comm": comm}
    return {"kind": "act", "id": n, "victim": victim, "outcome": outcome, "boot_id": "b"}


def write(path: Path, *records: dict[str, object], at_s: float = 1000.0) -> None:
    journal = Journal(str(path), wall=lambda: at_s, boot_id="b")
    for record in records:
        journal.append(record)
    journal.close()


def told(store: Store, **filters: Any) -> list[Any]:
    return [entry.values.get("n") for entry in store.entries(**filters)]


def test_reading_again_adds_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = Store(str(tmp_path / "store"))
    write(path, *({"kind": "warn", "n": n} for n in range(5)))
    assert store.read_journal(str(path)) == Imported(new=5, damaged=0)
    assert store.read_journal(str(path)) == Imported(new=0, damaged=0)
    write(path, {"kind": "warn", "n": 5})
    store.close()
    store = Store(str(tmp_path / "store"))
    assert store.read_journal(str(path)) == Imported(new=1, damaged=0)
    assert told(store) == [0, 1, 2, 3, 4, 5]


def test_a_rotated_or_copied_journal_is_known(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    write(path, {"kind": "warn", "n": 1})
    store.read_journal(str(path))
    write(path, {"kind": "warn", "n": 2})
    path.rename(tmp_path / "journal.1")
    write(path, {"kind": "warn", "n": 3})
    (tmp_path / "copy").write_bytes((tmp_path / "journal.1").read_bytes())
    assert store.read_journal(str(tmp_path / "journal.1")).new == 1
    assert store.read_journal(str(path)).new == 1
    assert store.read_journal(str(tmp_path / "copy")).new == 0
    assert told(store) == [1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_record_is_lost_or_doubled_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("store")
    path, store = place / "journal", Store(":memory:")
    lines = b"".join(
        encode({"kind": "warn", "time_s": n, "n": n, "text": "x" * (n % 7)}) for n in range(12)
    )
    cuts = data.draw(st.lists(st.integers(0, len(lines)), max_size=6).map(sorted))
    for cut in [*cuts, len(lines)]:
        path.write_bytes(lines[:cut])
        assert store.read_journal(str(path)).damaged == 0
    assert told(store) == list(range(12))
    store.close()


def test_how_an_act_ended_replaces_how_it_began_and_not_the_other_way(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    write(path, act(1, None), act(2, None), act(1, "died"))
    store.read_journal(str(path))
    other = tmp_path / "later"
    write(other, act(1, None))
    store.read_journal(str(other))
    outcomes = [(e.id, e.values["id"], e.values["outcome"]) for e in store.entries()]
    assert outcomes == [(1, 1, "died"), (2, 2, None)]


def test_a_kernels_kill_found_twice_is_one(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    kill: dict[str, object] = {"kind": "kernel_kill", "kernel_s": 12.5, "pid": 7, "comm": "x"}
    write(path, kill)
    write(path, {**kill, "lines": ["more"]}, at_s=2000.0)
    write(path, {**kill, "pid": 8})
    store.read_journal(str(path))
    assert [(entry.id, entry.values["pid"]) for entry in store.entries()] == [(1, 7), (2, 8)]


def test_damaged_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    path.write_bytes(
        b'{"kind":"warn","time_s":1,"n":1}\n{"kind":"wa\n\xff\xfe\n[]\n{"kind":"warn"}\n'
        b'{"kind":"warn","time_s":"now"}\n{"kind":"warn","time_s":2,"n":2}\n'
    )
    assert store.read_journal(str(path)) == Imported(new=2, damaged=5)
    assert told(store) == [1, 2]


def test_filters(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    for n in range(4):
        write(path, {**act(n, "died", comm=f"php-{n}"), "n": n}, at_s=100.0 * n)
    write(path, {"kind": "stop", "n": 9}, at_s=500.0)
    store.read_journal(str(path))
    assert told(store, since_s=100.0, until_s=200.0) == [1, 2]
    assert told(store, kinds=("stop",)) == [9]
    assert told(store, kinds=("stop", "act"), last=2) == [3, 9]
    assert told(store, comm="php-[12]") == [1, 2]
    entry = store.entry(2)
    assert entry is not None
    assert entry.values["n"] == 1
    assert store.entry(77) is None


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(b"no database at all, whatever its name says" * 100)
    with pytest.raises(StoreError, match="not a database") as caught:
        Store(str(path))
    assert str(path) in str(caught.value)
    with pytest.raises(StoreError, match="unable to open"):
        Store(str(tmp_path / "no" / "store"))


def test_a_store_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(StoreError, match="expected a store of version 1, not 99"):
        Store(str(path))


def test_a_full_disk_leaves_the_store_as_it_was(small_disk: Path) -> None:
    path = small_disk.parent / "journal"
    store = Store(str(small_disk / "store"))
    write(path, {"kind": "warn", "n": 0})
    store.read_journal(str(path))
    write(path, *({"kind": "warn", "n": n, "text": "x" * 2000} for n in range(1, 200)))
    with pytest.raises(StoreError, match="full"):
        store.read_journal(str(path))
    assert told(store) == [0]
    store.close()
    moved = Store(str(small_disk.parent / "elsewhere"))
    assert moved.read_journal(str(path)).new == 200


def test_a_journal_is_taken_in_before_its_full_files_go(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", tmp_path / "store"
    journal = Journal(str(path), max_bytes=4000)
    for n in range(100):
        journal.append({"kind": "warn", "n": n, "text": "x" * 100})
        if n % 50 == 49:
            take_in(str(path), str(store))
    journal.close()
    history = Store(str(store))
    assert told(history) == list(range(100))


def test_the_oldest_go_when_a_history_is_too_large(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    write(path, *({"kind": "warn", "n": n} for n in range(10)))
    store.read_journal(str(path))
    assert store.prune() == 0
    size = len(path.read_bytes()) // 10
    assert store.prune(3 * size) == 7
    assert told(store) == [7, 8, 9]
    assert store.read_journal(str(path)).new == 0


def test_records_that_can_not_be_shown_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    good = b'{"kind":"warn","time_s":1,"n":1}\n'
    path.write_bytes(
        good
        + b'{"kind":"act","time_s":2,"victim":"php"}\n'
        + b'{"kind":"start","time_s":2,"policy":"\xff\xfe"}\n'
        + b'{"kind":"start","time_s":3,"x":' + b"[" * 2000 + b"]" * 2000 + b"}\n"
        + b'{"kind":"warn","time_s":4,"n":2}\n'
    )  # fmt: skip
    assert store.read_journal(str(path)) == Imported(new=2, damaged=0)
    assert told(store) == [1, 2]
    place = f"{path}: record at byte"
    assert store.faults == [
        f"{place} 33: Expected `object | null`, got `str` - at `$.victim`; skipped",
        f"{place} 74: expected JSON in UTF-8; skipped",
        f"{place} 116: expected JSON in UTF-8; skipped",
    ]


def test_a_fault_is_named_by_where_it_stands_whatever_the_order_of_times(tmp_path: Path) -> None:
    path, store = tmp_path / "journal", Store(":memory:")
    late = b'{"kind":"warn","time_s":9,"n":1}\n'
    path.write_bytes(late + b'{"kind":"act","time_s":2,"victim":"php"}\n')
    assert store.read_journal(str(path)) == Imported(new=1, damaged=0)
    (fault,) = store.faults
    assert fault.startswith(f"{path}: record at byte {len(late)}: ")


def test_a_spoiled_history_is_shown_but_for_what_is_spoiled(tmp_path: Path) -> None:
    path = tmp_path / "store"
    journal = tmp_path / "journal"
    for n in range(4):
        write(journal, {**act(n, "died"), "n": n}, at_s=100.0 * n)
    store = Store(str(path))
    store.read_journal(str(journal))
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        for number, spoiled in ((1, b"\xff"), (2, b"[1"), (3, b'{"kind":"act","victim":7}')):
            database.execute("UPDATE record SET json = ? WHERE id = ?", (spoiled, number))
        database.commit()
    store = Store(str(path))
    assert [entry.id for entry in store.entries()] == [4]
    assert sorted(line.split(": ")[1] for line in store.faults) == [
        "record 1", "record 2", "record 3",
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--journal", "--store"])
def test_a_fifo_is_no_history(tmp_path: Path, option: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("oomkit")), "history", option, str(fifo)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"oomkit: {fifo}: expected a regular file, not a FIFO\n"


def test_a_fifo_is_no_recording_to_wait_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("oomkit")), "run", str(fifo)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "expected a regular file, not a FIFO" in done.stderr


def test_numbers_go_up_with_times_though_a_start_tells_of_earlier_kills(tmp_path: Path) -> None:
    """A guard that starts writes what the kernel killed before it below its own start."""
    path, store = tmp_path / "journal", Store(":memory:")
    write(path, {"kind": "warn", "n": 1}, at_s=900.0)
    write(path, {"kind": "start", "n": 2}, at_s=1000.0)
    for n in (3, 4):
        write(path, {"kind": "kernel_kill", "n": n, "time_s": 950.0 + n})
    store.read_journal(str(path))
    entries = list(store.entries())
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
    times = [entry.record.time_s for entry in entries]
    assert times == sorted(times)
    assert told(store) == [1, 3, 4, 2]
