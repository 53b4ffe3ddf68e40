"""What records cost: made by msgspec, by the standard library, and as dataclasses.

    python benchmarks/records.py

Each figure is the best of several rounds, in one process.
"""

import dataclasses
import sys
import timeit
from collections.abc import Callable
from typing import Any

from oomkit.kernel import state
from oomkit.records import accelerated, plain

ROUNDS = 5
FIELDS = tuple(state.Task.__annotations__.items())
DEFAULTS = dict(zip(reversed(state.Task.__struct_fields__),
                    reversed(state.Task.__struct_defaults__), strict=False))  # fmt: skip


def body() -> dict[str, Any]:
    return {"__module__": __name__, "__annotations__": dict(FIELDS), **DEFAULTS}


def made_by(base: Any) -> Any:
    """The class of a task, derived from a base."""
    return type(base)("Task", (base,), body(), frozen=True, kw_only=True)


def dataclass_of(*, frozen: bool) -> Any:
    return dataclasses.dataclass(slots=True, kw_only=True, frozen=frozen)(type("Task", (), body()))


def best_us(call: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number * 1e6


def main() -> None:
    print(f"Python {sys.version.split()[0]}; a task has {len(FIELDS)} fields\n")
    print(
        "| class of a task by | making the class, µs | a task of 8 fields, µs | a field read, ns |"
    )
    print("|---|---|---|---|")
    ways: dict[str, Callable[[], Any]] = {
        "msgspec": lambda: made_by(accelerated.Record),
        "`oomkit.records.plain`": lambda: made_by(plain.Record),
        "dataclass, slots": lambda: dataclass_of(frozen=False),
        "dataclass, slots, frozen": lambda: dataclass_of(frozen=True),
    }
    for name, way in ways.items():
        task = way()
        one = task(pid=1, comm="a")

        def make(task: Any = task) -> object:
            return task(
                pid=7, comm="mysqld", ppid=1, uid=112, rss_pages=9, pgtable_pages=7,
                total_vm_pages=99, oom_score_adj=0,
            )  # fmt: skip

        read = min(timeit.repeat("one.rss_pages", globals={"one": one}, number=200_000)) / 200
        print(
            f"| {name} | {best_us(way, 20):,.0f} | {best_us(make, 20_000):.2f} | {read * 1e6:.0f} |"
        )
    tasks = tuple(state.Task(pid=pid, comm=f"task {pid}") for pid in range(1, 501))
    snapshot = state.Snapshot(kernel="6.1", memory=state.Memory(total_ram_pages=1), tasks=tasks)
    text = accelerated.to_json(snapshot, indent=1)
    assert plain.to_json(snapshot, indent=1) == text
    kinds = plain_snapshot()
    assert repr(plain.from_json(text, type=kinds)) == repr(snapshot)
    size = f"{len(tasks)} tasks, {len(text) / 1000:.0f} kB"
    print(f"\n| a snapshot of {size} | written, ms | read, ms |")
    print("|---|---|---|")
    for name, module, kind in (
        ("msgspec", accelerated, state.Snapshot),
        ("`oomkit.records`, plain", plain, kinds),
    ):
        written = best_us(lambda m=module: m.to_json(snapshot, indent=1), 5) / 1e3  # type: ignore[misc]  # bound at once
        read = best_us(lambda m=module, k=kind: m.from_json(text, type=k), 5) / 1e3  # type: ignore[misc]  # bound at once
        print(f"| {name} | {written:.1f} | {read:.1f} |")


def plain_snapshot() -> Any:
    """The class of snapshots, all of whose records are made by the standard library."""
    import importlib.util

    import oomkit.records

    names = ("memcg_stat", "names", "state")
    kept = {name: sys.modules.get(f"oomkit.kernel.{name}") for name in names}
    record = oomkit.records.Record
    oomkit.records.Record = plain.Record  # type: ignore[assignment]  # the other way, on purpose
    try:
        for name in names:
            found = importlib.util.find_spec(f"oomkit.kernel.{name}")
            assert found is not None
            assert found.loader is not None
            module = importlib.util.module_from_spec(found)
            sys.modules[f"oomkit.kernel.{name}"] = module
            found.loader.exec_module(module)
        return sys.modules["oomkit.kernel.state"].Snapshot
    finally:
        oomkit.records.Record = record
        for name, was in kept.items():
            if was is not None:
                sys.modules[f"oomkit.kernel.{name}"] = was


if __name__ == "__main__":
    main()
