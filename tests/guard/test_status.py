"""The status file: whole or not used, whoever reads while it is written."""

import json
import threading
from pathlib import Path

import pytest

from oomkit.guard.writer import Status

pytestmark = pytest.mark.hermetic


def test_the_newest_replaces_the_older_whatever_their_lengths(tmp_path: Path) -> None:
    path = tmp_path / "status"
    status = Status(str(path))
    for values in ({"a": "x" * 100}, {"a": 1}, {"b": [2]}):
        status.write(values)
        said = json.loads(path.read_text())
        assert said.pop("n") == said.pop("end")
        assert said == values
    status.close()
    status.write({})
    Status(str(path)).write({"new": True})
    assert json.loads(path.read_text()) == {"n": 1, "new": True, "end": 1}


def test_a_directory_that_is_not_there_is_a_fault_and_no_more(tmp_path: Path) -> None:
    status = Status(str(tmp_path / "no" / "status"))
    assert status.fault == "No such file or directory"
    status.write({"a": 1})
    assert status.fault == "No such file or directory"


def test_readers_can_tell_halves(tmp_path: Path) -> None:
    path = tmp_path / "status"
    status = Status(str(path))
    status.write({"values": [0] * 500})
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            status.write({"values": [n] * 500})

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(500):
            try:
                said = json.loads(path.read_text())
            except ValueError:
                continue
            if said["n"] == said["end"]:
                assert len(set(said["values"])) == 1
    finally:
        stop.set()
        writer.join()
