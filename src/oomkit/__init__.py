"""oomkit: predict, prevent and explain Linux running out of memory.

The names in ``__all__`` are the public interface; each is imported when it is first used. What is
not among them may change in any version.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.api import explain_log, play, read_snapshot
    from oomkit.errors import OomkitError
    from oomkit.host.scan import take_snapshot
    from oomkit.kernel.alloc import decide
    from oomkit.kernel.badness import badness
    from oomkit.kernel.constraint import control_for
    from oomkit.kernel.rank import rank
    from oomkit.kernel.state import Allocation, Snapshot, Task
    from oomkit.kernel.versions import rules_for
    from oomkit.scenario.read import read_scenario

__version__ = "0.1.0"

_HOMES = {
    "Allocation": "oomkit.kernel.state",
    "OomkitError": "oomkit.errors",
    "Snapshot": "oomkit.kernel.state",
    "Task": "oomkit.kernel.state",
    "badness": "oomkit.kernel.badness",
    "control_for": "oomkit.kernel.constraint",
    "decide": "oomkit.kernel.alloc",
    "explain_log": "oomkit.api",
    "play": "oomkit.api",
    "rank": "oomkit.kernel.rank",
    "read_scenario": "oomkit.scenario.read",
    "read_snapshot": "oomkit.api",
    "rules_for": "oomkit.kernel.versions",
    "take_snapshot": "oomkit.host.scan",
}

__all__ = [
    "Allocation",
    "OomkitError",
    "Snapshot",
    "Task",
    "badness",
    "control_for",
    "decide",
    "explain_log",
    "play",
    "rank",
    "read_scenario",
    "read_snapshot",
    "rules_for",
    "take_snapshot",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'oomkit' has no attribute {name!r}")
    import importlib

    found: object = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
