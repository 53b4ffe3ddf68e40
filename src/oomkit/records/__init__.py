"""Records: classes of typed fields, and their JSON.

A record is written as a class with annotated fields and a default where one may be left out::

    class Node(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
        node_id: int
        present_pages: int = 0

Where msgspec is installed it makes the classes and the JSON (:mod:`oomkit.records.accelerated`);
elsewhere the standard library does (:mod:`oomkit.records.plain` and its neighbours), with the same
records, the same bytes and the same words about what is wrong, only slower.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomkit.records.accelerated import (
        DecodeError,
        Record,
        ValidationError,
        as_dict,
        field_names,
        from_json,
        from_texts,
        replace,
        to_builtins,
        to_json,
    )
else:
    try:
        import oomkit.records.accelerated as _made
    except ImportError:
        import oomkit.records.plain as _made

    DecodeError = _made.DecodeError
    Record = _made.Record
    ValidationError = _made.ValidationError
    as_dict = _made.as_dict
    field_names = _made.field_names
    from_json = _made.from_json
    from_texts = _made.from_texts
    replace = _made.replace
    to_builtins = _made.to_builtins
    to_json = _made.to_json

__all__ = [
    "DecodeError",
    "Record",
    "ValidationError",
    "as_dict",
    "field_names",
    "from_json",
    "from_texts",
    "replace",
    "to_builtins",
    "to_json",
]
