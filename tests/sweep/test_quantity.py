"""Values with and without units, as one kind."""

import pytest

from oomkit.sweep.spec import as_kind, shown, written


@pytest.mark.parametrize(
    ("values", "kind", "numbers"),
    [
        (["0", "512M", "2G"], "size", (0, 512 * 2**20, 2 * 2**30)),
        ([0, "1G"], "size", (0, 2**30)),
        (["30s", "10m"], "duration", (30.0, 600.0)),
        (["40M/s"], "rate", (40 * 2**20,)),
        (["20%", 0.5], "number", (0.2, 0.5)),
        ([1, 0.5], "number", (1.0, 0.5)),
        ([1, 2], "integer", (1, 2)),
        (["6.12", "4.18"], "text", ("6.12", "4.18")),
        (["10", "web"], "text", ("10", "web")),
        ([True, False], "flag", (True, False)),
    ],
)
def test_values_have_one_kind(values: list[object], kind: str, numbers: tuple[object]) -> None:
    assert as_kind(values) == (kind, numbers)


@pytest.mark.parametrize("values", [["1G", "30s"], ["1G", "web"], [[1]], [float("nan")]])
def test_mixed_and_foreign_values_are_refused(values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"of one kind|a number|a finite number"):
        as_kind(values)


def test_what_is_written_is_what_a_scenario_reads() -> None:
    assert written("rate", 1048576.4) == "1048576B/s"
    assert written("size", 1e9) == "1000000000B"
    assert written("duration", 0.00001) == "0.00001s"
    assert shown("size", 2**30) == "1.00 GiB"
