"""POSIX extended regular expressions, as glibc's ``regcomp()`` reads them, in Python's words.

earlyoom compiles its expressions with ``REG_EXTENDED``. Both languages mean the same by most
characters; what differs is rewritten, and what can't be is refused.
"""

import re

_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": "!-/:-@\\[-`{-~", "space": " \\t\\n\\r\\f\\v", "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_GNU = {"w": r"[0-9A-Za-z_]", "W": r"[^0-9A-Za-z_]", "s": r"[ \t\n\r\f\v]", "S": r"[^ \t\n\r\f\v]",
        "b": r"(?a:\b)", "B": r"(?a:\B)", "<": r"(?a:\b(?=\w))", ">": r"(?a:\b(?<=\w))",
        "`": r"\A", "'": r"\Z"}  # fmt: skip
_INTERVAL = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)
_MAX_REPEATS = 32767
"""RE_DUP_MAX of glibc."""


def from_posix(text: str) -> str:
    """The expression as Python writes it.

    Raises:
        ValueError: it is none, or one that Python can't say; the text says what was expected.
    """
    try:
        found = "".join(_pieces(text))
        re.compile(found)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"a regular expression ({error})") from None
    return found


def _pieces(text: str) -> list[str]:
    found: list[str] = []
    at, can_repeat = 0, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            can_repeat = text[at + 1 : at + 2] not in tuple("bB<>")
            piece, at = _escaped(text, at)
            found.append(piece)
        elif char == "[":
            piece, at = _bracket(text, at)
            found.append(piece)
            can_repeat = True
        elif char in "*+?{":
            piece, at = _repeat(text, at)
            if not can_repeat:
                raise ValueError(f"a regular expression with something before {text[at - 1]!r}")
            # In a group: a repetition of a repetition would be lazy in Python.
            found[-1] = f"(?:{found[-1]}{piece})"
        elif char == "(":
            group, at = _group(text, at)
            found.append(group)
            can_repeat = True
        elif char == "$":
            found.append(r"\Z")
            at, can_repeat = at + 1, False
        elif char in "^|":
            found.append(char)
            at, can_repeat = at + 1, False
        else:
            found.append("(?s:.)" if char == "." else _plain(char))
            at, can_repeat = at + 1, True
    return found


def _plain(char: str) -> str:
    """A character that stands for itself."""
    return f"\\{char}" if char in ".^$*+?{}[]\\|()" else char


def _group(text: str, at: int) -> tuple[str, int]:
    """A group in parentheses; what is inside is read by itself."""
    depth, end = 0, at
    while end < len(text):
        char = text[end]
        if char == "\\":
            end += 1
        elif char == "[":
            end = _bracket_end(text, end) - 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return f"({''.join(_pieces(text[at + 1 : end]))})", end + 1
        end += 1
    raise ValueError("a regular expression whose parentheses are closed")


def _escaped(text: str, at: int) -> tuple[str, int]:
    if at + 1 >= len(text):
        raise ValueError("a regular expression that does not end in a backslash")
    char = text[at + 1]
    if char in "123456789":
        return rf"\{char}(?:)", at + 2
    return _GNU.get(char, _plain(char)), at + 2


def _bracket_end(text: str, at: int) -> int:
    """Behind a bracket expression that begins at a place."""
    end = at + 1
    if text[end : end + 1] == "^":
        end += 1
    if text[end : end + 1] == "]":
        end += 1
    while end < len(text) and text[end] != "]":
        kind = text[end + 1 : end + 2]
        if text[end] == "[" and kind and kind in ":.=":
            close = text.find(f"{kind}]", end + 2)
            if close < 0:
                raise ValueError("a regular expression whose brackets are closed")
            end = close + 2
        else:
            end += 1
    if end >= len(text):
        raise ValueError("a regular expression whose brackets are closed")
    return end + 1


def _bracket(text: str, at: int) -> tuple[str, int]:
    end = _bracket_end(text, at)
    inner = text[at + 1 : end - 1]
    negated = inner.startswith("^")
    inner = inner[1:] if negated else inner
    found = []
    place = 0
    while place < len(inner):
        if inner.startswith("[:", place):
            name, close, _ = inner[place + 2 :].partition(":]")
            if not close or name not in _CLASSES:
                raise ValueError(f"one of [:{':], [:'.join(_CLASSES)}:]")
            found.append(_CLASSES[name])
            place += len(name) + 4
        elif inner[place] == "[" and inner[place + 1 : place + 2] in (".", "="):
            raise ValueError("a regular expression without collating elements ([. and [=)")
        else:
            low, place = inner[place], place + 1
            if inner[place : place + 1] == "-" and place + 1 < len(inner):
                high, place = inner[place + 1], place + 2
                if high == "[" and inner[place : place + 1] in (".", "=", ":"):
                    raise ValueError("a regular expression without collating elements ([. and [=)")
                if high < low:
                    raise ValueError(f"a range that goes up, not {low}-{high}")
                found.append(f"{_literal(low)}-{_literal(high)}")
            else:
                found.append(_literal(low))
    return f"[{'^' if negated else ''}{''.join(found)}]", end


def _literal(char: str) -> str:
    return f"\\{char}" if char in "\\]^-[&~|" else char


def _repeat(text: str, at: int) -> tuple[str, int]:
    if text[at] != "{":
        return text[at], at + 1
    match = _INTERVAL.match(text, at)
    if match is None or not (match[1] or match[2]):
        raise ValueError("a regular expression with numbers between { and }")
    low, high = int(match[1] or 0), int(match[3] or match[1] or 0)
    if max(low, high) > _MAX_REPEATS or (match[3] and low > high):
        raise ValueError(f"a repetition {{low,high}} of at most {_MAX_REPEATS}")
    piece = f"{{{low}}}" if not match[2] else f"{{{low},{match[3]}}}"
    return piece, match.end()
