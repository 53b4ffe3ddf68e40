"""Memory pressure stall information, of the machine or of one cgroup."""

from oomkit.host.procfs import read_or_none
from oomkit.kernel.state import Pressure


def parse_pressure(data: bytes) -> Pressure:
    """Parse a PSI file.

    Raises:
        ValueError: the text is not that of a PSI file.
    """
    values: dict[str, float] = {}
    totals: dict[str, int] = {}
    for line in data.splitlines():
        kind, *pairs = line.decode("ascii").split()
        if kind not in ("some", "full"):
            raise ValueError(f"not the text of a pressure file: {kind!r}")
        for pair in pairs:
            name, _, number = pair.partition("=")
            if name == "total":
                totals[f"{kind}_total_us"] = int(number)
            elif name in ("avg10", "avg60", "avg300"):
                values[f"{kind}_{name}"] = float(number)
    return Pressure(
        some_avg10=values.get("some_avg10", 0.0),
        some_avg60=values.get("some_avg60", 0.0),
        some_avg300=values.get("some_avg300", 0.0),
        full_avg10=values.get("full_avg10", 0.0),
        full_avg60=values.get("full_avg60", 0.0),
        full_avg300=values.get("full_avg300", 0.0),
        some_total_us=totals.get("some_total_us", 0),
        full_total_us=totals.get("full_total_us", 0),
    )


def read_pressure(path: str) -> Pressure | None:
    """The pressure in a file; None where PSI is not built in, switched off or hidden."""
    data = read_or_none(path)
    try:
        return parse_pressure(data) if data else None
    except ValueError:
        return None
