"""The same quantity is printed the same by every command."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.kernel.counterfactual import amount as pages_of_counterfactual
from oomkit.policy.engine.evidence import amount as measured
from oomkit.render import quantities
from oomkit.sweep.answer import amount as objective
from oomkit.views import run_page

SOURCES = Path(__file__).parents[2] / "src" / "oomkit"
PAGE = 4096
SIZES_KB = {
    0: "0 B",
    4: "4.00 KiB",
    1000: "1000 KiB",
    1024: "1.00 MiB",
    38 * 1024: "38.0 MiB",
    1_047_552: "1023 MiB",
    1 << 20: "1.00 GiB",
    5_439_616: "5.19 GiB",
    1 << 30: "1.00 TiB",
}
PRINTERS: dict[str, Callable[[int], str]] = {
    "explain": quantities.kb,
    "run": lambda kb: quantities.mb(kb / 1024),
    "rank": lambda kb: quantities.human_pages(kb // 4, PAGE),
    "rank --why": lambda kb: pages_of_counterfactual(kb // 4, PAGE).partition(" (")[0],
    "guard": lambda kb: measured(kb, "kb"),
    "sweep": lambda kb: objective("freed_mb", kb / 1024),
    "scenario": lambda kb: run_page.amount("ram_bytes", kb * 1024),
}


@pytest.mark.parametrize("command", PRINTERS)
def test_a_size(command: str) -> None:
    assert {kb: PRINTERS[command](kb) for kb in SIZES_KB} == SIZES_KB


def test_a_rate_is_a_size_a_second() -> None:
    assert measured(2048, "kb/s") == run_page.amount("rate_bytes_s", 2 << 20) == "2.00 MiB/s"


@pytest.mark.parametrize(
    ("t", "text"),
    [(0.0, "0.00 s"), (0.35, "0.35 s"), (12.44, "12.4 s"), (131, "131 s"), (725, "12 min 5 s"),
     (12_000, "3 h 20 min"), (-0.5, "-0.50 s")],
)  # fmt: skip
def test_a_time(t: float, text: str) -> None:
    assert quantities.seconds(t) == text
    assert objective("frozen_s", t) == text
    assert run_page.amount("duration_s", t) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.011, "1.1 %"),
        (0.0996, "10 %"),
        (0.1, "10 %"),
        (0.97, "97 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share(share: float, text: str) -> None:
    assert quantities.percent(share) == quantities.share(share, 1) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.00 %"), (0.0014, "0.14 %"), (0.256, "25.6 %"), (1.0, "100 %")]
)
def test_a_pressure(share: float, text: str) -> None:
    assert quantities.time_share(share) == measured(share, "share") == text


def test_counts_and_processes() -> None:
    assert quantities.count_of(1, "kill") == "1 kill"
    assert quantities.count_of(0, "process", "processes") == "0 processes"
    assert quantities.label("a\x1bb", 7) == "a\\x1bb[7]"


UNITS = re.compile(r"\} ?(?:[KMGT]iB|%)(?![a-z])|:\.\d%\}")


def test_no_other_file_prints_sizes_or_shares() -> None:
    """Kernel logs have the kernel's own units; policies and the guard's log have thresholds."""
    allowed = ("render/quantities.py", "policy/", "guard/", "klog/", "real/",
               "kubernetes/policy.py")  # fmt: skip
    found = [
        f"{path.relative_to(SOURCES)}:{number}"
        for path in SOURCES.rglob("*.py")
        if not str(path.relative_to(SOURCES)).startswith(allowed)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNITS.search(line)
    ]
    assert found == []
