"""YAML files as documents, each with its place, and quantities (``512Mi``, ``1.5G``) in them.

A file that is no YAML spoils none of the others.
"""

import math
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from oomkit.errors import OomkitError
from oomkit.printable import printable

MAX_BYTES = 8 << 20
"""Maximum size of a file: more is not written for people, and takes minutes to read."""

_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_MAX_LISTS = 4


class ManifestError(OomkitError):
    """A file that can't be read at all; the message says which and why."""


class Document:
    """One object of a file.

    Attributes:
        source: the file.
        number: which document of the file, from 1.
        raw: what it says.
        item: its place in a ``List``; empty where it is in none.
        fault: why it can't be read; empty where it can.
    """

    __slots__ = ("fault", "item", "number", "raw", "source")

    def __init__(
        self, source: str, number: int, raw: dict[str, Any], item: str = "", fault: str = ""
    ) -> None:
        self.source = source
        self.number = number
        self.raw = raw
        self.item = item
        self.fault = fault

    @property
    def place(self) -> str:
        """File, document, kind and name, for a line about it."""
        kind, name = self.raw.get("kind"), _name(self.raw)
        what = " ".join(word for word in (kind, name) if isinstance(word, str) and word)
        where = f"{self.source}: document {self.number}"
        where += f", {self.item}" if self.item else ""
        return printable(f"{where} ({what})" if what else where)


def _name(raw: dict[str, Any]) -> Any:
    metadata = raw.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def read_documents(path: str) -> Iterator[Document]:
    """Every object of a file, those inside a ``List`` one by one; empty documents are left out.

    Args:
        path: the file; ``-``: standard input.

    Raises:
        ManifestError: the file can't be read, is too large, or PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise ManifestError("manifests need PyYAML: install oomkit[kubernetes]") from None
    source = "standard input" if path == "-" else path
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    starts = 1
    number = 0
    for text in _split(_text(path, source)):
        line, starts = starts, starts + text.count("\n")
        if not text.strip():
            continue
        number += 1
        try:
            raw = yaml.load(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = f"line {line + mark.line}: " if mark is not None else ""
            why = f"{at}expected YAML: {error.problem or error}"
            yield Document(source, number, {}, fault=why)
            continue
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            yield Document(source, number, {}, fault=f"expected YAML: {' '.join(why.split())}")
            continue
        if raw is None:
            number -= 1
            continue
        yield from _items(source, number, raw)


def _items(
    source: str, number: int, raw: Any, item: str = "", depth: int = 0
) -> Iterator[Document]:
    if not isinstance(raw, dict):
        yield Document(source, number, {}, item, "expected an object with a kind")
        return
    kind, items = raw.get("kind"), raw.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield Document(source, number, raw, item)
    elif depth >= _MAX_LISTS:
        yield Document(source, number, raw, item, "lists are nested too deeply")
    else:
        for i, one in enumerate(items):
            at = f"{item}.items[{i}]" if item else f"items[{i}]"
            untold = isinstance(one, dict) and "kind" not in one and kind != "List"
            object_ = {**one, "kind": kind.removesuffix("List")} if untold else one
            yield from _items(source, number, object_, at, depth + 1)


def _text(path: str, source: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{source}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{source}: expected at most 8 MiB of YAML")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ManifestError(f"{source}: expected UTF-8 text") from None


def _split(text: str) -> Iterator[str]:
    """The documents of a stream, the separator with the one that it begins.

    A line that begins with ``---`` ends every scalar, so it can't be inside of one.
    """
    at = 0
    for found in _SEPARATOR.finditer(text):
        if found.start() > at:
            yield text[at : found.start()]
        at = found.start()
    yield text[at:]


_QUANTITY = re.compile(
    r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d{1,3}))?",
    re.ASCII,
)
_BINARY = {name: 1024**i for i, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_MAX_CHARS = 40
MAX = 2**63 - 1
"""The largest that Kubernetes keeps; more is cut to it."""

MEMORY = (
    'a quantity of memory such as "512Mi" or "2G" (Ki, Mi, Gi: powers of 1024; k, M, G: of 1000)'
)
CPU = 'a quantity of CPUs such as "500m" or "2"'


def quantity(value: Any) -> Fraction:
    """A quantity, exactly (apimachinery's pkg/api/resource/quantity.go).

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a quantity")
    text = value if isinstance(value, str) else repr(value)
    found = _QUANTITY.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        raise ValueError("a quantity")
    sign, number, suffix, exponent = found.groups()
    amount = Fraction(number if not number.endswith(".") else number[:-1])
    if suffix in _BINARY:
        amount *= _BINARY[suffix]
    else:
        amount *= Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""])
    return min(-amount if sign == "-" else amount, Fraction(MAX))


def memory(value: Any) -> int:
    """Bytes of a quantity of memory, rounded up as ``Quantity.Value()`` does.

    Raises:
        ValueError: it is none, or negative; the text says what was expected.
    """
    return math.ceil(_not_negative(value, MEMORY))


def cpus(value: Any) -> int:
    """Thousandths of a CPU, rounded up as ``Quantity.MilliValue()`` does.

    Raises:
        ValueError: it is none, or negative; the text says what was expected.
    """
    return math.ceil(_not_negative(value, CPU) * 1000)


def _not_negative(value: Any, expected: str) -> Fraction:
    try:
        amount = quantity(value)
    except ValueError:
        raise ValueError(expected) from None
    if amount < 0:
        raise ValueError(f"{expected}, not below 0")
    return amount
