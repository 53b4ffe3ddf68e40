"""What is wrong with a JSON text, and where: the words are those of msgspec."""

import re
from typing import Any, NoReturn

from oomkit.records.shapes import DecodeError, Fields, Shape, ValidationError, shape_of


def check(data: bytes, shape: Shape) -> None:
    """Read a text byte by byte as a value of a shape.

    Raises:
        ValidationError: the value has another shape; the message names the place.
        DecodeError: not JSON; the message names the byte.
        UnicodeDecodeError: a string is not UTF-8.
    """
    reader = _Reader(data)
    reader.value(shape, "")
    if reader.next_byte() is not None:
        reader.malformed("trailing characters", reader.at + 1)


_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb"[^\x00-\x1f\"\\]*")
_DIGITS = re.compile(rb"[0-9]*")
_WORDS = {b"n": (b"null", "null"), b"t": (b"true", "bool"), b"f": (b"false", "bool")}
_ESCAPES = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_ANYTHING = shape_of(Any)


def _wrong(text: str, path: str) -> NoReturn:
    raise ValidationError(f"{text} - at `${path}`" if path else text)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def malformed(self, what: str, at: int | None = None) -> NoReturn:
        raise DecodeError(f"JSON is malformed: {what} (byte {self.at if at is None else at})")

    def truncated(self) -> NoReturn:
        raise DecodeError("Input data was truncated")

    def next_byte(self) -> bytes | None:
        """The next byte that is no space, not yet read; None at the end."""
        found = _SPACE.match(self.data, self.at)
        self.at = found.end() if found else self.at
        return self.data[self.at : self.at + 1] or None

    def must(self) -> bytes:
        """The next byte that is no space, not yet read."""
        return self.next_byte() or self.truncated()

    def value(self, shape: Shape | None, path: str) -> None:
        """Read one value; one of no shape is passed over."""
        first = self.must()
        if first == b"{":
            self._kind(shape, "object", path)
            self._object(shape, path)
        elif first == b"[":
            self._kind(shape, "array", path)
            self._array(shape, path)
        elif first == b'"':
            text = self._string()
            self._kind(shape, "str", path)
            self._text(shape, text, path)
        elif first in _WORDS:
            self._word(*_WORDS[first], shape, path)
        elif first == b"-" or first.isdigit():
            self._number(shape, path)
        else:
            self.malformed("invalid character")

    def _kind(self, shape: Shape | None, kind: str, path: str) -> None:
        if shape is None or shape.anything or kind in shape.kinds:
            return
        _wrong(f"Expected `{shape.expected}`, got `{kind}`", path)

    def _word(self, word: bytes, kind: str, shape: Shape | None, path: str) -> None:
        if len(self.data) - self.at < len(word):
            self.truncated()
        found = self.data.startswith(word, self.at)
        self.at += len(word)
        if not found:
            self.malformed("invalid character")
        self._kind(shape, kind, path)

    def _object(self, shape: Shape | None, path: str) -> None:
        self.at += 1
        fields = None if shape is None else shape.record
        seen = set()
        first = True
        while (byte := self.must()) != b"}" or not first:
            if byte == b"}":
                self.malformed("trailing comma in object")
            if byte != b'"':
                self.malformed("expected '\"'" if shape is None else "object keys must be strings")
            key = self._string()
            if shape is not None and fields is None:
                key.decode()
            if self.must() != b":":
                self.malformed("expected ':'")
            self.at += 1
            if fields is not None:
                seen.add(key)
                self._field(fields, key, path)
            else:
                self._entry(shape, path)
            byte = self.must()
            if byte == b"}":
                break
            if byte != b",":
                self.malformed("expected ',' or '}'")
            self.at += 1
            first = False
        self.at += 1
        for name in fields.required if fields is not None else ():
            if name.encode() not in seen:
                _wrong(f"Object missing required field `{name}`", path)

    def _field(self, fields: Fields, key: bytes, path: str) -> None:
        name = key.decode(errors="replace")
        if name not in fields.shapes:
            if fields.strict:
                key.decode()
                _wrong(f"Object contains unknown field `{name}`", path)
            self.value(None, path)
        else:
            self.value(fields.shapes[name], f"{path}.{name}")

    def _entry(self, shape: Shape | None, path: str) -> None:
        if shape is None:
            self.value(None, path)
        else:
            self.value(shape.values or _ANYTHING, f"{path}[...]")

    def _array(self, shape: Shape | None, path: str) -> None:
        self.at += 1
        places = None if shape is None else shape.places
        count = 0
        while (byte := self.must()) != b"]" or count:
            if byte == b"]":
                self.malformed("trailing comma in array")
            if places is not None and count == len(places):
                _wrong(f"Expected `array` of length {len(places)}", path)
            if shape is None:
                item = None
            elif places is not None:
                item = places[count]
            else:
                item = shape.items or _ANYTHING
            self.value(item, f"{path}[{count}]")
            count += 1
            byte = self.must()
            if byte == b"]":
                break
            if byte != b",":
                self.malformed("expected ',' or ']'")
            self.at += 1
        self.at += 1
        if places is not None and count != len(places):
            _wrong(f"Expected `array` of length {len(places)}", path)

    def _text(self, shape: Shape | None, text: bytes, path: str) -> None:
        if shape is None:
            return
        if shape.anything or str in shape.direct:
            text.decode()
        elif shape.words is not None and text.decode(errors="replace") not in shape.words:
            _wrong(f"Invalid enum value '{text.decode()}'", path)

    def _string(self) -> bytes:
        """Read a string; escapes are resolved, UTF-8 is not looked at."""
        self.at += 1
        pieces = []
        while True:
            found = _PLAIN.match(self.data, self.at)
            pieces.append(found.group() if found else b"")
            self.at += len(pieces[-1])
            byte = self.data[self.at : self.at + 1] or self.truncated()
            if byte == b'"':
                self.at += 1
                return b"".join(pieces)
            if byte != b"\\":
                self.malformed("invalid character")
            pieces.append(self._escape())

    def _escape(self) -> bytes:
        escaped = self.data[self.at + 1 : self.at + 2] or self.truncated()
        self.at += 2
        if escaped == b"u":
            return self._unicode()
        if escaped[0] not in _ESCAPES:
            self.malformed("invalid escape character in string")
        return bytes((_ESCAPES[escaped[0]],))

    def _unicode(self) -> bytes:
        code = self._hex()
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code).encode()
        if code >= 0xDC00:
            self.malformed("invalid utf-16 surrogate pair")
        if len(self.data) - self.at < len(r"\uDC00"):
            self.truncated()
        if not self.data.startswith(b"\\u", self.at):
            self.malformed("unexpected end of escaped utf-16 surrogate pair")
        self.at += 2
        low = self._hex()
        if not 0xDC00 <= low <= 0xDFFF:
            self.malformed("invalid utf-16 surrogate pair")
        return chr(0x10000 + ((code - 0xD800) << 10) + low - 0xDC00).encode()

    def _hex(self) -> int:
        if len(self.data) - self.at < 4:
            self.truncated()
        for i in range(4):
            if self.data[self.at + i] not in b"0123456789abcdefABCDEF":
                self.malformed("invalid character in unicode escape", self.at + i + 1)
        self.at += 4
        return int(self.data[self.at - 4 : self.at], 16)

    def _digits(self) -> int:
        found = _DIGITS.match(self.data, self.at)
        count = len(found.group()) if found else 0
        self.at += count
        return count

    def _integer(self) -> None:
        """Read a sign and the digits before the point."""
        if self.data.startswith(b"-", self.at):
            self.at += 1
            if self.at == len(self.data):
                self.malformed("invalid number")
            if not self.data[self.at : self.at + 1].isdigit():
                self.malformed("invalid character")
        first = self.at
        if self._digits() > 1 and self.data.startswith(b"0", first):
            self.malformed("invalid number", first + 1)

    def _number(self, shape: Shape | None, path: str) -> None:
        start = self.at
        self._integer()
        whole = self.at
        if self.data.startswith(b".", self.at):
            self.at += 1
            if not self._digits():
                self.malformed("invalid number")
        if self.data[self.at : self.at + 1] in (b"e", b"E"):
            self.at += 1
            if self.data[self.at : self.at + 1] in (b"+", b"-"):
                self.at += 1
            if not self._digits():
                self.malformed("invalid number")
        if shape is None:
            return
        text = self.data[start : self.at]
        if self.at == whole:
            self._whole(shape, text, path)
            return
        if abs(float(text)) == float("inf"):
            _wrong("Number out of range", path)
        self._kind(shape, "float", path)

    def _whole(self, shape: Shape, text: bytes, path: str) -> None:
        if shape.anything or int in shape.direct:
            if len(text.lstrip(b"-")) > _MAX_DIGITS:
                _wrong("Integer value out of range", path)
            return
        is_long = len(text) > _MAX_DIGITS_DIRECT or not -(2**63) <= int(text) < 2**64
        if (is_long or float in shape.direct) and abs(float(text)) == float("inf"):
            _wrong("Number out of range", path)
        if float in shape.direct:
            return
        self._kind(shape, "float" if is_long else "int", path)
        if shape.numbers is not None and int(text) not in shape.numbers:
            _wrong(f"Invalid enum value {int(text)}", path)


_MAX_DIGITS = 4300
_MAX_DIGITS_DIRECT = 20
"""An integer of more can't be one of 64 bits, and is read as other numbers are."""
