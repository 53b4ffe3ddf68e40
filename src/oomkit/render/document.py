"""What a page or a report shows, on whatever it is shown.

A view turns a record into a :class:`Document`; :mod:`oomkit.render.terminal` prints it in a window,
:mod:`oomkit.render.html` puts it into a page. JSON is made of the record itself: it has numbers
and units where a document has words.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from oomkit.records import Record

if TYPE_CHECKING:
    from oomkit.render.layout import Column, Piece, Terminal


class Text(Record, frozen=True):
    """A paragraph.

    Attributes:
        text: of any length; its own indentation is kept.
        style: how a terminal may show it, in rich's words.
        first: what stands before the first line.
        rest: what stands before the others; None: two spaces more than before the first.
        whole: stays one line, for the terminal to wrap: it can be copied.
    """

    text: str
    style: str = ""
    first: str = ""
    rest: str | None = None
    whole: bool = False


class Field(Record, frozen=True):
    """A name, and beside it texts, each on a line of its own, and perhaps more below them.

    Attributes:
        name: stands beside the first text.
        texts: one or more; control characters in them are escaped where they are shown.
        style: how a terminal may show them.
        mark: stands before each text, as of a list.
        parts: tables, bars and texts that belong to it.
        styles: of the texts one by one, where they differ.
    """

    name: str
    texts: Sequence[str]
    style: str = ""
    mark: str = ""
    parts: Sequence["Part"] = ()
    styles: Sequence[str] = ()


class Table(Record, frozen=True, kw_only=True):
    """A table, laid out for the width there is.

    Attributes:
        columns: from the left to the right.
        styles: of the rows; shorter than the rows: the others have none.
        notes: columns of text; those for which there is no room stand below each row.
        last: text that is shortened to the room there is, behind the row or below it.
        indent: number of the column under which what stands below a row begins.
        gap: cells between two columns.
        leads: cells before each line; the next is tried where columns have to be left out.
        heading_style: of the headings.
        elsewhere: where columns that had no room are to be found.
        note_style: of the line that names them.
        marks: what is said of some rows, such as ``killed``; empty for the others.
        bars: on a page, a bar beside each row: parts of it as shares of 0..1, with their colours.
        bars_heading: what the bars show.
    """

    columns: Sequence["Column"]
    styles: Sequence[str] = ()
    notes: Sequence["Column"] = ()
    last: "Column | None" = None
    indent: int = 0
    gap: int = 2
    leads: Sequence[int] = (0,)
    heading_style: str = "bold"
    elsewhere: str = "a wider window shows them"
    note_style: str = "dim"
    marks: Sequence[str] = ()
    bars: Sequence[Sequence[tuple[float, str]]] = ()
    bars_heading: str = ""


class Bar(Record, frozen=True, kw_only=True):
    """A row of :class:`Bars`.

    Attributes:
        label: what it shows.
        size: how much that is; any unit.
        whole: what the size is part of, in the same unit.
        text: the size in words.
        more: more words, left out where the window is narrow.
        style: how a terminal may show it.
        colour: of the bar on a page.
        drawn: it has a bar; else its share is only said.
        apart: it is part of something else than the others are.
    """

    label: str
    size: int
    whole: int
    text: str
    more: str = ""
    style: str = ""
    colour: str = ""
    drawn: bool = True
    apart: bool = False


class Bars(Record, frozen=True):
    """Parts of a whole as bars: one below the other in a window, end to end on a page."""

    rows: Sequence[Bar]


class Gauge(Record, frozen=True, kw_only=True):
    """One bar in brackets with words behind it.

    Attributes:
        share: 0..1, how full it is.
        text: the words.
        first: what stands before it.
        cells: its length where there is room.
        least: its minimum length.
        room: cells that the words may need.
        plain: drawn with ASCII characters in any window.
    """

    share: float
    text: str
    first: str = ""
    cells: int = 24
    least: int = 4
    room: int = 41
    plain: bool = False


class Command(Record, frozen=True):
    """A line to type, below a comment that says how long it lasts; both can be pasted.

    One too long for the window continues after a backslash; a word is never broken.

    Attributes:
        words: of the line, quoted for a shell.
        lasts: how long what it does lasts.
        indent: cells before it.
    """

    words: Sequence[str]
    lasts: str
    indent: int = 2


class Drawing(Record, frozen=True):
    """A picture of characters, drawn for the window; a page has charts in its place."""

    draw: Callable[["Terminal"], Iterable[Sequence["Piece"]]]


Part = Text | Field | Table | Bars | Gauge | Command | Drawing


class Document:
    """One thing that is shown: a headline, and its parts in their order.

    Attributes:
        headline: what it is, if it has one; the parts begin with it.
        parts: all that is shown.
    """

    def __init__(self, headline: Text | None = None) -> None:
        self.headline = headline
        self.parts: list[Part] = [] if headline is None else [headline]

    def text(self, text: str, style: str = "", *, first: str = "", rest: str | None = None) -> None:
        """Add a paragraph; see :class:`Text`."""
        self.parts.append(Text(text, style, first, rest))

    def line(self, text: str = "", style: str = "") -> None:
        """Add a line that is never broken, or an empty one."""
        self.parts.append(Text(text, style, whole=True))

    def field(
        self,
        name: str,
        texts: Sequence[str],
        style: str = "",
        *,
        mark: str = "",
        parts: Sequence[Part] = (),
        styles: Sequence[str] = (),
    ) -> None:
        """Add a field, if there is anything to say; see :class:`Field`."""
        if texts:
            self.parts.append(Field(name, texts, style, mark, parts, styles))

    def add(self, *parts: Part) -> None:
        """Add parts that were made elsewhere."""
        self.parts.extend(parts)

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts."""
        return iter(self.parts)
