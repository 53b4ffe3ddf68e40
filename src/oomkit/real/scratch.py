"""Directories for the time of a run, named after the process that made them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_PREFIX = "oomkit-"


@contextmanager
def scratch(where: str) -> Iterator[str]:
    """Make a directory and remove it afterwards, and what dead processes left beside it.

    Args:
        where: directory to make it in.
    """
    sweep(where)
    path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=where)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(where: str) -> None:
    """Remove the directories of processes that are gone."""
    for name in os.listdir(where):
        if is_left_over(name):
            shutil.rmtree(f"{where}/{name}", ignore_errors=True)


def is_left_over(name: str) -> bool:
    """Whether something of this name was made by a run whose process is gone."""
    prefix, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    return prefix == "oomkit" and pid.isdigit() and not os.path.exists(f"/proc/{pid}")
