"""What a scenario leaves to chance, drawn once for whoever plays it.

The model and the players on real kernels draw here, so that one seed is the same sizes and the same
delays in each.
"""

import random
from typing import NamedTuple

from oomkit.scenario.format import Task


class Drawn(NamedTuple):
    """What is drawn for one instance of a task entry.

    Attributes:
        late_s: how much later than declared it starts.
        scales: of each step, the factor of its size and of its time.
        children: of each entry of its children, what is drawn for the instances of that.
    """

    late_s: float
    scales: tuple[float, ...]
    children: tuple[tuple["Drawn", ...], ...]


def draw(task: Task, rng: random.Random) -> tuple[Drawn, ...]:
    """Draw for all instances of a task entry, in the order of the file; children with their parent.

    An instance that is started again is as large as before. Nothing is drawn where nothing is
    declared as random.
    """
    if not _is_random(task):
        same = Drawn(0.0, (1.0,) * len(task.steps), tuple(draw(one, rng) for one in task.children))
        return (same,) * task.count
    return tuple(_draw_one(task, rng) for _ in range(task.count))


def _draw_one(task: Task, rng: random.Random) -> Drawn:
    late_s = rng.random() * task.jitter_s if task.jitter_s else 0.0
    if task.spread:
        scales = tuple(1.0 + task.spread * (2.0 * rng.random() - 1.0) for _ in task.steps)
    else:
        scales = (1.0,) * len(task.steps)
    return Drawn(late_s, scales, tuple(draw(one, rng) for one in task.children))


def _is_random(task: Task) -> bool:
    return bool(task.jitter_s or task.spread) or any(map(_is_random, task.children))
