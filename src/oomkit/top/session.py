"""What keys do in the live view, and which lines are shown then; knows no terminal."""

from collections.abc import Iterable

from oomkit.posture.whatif import SetError
from oomkit.printable import printable
from oomkit.records import replace
from oomkit.render.document import Document, Part, Text
from oomkit.render.layout import Piece, Terminal
from oomkit.render.terminal import laid_out
from oomkit.top.adjust import AdjustError, Adjustment
from oomkit.top.monitor import Look, Monitor
from oomkit.top.page import (
    Page,
    adjust_document,
    cgroup_document,
    fitted,
    folded,
    laid_out_page,
    process_document,
    task_of,
)
from oomkit.top.rows import TABS, Shown

_MAX_TYPED = 100
_ADJ_RANGES = {"oom_score_adj": "-1000 to 1000", "oom_adj": "-17 to 15"}
_MOVES = {
    "up": -1, "k": -1, "down": 1, "j": 1, "pageup": -10, "pagedown": 10,
    "home": -1_000_000, "end": 1_000_000,
}  # fmt: skip

Lines = list[list[Piece]]


class Session:
    """The live view from its first look to its end.

    Attributes:
        monitor: looks at the machine.
        last: the last look.
        screens: what is open, the last one in front.
        done: the user has ended it.
    """

    def __init__(self, monitor: Monitor, terminal: Terminal) -> None:
        """Begin with a look.

        Args:
            monitor: looks at the machine.
            terminal: what the terminal can do; how wide it is is asked for anew each time.

        Raises:
            OSError: the proc file system can't be read.
        """
        self.monitor = monitor
        self.last: Look = monitor.look()
        self._terminal = terminal
        self._table = TableScreen(self)
        self.screens: list[Screen] = [self._table]
        self.done = False

    def look(self, *, whole: bool = False) -> None:
        """Look at the machine; see :meth:`oomkit.top.monitor.Monitor.look`."""
        page = self._table.page
        shown = () if page is None else page.visible
        pids = [key for key in shown if isinstance(key, int)]
        self.last = self.monitor.look(whole=whole, pids=pids)

    def key(self, key: str, character: str | None = None) -> None:
        """Do what a key stands for.

        Args:
            key: its name: ``a``, ``up``, ``enter``, ``slash``.
            character: what it types; None: nothing.
        """
        self.screens[-1].key(key, character)

    def lines(self, width: int, height: int) -> Lines:
        """The lines of a window, no wider and no more than it has."""
        window = replace(self._terminal, width=max(width, 1))
        lines = self.screens[-1].lines(window, max(height, 1))
        return [fitted(line, window.width) for line in lines[:height]]

    def back(self) -> None:
        """Close what is in front."""
        if len(self.screens) > 1:
            self.screens.pop().close()

    def close(self) -> None:
        """End."""
        while len(self.screens) > 1:
            self.back()
        self.done = True


class Screen:
    """One thing that is shown, with keys of its own."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def key(self, key: str, character: str | None) -> None:
        """Do what a key stands for."""
        raise NotImplementedError

    def lines(self, window: Terminal, height: int) -> Lines:
        """The lines that are shown."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what it holds."""


class TypedLine:
    """A line that is being typed.

    Attributes:
        text: what has been typed so far.
    """

    def __init__(self) -> None:
        self.text = ""

    def key(self, key: str, character: str | None) -> None:
        """Take a key."""
        if key == "backspace":
            self.text = self.text[:-1]
        elif key == "ctrl+u":
            self.text = ""
        elif character is not None and character.isprintable() and len(self.text) < _MAX_TYPED:
            self.text += character


class TableScreen(Screen):
    """What matters above, a table below.

    Attributes:
        shown: what the user wants to see.
        page: what was shown last.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.shown = Shown()
        self.page: Page | None = None
        self._typed: TypedLine | None = None

    def key(self, key: str, character: str | None) -> None:
        """Move the cursor, sort, filter, or open what is under the cursor."""
        if self._typed is not None:
            self._type(self._typed, key, character)
            return
        shown, session = self.shown, self.session
        if key in _MOVES:
            self._move(_MOVES[key])
        elif key in ("tab", "shift+tab"):
            step = 1 if key == "tab" else -1
            shown.show(TABS[(TABS.index(shown.tab) + step) % len(TABS)])
        elif key in ("1", "2", "3"):
            shown.show(TABS[int(key) - 1])
        elif key == "s":
            shown.next_sort()
        elif key == "r":
            shown.reverse = not shown.reverse
        elif key == "slash":
            self._typed = TypedLine()
            shown.filter = ""
        elif key == "escape":
            shown.filter = ""
        elif key == "space":
            session.look(whole=True)
        elif key == "q":
            session.close()
        else:
            self._open(key)

    def _type(self, typed: TypedLine, key: str, character: str | None) -> None:
        if key in ("enter", "escape"):
            self._typed = None
            typed.text = typed.text if key == "enter" else ""
        else:
            typed.key(key, character)
        self.shown.filter, self.shown.first = typed.text.strip(), 0

    def _open(self, key: str) -> None:
        session, tab, chosen = self.session, self.shown.tab, self._chosen()
        if chosen is None or tab == "guard":
            return
        if key == "enter":
            session.screens.append(DetailScreen(session, chosen))
        elif key == "a" and isinstance(chosen, int):
            session.screens.append(AdjustScreen(session, chosen))

    def _keys(self) -> list[int | str]:
        """What the rows are about, by what has been asked for since they were shown."""
        self.page = laid_out_page(
            self.session.last, self.shown, self.session.monitor.rules, Terminal(), 1
        ) if self.page is None else self.page  # fmt: skip
        return list(self.page.keys)

    def _move(self, rows: int) -> None:
        keys = self._keys()
        if keys:
            chosen = self.shown.chosen
            at = keys.index(chosen) if chosen in keys else 0
            self.shown.chosen = keys[min(max(at + rows, 0), len(keys) - 1)]

    def _chosen(self) -> int | str | None:
        keys = self._keys()
        return (self.shown.chosen if self.shown.chosen in keys else keys[0]) if keys else None

    def lines(self, window: Terminal, height: int) -> Lines:
        """The page; while a filter is typed, the line for that below it."""
        below: Lines = []
        if self._typed is not None:
            text = printable(f"filter: {self._typed.text}_")
            below = [[Piece(text, "bold"), Piece("  enter keeps, esc clears", "dim")]]
        last, rules = self.session.last, self.session.monitor.rules
        room = max(height - len(below), 1)
        self.page = laid_out_page(last, self.shown, rules, window, room)
        return [*self.page.lines, *below]


class DetailScreen(Screen):
    """One process or one cgroup, as ``rank --why`` and ``cgroup`` print it."""

    def __init__(self, session: Session, about: int | str) -> None:
        super().__init__(session)
        self._about = about
        self._first = 0
        self._command: str | None = None
        if isinstance(about, int):
            self._command = session.monitor.command_line(session.last, about)

    def key(self, key: str, character: str | None) -> None:
        """Scroll, go back, or change the adjustment."""
        if key in _MOVES:
            self._first = max(0, self._first + _MOVES[key])
        elif key == "space":
            self._first += _MOVES["pagedown"]
        elif key in ("escape", "enter", "backspace", "q"):
            self.session.back()
        elif key == "a" and isinstance(self._about, int):
            self.session.screens.append(AdjustScreen(self.session, self._about))

    def lines(self, window: Terminal, height: int) -> Lines:
        """A part of the document, and which one."""
        made = _laid_out(self._document(), window)
        room = max(height - 1, 1)
        self._first = max(0, min(self._first, len(made) - room))
        shown = made[self._first : self._first + room]
        shown += [[]] * (room - len(shown))
        seen = f"lines {self._first + 1}-{min(self._first + room, len(made))} of {len(made)}"
        adjust = "  a adjust" if isinstance(self._about, int) else ""
        return [*shown, [Piece(f"{seen}  esc back{adjust}", "dim")]]

    def _document(self) -> Document:
        session, about = self.session, self._about
        if isinstance(about, int):
            return process_document(session.last, about, session.monitor.rules, self._command)
        return cgroup_document(session.last, about, session.monitor.group(session.last, about))


class AdjustScreen(Screen):
    """Asks for an adjustment, shows which process dies then, and sets it once that is confirmed."""

    def __init__(self, session: Session, pid: int) -> None:
        super().__init__(session)
        self._pid = pid
        self._typed = TypedLine()
        self._asked = False
        self._error = ""
        self._adjustment: Adjustment | None = None
        rules = session.monitor.rules
        self._key = "oom_adj" if rules.adj_files == "oom_adj" else "oom_score_adj"
        task = task_of(session.last.snapshot, pid)
        try:
            if task is None:
                raise AdjustError(f"process {pid} has exited")
            self._adjustment = Adjustment(task, self._key, session.monitor.scanner.proc_root)
        except AdjustError as error:
            self._error = str(error)

    def close(self) -> None:
        """Let go of the process."""
        if self._adjustment is not None:
            self._adjustment.close()

    def key(self, key: str, character: str | None) -> None:
        """Type a value, confirm it, or leave all as it is."""
        if key == "escape" or self._error:
            self.session.back()
        elif self._asked:
            if key == "y":
                self._set()
            elif key == "n":
                self.session.back()
        elif key == "enter":
            self._asked = self._preview() is not None
        else:
            self._typed.key(key, character)

    def _set(self) -> None:
        assert self._adjustment is not None
        try:
            self._adjustment.write(int(self._typed.text))
        except AdjustError as error:
            self._error = str(error)
            return
        self.session.back()
        self.session.look(whole=True)

    def _preview(self) -> Document | None:
        """What comes of the value; None where it is none that can be set."""
        try:
            return self._document()
        except (SetError, ValueError):
            return None

    def _document(self) -> Document:
        session = self.session
        value = int(self._typed.text)
        return adjust_document(session.last, self._pid, value, session.monitor.rules, self._key)

    def lines(self, window: Terminal, height: int) -> Lines:
        """The value, and which process dies with it."""
        made = _laid_out(self._parts(), window)
        if len(made) <= height:
            return made
        sign = f"({len(made) - height + 1} more lines in a higher window)"
        return [*made[: height - 1], [Piece(sign, "dim")]]

    def _parts(self) -> Iterable[Part]:
        if self._adjustment is None or self._error:
            return [Text(printable(self._error), "bold"), Text("any key: back", "dim")]
        task = self._adjustment.task
        name = printable(f"{self._key} of {task.comm}[{task.pid}]")
        head = [
            Text(f"{name}: now {self._now()}, from {_ADJ_RANGES[self._key]}"),
            Text(printable(f"new value: {self._typed.text}{'' if self._asked else '_'}"), "bold"),
        ]
        leave = "esc leaves all as it is"
        try:
            preview = self._document()
        except SetError as error:
            return [*head, Text(printable(str(error)), "bold red"), Text(leave, "dim")]
        except ValueError:
            return [*head, Text(f"type a whole number; {leave}", "dim")]
        question = Text(f"enter goes on, {leave}", "dim")
        if self._asked:
            question = Text(f"set {name} to {int(self._typed.text)}? y: yes, n: no", "bold reverse")
        return [*head, question, Text(""), *preview]

    def _now(self) -> int:
        assert self._adjustment is not None
        task = task_of(self.session.last.snapshot, self._pid) or self._adjustment.task
        old = task.oom_adj if self._key == "oom_adj" else None
        return task.oom_score_adj if old is None else old


def _laid_out(document: Iterable[Part], window: Terminal) -> Lines:
    return [part for line in laid_out(document, window) for part in folded(line, window.width)]
