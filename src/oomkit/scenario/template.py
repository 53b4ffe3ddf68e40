"""The scenarios that ``oomkit new`` writes to start from: commented, or of a machine."""

from collections.abc import Sequence

from oomkit.scenario.format import Scenario
from oomkit.scenario.write import scenario_text

TEMPLATE = """\
# A scenario for `oomkit run`: a machine, its tasks, and what they do.
# Sizes: "300M", "2G" (powers of 1024). Durations: "500ms", "30s", "10m". Rates: "100M/s".
# `oomkit run --check FILE` lists every fault of this file; `--set machine.swap=2G` changes a
# value for one run.
name = "{name}"
about = "one leak among two that only want to work"
duration = "2m"

[machine]
ram = "1G"
swap = "512M"
cpus = 2
kernel = "6.12"            # a version, a release (uname -r), or 2.6.32-article
disk = "100M/s"            # bandwidth of the disk that holds files and swap
# programs = "40M"         # text and libraries the system needs to react; evicted, it freezes

[vm]                       # as in /proc/sys/vm
swappiness = 60
overcommit_memory = 0      # 0 guess, 1 always, 2 never
panic_on_oom = 0
# oom_kill_allocating_task = 0
# oom_killer_disabled = 0  # no file in mainline; here it can be switched
# would_have_oomkilled = 0

[[task]]
name = "database"
oom_score_adj = -500       # or oom_adj, -17..15
role = "protected"         # or "innocent", "culprit"; judges the run
uid = 26
steps = [
  {{ touch = "300M", rate = "100M/s" }},        # anonymous memory, written
  {{ work = "60s", set = "100M" }},             # CPU time over a working set
]

[[task]]
name = "worker"
count = 4                  # four of them,
every = "1s"               # one a second,
jitter = "500ms"           # up to half a second later, at random (--seed)
role = "innocent"
steps = [
  {{ read = "50M", file = "input" }},           # through the page cache, one file for all
  {{ touch = "60M", over = "2s" }},
  {{ work = "10s" }},
]

[[task]]
name = "leak"
start = "5s"
role = "culprit"
steps = [
  {{ touch = "4G", rate = "40M/s" }},
  {{ hold = "forever" }},
]

# Further steps: reserve (map, don't touch; shared = true: for children too), peek (read what was
# never written), share and tmpfs (shared memory), lock, write (dirty page cache), free = "50M" |
# "all" (lazy = true: MADV_FREE), fork = 2 (children go on with the next step), exit = 1;
# touch takes stride = "2M" (one page each: page tables). A task also takes nice, threads,
# program = "5M" (its text), cgroup, loops = 3 | "forever", restart = "1s", shares_mm_with,
# and children = [ {{ name = ..., steps = [...] }} ].

# [[cgroup]]
# name = "web"
# max = "256M"             # also high, low, swap_max, oom_group, version = 1, oom_kill_disable

# [[at]]                   # change a knob in the middle of the run
# t = "30s"
# vm.swappiness = 100
# task.leak.oom_score_adj = 1000
"""


def template(name: str) -> str:
    """The text of a new scenario file called ``name``.

    Raises:
        ValueError: the name can't stand in a TOML string on one line.
    """
    if not name or not name.isprintable() or '"' in name or "\\" in name:
        raise ValueError("a name without quotes, backslashes and control characters")
    return TEMPLATE.format(name=name)


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
        "A Kubernetes node as a scenario. Which pod is evicted, and which process is killed first?"
    ]
    head += [f"  {_line(command)}", "", *(f"* {_line(note)}" for note in rests_on)]
    if notes:
        head += ["", "Of the files:", *(f"* {_line(note)}" for note in notes)]
    return [*head, ""]


def _line(note: str) -> str:
    return "".join(c if c.isprintable() else " " for c in note)
