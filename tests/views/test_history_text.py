"""Records of the guard as lines."""

from typing import Any

import pytest

from oomkit.history.records import Record, read_record
from oomkit.views.history import full, local_time, victim_of, what

VICTIM = {"pid": 7, "comm": "leak", "expected_kb": 2048, "level": "tree", "uid": 1000,
          "members": [{"pid": 7, "comm": "leak"}, {"pid": 8, "comm": "child"}]}  # fmt: skip
ACT = {"kind": "act", "time_s": 1.0, "mono_s": 10.0, "policy": "p", "level": "hard", "rule": 0,
       "victim": VICTIM, "dry_run": False}  # fmt: skip


def read(values: dict[str, Any]) -> Record:
    return read_record({"time_s": 1.0, **values})


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {**ACT, "outcome": "died", "freed_kb": 3072, "freed_after_ms": 45.0},
            "killed by p, 3.00 MiB free after 45 ms",
        ),
        ({**ACT, "outcome": "died"}, "killed by p"),
        ({**ACT, "outcome": "survived"}, "chosen by p: did not exit"),
        ({**ACT, "outcome": "gone"}, "chosen by p: had exited already"),
        ({**ACT, "outcome": "odd"}, "chosen by p: odd"),
        ({**ACT, "outcome": None}, "chosen by p; outcome unknown"),
        ({**ACT, "dry_run": True}, "would have been killed by p, would free 2.00 MiB"),
        (
            {"kind": "kernel_kill", "seen": "vmstat", "count": 2, "cgroups": {"/a": 2}},
            "2 killed by the kernel in /a; its log does not name them",
        ),
        (
            {"kind": "kernel_kill", "seen": "kmsg", "scope": "memcg"},
            "killed by the kernel (memcg OOM)",
        ),
        (
            {"kind": "reload", "ok": False, "policy": "p", "text": "when: expected"},
            "policy reload failed, keeping the old one: policy p, when: expected",
        ),
        ({"kind": "reload", "ok": True, "policy": "p"}, "policy reloaded: policy p"),
        ({"kind": "stop"}, "guard stopped"),
        ({"kind": "error", "text": "disk\x1b full"}, "disk\\x1b full"),
        ({"kind": "of a later version"}, "of a later version"),
    ],
)
def test_what_happened(record: dict[str, Any], said: str) -> None:
    assert what(read(record)) == said


def test_who() -> None:
    assert victim_of(read(ACT)) == "leak[7] +1"
    assert victim_of(read({"kind": "kernel_kill", "pid": 3, "comm": "x"})) == "x[3]"
    assert victim_of(read({"kind": "kernel_kill", "pid": None, "comm": "x"})) == "x[?]"
    assert victim_of(read({"kind": "stop"})) == ""


def test_an_act_in_full() -> None:
    record: dict[str, Any] = {
        **ACT, "outcome": "died", "freed_kb": 3072, "freed_after_ms": 45.0,
        "evidence": [
            {"name": "psi_full", "measured": 0.3, "threshold": 0.25, "unit": "share",
             "over_s": 3.0, "holds": True, "held_s": 1.5, "cgroup": "/box"},
            {"name": "refault", "measured": None, "threshold": 5.0, "unit": "kb/s", "holds": False},
            {"name": "empty_within", "measured": 9.0, "threshold": 5.0, "unit": "s",
             "holds": False, "held_s": 0.0},
        ],
        "signals": [
            {"t_s": 10.001, "pid": 7, "name": "TERM", "why": "chosen", "error": None},
            {"t_s": 13.0, "pid": 7, "name": "KILL", "why": "", "error": "gone"},
        ],
    }  # fmt: skip
    lines = list(full(4, read(record), record))
    assert lines[0].endswith("leak[7] +1 killed by p, 3.00 MiB free after 45 ms")
    assert lines[1:] == [
        "policy      p (rule 1, hard)",
        "why now     psi_full of /box 30.0 % over 3.0 s (at least 25.0 %), for 1.5 s",
        "            refault is not known here",
        "            empty_within 9.0 s (at most 5.0 s): does not hold",
        "victim      leak[7] +1, uid 1000, tree",
        "            with child[8]",
        "signals     +0.001 s SIGTERM to 7 (chosen)",
        "            +3.000 s SIGKILL to 7: gone",
        "freed       3.00 MiB free after 45 ms",
        "outcome     died",
    ]


def test_a_start_in_full() -> None:
    record = {"kind": "start", "time_s": 1.0, "policy": "p", "dry_run": True,
              "missing": ["No swap.", "No PSI."]}  # fmt: skip
    lines = list(full(1, read(record), record))
    assert lines[0].endswith("guard started: policy p, dry run")
    assert lines[1:] == [
        "dry run     yes", "missing     No swap.", "            No PSI.", "policy      p",
    ]  # fmt: skip


def test_a_kernel_kill_in_full_says_fields_in_words() -> None:
    record = {"kind": "kernel_kill", "time_s": 1.0, "pid": 845, "comm": "mysqld", "seen": "kmsg",
              "scope": "memcg", "kernel_s": 711098.0, "lines": []}  # fmt: skip
    lines = list(full(3, read(record), record))
    assert lines[0].endswith("mysqld[845] killed by the kernel (memcg OOM)")
    assert lines[1:] == [
        "kernel time 711098.000 s after boot",
        "scope       a memory cgroup",
        "seen in     the kernel's log (/dev/kmsg)",
    ]


def test_a_time_no_calendar_has() -> None:
    assert local_time(1e18) == "1000000000000000000 s"
