"""What the package's root hands on to Python programs, where it is more than another name."""

import sys
from typing import TYPE_CHECKING

from oomkit.kernel.snapshot_json import SnapshotError, decode_snapshot
from oomkit.kernel.state import Snapshot

if TYPE_CHECKING:
    from oomkit.explain.records import Explanation
    from oomkit.scenario.format import Scenario
    from oomkit.scenario.record import Run

STDIN = "-"


def read_snapshot(path: str) -> Snapshot:
    """Read a snapshot that ``oomkit snapshot`` wrote.

    Args:
        path: the file; ``-`` is standard input.

    Raises:
        SnapshotError: it can't be read or is not a snapshot. The message is one line that
            names the file, the place in it and what was expected.
    """
    name = "standard input" if path == STDIN else path
    try:
        if path == STDIN:
            text = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                text = file.read()
    except OSError as error:
        raise SnapshotError(f"{name}: {error.strerror}") from None
    return decode_snapshot(text, name)


def explain_log(path: str | None = None) -> "tuple[Explanation, ...]":
    """Explain each OOM report of a kernel log, the first one first.

    Args:
        path: the log, packed or not, in any form that ``oomkit explain`` reads; ``-`` is standard
            input; None is the running kernel's log.

    Raises:
        LogError: it can't be read.
    """
    from oomkit.explain.explanation import Case
    from oomkit.explain.files import read_file
    from oomkit.klog.lines.sources import LogError

    log = read_file(path)
    if log.error is not None:
        raise LogError(log.error)
    case = Case([log])
    return tuple(case.explain(index) for index in range(len(case.reports)))


def play(scenario: "str | Scenario", *, policy: str | None = None, seed: int = 0) -> "Run":
    """Play a scenario on the modelled machine and return its record.

    Args:
        scenario: a scenario, or the path of a scenario file.
        policy: name of a built-in policy or path of a policy file; None: the kernel is alone.
        seed: moves only what the scenario declares as random.

    Raises:
        ScenarioError: the file is no scenario; all its faults are in ``lines()``.
        PolicyError: the same of a policy.
        ModelError: the machine can't be played.
    """
    from oomkit.model import play as play_record
    from oomkit.policy.read import find_policy
    from oomkit.scenario.read import read_scenario

    made = read_scenario(scenario) if isinstance(scenario, str) else scenario
    guarded = None if policy is None else find_policy(policy)
    return play_record(made, policy=guarded, seed=seed, sample_s=None)
