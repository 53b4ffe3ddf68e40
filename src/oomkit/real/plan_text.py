"""Plans as the static agent reads them: one tree of values, each with its kind in front."""

from typing import Any


def encode(value: Any) -> bytes:
    """``n``, ``i42;``, ``f0.5;``, ``s3:abc``, ``l...e``, and ``d<key><value>...e``.

    Raises:
        TypeError: a value of another kind.
    """
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Any, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"n")
    elif isinstance(value, int):  # also True and False
        parts.append(b"i%d;" % value)
    elif isinstance(value, float):
        parts.append(b"f%s;" % repr(value).encode())
    elif isinstance(value, str | bytes):
        text = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        parts.append(b"s%d:%s" % (len(text), text))
    elif isinstance(value, list | tuple):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    elif isinstance(value, dict):
        parts.append(b"d")
        for key, item in value.items():
            _encode(key, parts)
            _encode(item, parts)
        parts.append(b"e")
    else:
        raise TypeError(f"expected plain values in a plan, got {type(value).__name__}")
