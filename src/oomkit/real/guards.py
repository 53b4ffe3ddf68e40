"""What ``--guard`` names: a peer, or nothing but the measuring."""

from oomkit.real import daemons
from oomkit.real.companion import Companion

NONE = "none"
"""Nobody but the kernel; reactions are measured."""


def companion_of(name: str) -> Companion | None:
    """The daemon of a name.

    Args:
        name: ``none``, or a peer of :mod:`oomkit.real.daemons`.

    Raises:
        NoDaemonError: there is none of that name, or it is not here.
    """
    return None if name == NONE else daemons.find(name)
