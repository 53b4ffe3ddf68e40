"""The form of a line by which somebody tells of a death or a shortage."""

import re
from functools import cached_property
from typing import Literal

Kind = Literal["kill", "notice", "eviction", "sigkill", "failure", "pressure"]

UNIT = r"(?P<unit>[\w@:.\\-]+\.(?:service|scope|slice|socket|mount|swap))"
POD = r"(?P<pod>[\w.-]+(?:/[\w.-]+)?)"
ID = r"(?P<container>[0-9a-f]{12,64})"
SIZE = r"\d[\d.]*(?: ?(?:[kKMGT]i?B?|Mb|Gb|kb|mb|gb|b|B|megabytes|MBs?))?"


class Form:
    """One form: who prints it, what it means, how to read it.

    Attributes:
        by: who says so; ``anybody`` for the program that the log names.
        kind: what it says.
        words: every line of the form has one of them.
        tags: syslog tags of lines that have the form; any where empty.
        killer: who killed, where the line says that somebody else did.
        means: what the line says, for forms that tell of no death.
    """

    def __init__(
        self,
        by: str,
        kind: Kind,
        pattern: str,
        *,
        words: tuple[str, ...],
        tags: tuple[str, ...] = (),
        killer: Literal["kernel"] | None = None,
        means: str = "",
    ) -> None:
        """Take the parts; ``pattern`` names what it finds as fields of ``Evidence`` are named."""
        self.by = by
        self.kind = kind
        self.words = words
        self.tags = tags
        self.killer = killer
        self.means = means
        self._pattern = pattern

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the form in a line."""
        return re.compile(self._pattern)


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtT]?)([iI]?)([bB]?)")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def size_kb(text: str, *, unit: str = "b") -> int | None:
    """Read ``5053216Ki``, ``276.9M`` or ``512 MiB``, in kB; None where it is none.

    Args:
        text: the size; prefixes count by 1024, as the kernel, systemd and Slurm count.
        unit: the unit of a bare number.
    """
    match = _SIZE.match(text.strip())
    if match is None:
        return None
    power = _POWERS[(match[2] or ("" if match[4] else unit.rstrip("bB"))).lower()[:1]]
    return int(float(match[1]) * 1024.0**power / 1024)
