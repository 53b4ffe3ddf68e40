"""The journal on disks that are full, slow or cut a write."""

import errno
import json
import os
from pathlib import Path

import pytest

from oomkit.guard.journal import Journal, rotated
from oomkit.guard.writer import Writer
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


def cut_writes(monkeypatch: pytest.MonkeyPatch, cuts: list[int | OSError]) -> None:
    """Have the next writes take so many bytes, or fail."""
    write = os.write

    def cutting(fd: int, data: bytes) -> int:
        cut = cuts.pop(0) if cuts else len(data)
        if isinstance(cut, OSError):
            raise cut
        return write(fd, data[:cut])

    monkeypatch.setattr(os, "write", cutting)


def test_a_write_that_is_cut_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    cuts: list[int | OSError] = [5, 7]
    cut_writes(monkeypatch, cuts)
    journal.append({"n": 1})
    assert (journal.waiting, path.stat().st_size) == (1, 5)
    assert not journal.flush()
    assert path.stat().st_size == 12
    assert journal.flush()
    line = path.read_bytes()
    assert line.count(b"\n") == 1
    assert journal.written == 1
    # A disk that is full is tried again with the same file, one that broke is opened anew.
    for code, name in ((errno.ENOSPC, "No space left on device"), (errno.EDQUOT, "Disk quota"),
                       (errno.EFBIG, "File too large"), (errno.EINTR, "Interrupted"),
                       (errno.EIO, "Input/output error")):  # fmt: skip
        opened = Fds()
        cuts.append(OSError(code, os.strerror(code)))
        journal.append({"n": 2})
        assert (journal.fault or "").startswith(name)
        assert (opened.since(Fds()) == 0) == (code != errno.EIO)
        assert journal.flush()
        assert journal.fault is None
    journal.close()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [record["n"] for record in lines] == [1, 2, 2, 2, 2, 2]


def test_a_cut_line_is_ended_in_the_file_that_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), boot_id="b")
    cut_writes(monkeypatch, [5, OSError(errno.EIO, "Input/output error")])
    journal.append({"n": 1})
    journal.flush()
    assert journal.flush()
    torn, whole = path.read_bytes().splitlines()
    assert (len(torn), whole.startswith(torn)) == (5, True)
    journal.close()


def test_beyond_its_size_it_is_moved_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert rotated("/j") == ["/j.4", "/j.3", "/j.2", "/j.1"]
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    journal.append({"n": 1})
    size = path.stat().st_size
    journal.close()
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0,
                      max_bytes=2 * size)  # fmt: skip
    journal.append({"n": 2})
    assert journal.rotations == 0, "as large as it may be"
    for n in range(3, 10):
        journal.append({"n": n})
    for n in range(10, 27):
        journal.append({"n": n})
    full = [(tmp_path / f"journal.{n}").read_bytes().splitlines() for n in (1, 2, 3, 4)]
    assert not (tmp_path / "journal.5").exists()
    kept = [line for lines in reversed(full) for line in lines] + path.read_bytes().splitlines()
    assert [int(line[:-1].rpartition(b":")[2]) for line in kept] == list(range(27 - len(kept), 27))
    assert 8 < len(kept) < 16
    journal.close()
    path.unlink()
    journal = Journal(str(path), max_bytes=1)
    path.unlink()
    journal.append({"n": 1})
    assert (tmp_path / "journal.1").read_bytes().splitlines() == full[0], "there was none to move"
    journal.close()


def test_where_no_successor_can_be_made_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), max_bytes=10)

    def refused(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.guard.journal.rename_own", refused)
        journal.append({"n": 1})
        assert (journal.rotations, journal.fault) == (0, "Permission denied")
    journal.append({"n": 2})
    assert journal.rotations == 1
    journal.close()


def test_what_falls_over_the_bound_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "later/journal"
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    journal.append({"n": 100})
    journal.close()
    size = len(b'{"schema":1,"kind":"error","time_s":1.0,"mono_s":2.0,"boot_id":"b","n":100}\n')
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0,
                      backlog_bytes=3 * size)  # fmt: skip
    for n in range(101, 104):
        journal.append({"n": n})
    assert (journal.waiting, journal.lost) == (3, 0)
    journal.append({"n": 104})
    assert (journal.waiting, journal.lost) == (3, 1)
    journal.append({"n": 105, "text": "x" * 5 * size})
    assert (journal.waiting, journal.lost) == (2, 3)
    path.parent.mkdir()
    assert journal.flush()
    lines = path.read_text().splitlines()
    assert ['"n":101' in lines[0], '"n":105' in lines[1]] == [True, True]
    assert lines[2] == (
        '{"schema":1,"kind":"error","time_s":1.0,"mono_s":2.0,"boot_id":"b",'
        '"text":"3 records could not be written and are lost","lost":3}'
    )
    assert (journal.written, journal.waiting) == (3, 0)
    journal.append({"n": 106})
    assert path.read_text().count("are lost") == 1
    journal.close()


def test_deferred_records_wait_and_a_disk_is_asked_to_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), deferred=True)
    journal.append({"n": 1})
    assert path.read_bytes() == b""
    journal.reopen()
    path.unlink()
    assert journal.flush()
    assert path.exists(), "opened again"
    asked: list[int] = []
    monkeypatch.setattr(os, "fdatasync", asked.append)
    journal.sync()
    assert len(asked) == 1

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.sync()
    assert journal.fault == "Input/output error"
    journal.close()
    journal.sync()


def test_the_thread_that_writes_ends_as_soon_as_it_is_told_to() -> None:
    written: list[int] = []
    writer = Writer(lambda: written.append(1))
    assert writer.stop(timeout_s=60.0)
    assert len(written) == 1


def test_a_file_whose_cut_line_cant_be_ended_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"n":1')

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = Fds()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        journal = Journal(str(path))
        faults = [journal.fault]
        assert Fds().since(before) == 0
    journal.append({"n": 2})
    journal.flush()
    assert [*faults, journal.fault] == ["No space left on device", None]
    head, line, rest = path.read_bytes().split(b"\n")
    assert (head, json.loads(line)["n"], rest) == (b'{"n":1', 2, b"")
    journal.close()
