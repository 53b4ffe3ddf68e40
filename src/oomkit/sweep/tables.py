"""From the spool to tables: Parquet, CSV or JSON Lines, and the frame that is analysed."""

import os
import shutil
from typing import Any

import polars as pl

from oomkit.files.safely import open_output, replace_output
from oomkit.sweep.run import columns
from oomkit.sweep.spec import Sweep

KINDS = (".parquet", ".csv", ".jsonl")
"""How the name of a table may end."""


def scan(sweep: Sweep, spool: str) -> pl.LazyFrame:
    """The rows of a finished spool, lazily."""
    types: dict[type, Any] = {int: pl.Int64, float: pl.Float64, str: pl.String, bool: pl.Boolean}
    schema = {name: types[kind] for name, kind in columns(sweep.axes).items()}
    # The first line is no row: it has none of the columns.
    return pl.scan_ndjson(spool, schema=schema).filter(pl.col("run").is_not_null())


def write(sweep: Sweep, spool: str, path: str) -> None:
    """Write a table, through a file beside it that takes its name when it is whole.

    Raises:
        OSError: it can't be written.
    """
    frame = scan(sweep, spool)
    beside = f"{path}.tmp"
    try:
        with open_output(beside) as file:
            if path.endswith(".parquet"):
                frame.sink_parquet(file)
            elif path.endswith(".csv"):
                frame.sink_csv(file)
            else:
                with open(spool, "rb") as rows:
                    rows.readline()
                    shutil.copyfileobj(rows, file)
        replace_output(beside, path)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
