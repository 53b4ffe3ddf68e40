"""Random scenarios in which memory runs short: who causes it, and who merely is there."""

import random
from collections.abc import Callable
from typing import Any

from oomkit.scenario import Scenario, scenario_from

MB = 2**20

Load = Callable[[random.Random, int], list[dict[str, Any]]]
"""Tasks that cause a shortage on a machine with so much RAM, in bytes."""


def random_scenario(kind: str, seed: int) -> Scenario:
    """A scenario of a kind of load; the same seed gives the same one."""
    rng = random.Random(f"{kind} {seed}")
    ram = rng.choice([1, 1, 2, 2, 4, 8, 16]) << 30
    swap = rng.choice([0, 0, ram // 4, ram // 2, ram])
    tasks = [*background(rng, ram), *LOADS[kind](rng, ram)]
    cgroups = sorted({t["cgroup"] for t in _all(tasks)})
    return scenario_from(
        {
            "name": f"{kind} {seed}",
            "duration": "4m",
            "machine": {
                "ram": ram,
                "swap": swap,
                "cpus": rng.choice([2, 4, 8]),
                "disk": rng.choice(["100M/s", "300M/s", "1G/s"]),
                "programs": rng.choice([30, 60, 90]) * MB,
            },
            "task": tasks,
            "cgroup": [{"name": name} for name in cgroups],
        }
    )


def _all(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for task in tasks for one in (task, *_all(task.get("children", [])))]


def _share(rng: random.Random, ram: int, low: float, high: float) -> int:
    return int(ram * rng.uniform(low, high)) // 4096 * 4096


def _app(name: str) -> str:
    return f"user.slice/app-{name}.scope"


def background(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    """What a machine was bought for: some of a shell, a database, a browser, a batch of work."""
    tasks: list[dict[str, Any]] = [
        {
            "name": "shell", "role": "innocent", "cgroup": _app("shell"),
            "steps": [{"touch": _share(rng, ram, 0.02, 0.05), "over": "1s"}, {"hold": "forever"}],
        }
    ]  # fmt: skip
    if rng.random() < 0.6:
        tasks.append(_database(rng, ram))
    if rng.random() < 0.6:
        tasks.append(_browser(rng, ram, leak=False))
    if rng.random() < 0.5:
        tasks.append(
            {
                "name": "batch", "role": "innocent", "cgroup": "system.slice/batch.service",
                "count": rng.randint(1, 3), "spread": 0.3,
                "steps": [
                    {"touch": _share(rng, ram, 0.02, 0.08), "over": "3s"},
                    {"work": f"{rng.randint(60, 400)}s", "set": 8 * MB},
                ],
            }
        )  # fmt: skip
    return tasks


def _database(rng: random.Random, ram: int) -> dict[str, Any]:
    size = _share(rng, ram, 0.15, 0.3)
    return {
        "name": "database", "role": "protected", "cgroup": "system.slice/database.service",
        "oom_score_adj": rng.choice([0, -200, -500, -900]), "uid": 26,
        "steps": [{"touch": size, "over": "4s"}, {"work": "500s", "set": size // 4}],
    }  # fmt: skip


def _browser(rng: random.Random, ram: int, *, leak: bool) -> dict[str, Any]:
    cgroup = _app("browser")
    tabs: list[dict[str, Any]] = [
        {
            "name": "tab", "role": "innocent", "cgroup": cgroup, "oom_score_adj": 300,
            "count": rng.randint(5, 25), "every": "50ms", "spread": 0.5,
            "steps": [{"touch": _share(rng, ram, 0.002, 0.01), "over": "1s"}, {"hold": "forever"}],
        }
    ]  # fmt: skip
    if leak:
        tabs.append(
            {
                "name": "leaking-tab", "role": "culprit", "cgroup": cgroup, "oom_score_adj": 300,
                "start": "10s",
                "steps": [
                    {"touch": 3 * ram, "rate": f"{_share(rng, ram, 0.003, 0.02)}B/s"},
                    {"hold": "forever"},
                ],
            }
        )  # fmt: skip
    return {
        "name": "browser", "role": "innocent", "cgroup": cgroup, "children": tabs,
        "steps": [{"touch": _share(rng, ram, 0.03, 0.08), "over": "2s"}, {"hold": "forever"}],
    }  # fmt: skip


def fast_hog(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    return [_grower("hog", rng, rate=rng.choice([100, 300, 1000]) * MB, size=3 * ram)]


def slow_leak(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    return [_grower("leak", rng, rate=_share(rng, ram, 0.003, 0.02), size=3 * ram)]


def _grower(name: str, rng: random.Random, *, rate: int, size: int) -> dict[str, Any]:
    return {
        "name": name, "role": "culprit", "cgroup": _app(name), "start": f"{rng.randint(8, 30)}s",
        "steps": [{"touch": size, "rate": f"{rate}B/s"}, {"hold": "forever"}],
        **({"on_sigterm": "ignore"} if rng.random() < 0.15 else {}),
    }  # fmt: skip


def fork_bomb(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    child = {
        "name": "bomb", "role": "culprit", "cgroup": _app("bomb"),
        "count": rng.randint(25, 70), "every": f"{rng.choice([20, 50, 200])}ms",
        "steps": [
            {"touch": _share(rng, ram, 0.02, 0.06), "over": "500ms"},
            {"hold": "forever"},
        ],
    }  # fmt: skip
    return [
        {
            "name": "bomber", "role": "culprit", "cgroup": _app("bomb"), "start": "10s",
            "steps": [{"touch": 2 * MB}, {"hold": "forever"}], "children": [child],
        }
    ]  # fmt: skip


def tmpfs_filler(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    size = _share(rng, ram, 0.4, 0.5)
    return [
        {
            "name": "filler", "role": "culprit", "cgroup": _app("filler"), "start": "10s",
            "steps": [
                {"tmpfs": size, "rate": f"{_share(rng, ram, 0.01, 0.1)}B/s"},
                {"hold": "forever"},
            ],
        },
        _grower("logger", rng, rate=_share(rng, ram, 0.002, 0.01), size=ram // 2),
    ]  # fmt: skip


def leaking_tab(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    browser = _browser(rng, ram, leak=True)
    for task in _all([browser]):
        task["name"] = f"{task['name']}2"
    return [browser]


def wide_build(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    """More compilers at once than fit: each does its work and ends."""
    return [
        {
            "name": "cc", "role": "culprit", "cgroup": _app("build"),
            "count": rng.randint(8, 24), "start": "10s", "every": "1s", "spread": 0.5,
            "steps": [
                {"touch": _share(rng, ram, 0.03, 0.1), "over": "6s"},
                {"work": f"{rng.randint(5, 40)}s"},
            ],
        }
    ]  # fmt: skip


def near_miss(rng: random.Random, ram: int) -> list[dict[str, Any]]:
    """Much memory for a while, and then it is given back."""
    return [
        {
            "name": "job", "role": "innocent", "cgroup": _app("job"), "start": "12s",
            "steps": [
                {"touch": _share(rng, ram, 0.3, 0.55), "rate": f"{_share(rng, ram, 0.02, 0.2)}B/s"},
                {"work": "30s", "set": 64 * MB},
            ],
        }
    ]  # fmt: skip


LOADS: dict[str, Load] = {
    "fast hog": fast_hog,
    "slow leak": slow_leak,
    "fork bomb": fork_bomb,
    "tmpfs filler": tmpfs_filler,
    "leaking tab": leaking_tab,
    "wide build": wide_build,
    "near miss": near_miss,
}
