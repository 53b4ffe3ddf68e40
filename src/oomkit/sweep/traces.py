"""Reading tables of what ran on a cluster: our own, and two public traces' layouts.

Google's ClusterData 2019 (``instance_usage``, ``instance_events``, ``collection_events``,
``machine_events``; https://github.com/google/cluster-data) comes as Parquet or JSON Lines with
nested records, or as CSV with dotted names; 1.0 is what the largest machine has. Alibaba's
cluster-trace-v2018 (``machine_meta``, ``container_meta``, ``container_usage``, ``batch_task``,
``batch_instance``; https://github.com/alibaba/clusterdata) is CSV without a line of names, known by
the files' names; memory is 0 to 100, and a core 100 CPUs.
"""

import os

import polars as pl

from oomkit.errors import OomkitError
from oomkit.sweep.fleet import BATCH, PRODUCTION, Table
from oomkit.sweep.spec import Fleet

ALIBABA_COLUMNS: dict[str, tuple[str, ...]] = {
    "machine_meta": (
        "machine_id", "time_stamp", "failure_domain_1", "failure_domain_2", "cpu_num", "mem_size",
        "status",
    ),
    "machine_usage": (
        "machine_id", "time_stamp", "cpu_util_percent", "mem_util_percent", "mem_gps", "mkpi",
        "net_in", "net_out", "disk_io_percent",
    ),
    "container_meta": (
        "container_id", "machine_id", "time_stamp", "app_du", "status", "cpu_request", "cpu_limit",
        "mem_size",
    ),
    "container_usage": (
        "container_id", "machine_id", "time_stamp", "cpu_util_percent", "mem_util_percent", "cpi",
        "mem_gps", "mpki", "net_in", "net_out", "disk_io_percent",
    ),
    "batch_task": (
        "task_name", "instance_num", "job_name", "task_type", "status", "start_time", "end_time",
        "plan_cpu", "plan_mem",
    ),
    "batch_instance": (
        "instance_name", "task_name", "job_name", "task_type", "status", "start_time", "end_time",
        "machine_id", "seq_no", "total_seq_no", "cpu_avg", "cpu_max", "mem_avg", "mem_max",
    ),
}  # fmt: skip
"""File to its columns, in the order of the trace's schema."""

ALIBABA_LAYOUTS: dict[str, set[str]] = {
    name: set(columns) for name, columns in ALIBABA_COLUMNS.items()
}

MACHINE_CPUS = 96
"""For a machine that ``machine_meta`` does not list; all of the trace have the same size."""


def alibaba_tables(
    frames: dict[str, pl.LazyFrame], unit_bytes: int
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Machines, and tasks: containers (online services) and instances of batch tasks.

    A container's ``mem_util_percent`` is of its own ``mem_size``.

    Raises:
        ValueError: the files hold no tasks.
    """
    parts = []
    if {"container_usage", "container_meta"} <= frames.keys():
        parts.append(_containers(frames, unit_bytes))
    if "batch_instance" in frames:
        parts.append(_batch(frames, unit_bytes))
    if not parts:
        raise ValueError(
            "expected container_usage with container_meta, or batch_instance; "
            f"there is only {', '.join(sorted(frames))}"
        )
    tasks = pl.concat(parts)
    if "machine_meta" in frames:
        machines = (
            frames["machine_meta"]
            .group_by(machine=pl.col("machine_id"))
            .agg(
                ram_bytes=pl.col("mem_size").max() / 100 * unit_bytes, cpus=pl.col("cpu_num").max()
            )
        )
    else:
        machines = tasks.group_by("machine").agg(
            ram_bytes=pl.lit(unit_bytes), cpus=pl.lit(MACHINE_CPUS)
        )
    return machines, tasks


def _containers(frames: dict[str, pl.LazyFrame], unit_bytes: int) -> pl.LazyFrame:
    size = (
        frames["container_meta"]
        .group_by("container_id")
        .agg(
            size=pl.col("mem_size").max() / 100 * unit_bytes,
            cores=pl.col("cpu_request").max() / 100,
        )
    )
    used = (
        frames["container_usage"]
        .group_by("container_id", "machine_id")
        .agg(
            percent=pl.col("mem_util_percent").max(),
            busy=pl.col("cpu_util_percent").mean(),
            life_s=(pl.col("time_stamp").max() - pl.col("time_stamp").min()).cast(pl.Float64),
        )
    )
    return used.join(size, on="container_id").select(
        machine=pl.col("machine_id"),
        task=pl.col("container_id"),
        requested_bytes=pl.col("size"),
        used_bytes=pl.col("size") * pl.col("percent") / 100,
        life_s=pl.col("life_s"),
        cpus=pl.col("cores") * pl.col("busy") / 100,
        priority=pl.lit(PRODUCTION),
    )


def _batch(frames: dict[str, pl.LazyFrame], unit_bytes: int) -> pl.LazyFrame:
    instances = frames["batch_instance"].filter(pl.col("machine_id").is_not_null())
    if "batch_task" in frames:
        planned = (
            frames["batch_task"]
            .group_by("job_name", "task_name")
            .agg(plan=pl.col("plan_mem").max() / 100 * unit_bytes)
        )
        instances = instances.join(planned, on=["job_name", "task_name"], how="left")
    else:
        instances = instances.with_columns(plan=pl.lit(None, dtype=pl.Float64))
    return instances.select(
        machine=pl.col("machine_id"),
        task=pl.col("instance_name"),
        requested_bytes=pl.col("plan"),
        used_bytes=pl.col("mem_max").cast(pl.Float64) / 100 * unit_bytes,
        life_s=(pl.col("end_time") - pl.col("start_time")).cast(pl.Float64),
        cpus=pl.col("cpu_avg").cast(pl.Float64) / 100,
        priority=pl.lit(BATCH),
    )


GOOGLE_LAYOUTS: dict[str, set[str]] = {
    "instance_usage": {"collection_id", "instance_index", "machine_id", "start_time", "end_time"},
    "instance_events": {"collection_id", "instance_index", "time", "type", "priority"},
    "collection_events": {"collection_id", "time", "type", "priority"},
    "machine_events": {"machine_id", "time", "type", "switch_id"},
}
"""Table to the columns that identify it; the table with more of them first."""

UNIT_CPUS = 64
"""What 1.0 of the trace's CPUs is taken for; it does not say."""

_US = 1e6
_KEY = ("collection_id", "instance_index")


def google_tables(
    frames: dict[str, pl.LazyFrame], unit_bytes: int
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Machines, and tasks: each instance once, with the most it used in any sample window.

    What it requested is in ``instance_events``; without them the limit it had
    (``assigned_memory``) stands for it. Alloc sets are left out, their tasks are in the table.
    """
    usage = frames["instance_usage"]
    names = usage.collect_schema().names()
    if "collection_type" in names:
        usage = usage.filter(pl.col("collection_type").cast(pl.String).is_in(["0", "JOB"]))
    most = pl.max_horizontal(
        _part(usage, "maximum_usage", "memory"), _part(usage, "average_usage", "memory")
    )
    assigned = pl.col("assigned_memory") if "assigned_memory" in names else pl.lit(None)
    tasks = usage.group_by(*_KEY, "machine_id").agg(
        used_bytes=most.max() * unit_bytes,
        limit_bytes=assigned.cast(pl.Float64).max() * unit_bytes,
        life_s=(pl.col("end_time").max() - pl.col("start_time").min()) / _US,
        cpus=_part(usage, "average_usage", "cpus").mean() * UNIT_CPUS,
    )
    if "instance_events" in frames:
        events = frames["instance_events"]
        asked = events.group_by(*_KEY).agg(
            requested_bytes=_part(events, "resource_request", "memory").max() * unit_bytes,
            priority=pl.col("priority").max(),
        )
        tasks = tasks.join(asked, on=_KEY, how="left")
    else:
        tasks = tasks.with_columns(requested_bytes=pl.lit(None, dtype=pl.Float64))
        if "collection_events" in frames:
            ranked = frames["collection_events"].group_by("collection_id")
            tasks = tasks.join(
                ranked.agg(priority=pl.col("priority").max()), on="collection_id", how="left"
            )
        else:
            tasks = tasks.with_columns(priority=pl.lit(0))
    tasks = tasks.with_columns(
        machine=pl.col("machine_id").cast(pl.String),
        task=pl.concat_str([pl.col(name).cast(pl.String) for name in _KEY], separator="/"),
        requested_bytes=pl.coalesce("requested_bytes", "limit_bytes"),
    )
    return _machines(frames, tasks, unit_bytes), tasks


def _machines(
    frames: dict[str, pl.LazyFrame], tasks: pl.LazyFrame, unit_bytes: int
) -> pl.LazyFrame:
    if "machine_events" not in frames:
        return tasks.group_by("machine").agg(ram_bytes=pl.lit(unit_bytes), cpus=pl.lit(UNIT_CPUS))
    events = frames["machine_events"]
    return events.group_by(machine=pl.col("machine_id").cast(pl.String)).agg(
        ram_bytes=_part(events, "capacity", "memory").max() * unit_bytes,
        cpus=(_part(events, "capacity", "cpus").max() * UNIT_CPUS).round(),
    )


def _part(frame: pl.LazyFrame, record: str, field: str) -> pl.Expr:
    """A field of a nested record, however the export wrote it."""
    names = frame.collect_schema().names()
    if record in names:
        return pl.col(record).struct.field(field)
    for name in (f"{record}.{field}", f"{record}_{field}"):
        if name in names:
            return pl.col(name)
    raise ValueError(f"expected a column {record}.{field}")


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
            machines, tasks = google_tables(frames, fleet.unit_bytes)
        else:
            machines, tasks = alibaba_tables(frames, fleet.unit_bytes)
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
            names = ALIBABA_COLUMNS.get(stem)
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
    for known in (GOOGLE_LAYOUTS, ALIBABA_LAYOUTS):
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
