"""A record as a line of JSON, without the memory that :mod:`json` takes."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping

_ESCAPES: dict[int, str] = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)},
    **{0xDC00 + byte: f"\\\\x{byte:02x}" for byte in range(0x80, 0x100)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\t"): "\\t",
}
"""Besides what JSON demands: bytes of a name that were not UTF-8 become readable ``\\xff``."""


def encode(record: Mapping[str, object]) -> bytes:
    r"""Return a record as one line of UTF-8 JSON that ends in a newline.

    Names that are no UTF-8 (surrogate escapes) are written as the text ``\xff``, numbers that
    JSON has no word for (NaN, infinities) as null, bytes as text, tuples as arrays, and
    anything of a type JSON lacks as its ``str()``.
    """
    return (_value(record) + "\n").encode("utf-8", "replace")


def _value(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        # An infinity, and only that or NaN, differs from itself after subtraction.
        return float.__repr__(value) if value - value == 0.0 else "null"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_value(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_text(str(k))}:{_value(v)}" for k, v in value.items()]) + "}"
    if isinstance(value, (bytes, bytearray)):
        return _text(value.decode("utf-8", "surrogateescape"))
    return _text(value if isinstance(value, str) else str(value))


def _text(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'
