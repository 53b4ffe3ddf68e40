"""Keys in, lines out: on a made machine, without a terminal and by textual's own pilot."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host.scan import Scanner
from oomkit.kernel.versions import rules_for
from oomkit.render.layout import Terminal
from oomkit.top.app import TopApp, Window
from oomkit.top.guard_state import GuardReader
from oomkit.top.monitor import Monitor
from oomkit.top.session import Session
from tests.host.fake import FakeProc, memcg_v2, stat_line, status_text, write

KERNEL = "6.12.1"
NAMES = ("mysqld", "nginx", "backup")
CHARACTERS = {"space": " ", "slash": "/"}


class Keyboard:
    """A session, its keys, and what it shows in a window of 100 columns and 40 lines."""

    def __init__(self, session: Session, proc: FakeProc) -> None:
        self.session, self.proc = session, proc
        self.size = (100, 40)

    def press(self, *keys: str) -> str:
        for key in keys:
            character = key if len(key) == 1 else CHARACTERS.get(key)
            self.session.key(key, character)
            self.text()
        return self.text()

    def text(self) -> str:
        lines = self.session.lines(*self.size)
        return "\n".join("".join(piece.text for piece in line).rstrip() for line in lines)


@pytest.fixture
def keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    monkeypatch.chdir(tmp_path)  # messages with long paths would be cut
    proc = FakeProc(tmp_path / "proc", KERNEL)
    for i, name in enumerate(NAMES):
        pages = 9000 - i * 1000
        status = status_text(uid=os.getuid(), rss_kb=(pages * 4, 0, 0))
        stat = stat_line(500 + i, name.encode(), rss_pages=pages)
        proc.process(500 + i, stat=stat, status=status, cgroup="0::/web\n")
        proc.file(f"{500 + i}/cmdline", f"/usr/sbin/{name}\0-x\0")
    root = tmp_path / "cgroup"
    write(root / "cgroup.controllers", "memory\n")
    memcg_v2(root / "web", maximum="819200000\n")
    write(root / "web/memory.stat", "anon 300000\n")
    scanner = Scanner(proc_root=str(proc.root), cgroup_root=str(root), keep_open=False)
    guard = GuardReader("status", ["journal"], str(proc.root))
    with Monitor(scanner, rules_for(KERNEL), guard, names_root=str(tmp_path)) as monitor:
        session = Session(monitor, Terminal())
        yield Keyboard(session, proc)
        session.close()


def test_tables_are_changed_sorted_and_filtered(keyboard: Keyboard) -> None:
    text = keyboard.text()
    assert "next      mysqld[500] dies" in text
    assert "[1 processes]  2 cgroups  3 guard  by kill order  1-3 of 3" in text
    assert "by tree  1-1 of 1" in keyboard.press("2")
    assert "by nearest limit" in keyboard.press("s")
    assert "No such file or directory" in keyboard.press("tab")
    assert "by kill order, reversed  1-3 of 3" in keyboard.press("tab", "r")
    text = keyboard.press("slash", *"nginxx", "backspace")
    assert "1-1 of 1 (filter 'nginx', 3 in all)" in text
    assert "filter: nginx_" in text
    text = keyboard.press("enter")
    assert "(filter 'nginx', 3 in all)" in text
    assert "filter: " not in text
    assert "1-3 of 3" in keyboard.press("escape")
    keyboard.press("slash", *"q1sr")  # are typed, and do nothing else
    assert not keyboard.session.done
    assert "1-3 of 3" in keyboard.press("escape")
    keyboard.press("q")
    assert keyboard.session.done


def test_a_process_and_a_cgroup_are_seen_in_detail(keyboard: Keyboard) -> None:
    text = keyboard.press("down", "enter")
    assert "nginx[501] lives: it is number 2 of 3" in text
    assert "command /usr/sbin/nginx -x" in text
    keyboard.size = (100, 8)
    assert "lines 1-7 of" in keyboard.text()
    assert "lines 2-8 of" in keyboard.press("down")
    last = keyboard.press("end")
    assert keyboard.press("end", "down") == last
    assert "lines 1-7 of" in keyboard.press("home", "up")
    keyboard.size = (100, 40)
    assert "[1 processes]" in keyboard.press("escape")
    text = keyboard.press("2", "enter")
    assert "400 KiB" in text
    assert "anonymous" in text


def test_a_process_that_is_gone_is_said_to_be(keyboard: Keyboard) -> None:
    keyboard.press("enter")
    for name in ("stat", "status", "oom_score_adj", "oom_score", "cgroup", "cmdline"):
        (keyboard.proc.root / "500" / name).unlink()
    (keyboard.proc.root / "500").rmdir()
    keyboard.session.look(whole=True)
    assert "process 500 has exited" in keyboard.text()
    assert "process 500 has exited" in keyboard.press("a")
    assert "process 500 has exited" in keyboard.press("x")
    assert "next      nginx[501] dies" in keyboard.press("escape")


def test_the_cursor_stays_on_its_process(keyboard: Keyboard) -> None:
    keyboard.press("down", "down", "up")
    status = status_text(rss_kb=(90000 * 4, 0, 0))
    stat = stat_line(501, b"nginx", rss_pages=90000)
    keyboard.proc.process(501, stat=stat, status=status, cgroup="0::/web\n")
    assert "next      nginx[501] dies" in keyboard.press("space")
    assert "nginx[501] dies (" in keyboard.press("enter")


def test_an_adjustment_is_previewed_confirmed_and_then_written(keyboard: Keyboard) -> None:
    file = keyboard.proc.root / "501/oom_score_adj"
    assert "nginx[501]: now 0, from -1000 to 1000" in keyboard.press("down", "a")
    text = keyboard.press(*"500")
    assert "as it is, mysqld[500] dies; so changed, nginx[501] dies" in text
    assert "set oom_score_adj of nginx[501] to 500? y: yes, n: no" in keyboard.press("enter")
    keyboard.press("x", "7", "enter")
    assert file.read_text() == "0\n"
    assert "[1 processes]" in keyboard.press("n")
    assert "type a whole number" in keyboard.press(
        "a", *"500", "y"
    )  # typed, since nothing is asked
    assert "type a whole number" in keyboard.press("enter", "y")
    assert file.read_text() == "0\n"
    keyboard.press("backspace", "backspace", "enter", "y")
    assert file.read_text().startswith("500")
    assert "[1 processes]" in keyboard.text()
    assert keyboard.session.last.decision.victims[0].pid == 501


def test_what_can_not_be_changed_is_said_in_a_line(keyboard: Keyboard) -> None:
    assert "outside -1000..1000" in keyboard.press("a", *"5000")
    assert "type a whole number" in keyboard.press("enter", "y")  # nothing was asked
    file = keyboard.proc.root / "500/oom_score_adj"
    keyboard.press("escape", "a", *"7", "enter")
    file.unlink()
    file.mkdir()
    text = keyboard.press("y")
    assert text.startswith("oom_score_adj of mysqld[500] can't be changed: Is a directory")
    assert "[1 processes]" in keyboard.press("y")


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (200, 50), (30, 5), (1, 1)])
def test_windows_of_any_size_hold_what_is_shown(keyboard: Keyboard, size: tuple[int, int]) -> None:
    keyboard.size = size
    for key in ("1", "2", "3", "1", "enter", "escape", "a", "5", "enter", "n", "slash", "x"):
        lines = keyboard.press(key).split("\n")
        assert len(lines) <= size[1]
        assert max(map(len, lines)) <= size[0]


def test_the_app_draws_the_session_and_follows_the_windows_size(keyboard: Keyboard) -> None:
    app = TopApp(keyboard.session, 3600.0, Terminal())

    async def scenario() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            window = app.query_one(Window)

            async def shows(text: str) -> None:
                for _ in range(1000):  # a test that waits in vain ends by its timeout
                    if any(text in line for line in window.text_lines()):
                        return
                    await pilot.pause(0.02)
                pytest.fail(f"{text!r} is not in the window: {window.text_lines()}")

            await shows("next      mysqld[500] dies")
            await pilot.press("down", "enter")
            await shows("nginx[501] lives")
            await pilot.resize_terminal(60, 30)
            await shows("a adjust")
            assert len(window.text_lines()) == 30
            await pilot.press("escape", "slash", *"ngi", "enter", "tab")
            await shows("[2 cgroups]")
            strip = window.render_line(0)
            assert strip.cell_length == 60
            await pilot.press("escape", "q")
        assert keyboard.session.done

    asyncio.run(scenario())
    assert app.fault is None


def test_a_look_that_fails_ends_it_with_the_fault_for_the_command(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(TopApp):
        is_headless = False  # as in a terminal, where no test has to see it

    app = Seen(keyboard.session, 0.01, Terminal())

    def fails() -> None:
        raise OSError(5, "Input/output error", "/proc")

    async def scenario() -> None:
        async with app.run_test():
            monkeypatch.setattr(keyboard.session, "look", fails)
            while app.fault is None:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert isinstance(app.fault, OSError)
