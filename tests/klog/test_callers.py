"""Two CPUs print at once: by the caller id, whose line is whose."""

from typing import Any

import pytest

from tests.klog.test_belonging import HEAD, KILL, ROW, killed, kinds, read, whole


def by(caller: str, *texts: str) -> list[str]:
    """Lines of one moment with a caller id (CONFIG_PRINTK_CALLER)."""
    return [f"[   10.000000][ {caller}] {text}" for text in texts]


DB, WEB = by("T77", *whole(7, "db")), by("T88", *whole(8, "web"))
MEMORY = ("Mem-Info:", "active_anon:1 inactive_anon:2 isolated_anon:0", "{} pages RAM")
FRAMES = tuple(f" {name}+0x1/0x2" for name in ("dump_stack", "dump_header", "oom_kill_process"))


def memory(caller: str, ram: int) -> list[str]:
    return by(caller, *(text.format(ram) for text in MEMORY))


def ram_pages(*lines: Any) -> dict[str | None, int | None]:
    return {r.invoker: r.memory.ram_pages if r.memory else None for r in read(*lines)}


@pytest.mark.parametrize(("caller", "expected"), [("T77", 39), ("T88", None), (None, 39)])
def test_what_follows_the_others_end_is_the_callers(caller: str | None, expected: int) -> None:
    """The report that waits gets a part, unless the caller that has ended printed it."""
    text = "39 pages RAM"
    line = by(caller, text)[0] if caller else f"[   10.000000] {text}"
    assert ram_pages(DB[0], *WEB, line) == {"db": expected, "web": None}


def test_a_callers_end_is_of_no_other_callers_report() -> None:
    found = read(DB[0], WEB[4])
    assert [(r.invoker, r.summary.pid if r.summary else None) for r in found] == [
        ("db", None), (None, 8)]  # fmt: skip
    assert killed(read(*DB[:4], WEB[5])) == [[], [8]]
    # Not even of one whose table has the victim.
    assert killed(read(*DB[:4], *by("T88", KILL.format(5, "other")))) == [[], [5]]
    assert killed(read(*DB[:4], *by("T77", KILL.format(5, "other")))) == [[5]]


def test_frames_are_of_their_callers_report() -> None:
    plain = by("T88", *FRAMES[:1], " vfs_read+0x1/0x2", " do_syscall_64+0x1/0x2")
    assert [r.call_trace for r in read(DB[0], *plain, *DB[1:])] == [()]
    # The killer's own begin a report whose head is lost.
    lost = read(DB[0], *by("T88", *FRAMES), *DB[1:])
    assert [r.call_trace for r in lost] == [(), ("dump_header", "oom_kill_process")]
    names = ("dump_stack", "dump_header", "oom_kill_process")
    assert [r.call_trace for r in read(DB[0], *by("T77", *FRAMES), *DB[1:])] == [names]
    both = read(DB[0], WEB[0], *by("T77", *FRAMES), *DB[1:], *WEB[1:])
    assert [r.call_trace for r in both] == [names, ()]


def test_memory_is_of_its_callers_report() -> None:
    assert ram_pages(DB[0], *memory("T88", 49), *DB[1:]) == {"db": None}
    assert ram_pages(DB[0], *memory("T77", 39), *DB[1:]) == {"db": 39}
    lines = (DB[0], WEB[0], *memory("T77", 39), *memory("T88", 49), *DB[1:], *WEB[1:])
    assert ram_pages(*lines) == {"db": 39, "web": 49}


@pytest.mark.parametrize("rows", [2, 20])
def test_rows_are_of_their_callers_table(rows: int) -> None:
    first = by("T77", *(ROW.format(100 + i, "a") for i in range(rows)))
    second = by("T88", *(ROW.format(300 + i, "b") for i in range(rows)))
    mixed = [line for pair in zip(first, second, strict=True) for line in pair]
    for lines in ((*first, *second), (*second, *first), mixed):
        found = read(*DB[:2], *WEB[:2], *lines, *DB[3:], *WEB[3:])
        assert [[row.pid for row in r.tasks] for r in found] == [
            [*range(100, 100 + rows), 7],
            [*range(300, 300 + rows), 8],
        ]
        assert [kinds(r) for r in found] == [[], []]


def test_a_callers_second_report_is_its_own() -> None:
    again = by("T77", HEAD.format("db"), *whole(9, "x")[1:])
    assert killed(read(*DB, *WEB, *again)) == [[7], [8], [9]]


@pytest.mark.parametrize("at", range(1, 7))
def test_lines_without_an_id_are_of_any_report(at: int) -> None:
    """Records put together by hand may lack it, or have it in some lines only."""
    plain = [f"[   10.000000] {text}" for text in whole(7, "db")]
    for lines in ([*DB[:at], *plain[at:]], [*plain[:at], *DB[at:]]):
        (found,) = read(*lines)
        assert (found.invoker, killed([found])) == ("db", [[7]])
        assert [row.pid for row in found.tasks] == [5, 7]
        assert found.summary is not None
        assert "no_header" not in kinds(found)
    (found,) = read(DB[0], *(line.replace("[ T77]", "") for line in memory("T77", 39)), *DB[1:])
    assert found.memory is not None
    assert found.memory.ram_pages == 39
    named = [f"[   10.000000] {name}" for name in FRAMES]
    (found,) = read(DB[0], *named, *DB[1:])
    assert found.call_trace == ("dump_stack", "dump_header", "oom_kill_process")
