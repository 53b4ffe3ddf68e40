"""How one process's memory and progress went through a run, and decimals of samples."""

from typing import Final

from oomkit.model.tasks import PAGE, Proc

MB: Final = 2**20 / PAGE
"""Pages of one."""

_A_PAGE_MB: Final = 1.0 / MB

_TO_WHOLE: Final = 1.5 * 2.0**52
"""Added to a number and taken off again it leaves the nearest whole one."""

_EXACT: Final = 1e12
"""Up to this a product is off by less than 0.001."""

_SURE: Final = 0.499

_NO_PIECE: Final = 2**60
"""No piece has so high a number."""

Values = tuple[float, float, float]


class Piece:
    """A process's rss and swap, pages, and its progress at the begin and the end of a piece.

    After it they stay what they are at its end, until the curve's next piece.
    """

    __slots__ = ("done_0", "done_1", "number", "rss_0", "rss_1", "swap_0", "swap_1")

    def __init__(
        self,
        number: int,
        rss_0: float, swap_0: float, done_0: float,
        rss_1: float, swap_1: float, done_1: float,
    ) -> None:  # fmt: skip
        self.number = number
        self.rss_0 = rss_0
        self.swap_0 = swap_0
        self.done_0 = done_0
        self.rss_1 = rss_1
        self.swap_1 = swap_1
        self.done_1 = done_1


class Curve:
    """What is known of one process from its start on: its values around each piece of the run.

    Attributes:
        proc: the process.
        first: number of the run's first sample after its start.
        total_s: seconds that its steps take on an idle machine.
        before: its rss and swap, pages, and its progress where the present piece begins.
        pieces: the pieces in which one of these changed, or that begin otherwise than the last
            of them ended.
    """

    __slots__ = ("before", "first", "pieces", "proc", "total_s")

    def __init__(self, proc: Proc, first: int, total_s: float) -> None:
        self.proc = proc
        self.first = first
        self.total_s = total_s
        self.before: Values = (0.0, 0.0, 0.0)
        self.pieces: list[Piece] = []

    def add(self, number: int, after: Values) -> None:
        """Note what it is like at the end of a piece; :attr:`before` is what it was before."""
        rss_0, swap_0, done_0 = self.before
        rss_1, swap_1, done_1 = after
        if self.pieces and rss_0 == rss_1 and swap_0 == swap_1 and done_0 == done_1:
            last = self.pieces[-1]
            if last.rss_1 == rss_0 and last.swap_1 == swap_0 and last.done_1 == done_0:
                return
        self.pieces.append(Piece(number, rss_0, swap_0, done_0, rss_1, swap_1, done_1))

    def drop(self, number: int) -> None:
        """Forget a piece, if it is the last."""
        if self.pieces and self.pieces[-1].number == number:
            self.pieces.pop()

    def keep(self, left: list[int]) -> None:
        """Forget the pieces that say nothing of those that are left."""
        at = 0
        kept = []
        for i, piece in enumerate(self.pieces):
            while at < len(left) and left[at] < piece.number:
                at += 1
            following = self.pieces[i + 1].number if i + 1 < len(self.pieces) else _NO_PIECE
            if at < len(left) and left[at] < following:
                kept.append(piece)
        self.pieces = kept

    def columns(self, parts: dict[int, tuple[int, list[float]]], count: int) -> list[list[float]]:
        """Its rss and swap, MB, and its progress.

        Args:
            parts: by piece, in their order, the number of the first of its samples, and the share
                of the piece that was over at each.
            count: the number of all samples.
        """
        rss: list[float] = []
        swap: list[float] = []
        progress: list[float] = []
        pieces = self.pieces
        following = 0
        piece: Piece | None = None
        for number, (at, shares) in parts.items():
            while following < len(pieces) and pieces[following].number <= number:
                piece = pieces[following]
                following += 1
            if at < self.first or piece is None:
                continue
            if len(rss) < at:
                for column in (rss, swap, progress):
                    column.extend([0.0] * (at - len(column)))
            if piece.number == number:
                _extend(rss, piece.rss_0 * _A_PAGE_MB, piece.rss_1 * _A_PAGE_MB, shares, 3)
                _extend(swap, piece.swap_0 * _A_PAGE_MB, piece.swap_1 * _A_PAGE_MB, shares, 3)
                _extend(progress, piece.done_0, piece.done_1, shares, 4)
                continue
            _extend(rss, piece.rss_1 * _A_PAGE_MB, piece.rss_1 * _A_PAGE_MB, shares, 3)
            _extend(swap, piece.swap_1 * _A_PAGE_MB, piece.swap_1 * _A_PAGE_MB, shares, 3)
            _extend(progress, piece.done_1, piece.done_1, shares, 4)
        for column in (rss, swap, progress):
            column.extend([0.0] * (count - len(column)))
        return [rss, swap, progress]


def _extend(column: list[float], start: float, end: float, parts: list[float], digits: int) -> None:
    """Add to a column what lies between two values."""
    if start == end:
        # Most tasks stand still most of the time, and many have nothing in swap.
        value = rounded(start, digits) if start > 0.0 else 0.0
        if len(parts) == 1:
            column.append(value)
        else:
            column.extend([value] * len(parts))
        return
    change = end - start
    for part in parts:
        value = start + change * part
        column.append(rounded(value, digits) if value > 0.0 else 0.0)


def rounded(value: float, digits: int) -> float:
    """What ``round()`` returns, which finds the nearest decimal by writing it out.

    Far enough from the middle between two decimals the nearest one is known, and a division
    of whole numbers rounds once, as reading the decimal does.
    """
    if value == 0.0:
        return value
    scale = 1.0
    for _ in range(digits):
        scale *= 10.0
    wanted = value * scale
    if 0.0 < wanted < _EXACT:
        whole = (wanted + _TO_WHOLE) - _TO_WHOLE
        off = wanted - whole
        if -_SURE < off < _SURE:
            return whole / scale
    return round(value, digits)
