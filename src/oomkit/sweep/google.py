"""The columns of Google's ClusterData 2019, normalised: 1.0 is the largest machine's."""

import polars as pl

LAYOUTS: dict[str, set[str]] = {
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


def tables(frames: dict[str, pl.LazyFrame], unit_bytes: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
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
