"""Records and their JSON by msgspec; the one place of the core that imports it."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

Record = msgspec.Struct
DecodeError = msgspec.DecodeError
ValidationError = msgspec.ValidationError
as_dict = msgspec.structs.asdict
replace = msgspec.structs.replace
to_builtins = msgspec.to_builtins
from_json = msgspec.json.decode

R = TypeVar("R", bound=msgspec.Struct)


def field_names(record: "Record | type[Record]") -> tuple[str, ...]:
    """The names of a record's fields, or of those of a class, in their order."""
    return record.__struct_fields__


def to_json(value: Any, *, indent: int = 0) -> bytes:
    """Return a record, or a value that holds records, as JSON.

    Args:
        value: what is written; fields keep their order, NaN and infinity become null.
        indent: spaces for each level, a field a line; 0: all in one line without spaces.
    """
    text = msgspec.json.encode(value)
    return msgspec.json.format(text, indent=indent) if indent else text


def from_texts(kind: type[R], rows: Sequence[dict[str, Any]]) -> list[R]:
    """Make records of one class from fields of which the numbers may still be text.

    Args:
        kind: the class.
        rows: the fields of each, sound ones: an integer's text has digits alone, and a sign.
    """
    return msgspec.convert(rows, list[kind], strict=False)  # type: ignore[valid-type]  # a type made at run time
