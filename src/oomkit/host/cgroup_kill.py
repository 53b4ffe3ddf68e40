"""All processes of a cgroup."""

import os

from oomkit.host.procfs import read_at


def pids_below(directory: str) -> list[int]:
    """The processes of a cgroup and of those below it; what vanishes meanwhile is passed over."""
    pids: list[int] = []
    # A process of a pid namespace that we can't see is listed as 0.
    for path, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                data = read_at(f"{path}/cgroup.procs")
            except OSError:
                continue  # removed meanwhile, or threaded
            pids += [int(pid) for pid in data.split() if pid != b"0"]
    return pids
