"""How the flight recorder's file is laid out; writer and reader share this.

A page of header, then slots of 128 bytes. A slot holds its number, its kind, what it says and a
checksum; slot ``n`` stands at place ``n % slots``. So a slot that was torn by a crash, or is
being overwritten, is recognised as such, and nothing else in the file can be damaged by it.

A sample is the slots of what changed in the list of tasks and cgroups, then one SAMPLE slot that
makes them valid. Every ``KEY_SAMPLES`` samples everything is written again, so that a reader
needs no more of the past than that. All numbers are little-endian.
"""

from __future__ import annotations

from binascii import crc32
from struct import Struct

from oomkit.files.safely import open_regular

MAGIC = b"oomkit recording 1\n"
"""What the file begins with, and is recognised by."""
HEADER_BYTES = 4096
HEADER = Struct("<24sII")
"""``MAGIC``, bytes of a slot, number of slots."""

SLOT_BYTES = 128
HEAD = Struct("<QBBH")
"""Number from 0 on, kind, flags or part, and the number of a cgroup or the count of a list."""
PAYLOAD = HEAD.size
CRC = Struct("<I")
CRC_AT = SLOT_BYTES - CRC.size
PAYLOAD_BYTES = CRC_AT - PAYLOAD

SAMPLE, TASK, GONE, TEXT, CGROUP, BOOT, MARK = range(1, 8)

NONE = (1 << 64) - 1
"""Stands for None where a number of 64 bits may be missing."""

SAMPLE_BODY = Struct("<dd12Q")
"""Monotonic and wall clock, then the fields of ``READING``."""
READING = (
    "mem_total_kb", "available_kb", "swap_total_kb", "swap_free_kb", "anon_kb", "zram_kb",
    "arc_kb", "psi_some_us", "psi_full_us", "refault_pages", "swap_in_pages", "pgscan_pages",
)  # fmt: skip
KEY = 1
"""Flag of a SAMPLE: everything was written with it."""

TASK_BODY = Struct("<IIIhHQ7QffiI16s")
"""pid, ppid, uid, oom_score_adj, bits, starttime, the fields of ``TASK_KB``, cpu_s, age_s,
oom_score, mm_id, comm."""
TASK_KB = ("anon_kb", "shmem_kb", "file_kb", "swap_kb", "pgtables_kb", "shmem_sole_kb",
           "tmpfs_growth_kb")  # fmt: skip
KTHREAD, DYING = 1, 2
"""Bits of a TASK."""
NO_ID = 0xFFFFFFFF
"""Stands for None where a user id or mm_id may be missing."""

GONE_MAX = PAYLOAD_BYTES // 4
"""How many pids, as many 32-bit numbers, a GONE slot holds."""

TEXT_BODY = Struct("<IBBBB100s")
"""Owner (a pid, or a cgroup's number), field, part, parts, bytes used, and the bytes."""
TEXT_PART = 100
TEXT_PARTS = 4
TASK_TEXTS = ("exe", "cmdline", "user", "cgroup", "unit", "container")
FIRST = 1
"""Flag of a TEXT: what was known of its owner before is of another process."""
PATH = 255
"""Field of a TEXT that is a cgroup's path."""

OOM_GROUP = 1
"""Flag of a CGROUP."""
CGROUP_BODY = Struct("<6Q")
CGROUP_NUMBERS = (
    "usage_kb", "limit_kb", "swap_kb", "psi_some_us", "psi_full_us", "pgscan_pages",
)  # fmt: skip

BOOT_BODY = Struct("<40s64s")
"""The kernel's boot id and release; written whenever a recorder begins."""

MARK_BODY = Struct("<ddIQ16s48s")
"""Monotonic and wall clock, pid, kB freed, comm, and what killed it."""
KERNEL_KILL, ACT = 1, 2
"""Flags of a MARK: the kernel killed; a policy acted."""

KEY_SAMPLES = 128


def is_recording(path: str) -> bool:
    """Whether a file is a recording, by its first bytes; False where it can't be read."""
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def seal(slot: bytearray) -> None:
    """Put the checksum into a slot that is otherwise complete."""
    CRC.pack_into(slot, CRC_AT, crc32(slot[:CRC_AT]))


def is_whole(slot: bytes | bytearray | memoryview) -> bool:
    """Whether a slot's checksum is that of its bytes."""
    return bool(CRC.unpack_from(slot, CRC_AT)[0] == crc32(slot[:CRC_AT]))
