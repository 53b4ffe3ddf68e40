"""Scenarios of tests/data/real-kernel as scenarios of this project.

What the recorder's tasks do: fault in ``anon_mb`` at ``rate_mb_s`` (or at once), then stay;
``retouch_mb_s`` goes over that memory again and again; ``sparse_pages`` touches single pages
2 MB apart; children are forked as the parent starts.
"""

import json
from pathlib import Path
from typing import Any

from oomkit.scenario import Scenario, scenario_from

DATA = Path(__file__).parent.parent / "data" / "real-kernel"


def recorded() -> list[dict[str, Any]]:
    scenarios: list[dict[str, Any]] = json.loads((DATA / "victims.json").read_text())["scenarios"]
    return scenarios


def as_scenario(recording: dict[str, Any], kernel: str = "6.12") -> Scenario:
    groups: dict[str, Any] = {}
    tasks = [_task(task, groups) for task in recording["tasks"]]
    sysctls = {key.removeprefix("vm/"): int(v) for key, v in recording["sysctls"].items()}
    raw = {
        "name": recording["id"],
        "duration": "60s",
        "machine": {
            "ram": f"{recording['ram_mb']}M",
            "swap": f"{recording['swap_mb']}M",
            "cpus": recording["cpus"],
            "kernel": kernel,
        },
        "vm": sysctls,
        "task": tasks,
        "cgroup": list(groups.values()),
    }
    return scenario_from(raw)


def _task(task: dict[str, Any], groups: dict[str, Any]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if "sparse_pages" in task:
        steps.append({"touch": f"{task['sparse_pages'] * 2}M", "stride": "2M"})
    if task.get("anon_mb"):
        touch: dict[str, Any] = {"touch": f"{task['anon_mb']}M"}
        if task.get("rate_mb_s"):
            touch["rate"] = f"{task['rate_mb_s']}M/s"
        steps.append(touch)
    if task.get("retouch_mb_s"):
        steps.append({"work": "forever", "rate": f"{task['retouch_mb_s']}M/s"})
    else:
        steps.append({"hold": "forever"})
    entry: dict[str, Any] = {
        "name": task["name"],
        "start": task.get("start_s", 0),
        "oom_score_adj": task.get("oom_score_adj", 0),
        "uid": task.get("uid", 0),
        "steps": steps,
        "children": [_task(child, groups) for child in task.get("children", [])],
    }
    if "cgroup" in task:
        groups[task["cgroup"]] = {"name": task["cgroup"], "oom_group": True}
        entry["cgroup"] = task["cgroup"]
    return entry
