"""The text of a scenario that was made of a machine, with what to know and what to try."""

from collections.abc import Sequence

from oomkit.scenario.format import Scenario
from oomkit.scenario.write import scenario_text

_HEAD = """\
A machine as a scenario for `oomkit run`: its memory, swap, knobs, cgroups and processes.
From {ready} s on memory is in use as it was; before, it gets there. Tasks hold what they have.
`kernel_memory` stands for all that belongs to no process: slab, unmapped tmpfs, and so on.
"""
_TRY = """
# What if something leaked?
#
# [[task]]
# name = "leak"
# start = "{ready}s"
# role = "culprit"
# loops = "forever"
# steps = [ {{ touch = "64M", rate = "50M/s" }} ]
"""


def machine_text(scenario: Scenario, ready_s: int, notes: Sequence[str]) -> str:
    """Return the file.

    Args:
        scenario: the machine.
        ready_s: when its memory is in use as it was.
        notes: what could not be known, one sentence each.
    """
    head = _HEAD.format(ready=ready_s).splitlines()
    if notes:
        head += ["", "Unknown, or left out:", *(f"* {_line(note)}" for note in notes)]
    return scenario_text(scenario, [*head, ""]) + _TRY.format(ready=ready_s)


def node_head(command: str, rests_on: Sequence[str], notes: Sequence[str]) -> list[str]:
    """The head of a Kubernetes node's scenario, line by line.

    Args:
        command: plays it.
        rests_on: what it rests on, one sentence each.
        notes: what deserves to be known, one sentence each.
    """
    head = [
        "A Kubernetes node as a scenario. Who is evicted, and who is killed by the kernel first?"
    ]
    head += [f"  {_line(command)}", "", *(f"* {_line(note)}" for note in rests_on)]
    if notes:
        head += ["", "Of the files:", *(f"* {_line(note)}" for note in notes)]
    return [*head, ""]


def _line(note: str) -> str:
    return "".join(c if c.isprintable() else " " for c in note)
