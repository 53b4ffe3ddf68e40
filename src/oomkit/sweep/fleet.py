"""Machines and their loads, drawn from a table of what ran on a cluster."""

from array import array
from collections.abc import Sequence
from random import Random
from typing import Any

from oomkit.sweep.spec import Fleet

SYSTEM = 360
PRODUCTION = 120
BATCH = 100
"""From which priority on a task is monitoring, production, batch; below: best effort. The tiers
of Google's 2019 trace."""

_MIN_BYTES = 2**20
_MIN_RAM = 256 * 2**20
_MAX_CPUS = 1024


class Table:
    """What a fleet's runs are drawn from, in columns.

    Attributes:
        ram_bytes: memory of each machine.
        cpus: CPUs of each machine.
        requested_bytes: memory each task asked the cluster's scheduler for.
        used_bytes: the most it used.
        life_s: how long it ran.
        task_cpus: CPUs it used on average.
        priority: of each task.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        machines: Sequence[tuple[int, int]],
        tasks: Sequence[tuple[float, float, float, float, float]],
    ) -> None:
        """Take machines (bytes, CPUs) and tasks (requested, used, life, CPUs, priority).

        Raises:
            ValueError: there is no machine, or no task.
        """
        if not machines or not tasks:
            raise ValueError("a machine and a task at least")
        self.fleet = fleet
        self.ram_bytes = array("q", (ram for ram, _ in machines))
        self.cpus = array("q", (cpus for _, cpus in machines))
        columns = list(zip(*tasks, strict=True))
        self.requested_bytes = array("d", columns[0])
        self.used_bytes = array("d", columns[1])
        self.life_s = array("d", columns[2])
        self.task_cpus = array("d", columns[3])
        self.priority = array("q", map(int, columns[4]))

    def scenario(self, rng: Random) -> dict[str, Any]:
        """A machine with tasks up to ``fleet.pack`` of its memory by their requests, as TOML.

        Where there would be too many tasks, the machine is cut to the memory and CPUs that the
        tasks drawn are the share of.
        """
        fleet = self.fleet
        place = int(rng.random() * len(self.ram_bytes))
        ram = max(self.ram_bytes[place], _MIN_RAM)
        chosen: list[int] = []
        requested = 0.0
        while requested < fleet.pack * ram and len(chosen) < fleet.tasks:
            task = int(rng.random() * len(self.used_bytes))
            chosen.append(task)
            requested += max(self.requested_bytes[task], _MIN_BYTES)
        part = min(requested / fleet.pack / ram, 1.0)
        ram = max(round(ram * part), _MIN_RAM)
        cpus = min(max(round(self.cpus[place] * part), 1), _MAX_CPUS)
        return {
            "name": f"machine {place} of the fleet",
            "duration": fleet.window_s,
            "machine": {
                "ram": ram,
                "cpus": cpus,
                "swap": f"{fleet.swap_bytes}B",
                "programs": "100M",
            },
            "task": [self._task(number, task, ram, rng) for number, task in enumerate(chosen)],
        }

    def _task(self, number: int, task: int, ram: int, rng: Random) -> dict[str, Any]:
        window = self.fleet.window_s
        requested = max(round(self.requested_bytes[task]), _MIN_BYTES)
        used = max(round(self.used_bytes[task]), _MIN_BYTES)
        life = min(max(self.life_s[task], 1.0), window)
        long = life >= window
        start = rng.random() * (0.1 * window if long else window - life)
        grow_s = max(life * (0.05 + 0.45 * rng.random()), 0.1)
        steps: list[dict[str, Any]] = [{"touch": min(used, requested), "over": grow_s}]
        if used > requested:
            # What it takes beyond its request comes slowly, until its end.
            steps.append({"touch": f"{used - requested}B", "over": max(0.8 * (life - grow_s), 0.1)})
        busy = round(self.task_cpus[task] * life / 2, 3)
        if busy >= 0.001:
            steps.append({"work": busy})
        steps.append({"hold": "forever" if long else max(life - grow_s, 0.001)})
        priority = self.priority[task]
        described: dict[str, Any] = {
            "name": f"{tier(priority)}-{number}",
            "start": start,
            "oom_score_adj": oom_score_adj(priority, requested, ram),
            "steps": steps,
        }
        role = "protected" if priority >= SYSTEM else "culprit" if used > requested else "innocent"
        return {**described, "role": role}


def tier(priority: int) -> str:
    """What a priority stands for."""
    if priority >= SYSTEM:
        return "system"
    if priority >= PRODUCTION:
        return "production"
    return "batch" if priority >= BATCH else "besteffort"


def oom_score_adj(priority: int, requested_bytes: int, ram_bytes: int) -> int:
    """What a Kubernetes node would give it: -997 guaranteed, 1000 best effort, in between by size.

    The rule of the kubelet (``pkg/kubelet/qos``): 1000 less the request's thousandths of memory,
    from 3 to 999.
    """
    if priority >= SYSTEM:
        return -997
    if priority < BATCH:
        return 1000
    return min(max(1000 - 1000 * requested_bytes // ram_bytes, 3), 999)
