"""The same scenario on a real kernel: in a memory cgroup of this host, or booted in QEMU."""

from oomkit.real.errors import RealError
from oomkit.real.measured import measure
from oomkit.real.run_record import Played
from oomkit.real.worlds import Place, kernel_for, play, refusals, why_not

__all__ = ["Place", "Played", "RealError", "kernel_for", "measure", "play", "refusals", "why_not"]
