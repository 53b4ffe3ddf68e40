"""Values as JSON, to the byte as msgspec writes them."""

from collections.abc import Iterator
from json.encoder import encode_basestring as _text
from typing import Any


def to_json(value: Any, *, indent: int = 0) -> bytes:
    """Return a record, or a value that holds records, as JSON.

    Args:
        value: what is written; fields keep their order, NaN and infinity become null.
        indent: spaces for each level, a field a line; 0: all in one line without spaces.
    """
    return "".join(_parts(value, " " * indent, "\n")).encode()


def to_builtins(value: Any) -> Any:
    """A record, or a value that holds records, as dicts, lists, tuples and plain values."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {to_builtins(key): to_builtins(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple([to_builtins(item) for item in value])
    if isinstance(value, list | set | frozenset):
        return [to_builtins(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        return {name: to_builtins(getattr(value, name)) for name in value.__struct_fields__}
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _parts(value: Any, indent: str, line: str) -> Iterator[str]:
    """The pieces of the text; ``line`` ends a line and begins the next at this level."""
    if value is None or isinstance(value, str | int | float):
        yield _scalar(value)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _many(((None, item) for item in value), "[]", indent, line)
    elif isinstance(value, dict):
        yield from _many(((_key(key), item) for key, item in value.items()), "{}", indent, line)
    elif hasattr(value, "__struct_fields__"):
        names = value.__struct_fields__
        yield from _many(((_text(n), getattr(value, n)) for n in names), "{}", indent, line)
    else:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _many(
    items: Iterator[tuple[str | None, Any]], brackets: str, indent: str, line: str
) -> Iterator[str]:
    inner = line + indent
    before = brackets[0] + (inner if indent else "")
    between = "," + (inner if indent else "")
    colon = ": " if indent else ":"
    some = False
    for key, item in items:
        yield before if key is None else f"{before}{key}{colon}"
        if item is None or isinstance(item, str | int | float):
            yield _scalar(item)
        else:
            yield from _parts(item, indent, inner)
        before, some = between, True
    if not some:
        yield brackets
    else:
        yield (line if indent else "") + brackets[1]


def _scalar(value: str | float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return int.__repr__(value) if isinstance(value, int) else _float(value)


def _float(value: float) -> str:
    """The shortest text that reads as the same number, its exponent without sign and zeros."""
    text = float.__repr__(value)
    digits, e, exponent = text.partition("e")
    if not e:
        return "null" if text in ("nan", "inf", "-inf") else text
    power = int(exponent)
    if power == _MIN_POWER:
        sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
        return f"{sign}0.0000{digits.replace('.', '')}"
    return f"{digits}e{power}"


_MIN_POWER = -5
"""Python goes over to exponents one power of ten before JSON does here."""


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return f'"{key}"'
    raise TypeError("Only dicts with str-like or number-like keys are supported")
