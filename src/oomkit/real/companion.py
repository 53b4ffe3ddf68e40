"""What runs in a guest beside the scenario, and how it gets there."""

import msgspec

from oomkit.real.errors import RealError


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """What to put into the guest, and how to start it there before the run begins.

    Attributes:
        name: the killer of tasks that the kernel's log does not name.
        command: the program by its path in the guest, and its arguments; it runs as root, its
            output becomes part of the run's log.
        files: path in the guest to the file of this host that is copied there; a binary's loader
            and libraries come along by themselves.
        texts: path in the guest to what the file there is to hold.
        modules: Python modules it imports beyond what the workload agent does.
        paths: directories of this host where those are that Python does not bring.
        ready: the run begins when a line of its output holds this; empty: it says nothing.
        settle_s: seconds from then to the beginning of the run.
        root: where packages were unpacked whose loader and libraries the files need; empty: they
            need this host's.
        pipes: named pipes in the guest.
        process_1: what the kernel starts there; it starts the agent then. Empty: the agent itself.
        units: cgroups that it makes before the agent starts.
    """

    name: str
    command: tuple[str, ...] = ()
    files: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    modules: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ready: str = ""
    settle_s: float = 1.0
    root: str = ""
    pipes: tuple[str, ...] = ()
    process_1: str = ""
    units: frozenset[str] = frozenset()


class NoDaemonError(RealError):
    """No daemon of that name is here; the text says where was looked."""
