"""What a reader of a daemon's configuration opens, and what it hands on.

Files are those of a machine, or of a copy of one below a folder.
"""

import os
from typing import Any

from oomkit.files.safely import open_regular, open_trusted
from oomkit.policy.records import Origin
from oomkit.toml.table import Fault, TomlError


class Found:
    """Collects what a configuration says, cannot say, and does wrong.

    Args:
        daemon: whose configuration it is.

    Attributes:
        version: whose rules are followed.
        left_out: what has no counterpart, a line each.
        traps: what may not be meant, a line each.
        faults: what is wrong, each with its file.
    """

    def __init__(self, daemon: str) -> None:
        self.daemon = daemon
        self.version = ""
        self.left_out: list[str] = []
        self.traps: list[str] = []
        self.faults: list[tuple[str, Fault]] = []

    def leave_out(self, place: str, key: str, why: str) -> None:
        """Name what has no counterpart.

        Args:
            place: file and line.
            key: what stands there.
            why: what is not done, or done otherwise.
        """
        self.left_out.append(f"{place}: {key}: {why}")

    def fault(self, place: str, key: str, expected: str) -> None:
        """Note what is wrong.

        Args:
            place: file and line.
            key: what stands there.
            expected: what should.
        """
        self.faults.append((place, Fault(path=key, expected=expected)))

    def check(self) -> None:
        """Refuse what is wrong.

        Raises:
            TomlError: something is; it lists all of it.
        """
        if self.faults:
            raise PeerError(self.faults)

    def origin(self, files: list[str]) -> Origin:
        """What is shown of it besides the policy."""
        return Origin(
            daemon=self.daemon,
            version=self.version,
            files=tuple(dict.fromkeys(files)),
            left_out=tuple(self.left_out),
            traps=tuple(self.traps),
        )


class PeerError(TomlError):
    """A configuration that is wrong, each fault with its own file and line."""

    def __init__(self, faults: list[tuple[str, Fault]]) -> None:
        self.places = [place for place, _ in faults]
        super().__init__(self.places[0], [fault for _, fault in faults])

    def lines(self) -> list[str]:
        """One line a fault: file and line, key, what was expected."""
        return [
            TomlError(place, [fault]).lines()[0]
            for place, fault in zip(self.places, self.faults, strict=True)
        ]


Raw = dict[str, Any]
"""A policy as its file says it."""


def one_fault(place: str, expected: str) -> TomlError:
    """The error about one file that can't be used."""
    return TomlError(place, [Fault(path="", expected=expected)])


_MOST_SECONDS = 366 * 86400.0
_MOST_KIB = float(2**40)


def span(time_s: float) -> str:
    """A time as a policy writes it: from a millisecond, or 0, to a year, which is for ever."""
    return f"{min(time_s, _MOST_SECONDS):.3f}s" if time_s >= 0.0005 else "0s"


def size(kib: float) -> str:
    """A size as a policy writes it: at most a pebibyte, which no machine has."""
    return f"{min(kib, _MOST_KIB):.0f}K"


def percent(share: float) -> str:
    """A share as a policy writes it."""
    return f"{100 * share:.6f}".rstrip("0").rstrip(".") + "%"


MAX_BYTES = 4 << 20
"""Maximum size of a file: more is no configuration."""
_MAX_LINKS = 16


class Files:
    """Reads configuration below a root, and remembers what was read.

    Args:
        root: where ``/etc`` and ``/usr`` are; empty: this machine's.
        trusted: refuse files that others can change.

    Attributes:
        read: paths that were read, in that order.
    """

    def __init__(self, root: str = "", *, trusted: bool = False) -> None:
        self.root = root.rstrip("/")
        self.trusted = trusted
        self.read: list[str] = []

    def text(self, path: str) -> str:
        """The text of a file.

        Args:
            path: below the root.

        Raises:
            TomlError: it can't be read, is too large, or is no UTF-8 text.
        """
        where = self.where(path)
        try:
            with open(open_trusted(where) if self.trusted else open_regular(where), "rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise _fault(where, "expected at most 4 MiB of configuration")
            text = data.decode("utf-8")
        except OSError as error:
            raise _fault(where, error.strerror or str(error)) from None
        except UnicodeDecodeError:
            raise _fault(where, "expected UTF-8 text") from None
        self.read.append(where)
        return text.replace("\r\n", "\n")

    def has(self, path: str) -> bool:
        """Whether there is a file that says something: not masked, and not empty."""
        where = self.where(path)
        return os.path.isfile(where) and os.path.getsize(where) > 0

    def masks(self, path: str) -> bool:
        """Whether a name stands there, be it only to mask those in directories that come later."""
        return os.path.lexists(self.root + path)

    def names(self, directory: str) -> list[str]:
        """What is in a directory, sorted; empty where there is none."""
        try:
            return sorted(os.listdir(self.where(directory)))
        except OSError:
            return []

    def is_directory(self, path: str) -> bool:
        """Whether a directory is there."""
        return os.path.isdir(self.where(path))

    def where(self, path: str) -> str:
        """Where a path below the root is, links followed as the machine itself would."""
        where = self.root + path
        for _ in range(_MAX_LINKS):
            if not self.root or not os.path.islink(where):
                break
            target = os.readlink(where)
            if target.startswith("/"):
                where = target if target == "/dev/null" else self.root + target
            else:
                where = os.path.join(os.path.dirname(where), target)
        return where


def _fault(where: str, expected: str) -> TomlError:
    return TomlError(where, [Fault(path="", expected=expected)])


def by_name(files: Files, directories: tuple[str, ...], suffix: str) -> list[str]:
    """Paths of the files of that suffix: of each name the one in the first directory, by name.

    So systemd finds drop-ins (``conf_files_list_strv()``, src/basic/conf-files.c). A name that is
    empty or a link to ``/dev/null`` hides those in later directories.

    Args:
        files: reads them.
        directories: in the order in which they count.
        suffix: of the names.
    """
    found: dict[str, str] = {}
    for directory in directories:
        for name in files.names(directory):
            if name.endswith(suffix) and not name.startswith("."):
                found.setdefault(name, f"{directory}/{name}")
    return [path for _, path in sorted(found.items()) if files.has(path)]
