"""Reading tables of what ran on a cluster: our own, and two public traces' layouts.

Google's ClusterData 2019 (``instance_usage``, ``instance_events``, ``collection_events``,
``machine_events``; https://github.com/google/cluster-data) comes as Parquet or JSON Lines with
nested records, or as CSV with dotted names. Alibaba's cluster-trace-v2018 (``machine_meta``,
``container_meta``, ``container_usage``, ``batch_task``, ``batch_instance``;
https://github.com/alibaba/clusterdata) is CSV without a line of names, known by the files' names.
"""

import os

import polars as pl

from oomkit.errors import OomkitError
from oomkit.sweep import alibaba, google
from oomkit.sweep.fleet import Table
from oomkit.sweep.spec import Fleet

MAX_TASKS = 1_000_000
"""Of larger tables every second, third... task is taken."""

OWN = (
    "machine", "machine_ram_mb", "machine_cpus", "task", "start_s", "end_s", "requested_mb",
    "used_mb", "cpus", "priority",
)  # fmt: skip
"""Columns of our own layout."""


class TraceError(OomkitError, ValueError):
    """A table that can't be used; the text names the file and what was expected."""


def read_table(fleet: Fleet) -> Table:
    """Read what a fleet is drawn from.

    Raises:
        TraceError: a file is unreadable, or its columns are none of a known layout.
    """
    frames: dict[str, pl.LazyFrame] = {}
    for path in fleet.files:
        frame, names = _scan(path)
        frames[_layout(path, names)] = frame
    try:
        if "own" in frames:
            machines, tasks = _own(frames["own"])
        elif "instance_usage" in frames:
            machines, tasks = google.tables(frames, fleet.unit_bytes)
        else:
            machines, tasks = alibaba.tables(frames, fleet.unit_bytes)
        return _table(fleet, machines.collect(), tasks.collect())
    except (pl.exceptions.PolarsError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TraceError(f"{', '.join(fleet.files)}: {reason}") from None


def _scan(path: str) -> tuple[pl.LazyFrame, list[str]]:
    """A file, lazily, and the names of its columns."""
    stem = os.path.basename(path).split(".")[0]
    if not os.path.isfile(path):
        raise TraceError(f"{path}: expected a file")
    try:
        if path.endswith(".parquet"):
            frame = pl.scan_parquet(path)
        elif path.endswith((".jsonl", ".ndjson", ".json")):
            frame = pl.scan_ndjson(path)
        elif path.endswith((".csv", ".csv.gz")):
            names = alibaba.COLUMNS.get(stem)
            with_names = names is None or _has_names(path, names)
            frame = pl.scan_csv(
                path, has_header=with_names, new_columns=None if with_names else list(names or ())
            )
        else:
            known = ".csv, .csv.gz, .parquet or .jsonl"
            raise TraceError(f"{path}: expected a name that ends in {known}")
        return frame, frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TraceError(f"{path}: {' '.join(str(error).split())[:200]}") from None


def _has_names(path: str, names: tuple[str, ...]) -> bool:
    first = pl.read_csv(path, has_header=False, n_rows=1)
    return first.width > 0 and str(first.item(0, 0)) == names[0]


def _layout(path: str, names: list[str]) -> str:
    """Which table a file is."""
    have = set(names)
    if {"machine", "task", "used_mb"} <= have:
        missing = [name for name in OWN if name not in have]
        if missing:
            raise TraceError(f"{path}: expected the column {missing[0]} besides")
        return "own"
    for known in (google.LAYOUTS, alibaba.LAYOUTS):
        for layout, needed in known.items():
            if needed <= have:
                return layout
    shown = ", ".join(names[:6])
    raise TraceError(
        f"{path}: expected the columns of a fleet ({', '.join(OWN)}), of Google's 2019 or of "
        f"Alibaba's 2018 trace, not {shown}"
    )


def _own(frame: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    mb = 2**20
    machines = frame.group_by("machine").agg(
        ram_bytes=pl.col("machine_ram_mb").max() * mb, cpus=pl.col("machine_cpus").max()
    )
    tasks = frame.select(
        pl.col("machine"),
        pl.col("task"),
        requested_bytes=pl.col("requested_mb") * mb,
        used_bytes=pl.col("used_mb") * mb,
        life_s=pl.col("end_s") - pl.col("start_s"),
        cpus=pl.col("cpus"),
        priority=pl.col("priority"),
    )
    return machines, tasks


def _table(fleet: Fleet, machines: pl.DataFrame, tasks: pl.DataFrame) -> Table:
    """In an order of its own: polars does not promise one after grouping."""
    machines = machines.drop_nulls("ram_bytes").sort("machine")
    tasks = (
        tasks.with_columns(
            pl.col("priority").cast(pl.Int64).fill_null(0),
            pl.col("cpus").cast(pl.Float64).fill_null(0.0),
            requested_bytes=pl.coalesce("requested_bytes", "used_bytes"),
        )
        .drop_nulls(["used_bytes", "life_s"])
        .filter((pl.col("used_bytes") > 0) & (pl.col("life_s") > 0))
        .sort("machine", "task", "life_s", "used_bytes")
    )
    tasks = tasks.gather_every(max(-(-tasks.height // MAX_TASKS), 1))
    columns = ("requested_bytes", "used_bytes", "life_s", "cpus", "priority")
    return Table(
        fleet,
        machines=[(int(ram), int(cpus or 1)) for _, ram, cpus in
                  machines.select("machine", "ram_bytes", "cpus").iter_rows()],
        tasks=list(tasks.select(pl.col(columns).cast(pl.Float64)).iter_rows()),
    )  # fmt: skip
