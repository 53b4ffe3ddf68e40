"""The live view in a terminal: keys in, lines out. What is in the lines is not decided here."""

import asyncio
import gc
import signal
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from oomkit.posture.whatif import SetError
from oomkit.printable import printable
from oomkit.records import replace
from oomkit.render.document import Document, Part, Text
from oomkit.render.layout import Piece, Terminal
from oomkit.render.terminal import in_charset, laid_out
from oomkit.top.adjust import AdjustError, Adjustment
from oomkit.top.documents import adjust_document, cgroup_document, process_document, task_of
from oomkit.top.page import TABS, Page, Shown, folded, laid_out_page

if TYPE_CHECKING:
    from oomkit.top.monitor import Look, Monitor

_HELD = 100_000
"""Objects made between two collections of garbage: what a look leaves behind has no cycles."""
_ADJ_RANGES = {"oom_score_adj": "-1000 to 1000", "oom_adj": "-17 to 15"}


class Lines(Widget):
    """Lines of pieces, of which only those that changed are drawn again."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id)
        self._strips: list[Strip] = []
        self._styles: dict[str, Style] = {"": Style.null()}

    def show(self, lines: Sequence[Sequence[Piece]], terminal: Terminal) -> None:
        """Show these lines."""
        width = max(self.size.width, 1)
        strips = [self._strip(line, terminal, width) for line in lines]
        before, self._strips = self._strips, strips
        for y in range(max(len(before), len(strips))):
            if y >= len(before) or y >= len(strips) or before[y] != strips[y]:
                self.refresh(Region(0, y, width, 1))

    def _strip(self, line: Iterable[Piece], terminal: Terminal, width: int) -> Strip:
        segments = [
            Segment(in_charset(piece.text.replace("\xa0", " "), terminal), self._style(piece.style))
            for piece in line
        ]
        return Strip(segments).adjust_cell_length(width, Style.null())

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = Style.parse(name)
        return style

    def render_line(self, y: int) -> Strip:
        """One line of those that are shown."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, Style.null())


class TopApp(App[None]):
    """The live view.

    Attributes:
        fault: what ended it against the user's will; None: nothing.
        monitor: looks at the machine.
        last: the last look.
        terminal: what the user's terminal can do; its width follows the window's.
    """

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = ""
    CSS: ClassVar[str] = """
    Screen { background: ansi_default; color: ansi_default; layout: vertical; }
    Lines { height: 1fr; width: 100%; background: ansi_default; color: ansi_default; }
    Input { height: 1; border: none; padding: 0; background: ansi_default; color: ansi_default; }
    Input:focus { border: none; }
    #filter { dock: bottom; display: none; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "quit", priority=False),
        Binding("ctrl+c,ctrl+q", "quit", priority=True),
    ]

    def __init__(self, monitor: "Monitor", first: "Look", interval_s: float, terminal: Terminal):
        """Be ready to run.

        Args:
            monitor: looks at the machine.
            first: what it found already.
            interval_s: seconds between two looks.
            terminal: what the terminal can do.
        """
        super().__init__(ansi_color=True)
        self.monitor = monitor
        self.last = first
        self.terminal = terminal
        self.fault: Exception | None = None
        self._interval_s = interval_s

    def get_default_screen(self) -> Screen[None]:
        """The page is the first screen, and the last."""
        return TableScreen()

    def on_mount(self) -> None:
        """Begin to look; end as a program does that is asked to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self.exit)
            except (RuntimeError, ValueError):
                break  # not the main thread, as in tests
        self.set_interval(self._interval_s, self.look)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_HELD)

    def look(self, *, whole: bool = False) -> None:
        """Look at the machine, and have the screens show it."""
        pids = [key for key in self.in_window if isinstance(key, int)]
        self.last = self.monitor.look(whole=whole, pids=pids)
        for screen in self.screen_stack:
            if isinstance(screen, _Shows):
                screen.update()

    @property
    def in_window(self) -> Sequence[int | str]:
        """What the rows in the window are about."""
        table = self.screen_stack[0]
        return table.page.visible if isinstance(table, TableScreen) and table.page else ()

    def window(self) -> Terminal:
        """The terminal as wide as the window is now."""
        return replace(self.terminal, width=max(self.size.width, 1))

    def _handle_exception(self, error: Exception) -> None:
        """End; the command says why, as it does of every error."""
        if self.fault is None:
            self.fault = error
        if self.is_headless:
            super()._handle_exception(error)  # where a test drives, it has to see it
            return
        self._close_messages_no_wait()


class _Shows(Screen[None]):
    """A screen that shows what each look finds."""

    app: TopApp

    def update(self) -> None:
        """Show the last look."""
        raise NotImplementedError

    def on_resize(self) -> None:
        """Lay out again for the new width."""
        self.call_after_refresh(self.update)


class TableScreen(_Shows):
    """The page: what matters above, a table below.

    Attributes:
        shown: what the user wants to see.
        page: what is in the window.
    """

    BINDINGS: ClassVar = [
        *(Binding(str(i), f"tab('{tab}')") for i, tab in enumerate(TABS, 1)),
        Binding("tab", "next_tab(1)", priority=True),
        Binding("shift+tab", "next_tab(-1)", priority=True),
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "move(-10)"),
        Binding("pagedown", "move(10)"),
        Binding("home", "move(-1000)"),
        Binding("end", "move(1000)"),
        Binding("s", "sort"),
        Binding("r", "reverse"),
        Binding("slash", "filter"),
        Binding("escape", "clear"),
        Binding("enter", "see"),
        Binding("a", "adjust"),
        Binding("space", "look_now"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.shown = Shown()
        self.page: Page | None = None

    def compose(self) -> ComposeResult:
        """The page, and the line in which a filter is typed."""
        yield Lines(id="page")
        yield Input(id="filter", placeholder="name, user, cgroup or pid; enter keeps, esc clears")

    def update(self) -> None:
        """Lay the page out and show it."""
        app, lines = self.app, self.query_one(Lines)
        height = lines.size.height
        if height < 1:
            return
        page = laid_out_page(app.last, self.shown, app.monitor.rules, app.window(), height)
        self.page = page
        lines.show(page.lines, app.terminal)

    def action_tab(self, tab: str) -> None:
        """Show a table."""
        self.shown.show(next(one for one in TABS if one == tab))
        self.update()

    def action_next_tab(self, step: int) -> None:
        """Show the table beside this one."""
        self.action_tab(TABS[(TABS.index(self.shown.tab) + step) % len(TABS)])

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        keys = self.page.keys if self.page is not None else ()
        if keys:
            chosen = self.shown.chosen
            at = keys.index(chosen) if chosen in keys else 0
            self.shown.chosen = keys[min(max(at + rows, 0), len(keys) - 1)]
        self.update()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.shown.next_sort()
        self.update()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.shown.reverse = not self.shown.reverse
        self.update()

    def action_filter(self) -> None:
        """Have a filter typed."""
        line = self.query_one(Input)
        line.display = True
        line.focus()
        self.call_after_refresh(self.update)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what has been typed so far."""
        self.shown.filter, self.shown.first = event.value.strip(), 0
        self.update()

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._end_typing()

    def _end_typing(self) -> None:
        line = self.query_one(Input)
        line.display = False
        self.set_focus(None)
        self.call_after_refresh(self.update)

    def action_clear(self) -> None:
        """Show all again."""
        self.query_one(Input).value = ""
        self._end_typing()

    def action_look_now(self) -> None:
        """Look at the whole machine."""
        self.app.look(whole=True)

    def action_see(self) -> None:
        """See one process or cgroup."""
        chosen = self._chosen()
        if chosen is not None and self.shown.tab != "guard":
            self.app.push_screen(DetailScreen(chosen))

    def action_adjust(self) -> None:
        """Change the adjustment of the process under the cursor."""
        chosen = self._chosen()
        if isinstance(chosen, int) and self.shown.tab == "processes":
            self.app.push_screen(AdjustScreen(chosen))

    def _chosen(self) -> int | str | None:
        keys = self.page.keys if self.page is not None else ()
        return (self.shown.chosen or keys[0]) if keys else None


class DetailScreen(_Shows):
    """One process or one cgroup, as ``rank --why`` and ``cgroup`` print it."""

    BINDINGS: ClassVar = [
        Binding("escape,enter,backspace", "app.pop_screen"),
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "move(-10)"),
        Binding("pagedown,space", "move(10)"),
        Binding("home", "move(-100000)"),
        Binding("end", "move(100000)"),
        Binding("a", "adjust"),
    ]

    def __init__(self, about: int | str) -> None:
        super().__init__()
        self._about = about
        self._first = 0
        self._command: str | None = None

    def compose(self) -> ComposeResult:
        """Lines alone."""
        yield Lines()

    def on_mount(self) -> None:
        """Read what does not change."""
        if isinstance(self._about, int):
            self._command = self.app.monitor.command_line(self.app.last, self._about)

    def update(self) -> None:
        """Show what the last look says of it."""
        app, lines = self.app, self.query_one(Lines)
        window, height = app.window(), lines.size.height
        if height < 2:
            return
        made = _lines(self._document(), window)
        room = height - 1
        self._first = max(0, min(self._first, len(made) - room))
        shown = made[self._first : self._first + room]
        shown += [[]] * (room - len(shown))
        seen = f"lines {self._first + 1}-{min(self._first + room, len(made))} of {len(made)}"
        adjust = "  a adjust" if isinstance(self._about, int) else ""
        keys = f"{seen}  esc back{adjust}"
        lines.show([*shown, folded([Piece(keys, "dim")], window.width)[0]], app.terminal)

    def _document(self) -> Document:
        app, about = self.app, self._about
        if isinstance(about, int):
            return process_document(app.last, about, app.monitor.rules, self._command)
        return cgroup_document(app.last, about, app.monitor.group(app.last, about))

    def action_move(self, lines: int) -> None:
        """Scroll."""
        self._first += lines
        self.update()

    def action_adjust(self) -> None:
        """Change the adjustment of this process."""
        if isinstance(self._about, int):
            self.app.push_screen(AdjustScreen(self._about))


class AdjustScreen(_Shows):
    """Asks for an adjustment, shows which process dies then, and sets it once that is confirmed."""

    BINDINGS: ClassVar = [
        Binding("escape", "leave", priority=True),
        Binding("y", "confirm"),
        Binding("n", "leave"),
    ]

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._held: Adjustment | None = None
        self._value: int | None = None
        self._asked = False
        self._said = ""

    @property
    def _key(self) -> str:
        return "oom_adj" if self.app.monitor.rules.adj_files == "oom_adj" else "oom_score_adj"

    def compose(self) -> ComposeResult:
        """What it is about, and the line in which the value is typed."""
        yield Vertical(Lines(), Input(id="value", placeholder=_ADJ_RANGES[self._key]))

    def on_mount(self) -> None:
        """Take hold of the process, so that no later one with its pid can be changed."""
        task = task_of(self.app.last.snapshot, self._pid)
        try:
            if task is None:
                raise AdjustError(f"process {self._pid} has exited")
            self._held = Adjustment(task, self._key, self.app.monitor.scanner.proc_root)
        except AdjustError as error:
            self._end(str(error))
            return
        self.query_one(Input).focus()

    def on_unmount(self) -> None:
        """Let go of the process."""
        if self._held is not None:
            self._held.close()

    def _end(self, text: str) -> None:
        """Say how it ended; any key but y leaves."""
        self._said, self._asked = text, False
        self.query_one(Input).display = False
        self.set_focus(None)
        self.call_after_refresh(self.update)

    def update(self) -> None:
        """Show the value, and which process dies with it."""
        app, lines = self.app, self.query_one(Lines)
        window = app.window()
        lines.show(_lines(self._parts(), window)[: max(lines.size.height, 1)], app.terminal)

    def _parts(self) -> Iterable[Part]:
        if self._said:
            return [Text(printable(self._said), "bold"), Text("esc: back", "dim")]
        assert self._held is not None
        task = self._held.task
        name = f"{self._key} of {task.comm}[{task.pid}]"
        heading = Text(printable(f"{name}: now {self._now()}, from {_ADJ_RANGES[self._key]}"))
        if self._value is None:
            return [heading, Text("type a value; enter goes on, esc leaves all as it is", "dim")]
        try:
            preview = adjust_document(
                self.app.last, self._pid, self._value, self.app.monitor.rules, self._key
            )
        except SetError as error:
            self._value = None
            return [heading, Text(printable(str(error)), "bold red")]
        question = (
            Text(printable(f"set {name} to {self._value}? y: yes, n: no"), "bold reverse")
            if self._asked
            else Text("enter goes on, esc leaves all as it is", "dim")
        )
        return [heading, question, Text(""), *preview]

    def _now(self) -> int:
        task = task_of(self.app.last.snapshot, self._pid)
        if task is None:
            assert self._held is not None
            task = self._held.task
        old = task.oom_adj if self._key == "oom_adj" else None
        return task.oom_score_adj if old is None else old

    def on_input_changed(self, event: Input.Changed) -> None:
        """Preview what has been typed so far."""
        try:
            self._value = int(event.value)
        except ValueError:
            self._value = None
        self.update()

    def on_input_submitted(self) -> None:
        """Ask whether it is meant, if there is something to ask about."""
        self.update()
        if self._value is None:
            return
        self._asked = True
        self.query_one(Input).display = False
        self.set_focus(None)
        self.call_after_refresh(self.update)

    def action_confirm(self) -> None:
        """Set it."""
        if not self._asked or self._held is None or self._value is None:
            return
        try:
            self._held.write(self._value)
        except AdjustError as error:
            self._end(str(error))
            return
        self.app.pop_screen()
        self.app.look(whole=True)

    def action_leave(self) -> None:
        """Leave all as it is."""
        self.app.pop_screen()


def _lines(document: Iterable[Part], window: Terminal) -> list[list[Piece]]:
    return [part for line in laid_out(document, window) for part in folded(line, window.width)]
