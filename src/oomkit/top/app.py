"""The live view in a terminal: keys in, lines out. What they mean is decided by the session."""

import asyncio
import signal
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from oomkit.render.terminal import in_charset

if TYPE_CHECKING:
    from textual.events import Key

    from oomkit.render.layout import Piece, Terminal
    from oomkit.top.session import Session


class Window(Widget):
    """Lines of pieces, of which only those that changed are drawn again."""

    def __init__(self, session: "Session", terminal: "Terminal") -> None:
        super().__init__()
        self._session = session
        self._terminal = terminal
        self._drawn: list[Strip] = []
        self._named_styles: dict[str, Style] = {"": Style.null()}

    def draw(self) -> None:
        """Show what the session shows now."""
        width, height = self.size
        if width < 1 or height < 1:
            return
        lines = self._session.lines(width, height)
        strips = [self._strip(line, width) for line in lines]
        before, self._drawn = self._drawn, strips
        for y in range(max(len(before), len(strips))):
            if y >= len(before) or y >= len(strips) or before[y] != strips[y]:
                self.refresh(Region(0, y, width, 1))

    def _strip(self, line: "Iterable[Piece]", width: int) -> Strip:
        segments = [
            Segment(
                in_charset(piece.text.replace("\xa0", " "), self._terminal),
                self._style_of(piece.style),
            )
            for piece in line
        ]
        return Strip(segments).simplify().adjust_cell_length(width, Style.null())

    def _style_of(self, name: str) -> Style:
        style = self._named_styles.get(name)
        if style is None:
            style = self._named_styles[name] = Style.parse(name)
        return style

    def on_resize(self) -> None:
        """Lay out for the new size."""
        self.draw()

    def render_line(self, y: int) -> Strip:
        """One line of those that are shown."""
        if y < len(self._drawn):
            return self._drawn[y]
        return Strip.blank(self.size.width, Style.null())

    def text_lines(self) -> Sequence[str]:
        """What is shown, without styles."""
        return [strip.text.rstrip() for strip in self._drawn]


class TopApp(App[None]):
    """The live view.

    Attributes:
        fault: what ended it against the user's will; None: nothing.
    """

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = ""
    CSS: ClassVar[str] = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    Window { height: 100%; width: 100%; background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar = [Binding("ctrl+c,ctrl+q", "quit", priority=True)]

    def __init__(self, session: "Session", interval_s: float, terminal: "Terminal") -> None:
        """Be ready to run.

        Args:
            session: what keys do, and what is shown.
            interval_s: seconds between two looks.
            terminal: what the terminal can do.
        """
        super().__init__(ansi_color=True)
        self.fault: Exception | None = None
        self._session = session
        self._interval_s = interval_s
        self._window = Window(session, terminal)

    def compose(self) -> ComposeResult:
        """The window is all there is."""
        yield self._window

    def on_mount(self) -> None:
        """Begin to look; end as a program does that is asked to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self.exit)
            except (RuntimeError, ValueError):
                break  # not the main thread
        self.set_interval(self._interval_s, self._look)

    def _look(self) -> None:
        self._session.look()
        self._window.draw()

    def on_key(self, event: "Key") -> None:
        """Hand keys to the session, in the order in which they were typed."""
        event.prevent_default()
        self._session.key(event.key, event.character)
        if self._session.done:
            self.exit()
        self._window.draw()

    def _handle_exception(self, error: Exception) -> None:
        """End; the command says why, as it does of every error."""
        if self.fault is None:
            self.fault = error
        if self.is_headless:
            super()._handle_exception(error)  # a test that drives it has to see it
            return
        self._close_messages_no_wait()
