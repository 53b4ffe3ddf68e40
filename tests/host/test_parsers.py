"""Every parser of the scan, on what kernels print and on what they might."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.host.machine import parse_pressure, parse_zoneinfo
from oomkit.host.membership import parse_membership
from oomkit.host.procfs import keyed_numbers, stat_fields, text
from oomkit.host.stat import parse_stat, parse_status
from oomkit.host.task import parse_list
from oomkit.kernel.state import Node
from tests.host.fake import ZONEINFO, stat_line, status_text

COMMS = st.binary(max_size=15) | st.sampled_from(
    [b"(sd-pam)", b"a) R 1 (b", b") ", b"new\nline", b"\xff\xfe", b"Web Content", b""]
)
NUMBERS = st.integers(0, 2**40)


@given(comm=COMMS, rss=NUMBERS, start=NUMBERS, flags=st.integers(0, 2**32 - 1),
       nice=st.integers(-20, 19), utime=NUMBERS, stime=NUMBERS)  # fmt: skip
def test_any_name_leaves_the_fields_of_stat_in_place(
    comm: bytes, rss: int, start: int, flags: int, nice: int, utime: int, stime: int
) -> None:
    line = stat_line(
        7,
        comm,
        ppid=3,
        flags=flags,
        nice=nice,
        utime=utime,
        stime=stime,
        threads=5,
        start_ticks=start,
        vsize_bytes=99,
        rss_pages=rss,
    )
    stat = parse_stat(line)
    assert stat_fields(line, 2)[:2] == [stat.state, b"3"]
    assert stat.comm == comm
    assert (stat.ppid, stat.flags, stat.nice, stat.threads) == (3, flags, nice, 5)
    assert (stat.start_ticks, stat.vsize_bytes, stat.rss_pages) == (start, 99, rss)
    assert stat.cpu_ticks == utime + stime


@given(begin=st.integers(0, 200), length=st.integers(1, 200), junk=st.binary(max_size=20))
def test_a_damaged_stat_is_parsed_or_refused(begin: int, length: int, junk: bytes) -> None:
    data = stat_line(7, b"name")
    with contextlib.suppress(ValueError):
        parse_stat(data[:begin] + junk + data[begin + length :])


@given(
    uid=st.integers(0, 2**32 - 1),
    euid=st.integers(0, 2**32 - 1),
    pte=NUMBERS,
    pmd=st.none() | NUMBERS,
    swap=NUMBERS,
    rss=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    caps=st.integers(0, 2**41 - 1),
)
def test_status_of_every_shape(
    uid: int,
    euid: int,
    pte: int,
    pmd: int | None,
    swap: int,
    rss: tuple[int, int, int] | None,
    caps: int,
) -> None:
    status = parse_status(
        status_text(
            uid=uid, euid=euid, pte_kb=pte, pmd_kb=pmd, swap_kb=swap, rss_kb=rss, capabilities=caps
        ).encode()
    )
    assert (status.uid, status.euid) == (uid, euid)
    assert (status.pte_kb, status.pmd_kb, status.swap_kb) == (pte, pmd, swap)
    assert (status.anon_kb, status.file_kb, status.shmem_kb) == (rss or (None, None, None))
    assert status.cap_sys_admin == bool(caps >> 21 & 1)
    assert status.cap_sys_resource == bool(caps >> 24 & 1)
    assert status.cap_sys_rawio == bool(caps >> 17 & 1)
    assert status.mems_allowed == b"0-1"


def test_status_without_memory_has_sizes_of_zero() -> None:
    status = parse_status(status_text(memory=False, uid=5).encode())
    assert (status.uid, status.pte_kb, status.swap_kb, status.locked_kb) == (5, 0, None, 0)


@pytest.mark.parametrize(("pending", "fatal"), [(0, False), (1 << 8, True), (1 << 14, False)])
def test_only_sigkill_is_a_fatal_signal(pending: int, *, fatal: bool) -> None:
    assert parse_status(status_text(pending=pending).encode()).fatal_signal is fatal


@given(begin=st.integers(0, 600), length=st.integers(1, 600), junk=st.binary(max_size=20))
def test_a_damaged_status_is_parsed_or_refused(begin: int, length: int, junk: bytes) -> None:
    data = status_text().encode()
    with contextlib.suppress(ValueError):
        parse_status(data[:begin] + junk + data[begin + length :])


def test_a_file_that_is_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="stat"):
        parse_stat(b"nothing of the kind")
    with pytest.raises(ValueError, match="status"):
        parse_status(b"nothing of the kind")


@pytest.mark.parametrize(
    ("listed", "version", "path"),
    [
        (b"4:memory:/a/b\n0::/c\n", 1, "/a/b"),
        (b"4:cpu,memory:/a:b\n0::/c\n", 1, "/a:b"),
        (b"4:memory:/a/b\n0::/c\n", 2, "/c"),
        (b"4:memory:/a/b\n0::/c\n", None, "/a/b"),
        (b"1:name=systemd:/x\n0::/c (deleted)\n", None, "/c"),
        (b"0::/../other\n", 2, "/../other"),
        (b"3:cpuset:/x\n", 1, "/"),
        (b"", None, "/"),
        (b"0::/gr\xfc\n", 2, r"/gr\xfc"),
    ],
)
def test_membership(listed: bytes, version: int | None, path: str) -> None:
    assert parse_membership(listed, version) == path


def test_zoneinfo_adds_up() -> None:
    zones = parse_zoneinfo(ZONEINFO.encode())
    # DMA: 1900 + 90; DMA32: high without the boost; Normal: high.
    assert zones.totalreserve_pages == 1990 + 1650 + 30
    assert zones.min_wmark_pages == 60 + 1164 + 20
    assert zones.low_wmark_pages == 75 + 1439 + 25
    assert zones.high_wmark_pages == 90 + 1714 + 30
    assert zones.nodes == (
        Node(node_id=0, present_pages=524094, spanned_pages=524191),
        Node(node_id=1, present_pages=1024, spanned_pages=2048),
    )


def test_pressure_of_both_kinds() -> None:
    pressure = parse_pressure(
        b"some avg10=1.50 avg60=0.40 avg300=0.10 total=99\n"
        b"full avg10=1.20 avg60=0.30 avg300=0.05 total=77\n"
    )
    assert (pressure.some_avg10, pressure.full_avg300, pressure.full_total_us) == (1.5, 0.05, 77)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_list_of_nodes_round_trips(numbers: set[int]) -> None:
    listed = ",".join(map(str, sorted(numbers))).encode()
    assert parse_list(listed) == numbers


def test_list_of_nodes_with_ranges() -> None:
    assert parse_list(b"0-2,5\n") == {0, 1, 2, 5}


@given(st.binary(max_size=300))
def test_keyed_numbers_never_fail(data: bytes) -> None:
    assert all(isinstance(n, int) for n in keyed_numbers(data).values())


@given(st.binary(max_size=20))
def test_names_can_always_be_encoded(data: bytes) -> None:
    text(data).encode("utf-8")
