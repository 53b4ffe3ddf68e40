"""All processes of a cgroup: who they are, and ending them at once."""

import os


def pids_below(directory: str) -> list[int]:
    """The processes of a cgroup and of those below it; what vanishes meanwhile is passed over."""
    pids: list[int] = []
    for path, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                fd = os.open(f"{path}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                while data := os.read(fd, 65536):
                    pids += [int(pid) for pid in data.split()]
            except OSError:
                pass  # removed meanwhile, or threaded
            finally:
                os.close(fd)
    return pids


def kill_cgroup(directory: str) -> None:
    """SIGKILL every process in a cgroup and below, also those that are just being forked.

    Raises:
        OSError: no such file (before 5.14, or version 1 of the interface), or not ours.
    """
    fd = os.open(f"{directory}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)
