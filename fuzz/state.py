"""Fuzz what a guard makes of the state file that another one left.

Usage: python -m fuzz.state [--seconds 120] [libFuzzer's own options]

The file is believed only with its checksum and from this boot, so an input is either its bytes as
they are, or JSON whose values another version might have written, with the right checksum. Starts
from ``fuzz/corpus/state``.
"""

import json
import marshal
import os
import tempfile
from binascii import crc32
from pathlib import Path
from typing import Any

import atheris
from fuzz.harness import fuzz

with atheris.instrument_imports(include=["oomkit.guard"]):
    from oomkit.guard.config import read_boot_id
    from oomkit.guard.journal import encode
    from oomkit.guard.ongoing_acts import resumed
    from oomkit.guard.pending_kills import PendingKills

WORDS = (
    '"record"', '"alive"', '"begun_s"', '"left_kb"', '"expected_kb"', '"victim"', '"signals"',
    '"candidates"', '"pid"', '"start_time"', '"comm"', "null", "true", "1e400", "-1", "[]", "{}",
)  # fmt: skip


def _tuples(value: Any) -> Any:
    """Lists of pairs are sets of keys in the file, which marshal knows as tuples."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return [_tuples(part) for part in value] if isinstance(value, list) else value


def _file(data: bytes) -> bytes:
    try:
        body = marshal.dumps((read_boot_id(), _tuples(json.loads(data))))
    except (ValueError, RecursionError):
        return data
    return len(body).to_bytes(8, "little") + crc32(body).to_bytes(4, "little") + body


def one_input(data: bytes) -> None:
    """Take it over, as a guard does when it begins, and save what it made of it."""
    path = Path(DIRECTORY, "state")
    path.write_bytes(_file(data))
    os.chmod(path, 0o600)
    pending = PendingKills(str(path))
    try:
        for saved in pending.read():
            try:
                act = resumed(saved)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            act.died((act.victim.pid, act.victim.start_time), 1.0)
            act.settled(100.0, 1000.0, short=True)
            encode(act.record.to_values())
            pending.write([act.saved()])
            resumed(pending.read()[0])
    finally:
        pending.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as made:
        DIRECTORY = made
        fuzz(__doc__, one_input, seeds=(), words=WORDS, most_bytes=4096)
