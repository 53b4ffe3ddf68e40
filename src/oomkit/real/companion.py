"""A program that runs in the guest beside the scenario, such as a user-space OOM killer."""

import msgspec


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """What to put into the guest, and how to start it there before the run begins.

    Attributes:
        name: who is said to have killed what the kernel's log does not name.
        command: the program by its path in the guest, and its arguments; it runs as root, its
            output goes to the guest's console.
        files: path in the guest to the file of this host that is copied there; binaries need
            their loader and libraries listed too.
        settle_s: seconds from its start to the beginning of the run.
    """

    name: str
    command: tuple[str, ...]
    files: dict[str, str] = {}
    settle_s: float = 1.0
