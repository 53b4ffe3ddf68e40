"""Which workload agent plays: the static program, or the one in Python where that can't be had."""

import functools
import os
from typing import Literal

import msgspec

from oomkit.files.safely import is_safe_directory
from oomkit.real.agent_build import BuildError, build, fingerprint
from oomkit.real.errors import RealError
from oomkit.real.packages import cache_directory

HERE = os.path.dirname(os.path.abspath(__file__))

VARIABLE = "OOMKIT_AGENT"
"""``python``, or the path of a static agent; without it what is best here is taken."""

SHIPPED = f"{HERE}/agent/oomkit-agent"
"""The program that a compiled wheel holds."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """What plays the tasks.

    Attributes:
        kind: a static program, or Python.
        path: the program; empty for Python.
        why: why it is Python.
    """

    kind: Literal["static", "python"]
    path: str = ""
    why: str = ""


def agent() -> Agent:
    """The agent to play with: as the environment says, one that was installed, or one built here.

    Raises:
        RealError: the environment names a file that can't be run.
    """
    return chosen(os.environ.get(VARIABLE, ""))


@functools.cache
def chosen(wanted: str) -> Agent:
    """The agent where :data:`VARIABLE` has a value; see :func:`agent`."""
    if wanted == "python":
        return Agent(kind="python", why=f"{VARIABLE} says so")
    if wanted:
        if not os.access(wanted, os.X_OK) or os.path.isdir(wanted):
            raise RealError(f"{VARIABLE}={wanted}: expected python, or a program that can be run")
        return Agent(kind="static", path=os.path.abspath(wanted))
    if os.access(SHIPPED, os.X_OK):
        return Agent(kind="static", path=SHIPPED)
    try:
        return Agent(kind="static", path=_built())
    except (BuildError, OSError) as error:
        return Agent(kind="python", why=f"the static agent could not be built: {error}")


def _built() -> str:
    """The program made of these sources, from the cache or made now."""
    directory = cache_directory("agents")
    os.makedirs(directory, mode=0o755, exist_ok=True)
    if not is_safe_directory(directory):
        raise BuildError(f"{directory}: others can write there; expected a directory of ours alone")
    path = f"{directory}/agent-{fingerprint()}"
    if not os.access(path, os.X_OK):
        build(path)
    return path
