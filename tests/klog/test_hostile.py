"""Hostile logs: no exception, no hang, no growth, and no control character in any record."""

import re
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.klog import read_bytes, replay_all
from oomkit.klog.reader import read_stream
from oomkit.records import from_json, to_json
from tests.klog.logs import bytes_of
from tests.klog.styles import STYLES
from tests.klog.test_styles import CLEAN, bare_lines

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def read(data: bytes) -> list[str]:
    """Read and replay; every text in every record is free of control characters."""
    texts: list[str] = []
    for report in replay_all(read_bytes(data)):
        texts += strings_in(from_json(to_json(report)))
        to_json(report)
    assert not [text for text in texts if CONTROL.search(text)]
    return texts


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


PIECES = st.sampled_from(
    [
        b"\x00",
        b"\xff\xfe",
        b"\x1b[2J",
        b"\x1b]0;title\x07",
        b"\r",
        b"\n",
        b"\x9b31m",
        b"\xe2\x80\xae",
        b" " * 300,
        b"[" * 200,
        b"(" * 200,
        b"a" * 5000,
        b"9" * 400,
        b"#012",
        b"\\n",
        b"<4>",
        b"> ",
        b"[    1.000000]",
        b"invoked ",
        b"oom-killer: gfp_mask=0x",
        b"Out of memory: Killed process ",
        b"oom-kill:constraint=",
        b",task=",
        b",pid=",
        b'{"MESSAGE":',
        b'"}',
        b"MESSAGE=",
        b"__CURSOR=x\n",
        b"[  pid  ]   uid  tgid total_vm rss name\n",
        b"Memory cgroup stats for /x:\n",
        b"anon 99999999999999999999999\n",
        b"Node 0 Normal free:1kB ",
        b"Mem-Info:\n",
        b"1*4kB ",
        b"Linux version 9.9.9.9.9\n",
        b"CPU: 0 PID: 1 Comm: x Not tainted 0.0\n",
        b"memory: usage 1kB, limit 1kB, failcnt 1\n",
        b"Kernel panic - not syncing: Out of memory",
    ]
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=40))
def test_any_bytes_are_read(pieces: list[bytes]) -> None:
    read(b"".join(pieces))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(CLEAN),
    st.sampled_from(sorted(STYLES)),
    st.lists(st.tuples(st.floats(0, 1), st.one_of(PIECES, st.binary(max_size=20))), max_size=12),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 400)), max_size=6),
)
def test_damaged_reports_are_read(
    name: str, style: str, put: list[tuple[float, bytes]], cut: list[tuple[float, int]]
) -> None:
    data = bytearray(STYLES[style](bare_lines(name)).encode())
    for where, piece in put:
        at = int(where * len(data))
        data[at:at] = piece
    for where, length in cut:
        at = int(where * len(data))
        del data[at : at + length]
    read(bytes(data))


LONG = 10 << 20


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line",
    [
        b"a" * LONG,
        b" " * LONG,
        b"Out of memory: Killed process 1 (" + b"(" * LONG,
        b"x invoked oom-killer: gfp_mask=0x0(" + b" " * LONG,
        b" " * LONG + b"invoked oom-killer: gfp_mask=0x0, order=0",
        b"[  pid  ]   uid  tgid total_vm      rss " + b"name " * (LONG // 5),
        b"oom-kill:constraint=" + b",task=" * (LONG // 6),
        b"[    1.000000] " * (LONG // 45) + b"Out of memory: Killed process 1 (x)",
        b'{"MESSAGE":"Out of memory: Killed process 1 (' + b"\\n" * (LONG // 2) + b')"}',
        b"[" * LONG + b"tgid total_vm",
        b"Out of memory: Kill process 1 " * (LONG // 30),
        b"\x00" * LONG + b"oom-killer: gfp_mask=0x0",
        b"> " * (LONG // 2) + b"Killed process 1 (x) total-vm:1kB",
        b"\x1b[" * (LONG // 2) + b"Killed process 1 (x)",
        b"cpuset=" * (LONG // 7) + b" oom-killer: gfp_mask=0x0",
    ],
    ids=lambda line: repr(line[:20] + b".." + line[-20:]),
)
def test_a_line_of_ten_megabytes_is_no_trouble(line: bytes) -> None:
    read(line)
    read(b"x invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0\n" + line)


class Endless:
    """A source of so many bytes, made of one block again and again."""

    def __init__(self, block: bytes, size: int) -> None:
        self._block = block
        self._left = size

    def readinto(self, buffer: memoryview, /) -> int:
        size = min(len(self._block), len(buffer), self._left)
        buffer[:size] = self._block[:size]
        self._left -= size
        return size


@pytest.mark.parametrize("kind", ["ordinary", "kills", "open heads", "rows", "tables"])
def test_memory_does_not_grow_with_the_log(kind: str) -> None:
    blocks = {
        "ordinary": b"Jun  1 10:00:00 web sshd[1]: Accepted publickey for root\n" * 20000,
        "kills": b"".join(
            b"[%5d.000000] Memory cgroup out of memory: Killed process %d (x) total-vm:1kB\n"
            % (i, i)
            for i in range(900)
        ),
        "open heads": b"".join(
            b"x%d invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0\n" % i
            for i in range(900)
        ),
        "rows": b"".join(b"[%5d]     0 %5d 1 1 0 0 0 0 a\n" % (i, i) for i in range(900)),
        "tables": bytes_of("g-5.10-rc3-next-stress-ng-adj1000.log") * 6,
    }
    block = blocks[kind]

    head = b"[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name\n"

    def peak(times: int) -> int:
        tracemalloc.start()
        try:
            for _ in read_stream(Endless(head + block, times * len(block)), "x"):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(8) < peak(4) * 1.2 + 100_000


@pytest.mark.parametrize("name", [r"\n \\ne", r"\n\n \\n\\n", r" \\n \n"])
def test_a_name_with_written_newlines_leaves_no_line_without_words(name: str) -> None:
    """Such a line is taken apart, as those of JSON are; a part may be of blanks alone."""
    read(f"[    1.000000] Out of memory: Killed process 77 ({name}), UID 0\n".encode())
