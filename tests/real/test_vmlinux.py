"""A kernel is taken out of its bzImage where QEMU can start it so, and left in it elsewhere."""

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from oomkit.real.vmlinux import unpacked, vmlinux

pytestmark = pytest.mark.hermetic

NOTE = struct.pack("<III", 4, 8, 18) + b"Xen\0" + struct.pack("<Q", 0x1000000)


LOADED_AT, LOADED = 16 << 20, 20 << 20
RAM = 64 << 20


def elf(note: bytes = NOTE, kind: int = 4) -> bytes:
    """A 64-bit ELF file with two segments, a note and what is loaded."""
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, 2)
    segments = struct.pack("<IIQQQQQQ", kind, 4, 176, 0, 0, len(note), 0, 4)
    segments += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, LOADED_AT, 1, LOADED, 4096)
    return bytes(head) + segments + note


def test_it_has_to_fit(tmp_path: Path) -> None:
    path = image(tmp_path, gzip.compress(elf()))
    assert vmlinux(path, LOADED_AT + LOADED) == elf()
    assert vmlinux(path, LOADED_AT + LOADED - 1) is None


def image(tmp_path: Path, payload: bytes, protocol: int = 0x20F) -> str:
    """A bzImage of three sectors of set-up (two, and the boot sector) before its payload."""
    data = bytearray(3 * 512 + 32)
    data[0x1F1] = 2
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, protocol)
    struct.pack_into("<II", data, 0x248, 32, len(payload))
    path = tmp_path / "vmlinuz"
    path.write_bytes(bytes(data) + payload + b"more")
    return str(path)


def with_size(packed: bytes) -> bytes:
    return packed + struct.pack("<I", len(elf()))


@pytest.mark.parametrize(
    "payload", [gzip.compress(elf()), with_size(lzma.compress(elf()))], ids=["gzip", "xz"]
)
def test_it_is_unpacked(tmp_path: Path, payload: bytes) -> None:
    assert vmlinux(image(tmp_path, payload), RAM) == elf()


def test_the_note_of_32_bits_counts_too(tmp_path: Path) -> None:
    kernel = elf(struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x1000000))
    assert vmlinux(image(tmp_path, gzip.compress(kernel)), RAM) == kernel


@pytest.mark.parametrize(
    "payload",
    [
        gzip.compress(elf(b"")),
        gzip.compress(elf(kind=1)),
        gzip.compress(elf(NOTE.replace(b"\x12", b"\x11"))),
        gzip.compress(b"no kernel"),
        gzip.compress(elf())[:-40],
        with_size(lzma.compress(elf()))[20:],
        b"\xfd7zXZ\0" + b"damaged" * 9,
        b"\x02\x21\x4c\x18" + b"as lz4 packs it",
    ],
    ids=["no note", "no note segment", "another note", "no ELF", "cut", "headless", "damaged",
         "lz4"],
)  # fmt: skip
def test_what_can_not_be_started_so_stays_packed(tmp_path: Path, payload: bytes) -> None:
    assert vmlinux(image(tmp_path, payload), RAM) is None


def test_before_protocol_2_08_nothing_says_where_it_is(tmp_path: Path) -> None:
    assert vmlinux(image(tmp_path, gzip.compress(elf()), 0x207), RAM) is None
    assert vmlinux(image(tmp_path, gzip.compress(elf()), 0x208), RAM) == elf()


def test_no_bzimage(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    assert vmlinux(str(tmp_path / "short"), RAM) is None


def test_other_data_is_left_as_it_is() -> None:
    assert unpacked(b"\x7fELF") == b"\x7fELF"
    with pytest.raises(OSError, match="Corrupt"):
        unpacked(b"\xfd7zXZ\0" + bytes(20))
    for whole in (lzma.compress(elf()), gzip.compress(elf())):
        assert unpacked(whole) == elf()
        with pytest.raises(OSError, match="cut off"):
            unpacked(whole[:-20])
