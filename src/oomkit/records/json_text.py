"""Records as JSON, to the byte as msgspec writes them, and JSON of a given type, read strictly."""

import json
from collections.abc import Iterator
from json.encoder import encode_basestring as _text
from typing import Any, TypeVar, overload

from oomkit.records.shapes import DecodeError, Fields, Shape, ValidationError, shape_of

__all__ = ["DecodeError", "ValidationError", "from_json"]

T = TypeVar("T")


class _OtherError(Exception):
    """The value is not of the type; what is wrong with it, the text's own reader says."""


@overload
def from_json(text: bytes | str, *, type: type[T]) -> T: ...
@overload
def from_json(text: bytes | str) -> Any: ...


def from_json(text: bytes | str, *, type: Any = Any) -> Any:  # noqa: A002 - msgspec's name for it
    """Read JSON as a value of a type.

    Args:
        text: the JSON.
        type: a class of records, or what its fields can be annotated with.

    Raises:
        ValidationError: the value is not of that type; the message names the place.
        DecodeError: not JSON.
        UnicodeDecodeError: a string is not UTF-8.
        RecursionError: nested too deep.
    """
    shape = shape_of(type)
    data = text.encode() if isinstance(text, str) else text
    if b"\\ud" not in data and b"\\uD" not in data:
        try:
            return _value(shape, json.loads(data.decode(), **_STRICTLY))
        except (_OtherError, ValueError, OverflowError):
            pass
    # The text is read again, byte by byte, to say what is wrong where. What the type passes over
    # may hold strings and numbers that can't be read.
    from oomkit.records.json_faults import check

    check(data, shape)
    return _value(shape, json.loads(data.decode(errors="surrogateescape"), parse_int=_whole))


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _number(text: str) -> float:
    value = float(text)
    if value - value:
        raise ValueError(text)
    return value


def _constant(text: str) -> float:
    raise ValueError(text)


_STRICTLY: dict[str, Any] = {"parse_float": _number, "parse_constant": _constant}


def _value(shape: Shape, value: Any) -> Any:
    kind = type(value)
    if kind in shape.direct or shape.anything:
        return value
    if kind is list:
        return _array(shape, value)
    if kind is dict:
        if shape.record is not None:
            return _record(shape.record, value)
        if shape.values is not None:
            return {key: _value(shape.values, item) for key, item in value.items()}
    elif kind is str:
        if shape.words is not None and value in shape.words:
            return value
    elif kind is int:
        if shape.numbers is not None and value in shape.numbers:
            return value
        if float in shape.direct:
            return float(value)
    raise _OtherError


def _array(shape: Shape, items: list[Any]) -> Any:
    if shape.items is not None:
        each = shape.items
        return shape.array([_value(each, item) for item in items])
    if shape.places is None or len(shape.places) != len(items):
        raise _OtherError
    return shape.array([_value(s, item) for s, item in zip(shape.places, items, strict=True)])


def _record(fields: Fields, values: dict[str, Any]) -> Any:
    made = {}
    for name, value in values.items():
        shape = fields.shapes.get(name)
        if shape is not None:
            made[name] = value if type(value) in shape.direct else _value(shape, value)
        elif fields.strict:
            raise _OtherError
    for name in fields.required:
        if name not in made:
            raise _OtherError
    return fields.kind(**made)


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
