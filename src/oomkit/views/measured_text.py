"""What was measured on booted kernels, as text."""

from collections.abc import Sequence

from oomkit.printable import printable
from oomkit.render.document import Document
from oomkit.render.quantities import human_bytes, percent
from oomkit.scenario.record import Run

_MB = 2**20
_PAGE_COSTS = {
    "fault_s": "first write to a page of memory",
    "shared_fault_s": "first write to a page of shared memory",
    "first_read_s": "first reading of a page of a file",
    "read_s": "reading it again",
    "swap_out_s": "swapping a page out",
    "swap_in_s": "swapping a page in",
}
_SPEEDS = {
    "disk_bytes_s": "the disk, past the page cache",
    "first_read_bytes_s": "first reading of a file",
    "swap_out_bytes_s": "swapping out",
    "swap_in_bytes_s": "swapping in",
}


def report(runs: Sequence[Run]) -> Document:
    """A section for each kernel."""
    page = Document()
    for run in runs:
        assert run.found is not None
        costs = run.found.costs
        page.text(f"{run.on}, kernel {printable(run.kernel)}", "bold", rest="")
        page.text("CPU time a page:", rest="")
        for key, words in _PAGE_COSTS.items():
            value = costs.get(key)
            page.text(f"  {_micros(value):>10}  {words}", rest="")
        page.text("speeds:", rest="")
        for key, words in _SPEEDS.items():
            value = costs.get(key)
            speed = "-" if value is None else f"{human_bytes(value)}/s"
            page.text(f"  {speed:>10}  {words}", rest="")
        page.text(_clocks(run), rest="")
        page.line()
    return page


def _micros(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e6:.2f} us"


def _clocks(run: Run) -> str:
    """How the guest's time goes, what its CPUs are worth, and what the agent took."""
    assert run.found is not None
    words = [f"a second of the host is {run.found.pace:.2f} s of the guest"]
    if run.found.cpus_worth is not None:
        words.append(f"its CPUs do the work of {run.found.cpus_worth:.2f}")
    if run.instrument is not None:
        words.append(f"the agent takes {percent(run.instrument.cpu_share)} of a CPU and "
                     f"{human_bytes(run.instrument.rss_mb * _MB)}")  # fmt: skip
    return "; ".join(words)
