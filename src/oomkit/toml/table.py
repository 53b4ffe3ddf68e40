"""Reading a table key by key while collecting every fault instead of stopping at the first."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from oomkit.errors import OomkitError
from oomkit.printable import printable
from oomkit.records import Record

T = TypeVar("T")
D = TypeVar("D")


class Fault(Record, frozen=True, kw_only=True):
    """One thing that is wrong with a file.

    Attributes:
        path: the key's path, such as ``task[2].steps[0].rate``; empty for the whole file.
        expected: what should stand there.
    """

    path: str
    expected: str


class TomlError(OomkitError, ValueError):
    """A file that can't be used; ``faults`` lists everything that is wrong with it."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a fault: file, place, what was expected; free of control characters."""
        return [
            printable(": ".join(filter(None, (self.source, f.path, f.expected))))
            for f in self.faults
        ]


def shown(value: Any) -> str:
    """A value as a fault quotes it, short."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class Table:
    """A TOML table whose keys are taken one by one; what is left over is a fault."""

    def __init__(self, raw: Any, path: str, faults: list[Fault]) -> None:
        self.path = path
        self.faults = faults
        self._known: list[str] = []
        if isinstance(raw, dict):
            self.raw: dict[str, Any] = raw
        else:
            self.raw = {}
            self.fault("", f"expected a table, not {shown(raw)}")

    def at(self, key: str) -> str:
        """The path of one of its keys."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def fault(self, key: str, expected: str) -> None:
        """Note a fault at a key."""
        self.faults.append(Fault(path=self.at(key), expected=expected))

    def take(self, key: str, parse: Callable[[Any], T], default: D) -> T | D:
        """The parsed value of a key, or ``default`` where it is missing or wrong."""
        self._known.append(key)
        if key not in self.raw:
            return default
        try:
            return parse(self.raw[key])
        except ValueError as error:
            self.fault(key, f"expected {error}, not {shown(self.raw[key])}")
            return default

    def require(self, key: str, parse: Callable[[Any], T], default: D) -> T | D:
        """The same for a key that must be there."""
        if key not in self.raw:
            self._known.append(key)
            self.fault(key, "is missing")
            return default
        return self.take(key, parse, default)

    def flag(self, key: str) -> bool:
        """A key that is ``true`` or ``false``, false where it is missing."""
        return bool(self.take(key, flag, None))

    def tables(self, key: str) -> list["Table"]:
        """The tables of an array of tables."""
        self._known.append(key)
        value = self.raw.get(key, [])
        if not isinstance(value, list):
            self.fault(key, f"expected a list of tables ([[{key}]]), not {shown(value)}")
            return []
        return [Table(raw, f"{self.at(key)}[{i}]", self.faults) for i, raw in enumerate(value)]

    def table(self, key: str) -> "Table":
        """A table inside it, empty where it is missing."""
        self._known.append(key)
        return Table(self.raw.get(key, {}), self.at(key), self.faults)

    def done(self) -> None:
        """Refuse the keys that were not read."""
        for key in self.raw:
            if key in self._known:
                continue
            close = difflib.get_close_matches(key, self._known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(self._known)}"
            self.fault(key, f"unknown key; {hint}")


def text(value: Any) -> str:
    """A name or sentence.

    Raises:
        ValueError: not a string, empty, or with control characters.
    """
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a text without control characters")
    return value


def name(value: Any) -> str:
    """A name that can stand in a path of keys.

    Raises:
        ValueError: not such a name.
    """
    word = text(value)
    if len(word) > 64 or any(c in word for c in " .=[]\"'"):
        raise ValueError("a name of at most 64 characters without spaces, dots, brackets or quotes")
    return word


def flag(value: Any) -> bool:
    """``true`` or ``false``.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def integer(low: int, high: int) -> Callable[[Any], int]:
    """A parser of whole numbers in a range; it raises ValueError for anything else."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def choice(*values: str) -> Callable[[Any], str]:
    """A parser of one of some words; it raises ValueError for anything else."""

    def parse(value: Any) -> str:
        if value not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return str(value)

    return parse
