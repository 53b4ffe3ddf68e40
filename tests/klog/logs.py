"""The development logs and what their manifest says of them."""

import csv
import gzip
import lzma
from functools import cache
from pathlib import Path

LOGS = Path(__file__).parents[1] / "data" / "oom-logs"


@cache
def manifest() -> list[dict[str, str]]:
    with (LOGS / "MANIFEST.csv").open() as file:
        return list(csv.DictReader(file))


def path_of(name: str) -> Path:
    """The file of a manifest's row, compressed or not."""
    for suffix in ("", ".gz", ".xz"):
        path = LOGS / (name + suffix)
        if path.exists():
            return path
    raise FileNotFoundError(name)


@cache
def bytes_of(name: str) -> bytes:
    path = path_of(name)
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    return path.read_bytes()


def cell(row: dict[str, str], column: str) -> list[str]:
    return row[column].split(";") if row[column] else []
