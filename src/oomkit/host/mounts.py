"""Where the memory controller is mounted; imports nothing that a small program would not."""

from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


def memory_mount(proc: str) -> "tuple[Literal[1, 2], bytes, bytes] | None":
    """Return interface, directory and shown root of the memory controller's mount; None: none.

    Version 1's is preferred, since with both mounted the controller is in one of them only;
    whether version 2's has the controller is for the caller to look at.
    """
    unified = None
    for line in (read_or_none(f"{proc}/self/mountinfo") or b"").splitlines():
        fields, _, source = line.partition(b" - ")
        kind, _, options = source.partition(b" ")
        words = fields.split(b" ")
        if len(words) < 5:
            continue
        if kind == b"cgroup" and b"memory" in options.split(b" ")[-1].split(b","):
            return 1, words[4], words[3]
        if kind == b"cgroup2" and unified is None:
            unified = words[4], words[3]
    return None if unified is None else (2, *unified)


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes that mountinfo uses for space, tab, newline and backslash."""
    if b"\\" in field:
        for code, char in ((b"040", b" "), (b"011", b"\t"), (b"012", b"\n"), (b"134", b"\\")):
            field = field.replace(b"\\" + code, char)
    return field
