"""Command lines of daemons: those that run on this machine, and what their words mean.

Words are parted as a shell or systemd does it, and read as ``getopt_long()`` reads them.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence


def command_lines(name: str) -> Iterator[tuple[str, list[str]]]:
    """The file in ``/proc`` and the words of each process that is a daemon.

    Any process can take a name: only what root or we started counts, or what is in the cgroup of
    the daemon's own unit, where only root can put it.

    Args:
        name: of the daemon; its program, a script that an interpreter runs too, has that name.
    """
    for pid in sorted((one for one in os.listdir("/proc") if one.isdigit()), key=int):
        path = f"/proc/{pid}/cmdline"
        try:
            with open(path, "rb") as file:
                words = file.read().rstrip(b"\0").decode("utf-8", "replace").split("\0")
            named = any(os.path.basename(word) == name for word in words[:4])
            if named and _is_trusted(pid, name):
                yield path, words
        except OSError:
            continue


def _is_trusted(pid: str, name: str) -> bool:
    if os.stat(f"/proc/{pid}").st_uid in (0, os.geteuid()):
        return True
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        paths = [line.rstrip("\n").split(":", 2)[2] for line in file]
    return any(path.startswith(f"/system.slice/{name}") for path in paths)


class Option:
    """One option of a command line.

    Attributes:
        name: as in the table: ``-m``, ``--prefer``.
        value: its argument; empty where it takes none.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value


def options(argv: Sequence[str], short: str, long: Mapping[str, bool]) -> list[Option]:
    """The options of a command line, in their order.

    Args:
        argv: the words after the program.
        short: letters, each with ``:`` behind it if it takes an argument.
        long: names to whether they take an argument; what begins only one of them will do.

    Raises:
        ValueError: an option that is none, lacks its argument or has one too many, or a word that
            belongs to none; the text says what was expected.
    """
    found: list[Option] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            found.append(_long(word, words, long))
        elif word.startswith("-") and word != "-":
            found += _short(word, words, short)
        else:
            raise ValueError(f"an option, not {word!r}")
    if words:
        raise ValueError(f"an option, not {words[0]!r}")
    return found


def _long(word: str, words: list[str], long: Mapping[str, bool]) -> Option:
    name, equals, value = word[2:].partition("=")
    names = [name] if name in long else [one for one in long if one.startswith(name)]
    if len(names) != 1:
        close = f"; {' or '.join(f'--{one}' for one in names)}" if names else ""
        raise ValueError(f"an option that there is, not {word!r}{close}")
    (name,) = names
    if not long[name]:
        if equals:
            raise ValueError(f"--{name} without an argument")
        return Option(f"--{name}", "")
    if not equals:
        if not words:
            raise ValueError(f"an argument after --{name}")
        value = words.pop(0)
    return Option(f"--{name}", value)


def _short(word: str, words: list[str], short: str) -> list[Option]:
    found = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == ":" or letter not in short:
            raise ValueError(f"an option that there is, not -{letter}")
        if short[short.index(letter) + 1 : short.index(letter) + 2] != ":":
            found.append(Option(f"-{letter}", ""))
            continue
        if not letters and not words:
            raise ValueError(f"an argument after -{letter}")
        found.append(Option(f"-{letter}", letters or words.pop(0)))
        letters = ""
    return found


def words_of(text: str) -> list[str]:
    """The words of a line, quotes taken off.

    Raises:
        ValueError: a quote is not closed; the text says what was expected.
    """
    try:
        return shlex.split(text)
    except ValueError:
        raise ValueError(f"quotes that are closed, in {text!r}") from None


class Assignment:
    """One ``NAME=VALUE`` of a file of variables.

    Attributes:
        name: the variable.
        value: what it holds, quotes taken off.
        line: where, from 1.
    """

    __slots__ = ("line", "name", "value")

    def __init__(self, name: str, value: str, line: int) -> None:
        self.name = name
        self.value = value
        self.line = line


def assignments(text: str) -> tuple[list[Assignment], list[tuple[int, str]]]:
    """What a file of variables says, such as ``/etc/default/earlyoom``.

    systemd's ``EnvironmentFile=`` and a shell that sources the file take comments, quotes and lines
    that are continued alike. What only a shell understands is no assignment.

    Returns:
        The assignments, and the lines that are none: number and text.
    """
    found, others = [], []
    number, lines = 0, text.split("\n")
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        while _is_open(line) and number < len(lines):
            line += "\n" + lines[number]
            number += 1
        name, equals, value = line.strip().removeprefix("export ").strip().partition("=")
        if not equals or not name.replace("_", "a").isalnum() or name[0].isdigit():
            others.append((first, line))
            continue
        found.append(Assignment(name, _unquoted(value), first))
    return found, others


def _is_open(line: str) -> bool:
    """Whether a quote is open at the end of a line, or it is continued."""
    quote, escaped = "", False
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
    return bool(quote) or escaped


def _unquoted(value: str) -> str:
    """A value without its quotes; in double quotes a backslash only escapes what is special."""
    found, quote, at = [], "", 0
    value = value.strip()
    while at < len(value):
        char = value[at]
        at += 1
        if char == "\\" and quote != "'" and at < len(value):
            following, at = value[at], at + 1
            if following == "\n":
                continue
            keeps = quote == '"' and following not in '"\\`$'
            found.append(f"\\{following}" if keeps else following)
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char == "#" and (not found or found[-1].isspace()):
            break
        else:
            found.append(char)
    return "".join(found).rstrip() if not quote else "".join(found)
