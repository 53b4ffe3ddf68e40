"""Keys lead to the values they name, and nowhere else."""

import copy

import pytest

from oomkit.toml.load import slots

RAW = {
    "duration": "1m",
    "machine": {"ram": "1G"},
    "task": [
        {"name": "a"},
        {"name": "b", "children": [{"name": "a"}]},
        {"name": "c", "steps": [{"touch": "1M"}, {"hold": "1s"}]},
    ],
}


def values(key: str) -> list[str]:
    raw = copy.deepcopy(RAW)
    for table, last in slots(raw, key):
        table[last] = "set"
    changed: list[str] = []

    def walk(before: object, after: object, at: str) -> None:
        if isinstance(after, dict):
            for name, value in after.items():
                old = before.get(name) if isinstance(before, dict) else None
                walk(old, value, f"{at}.{name}")
        elif isinstance(after, list):
            for i, value in enumerate(after):
                walk(before[i] if isinstance(before, list) else None, value, f"{at}.{i}")
        elif before != after:
            changed.append(at[1:])

    walk(RAW, raw, "")
    return changed


@pytest.mark.parametrize(
    ("key", "places"),
    [
        ("duration", ["duration"]),
        ("machine.ram", ["machine.ram"]),
        ("vm.swappiness", ["vm.swappiness"]),
        ("task.a.count", ["task.0.count", "task.1.children.0.count"]),
        ("task.*.nice", ["task.0.nice", "task.1.children.0.nice", "task.1.nice", "task.2.nice"]),
        ("task.c.steps.1.hold", ["task.2.steps.1.hold"]),
        ("task.c.steps.*.rate", ["task.2.steps.0.rate", "task.2.steps.1.rate"]),
    ],
)
def test_a_key_leads_to_every_value_it_names(key: str, places: list[str]) -> None:
    assert sorted(values(key)) == places


@pytest.mark.parametrize(
    "key", ["", "a..b", "task.nobody.count", "task.a", "duration.x", "task.b.children.7.name"]
)
def test_a_key_that_leads_nowhere_is_reported(key: str) -> None:
    with pytest.raises(ValueError, match=r"^(a key|the name|an index)"):
        slots(copy.deepcopy(RAW), key)
