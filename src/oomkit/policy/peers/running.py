"""Daemons that run on this machine."""

import os
from collections.abc import Iterator


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
