"""What is under way, as it is kept for the guard that comes after."""

import marshal
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import pending_kills
from oomkit.guard.config import (
    read_boot_id,
)
from oomkit.guard.pending_kills import PendingKills
from tests.guard.made import Fds, ongoing

pytestmark = pytest.mark.hermetic


def saved(number: int, size: int = 10) -> dict[str, Any]:
    return {"record": {"candidates": ["x" * size], "id": str(number)}, "alive": [(number, 1)]}


def test_what_is_under_way_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state"
    before = Fds()
    first = PendingKills(str(path))
    assert first.read() == []
    first.write([saved(1), saved(2)])
    assert first.read() == [saved(1), saved(2)]
    assert path.stat().st_size == 1 << 18
    assert oct(path.stat().st_mode & 0o777) == oct(0o600)
    first.close()
    first.close()
    assert Fds().since(before) == 0
    first.write([saved(3)])
    assert first.read() == []
    again = PendingKills(str(path))
    assert again.read() == [saved(1), saved(2)]
    again.write([])
    assert again.read() == []
    again.close()
    nothing = PendingKills(None)
    nothing.write([saved(1)])
    assert (nothing.read(), nothing.fault) == ([], "")


@pytest.mark.parametrize("damage", [0, 7, 8, 11, 12, 40])
def test_damage_anywhere_is_noticed(tmp_path: Path, damage: int) -> None:
    path = tmp_path / "state"
    first = PendingKills(str(path))
    first.write([saved(1)])
    first.close()
    data = bytearray(path.read_bytes())
    data[damage] ^= 0x40
    path.write_bytes(data)
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()


@pytest.mark.parametrize("value", [5, ("x",), (read_boot_id(), 5), (read_boot_id(), ()), "xy"])
def test_what_is_whole_and_something_else_is_nothing(tmp_path: Path, value: Any) -> None:
    from binascii import crc32

    path = tmp_path / "state"
    PendingKills(str(path)).close()
    body = marshal.dumps(value)
    head = len(body).to_bytes(8, "little") + crc32(body).to_bytes(4, "little")
    path.write_bytes((head + body).ljust(1 << 18, b"\0"))
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()
    path.write_bytes(
        (b"\1" + bytes(7) + crc32(b"?").to_bytes(4, "little") + b"?").ljust(1 << 18, b"\0")
    )
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()


def test_where_all_does_not_fit_the_candidates_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_kills, "BYTES", 1000)
    state = PendingKills(str(tmp_path / "state"))
    size = len(marshal.dumps((read_boot_id(), [saved(1, 300)]))) - 300
    whole = 1000 - 12 - size
    for extra, kept, fault in (
        (whole, ["x" * whole], ""), (whole + 1, [], ""),
    ):  # fmt: skip
        state.write([saved(1, extra)])
        assert (state.read()[0]["record"]["candidates"], state.fault) == (kept, fault)
    many = [saved(n) for n in range(20)]
    state.write(many)
    assert state.fault == "20 acts are under way, more than can be kept"
    assert state.read()[0]["record"]["candidates"] == [], "what was kept before is kept still"
    state.write([saved(1)])
    assert state.fault == ""
    state.close()


def test_what_is_pending_survives_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = PendingKills(str(path))
    first.write([ongoing({(7, 1)}).saved()])
    before = Fds()
    with pytest.raises(BlockingIOError):
        PendingKills(str(path))
    assert Fds().since(before) == 0
    first.close()
    second = PendingKills(str(path))
    assert second.read()[0]["alive"] == [(7, 1)]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    assert second.read() == []
    second.close()


def test_what_is_pending_counts_in_the_same_boot_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After another boot the same numbers and start times are those of other processes."""
    path = str(tmp_path / "state")
    first = PendingKills(path)
    first.write([ongoing({(7, 1)}).saved()])
    first.close()
    again = PendingKills(path)
    assert len(again.read()) == 1
    again.close()
    monkeypatch.setattr("oomkit.guard.pending_kills.read_boot_id", lambda: b"another")
    other = PendingKills(path)
    assert other.read() == []
    other.close()


def test_what_is_pending_is_bounded_and_keeps_whom_to_wait_for(tmp_path: Path) -> None:
    path = tmp_path / "state"
    pending = PendingKills(str(path))
    size = path.stat().st_size
    one = ongoing({(7, 1)})
    one.record.candidates = [{"comm": "x" * 1000}] * 400
    pending.write([one.saved()])
    assert pending.fault == ""
    (saved,) = pending.read()
    assert saved["alive"] == [(7, 1)]
    one.record.reason = "x" * (size + 1)
    pending.write([one.saved()])
    assert "more than can be kept" in pending.fault
    assert path.stat().st_size == size
    assert pending.read() == [saved]
    pending.close()


def test_pending_on_a_full_or_missing_disk_is_a_fault_not_an_error(
    tmp_path: Path, small_disk: Path
) -> None:
    missing = PendingKills(str(tmp_path / "no/state"))
    missing.write([])
    assert missing.fault == "No such file or directory"
    (small_disk / "filler").write_bytes(bytes(128 << 10))
    full = PendingKills(str(small_disk / "state"))
    assert full.fault == "No space left on device"
    full.write([{}])
    assert full.read() == []
    full.close()


def test_what_just_fits_is_written_and_one_byte_more_is_not(tmp_path: Path) -> None:
    pending = PendingKills(str(tmp_path / "state"))

    def acts(count: int) -> list[dict[str, Any]]:
        return [{"record": {"candidates": []}, "filler": "x" * count}]

    pending.write(acts(1000))
    length = int.from_bytes((tmp_path / "state").read_bytes()[:8], "little")
    # Before it stand its length, eight bytes, and four of a checksum.
    most = 1000 + pending_kills.BYTES - 12 - length
    for count in (most, most + 1):
        pending.write(acts(count))
        assert pending.read() == acts(most)
        assert bool(pending.fault) is (count > most)
    assert pending.fault == "1 acts are under way, more than can be kept"
    pending.close()
