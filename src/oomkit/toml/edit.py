"""Changes one value in the text of a TOML file, and leaves all else as it is."""

import json
import re

from oomkit.toml.load import TEXTS

_TABLE = re.compile(r"\s*\[(\[)?\s*([\w.-]+)\s*\]")
_NAME = re.compile(r"""\s*name\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?|true|false|[\[{\"'].*", re.DOTALL)


def with_value(text: str, key: str, value: str) -> str:
    """The text with one value changed, or added where the file has none.

    What is not understood (inline tables, keys with dots) is left alone: who needs to be sure reads
    both texts and compares.

    Args:
        text: TOML.
        key: ``table.key``, or ``table.NAME.key`` for the entries of an array of tables that bear
            the name.
        value: as it would stand behind ``--set KEY=``: TOML, or a text.
    """
    table, _, rest = key.strip().partition(".")
    name, _, last = rest.rpartition(".")
    is_plain = last not in TEXTS and _PLAIN.fullmatch(value) is not None
    written = value if is_plain else json.dumps(value, ensure_ascii=False)
    lines = text.splitlines(keepends=True)
    found = [
        (start, end)
        for start, end, what in _sections(lines)
        if what == table and (not name or _is_named(lines[start:end], name))
    ]
    if not found and not name:
        gap = "" if not text or text.endswith("\n\n") else "\n" * (2 - text.endswith("\n"))
        return f"{text}{gap}[{table}]\n{last} = {written}\n"
    for start, end in reversed(found):
        _change(lines, start, end, last, written)
    return "".join(lines)


def _sections(lines: list[str]) -> list[tuple[int, int, str]]:
    """Where each table begins and ends, and its path; a table below an array's entry is apart."""
    heads = [(i, match[2]) for i, line in enumerate(lines) if (match := _TABLE.match(line))]
    starts = [i for i, _ in heads] + [len(lines)]
    return [(i, starts[n + 1], path) for n, (i, path) in enumerate(heads)]


def _is_named(lines: list[str], name: str) -> bool:
    names = (match for line in lines if (match := _NAME.match(line)) is not None)
    return any(name in (match[1], match[2]) for match in names)


def _change(lines: list[str], start: int, end: int, key: str, written: str) -> None:
    value = r"""[^#\n"'\[{]+?|"[^"\n]*"|'[^'\n]*'"""
    old = re.compile(rf"(\s*{re.escape(key)}\s*=\s*)({value})(\s*(?:#.*)?\n?)")
    for i in range(start + 1, end):
        match = old.fullmatch(lines[i])
        if match is not None:
            lines[i] = f"{match[1]}{written}{match[3]}"
            return
    # Behind the last line of the table that says something.
    at = end
    while at > start + 1 and not lines[at - 1].split("#")[0].strip():
        at -= 1
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    lines.insert(at, f"{key} = {written}\n")
