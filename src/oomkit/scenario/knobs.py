"""The knobs of ``/proc/sys/vm`` a scenario may set, with the ranges the kernel accepts."""

from oomkit.toml.table import Table, integer

_BIG = 2**40

RANGES: dict[str, tuple[int, int]] = {
    "overcommit_memory": (0, 2),
    "overcommit_ratio": (0, 10000),
    "overcommit_kbytes": (0, _BIG),
    "admin_reserve_kbytes": (0, _BIG),
    "user_reserve_kbytes": (0, _BIG),
    "panic_on_oom": (0, 2),
    "oom_kill_allocating_task": (0, 1),
    "oom_dump_tasks": (0, 1),
    "oom_killer_disabled": (0, 1),
    "would_have_oomkilled": (0, 1),
    "swappiness": (0, 200),
    "min_free_kbytes": (1, _BIG),
    "watermark_scale_factor": (1, 3000),
    "watermark_boost_factor": (0, 3_000_000),
    "dirty_ratio": (1, 100),
    "dirty_background_ratio": (0, 100),
    "page-cluster": (0, 10),
    "nr_hugepages": (0, 2**20),
}
"""Name to the lowest and highest value. ``oom_killer_disabled`` has no file in mainline, and
``would_have_oomkilled`` is some vendors': both can be set for any kernel here."""


def read_knobs(table: Table) -> dict[str, int]:
    """The knobs set in a ``vm`` table."""
    values = {}
    for key, (low, high) in RANGES.items():
        value = table.take(key, integer(low, high), -1)
        if key in table.raw and value >= 0:
            values[key] = value
    table.done()
    return values
