"""The short ways of reading give what the long ones do."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.klog import parser
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import prefix
from oomkit.klog.lines.clean import clean, clean_bytes, decode
from oomkit.klog.lines.prefix import strip_prefix
from oomkit.klog.parser import Parser
from oomkit.klog.reader import scan_records
from oomkit.klog.records import KernelName, Report
from oomkit.records import to_json
from tests.klog.logs import bytes_of, manifest

Records = list[Report | Evidence]
NEVER = re.compile(r"(?!)")

ORDINARY = (
    "May  1 15:12:07 host systemd: Started Session 2976 of user root.",
    "May  1 15:12:08 host systemd[1]: Removed slice user-0.slice.",
    "May 11 15:12:08 host CROND[31245]: (root) CMD (/usr/lib64/sa/sa1 1 1)",
    "May 11 15:12:08 db-1.example.org named[137]: error 137 <x> [y] {z} a=b#012c",
    "May 11 15:12:09 host kernel: usb 1-1: new device",
    "May 11 15:12:09 host Kernel: [   12.345678] usb 1-1: new device",
    "May 11 15:12:09 host kern.err: x",
    "May 11 15:12:09 kern.err host: x",
    "May 11 15:12:09 c1 app: 5 x",
    "May 11 15:12:09 UTC 2024 host app: x",
    "May 11 15:12:09 host app:",
    "May 11 15:12:09 host app: [ 12345.678901] x",
    '{"log":"May 11 15:12:09 host app: x","time":"2024-05-11T15:12:09Z"}',
    "[   12.345678] usb 1-1: new device",
    "systemd[1]: lowmem",
    "and more of the line before",
    "",
)
TELLING = (
    "May  1 15:12:07 host systemd[1]: db.service: Main process exited, code=killed, status=9/KILL",
    'May  1 15:12:07 host earlyoom[9]: sending SIGTERM to process 77 uid 0 "stress": badness 900',
    "May  1 15:12:07 host conmon[5]: OOM received",
    "May  1 15:12:07 host kubelet[5]: container exited with code 137",
    "May  1 15:12:07 host app[5]: exit code 1370 and oom",
    "May  1 15:12:07 host app[5]: oom oom-kill:constraint=CONSTRAINT_NONE",
    "May  1 15:12:07 host systemd-oomd[7]: Killed /a/b due to memory pressure for /a being 61%",
)
WORDS = st.sampled_from(
    (
        *("May", "kernel:", "host", "app[12]:", "15:12:07", "11", " ", "  ", "[", "]", "<4>", "{"),
        *("kern.err", "c1", "=3D", "=", "2024", "#012", "\\n", "[12.345678]", "}", "x", "é", "\v"),
    )
)
LINES = st.one_of(
    st.sampled_from(ORDINARY),
    st.sampled_from(TELLING),
    st.lists(WORDS, max_size=8).map("".join),
    st.tuples(st.sampled_from(ORDINARY), st.lists(WORDS, max_size=4).map("".join)).map("".join),
)
STAMP = "May  1 15:12:07 host kernel: "
REPORTS = tuple(
    bytes_of(name).decode().rstrip()
    for name in ("g-3.10.0-514-el7-sed-mysqld.log", "g-2.6.32-431-el6-java.log")
)


def scanned(data: bytes) -> Records:
    records = scan_records(io.BytesIO(data), "log", evidence=True)
    return [record for record in records if not isinstance(record, KernelName)]


def read_whole(data: bytes) -> Records:
    """Without looking for anything first: every line goes to the parser."""
    parser = Parser("log", evidence=True)
    parser.push(data, 1)
    return parser.finish()


def the_long_way(data: bytes, *, line_by_line: bool = False) -> Records:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "SYSLOG_LINE", NEVER)
        patch.setattr(parser, "OTHERS_LINE", NEVER)
        patch.setattr(parser, "clean_bytes", lambda data: clean(decode(data)))
        if line_by_line:
            patch.setattr(Parser, "take_alike", lambda *_: 0)
        return scanned(data)


@pytest.mark.parametrize("name", [row["file"] for row in manifest()])
def test_development_logs_read_alike(name: str) -> None:
    data = bytes_of(name)
    assert scanned(data) == the_long_way(data, line_by_line=True)


@given(st.lists(LINES | st.sampled_from(REPORTS), max_size=30))
def test_mixed_logs_read_alike(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    assert scanned(data) == the_long_way(data)


@given(LINES)
def test_a_prefix_of_syslog_is_stripped_alike(line: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "SYSLOG_LINE", NEVER)
        expected = strip_prefix(line, 1)
    assert strip_prefix(line, 1) == expected


STRETCHES = (
    *ORDINARY[:4],
    *TELLING[:4],
    "\n".join(ORDINARY[:3] * 40),
    *("\n".join(STAMP + line for line in text.split("\n")) for text in REPORTS),
)


@given(st.lists(st.sampled_from(STRETCHES), max_size=20))
def test_the_scan_finds_what_reading_every_line_finds(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    # Lines before a report may be looked at twice; what others say is then there twice, too.
    found, expected = ({to_json(r) for r in way(data)} for way in (scanned, read_whole))
    assert found == expected


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_are_cleaned_like_their_text(data: bytes) -> None:
    assert clean_bytes(data) == clean(decode(data))
