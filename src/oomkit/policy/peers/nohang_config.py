"""nohang's configuration file: its settings, each checked as it is asked for.

Facts of hakavlad/nohang, 0.2.0 and 0.3.0: only lines that begin in the first column are read;
``KEY = VALUE``, each key once; ``@KEY ADJ /// RE``; what it does not know is ignored in silence.
"""

import re

from oomkit.policy.peers.found import Found, percent, size

SEPARATOR = "///"
FIELDS = {
    "NAME": "comm", "CMDLINE": "cmdline", "UID": "user", "CGROUP_V2": "cgroup", "REALPATH": "exe",
}  # fmt: skip
NO_FIELD = {
    "CGROUP_V1": "the systemd hierarchy of version 1; patterns here are about the memory cgroup",
    "CWD": "the working directory is not read here",
    "ENVIRON": "the environment is not read here",
}


class Setting:
    """One ``KEY = VALUE``.

    Attributes:
        value: without spaces around it.
        place: file and line.
    """

    def __init__(self, value: str, place: str) -> None:
        self.value = value
        self.place = place


class NohangConfig:
    """The settings of a file, each checked as it is asked for.

    Attributes:
        path: as it is named in faults.
        found: takes faults and what is left out.
        settings: by key.
        asked: keys that have a meaning here.
        adjustments: ``@BADNESS_ADJ_RE_*``: property, points, expression, file and line.
        actions: ``@SOFT_ACTION_RE_*``: property, expression, command, file and line.
        flags: those of ``@check_kmsg`` and ``@debug_kmsg`` that are there, with file and line.
    """

    def __init__(self, path: str, found: Found) -> None:
        self.path = path
        self.found = found
        self.settings: dict[str, Setting] = {}
        self.asked: set[str] = set()
        self.adjustments: list[tuple[str, str, str, str]] = []
        self.actions: list[tuple[str, str, str, str]] = []
        self.flags: dict[str, str] = {}

    def text(self, key: str) -> str:
        """The value of a key that has to be there."""
        self.asked.add(key)
        if key not in self.settings:
            self.found.fault(self.path, key, "is missing; nohang would not start")
            return ""
        return self.settings[key].value

    def number(
        self, key: str, low: float, high: float | None = None, *, wrong: float = 0.0
    ) -> float:
        """A number of a range; ``wrong`` stands for one that is wrong."""
        text = self.text(key)
        try:
            value = float(text) if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text) else -1e300
        except ValueError:
            value = -1e300
        if value < low or (high is not None and value > high):
            rest = "on" if high is None else f"to {high:g}"
            self._wrong(key, f"a number from {low:g} {rest}")
            return wrong
        return value

    def truth(self, key: str) -> bool:
        """``True`` or ``False``; a key that is missing is false."""
        was_asked = key in self.asked
        self.asked.add(key)
        if key not in self.settings:
            return False
        text = self.settings[key].value
        if text not in ("True", "False") and not was_asked:
            self._wrong(key, "True or False")
        return text == "True"

    def amount(self, key: str, low: float, high: float, *, swap: bool = False) -> str:
        """An amount such as ``5 %`` or ``300 M``, as a policy writes it.

        Args:
            key: which.
            low: least share, percent.
            high: largest share.
            swap: it is one of swap.
        """
        text = self.text(key)
        number = text[:-1].strip() if text[-1:] in ("%", "M") else ""
        try:
            value = float(number) if re.fullmatch(r"\d*\.?\d+|\d+\.", number, re.ASCII) else -1.0
        except ValueError:
            value = -1.0
        if value < 0.0 or (text.endswith("%") and not low <= value <= high):
            what = "swap" if swap else "memory"
            self._wrong(key, f"{low:g} to {high:g} % of {what}, or a size with M behind it")
            return "0"
        return percent(value / 100) if text.endswith("%") else size(value * 1024)

    def _wrong(self, key: str, expected: str) -> None:
        if key in self.settings:
            one = self.settings[key]
            self.found.fault(one.place, key, f"expected {expected}, not {one.value!r}")


def parsed(text: str, path: str, found: Found) -> NohangConfig:
    """The settings of a file; what nohang ignores in it, and what is wrong, goes to ``found``."""
    config = NohangConfig(path, found)
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{path}:{number}"
        if line[:1] in ("", "#"):
            continue
        if line[:1] in (" ", "\t"):
            if line.strip() and not line.strip().startswith(("#", "@")) and "=" in line:
                found.leave_out(place, line.strip()[:40], "it is indented: nohang ignores it")
            continue
        if line.startswith("@"):
            _parse_optional(line, place, config)
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            found.leave_out(place, key[:40], "no KEY = VALUE: nohang ignores it")
        elif key in config.settings:
            expected = f"expected it once; it is in {config.settings[key].place} as well"
            found.fault(place, key, expected)
        else:
            config.settings[key] = Setting(value, place)
    return config


def _parse_optional(line: str, place: str, config: NohangConfig) -> None:
    found = config.found
    word = re.match(r"@(BADNESS_ADJ_RE|SOFT_ACTION_RE)_([A-Z_0-9]+)\b", line)
    if word is None:
        if line.rstrip() in ("@check_kmsg", "@debug_kmsg"):
            config.flags[line.strip()] = place
        else:
            found.leave_out(
                place, line.split(maxsplit=1)[0][:40], "nohang does not know it, and ignores it"
            )
        return
    first, separator, second = line[word.end() :].partition(SEPARATOR)
    first, second = first.strip(), second.strip()
    if word[1] == "BADNESS_ADJ_RE":
        if word[2] not in (*FIELDS, *NO_FIELD):
            found.leave_out(place, word[0], "nohang does not know it, and ignores it")
        elif not separator or not re.fullmatch(r"[+-]?\d+", first, re.ASCII):
            expected = f"expected NUMBER {SEPARATOR} EXPRESSION, not {line.strip()[:60]!r}"
            found.fault(place, word[0], expected)
        elif _is_expression(second, place, word[0], found):
            config.adjustments.append((word[2], first, second, place))
    elif word[2] not in ("NAME", "CGROUP_V1", "CGROUP_V2"):
        found.leave_out(place, word[0], "nohang does not know it, and ignores it")
    elif not separator or not second:
        expected = f"expected EXPRESSION {SEPARATOR} COMMAND, not {line.strip()[:60]!r}"
        found.fault(place, word[0], expected)
    elif _is_expression(first, place, word[0], found):
        config.actions.append((word[2], first, second, place))


def _is_expression(text: str, place: str, key: str, found: Found) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        found.fault(place, key, f"expected a regular expression ({error}), not {text[:60]!r}")
        return False
    return True
