"""systemd's configuration files and units, with their drop-ins.

Facts of systemd 261: src/shared/conf-parser.c (``config_parse()``: comments, lines that go on,
sections), src/basic/conf-files.c (which of several files of a name counts, and in which order),
src/shared/dropin.c (``unit_file_find_dropin_paths()``), man systemd.unit (directories, and the
drop-ins of prefixes, templates and types), systemd.time and systemd.syntax.
"""

import re
from collections.abc import Iterator

from oomkit.policy.peers.found import Files, Found, by_name

CONFIG = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
"""Directories of configuration files, in the order in which they count."""
SYSTEM = (
    "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
    "/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached",
    "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
    "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    "/run/systemd/generator.late",
)  # fmt: skip
"""Directories of the system manager's units."""
USER = (
    "/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user",
    "/usr/local/share/systemd/user", "/usr/lib/systemd/user", "/usr/share/systemd/user",
)  # fmt: skip
"""Directories of units of all users' managers."""
TYPES = ("service", "slice", "scope", "socket", "mount", "swap")
"""Types of units that have a cgroup."""


class Entry:
    """One ``KEY=VALUE`` of a configuration file.

    Attributes:
        section: without its brackets.
        key, value: what it says.
        place: file and line.
    """

    __slots__ = ("key", "place", "section", "value")

    def __init__(self, section: str, key: str, value: str, place: str) -> None:
        self.section = section
        self.key = key
        self.value = value
        self.place = place


def entries(text: str, path: str, found: Found | None = None) -> list[Entry]:
    """What a configuration file says.

    Args:
        text: of the file.
        path: its name, for people.
        found: lines that say nothing are named here.
    """
    said: list[Entry] = []
    section = ""
    for number, line in _lines(text):
        if line.startswith("["):
            if line.endswith("]"):
                section = line[1:-1]
            elif found is not None:
                found.fault(f"{path}:{number}", "", f"expected [SECTION], not {line[:40]!r}")
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if equals and section:
            said.append(Entry(section, key, value, f"{path}:{number}"))
        elif found is not None:
            expected = "[SECTION] before it" if equals else f"KEY=VALUE, not {line[:40]!r}"
            found.fault(f"{path}:{number}", key if equals else "", f"expected {expected}")
    return said


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, what ends in a backslash with what follows, by the first's number."""
    begun, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped[:1] in ("#", ";"):
            continue
        first = first or number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        whole = (begun + line).strip()
        if whole:
            yield first, whole
        begun, first = "", 0
    if begun.strip():
        yield first, begun.strip()


def standard_files(files: Files, name: str) -> list[str]:
    """A configuration file and its drop-ins, in the order in which they are read.

    The first directory that has the file counts; an empty one, or a link to ``/dev/null``, there
    hides the others. Drop-ins of all directories follow, by their names.

    Args:
        files: finds them.
        name: below the directories, such as ``systemd/oomd.conf``.
    """
    found = []
    main = next((f"{d}/{name}" for d in CONFIG if files.masks(f"{d}/{name}")), None)
    if main is not None and files.has(main):
        found.append(main)
    return found + by_name(files, tuple(f"{d}/{name}.d" for d in CONFIG), ".conf")


class Unit:
    """A unit, or all those of a prefix, template or type, as its files say.

    Attributes:
        name: ``ssh.service``; ``user-.slice`` stands for all slices that begin so,
        ``user@.service``     for all instances, ``.service`` for all of a type.
        entries: what is said, in the order in which it counts.
    """

    __slots__ = ("entries", "name")

    def __init__(self, name: str, said: list[Entry]) -> None:
        self.name = name
        self.entries = said

    def all(self, section: str, key: str) -> list[Entry]:
        """The values of a key that is a list; an empty one takes back those before it."""
        found: list[Entry] = []
        for one in self.entries:
            if one.section == section and one.key == key:
                found = [*found, one] if one.value else []
        return found

    def last(self, key: str) -> Entry | None:
        """The value of a key that counts, whatever the section; an empty one is the default."""
        found = [one for one in self.entries if one.key == key]
        return found[-1] if found and found[-1].value else None


def system_unit(files: Files, name: str) -> Unit | None:
    """A unit of the system manager; None where there is no file of it."""
    return read_unit(files, SYSTEM, name)


def read_unit(
    files: Files, directories: tuple[str, ...], name: str, found: Found | None = None
) -> Unit | None:
    """A unit with its drop-ins; None where nothing is said of it."""
    paths = []
    for fragment in (name, template_of(name)):
        main = next((f"{d}/{fragment}" for d in directories if files.masks(f"{d}/{fragment}")), "")
        if main:
            if files.has(main):
                paths.append(main)
            break
    dropins = tuple(f"{d}/{one}.d" for one in dropin_names(name) for d in directories)
    paths += by_name(files, dropins, ".conf")
    if not paths:
        return None
    said = [one for path in paths for one in entries(files.text(path), files.where(path), found)]
    return Unit(name, said)


def dropin_names(name: str) -> list[str]:
    """Names of directories of drop-ins (without ``.d``) that are about a unit, its own first."""
    stem, _, kind = name.rpartition(".")
    names = [name]
    if template_of(name) != name:
        names.append(template_of(name))
    prefix = stem.partition("@")[0]
    while "-" in prefix.rstrip("-"):
        prefix = prefix.rstrip("-").rpartition("-")[0] + "-"
        names.append(f"{prefix}.{kind}")
    if stem:
        names.append(kind)
    return list(dict.fromkeys(names if stem else [kind]))


def template_of(name: str) -> str:
    """``user@.service`` of ``user@1000.service``; a name without an instance as it is."""
    stem, _, kind = name.rpartition(".")
    prefix, at, _ = stem.partition("@")
    return f"{prefix}@.{kind}" if at else name


def unit_names(files: Files, directories: tuple[str, ...], keys: re.Pattern[str]) -> list[str]:
    """Units, prefixes, templates and types of which some file says one of the keys."""
    found = set()
    for directory in directories:
        for name in files.names(directory):
            path = f"{directory}/{name}"
            if name.endswith(".d") and files.is_directory(path):
                said = [f"{path}/{one}" for one in files.names(path) if one.endswith(".conf")]
                unit = name.removesuffix(".d")
                unit = f".{unit}" if unit in TYPES else unit
            else:
                said, unit = [path], name
            if unit.rpartition(".")[2] in TYPES and any(_says(files, one, keys) for one in said):
                found.add(unit)
    return sorted(found)


def _says(files: Files, path: str, keys: re.Pattern[str]) -> bool:
    if not files.has(path):
        return False
    before = len(files.read)
    text = files.text(path)
    says = keys.search(text) is not None
    if not says:
        del files.read[before:]
    return says


_PARTS = re.compile(r"(\d+)(?:\.(\d{1,2}))?(%|‰|‱)", re.ASCII)


def share(text: str) -> float:
    """``60%``, ``600‰`` or ``6000‱`` as 0.6 (``parse_permyriad()``, src/basic/percent-util.c).

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    expected = "a share such as 60%, 600‰ or 6000‱, at most 100%"
    match = _PARTS.fullmatch(text.strip())
    if match is None or len(match[2] or "") > {"%": 2, "‰": 1, "‱": 0}[match[3]]:
        raise ValueError(expected)
    found = float(f"{match[1]}.{match[2] or 0}") / {"%": 100, "‰": 1000, "‱": 10000}[match[3]]
    if found > 1.0:
        raise ValueError(expected)
    return found


_SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-zµμ]*)\s*")
_UNITS = {
    1e-6: ("us", "usec", "µs", "μs"), 1e-3: ("ms", "msec"),
    1.0: ("", "s", "sec", "second", "seconds"), 60.0: ("m", "min", "minute", "minutes"),
    3600.0: ("h", "hr", "hour", "hours"), 86400.0: ("d", "day", "days"),
    604800.0: ("w", "week", "weeks"), 2629800.0: ("M", "month", "months"),
    31557600.0: ("y", "year", "years"),
}  # fmt: skip
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names}


def seconds(text: str) -> float:
    """A time span such as ``1min 30s`` (``parse_sec()``, src/basic/time-util.c); may be infinite.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    text = text.strip()
    if text == "infinity":
        return float("inf")
    found, at = 0.0, 0
    while at < len(text):
        match = _SPAN.match(text, at)
        if match is None or match[2] not in _SECONDS:
            raise ValueError('a time span such as "30s" or "1min 30s"')
        found += float(match[1]) * _SECONDS[match[2]]
        at = match.end()
    if not text:
        raise ValueError('a time span such as "30s" or "1min 30s"')
    return found
