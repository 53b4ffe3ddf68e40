"""Small sweeps to test with."""

from pathlib import Path
from typing import Any

from oomkit.sweep.read import sweep_from
from oomkit.sweep.spec import Sweep

ROOT = Path(__file__).parents[2]

DATA = Path(__file__).parent / "data"


def sweep(**keys: Any) -> Sweep:
    """A sweep over a leak beside two services on a small machine."""
    raw = {"name": "test", "seed": 1, "scenarios": ["leak.toml"], **keys}
    return sweep_from(raw, source=str(DATA / "sweep.toml"))
