"""The lines of the live view, in windows of many sizes."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from oomkit.history.records import Act, KernelKill, Victim
from oomkit.kernel.alloc import decide
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation, Memcg, Memory, Pressure, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.posture.whatif import SetError
from oomkit.render.layout import Piece, Terminal
from oomkit.render.terminal import plain_lines
from oomkit.top.guard_state import GuardState
from oomkit.top.monitor import Look, Trend
from oomkit.top.page import (
    adjust_document,
    fitted,
    folded,
    guard_lines,
    laid_out_page,
    process_document,
    trend_text,
)
from oomkit.top.rows import Shown, Tab

RULES = rules_for("6.12")
GIB = 1 << 18
NAMES = ("mysqld", "nginx", "php-fpm8.2", "backup", "sshd", "java", "redis-server", "node")
GUARD = GuardState(
    runs=True,
    policy="default",
    dry_run=True,
    level="warn",
    pid=77,
    acts={"dry_run": 2},
    records=(
        Act(
            time_s=1e9,
            kind="act",
            policy="default",
            outcome="died",
            freed_kb=2e6,
            victim=Victim(pid=12, comm="leak"),
        ),
        KernelKill(time_s=9e8, kind="kernel_kill", pid=9, comm="old", seen="kmsg", scope="global"),
    ),
)


def made(tasks: int = 40, guard: GuardState = GUARD) -> Look:
    found = tuple(
        Task(
            pid=1000 + i,
            comm=NAMES[i % len(NAMES)],
            uid=70000 + i % 3,
            rss_pages=GIB // (i + 1),
            swap_pages=(i % 5) * 1000,
            pgtable_pages=300,
            oom_score_adj=-1000 if i == 4 else (i % 7) * 10,
            cgroup=f"/system.slice/{NAMES[i % len(NAMES)]}.service",
            kernel_oom_score=700,
        )
        for i in range(tasks)
    )
    names = sorted({task.cgroup for task in found})
    memcgs = (
        Memcg(path="/"),
        Memcg(path="/system.slice", usage_pages=2 * GIB),
        *(
            Memcg(
                path=path,
                usage_pages=GIB // (i + 1),
                limit_pages=GIB if i % 2 else None,
                high_pages=GIB if i == 1 else None,
            )
            for i, path in enumerate(names)
        ),
    )
    snapshot = Snapshot(
        kernel="6.12",
        memory=Memory(
            total_ram_pages=4 * GIB,
            total_swap_pages=GIB,
            available_pages=GIB,
            free_swap_pages=GIB // 2,
        ),
        tasks=found,
        memcgs=memcgs,
        pressure=Pressure(some_avg10=12.5, full_avg10=3.25),
    )
    return Look(
        at_s=1.0,
        whole_s=1.0,
        snapshot=snapshot,
        decision=decide(snapshot, Allocation(), RULES),
        ranked=rank(snapshot, Allocation(), RULES),
        trend=Trend(left_bytes=6 << 30, total_bytes=20 << 30, change_bytes_s=-1e8, empty_s=64.4),
        growth={"/system.slice": 5e6},
        guard=guard,
    )


LOOK = made()


def texts(lines: Sequence[Sequence[Piece]]) -> list[str]:
    return ["".join(piece.text for piece in line).rstrip() for line in lines]


def page_text(width: int, height: int = 60, **shown: object) -> str:
    what = Shown(**shown)  # type: ignore[arg-type]  # fields of the record
    page = laid_out_page(LOOK, what, RULES, Terminal(width=width), height)
    return "\n".join(texts(page.lines))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_page_says_what_matters(width: int) -> None:
    text = " ".join(page_text(width).split())
    assert "left 6.00 GiB of memory and swap (30 %), falling by 95.4 MiB a second" in text
    assert "none is left in 64.4 s" in text
    assert "next mysqld[1000] dies" in text
    assert "mysqld[1000]: rss 1.00 GiB + page tables 1.17 MiB = badness" in text
    assert "next is nginx[1001]" in text
    assert "75 % of 4.00 GiB used, 1.00 GiB left" in text
    assert "50 % of 1.00 GiB used, 512 MiB left" in text
    assert "some 12.5 % of the last 10 s" in text
    assert "policy default, dry run: it sends no signals, warn, acts: dry run 2" in text
    assert "leak[12] killed by default, 1.91 GiB free" in text


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("tab", ["processes", "cgroups", "guard"])
def test_nothing_is_cut_without_a_sign(width: int, tab: Tab) -> None:
    shown = Shown(tab=tab)
    page = laid_out_page(LOOK, shown, RULES, Terminal(width=width), 200)
    lines = texts(page.lines)
    assert max(map(cell_len, lines)) <= width
    assert list(page.visible) == list(page.keys)
    whole = " ".join(texts(laid_out_page(LOOK, shown, RULES, Terminal(width=400), 200).lines))
    said = " ".join(lines)
    out = re.search(r"\(no room for (.*?); a wider window", said)
    left_out = out[1].split(", ") if out else []
    for name in ("swap", "score", "kernel", "pgtables", "user", "growth/s", "high", "tasks"):
        if f" {name} " in whole:
            assert f" {name} " in said or name in left_out
    if tab == "processes":
        assert all(f" {pid} " in said for pid in page.keys)
    assert "…" not in said


@settings(max_examples=30)
@given(
    st.integers(20, 210),
    st.integers(3, 70),
    st.integers(0, 39),
    st.integers(0, 60),
    st.sampled_from(["processes", "cgroups", "guard"]),
)
def test_every_window_is_filled_and_shows_the_row_under_the_cursor(
    width: int, height: int, row: int, first: int, tab: Tab
) -> None:
    shown = Shown(tab=tab)
    keys = laid_out_page(LOOK, shown, RULES, Terminal(width=width), height).keys
    shown.chosen, shown.first = keys[row % len(keys)], first
    page = laid_out_page(LOOK, shown, RULES, Terminal(width=width), height)
    assert len(page.lines) == height
    assert max(cell_len(line) for line in texts(page.lines)) <= width
    assert shown.chosen in page.visible
    again = laid_out_page(LOOK, shown, RULES, Terminal(width=width), height)
    assert shown.chosen in again.visible
    if len(page.visible) < len(keys):
        assert re.search(rf"of\s+{len(keys)}|more lines", " ".join(texts(page.lines)))


def test_the_row_under_the_cursor_is_marked_and_stays_under_it() -> None:
    shown = Shown(chosen=1003)
    page = laid_out_page(LOOK, shown, RULES, Terminal(width=100), 50)
    marked = [line for line in page.lines if line and all("reverse" in p.style for p in line)]
    assert "backup" in "".join(texts(marked))
    assert shown.chosen == 1003
    shown.filter = "mysqld"
    laid_out_page(LOOK, shown, RULES, Terminal(width=100), 50)
    assert shown.chosen == 1000


@pytest.mark.parametrize(
    ("words", "pids"),
    [
        ("MYSQLD", [1000, 1008, 1016, 1024, 1032]),
        ("1003", [1003]),
        ("100", []),
        ("backup.service", [1003, 1011, 1019, 1027, 1035]),
        ("nothing like it", []),
    ],
)
def test_a_filter_looks_into_names_users_cgroups_and_pids(words: str, pids: list[int]) -> None:
    page = laid_out_page(LOOK, Shown(filter=words), RULES, Terminal(width=100), 50)
    assert sorted(page.keys) == pids
    assert f"(filter '{words}', 40 in all)" in " ".join(texts(page.lines))


def test_processes_are_sorted_by_what_is_asked_for() -> None:
    shown, orders = Shown(), {}
    for _ in shown.sorts():
        page = laid_out_page(LOOK, shown, RULES, Terminal(width=100), 50)
        orders[shown.sort_name] = list(page.keys)
        shown.next_sort()
    tasks: dict[int | str, Task] = {task.pid: task for task in LOOK.snapshot.tasks}
    assert orders["kill order"][:2] == [1000, 1001]
    assert orders["kill order"][-1] == 1004  # -1000 is never chosen
    assert [tasks[p].rss_pages for p in orders["rss"]] == sorted(
        (task.rss_pages for task in tasks.values()), reverse=True
    )
    assert tasks[orders["swap"][0]].swap_pages == 4000
    assert tasks[orders["oom_score_adj"][0]].oom_score_adj == 60
    assert tasks[orders["name"][0]].comm == "backup"
    assert shown.sort_name == "kill order"
    shown.reverse = True
    page = laid_out_page(LOOK, shown, RULES, Terminal(width=100), 50)
    assert list(page.keys) == orders["kill order"][::-1]


def test_the_tree_of_cgroups_has_limits_growth_and_who_dies_there() -> None:
    text = page_text(200, tab="cgroups")
    heading = next(line for line in text.splitlines() if line.startswith("cgroup "))
    assert heading.split()[:9] == (
        ["cgroup", "usage", "limit", "used", "high", "swap", "growth/s", "to", "limit"]
    )
    rows = {line.split()[0]: line for line in text.splitlines() if ".s" in line[:30]}
    assert "2.00 GiB" in rows["system.slice"]
    assert "+4.77 MiB" in rows["system.slice"]
    assert rows["java.service"].startswith("  java.service")
    assert "512 MiB 1.00 GiB 50 %" in " ".join(rows["java.service"].split())
    assert rows["java.service"].rstrip().endswith("java[1005]")


def test_why_there_are_no_records_is_said() -> None:
    look = made(guard=GuardState(no_records="/var/lib/j: Permission denied"))
    page = laid_out_page(look, Shown(tab="guard"), RULES, Terminal(width=80), 40)
    text = "\n".join(texts(page.lines))
    assert "/var/lib/j: Permission denied" in text
    assert "not running" in text


@pytest.mark.parametrize(
    ("trend", "text"),
    [
        (Trend(left_bytes=1 << 30, total_bytes=4 << 30),
         "1.00 GiB of memory and swap (25 %); how it changes is not known yet"),
        (Trend(left_bytes=1 << 30, total_bytes=4 << 30, change_bytes_s=5.0),
         "1.00 GiB of memory and swap (25 %), not falling"),
        (Trend(left_bytes=1 << 30, total_bytes=4 << 30, change_bytes_s=-5.0),
         "1.00 GiB of memory and swap (25 %), steady"),
        (Trend(left_bytes=0, total_bytes=0),
         "0 B of memory and swap (-); how it changes is not known yet"),
    ],
)  # fmt: skip
def test_what_is_left_is_said_in_words(trend: Trend, text: str) -> None:
    assert trend_text(trend) == text


def test_a_guard_that_is_armed_and_acts_stands_out() -> None:
    lines, style = guard_lines(
        GuardState(runs=True, policy="p", level="hard", under_way=1, faults={"journal": "full"})
    )
    assert lines == ["policy p, armed, hard, no acts yet, 1 act under way, can't write journal"]
    assert style == "yellow"


def test_one_process_is_shown_as_rank_shows_it() -> None:
    lines = plain_lines(process_document(LOOK, 1001, RULES, "nginx -g x"), Terminal(width=100))
    text = "\n".join(lines)
    assert text.startswith("nginx[1001]\n")
    assert "nginx[1001] lives: it is number 2 of 39" in text
    assert "command nginx -g x" in text
    assert "how it was decided" in text
    gone = plain_lines(process_document(LOOK, 9, RULES, None), Terminal(width=100))
    assert gone == ["process 9 has exited"]


def test_a_preview_says_which_process_dies_then() -> None:
    def preview(pid: int, value: int) -> str:
        page = adjust_document(LOOK, pid, value, RULES, "oom_score_adj")
        return " ".join(" ".join(plain_lines(page, Terminal(width=99))).split())

    text = preview(1001, 600)
    assert "changed oom_score_adj of nginx[1001]: 10 -> 600" in text
    assert "as it is, mysqld[1000] dies; so changed, nginx[1001] dies" in text
    assert "if cgroup" not in text  # nginx.service has no limit, java.service has
    text = preview(1005, -900)
    assert "java.service reaches its limit: as it is, java[1005] dies; so changed, " in text
    with pytest.raises(SetError, match=r"-1000\.\.1000"):
        adjust_document(LOOK, 1001, 1001, RULES, "oom_score_adj")
    with pytest.raises(SetError, match="exited"):
        adjust_document(LOOK, 9, 1, RULES, "oom_score_adj")


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(2, 40))
def test_a_line_too_long_is_marked_or_folded(parts: list[str], width: int) -> None:
    line = [Piece(re.sub(r"[^ -~\u4e00-\u4eff]", "x", part)) for part in parts]
    whole = "".join(piece.text for piece in line)
    cut = "".join(piece.text for piece in fitted(line, width))
    assert cell_len(cut) <= width
    assert cut == whole if cell_len(whole) <= width else cut.endswith("…")
    lines = folded(line, width)
    assert "".join(piece.text for one in lines for piece in one) == whole
    assert all(sum(cell_len(piece.text) for piece in one) <= width for one in lines)
