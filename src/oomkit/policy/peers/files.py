"""Files of a machine, or of a copy of one below a folder."""

import os

from oomkit.files.safely import open_regular, open_trusted
from oomkit.toml.table import Fault, TomlError

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
