"""JSON of a given type, read strictly."""

import json
from typing import Any, TypeVar, overload

from oomkit.records.errors import DecodeError, ValidationError
from oomkit.records.shapes import Fields, Shape, shape_of

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
