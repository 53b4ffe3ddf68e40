"""The columns of Alibaba's cluster-trace-v2018, memory normalised to 0..100, 100 CPUs a core."""

import polars as pl

from oomkit.sweep.fleet import BATCH, PRODUCTION

COLUMNS: dict[str, tuple[str, ...]] = {
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

LAYOUTS: dict[str, set[str]] = {name: set(columns) for name, columns in COLUMNS.items()}

MACHINE_CPUS = 96
"""For a machine that ``machine_meta`` does not list; all of the trace have the same size."""


def tables(frames: dict[str, pl.LazyFrame], unit_bytes: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
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
