"""The same classes of records, made by msgspec and by the standard library."""

from types import GenericAlias
from typing import Any, Literal, NamedTuple

import pytest

from oomkit.records import json_text, plain

accelerated = pytest.importorskip("oomkit.records.accelerated")


class Family(NamedTuple):
    """Classes of one making, and the functions that belong to them."""

    module: Any
    leaf: Any
    open: Any
    pair: Any
    top: Any


def made(
    base: Any, name: str, fields: dict[str, Any], defaults: dict[str, Any] | None = None, **how: Any
) -> Any:
    """What a class statement would make, whose annotations may be of no module."""
    body = {"__module__": __name__, "__annotations__": fields, **(defaults or {})}
    return type(base)(name, (base,), body, **how)


LEAF_FIELDS: dict[str, Any] = {
    "pid": int,
    "share": float,
    "name": str | None,
    "version": Literal[1, 2],
    "kind": Literal["a", "b"],
    "other": Literal["a", "b"] | None,
    "nodes": tuple[int, ...],
    "stat": dict[str, int],
    "is_set": bool,
    "pair": tuple[int, str] | None,
    "curve": list[float],
}
LEAF_DEFAULTS: dict[str, Any] = {
    "share": 0.0, "name": None, "version": 2, "kind": "a", "other": None, "nodes": (), "stat": {},
    "is_set": False, "pair": None, "curve": [],
}  # fmt: skip
TOP_DEFAULTS: dict[str, Any] = {
    "leaf": None, "many": (), "by_name": {}, "anything": None, "word_or_number": None,
    "share_or_flag": None, "tables": {}, "words": (), "bare": {},
}  # fmt: skip


def _family(module: Any) -> Family:
    base = module.Record
    strict = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, "gc": False}
    leaf = made(base, "Leaf", LEAF_FIELDS, LEAF_DEFAULTS, **strict)
    top = {
        "title": str,
        "leaf": leaf | None,
        "many": GenericAlias(tuple, (leaf, ...)),
        "by_name": GenericAlias(dict, (str, leaf)),
        "anything": Any,
        "word_or_number": str | int | None,
        "share_or_flag": float | bool | None,
        "tables": dict[str, dict[str, Any]],
        "words": tuple[tuple[str, int], ...],
        "bare": dict,
        "last": int,
    }
    return Family(
        module,
        leaf,
        made(base, "Open", {"count": int, "names": list[str]}, {"names": []}),
        made(base, "Pair", {"first": int, "second": str}, {"second": "x"}, frozen=True),
        made(base, "Top", top, TOP_DEFAULTS, kw_only=True),
    )


MSGSPEC = _family(accelerated)
PLAIN = _family(plain)
assert PLAIN.module.from_json is json_text.from_json
assert PLAIN.module.to_json is json_text.to_json
