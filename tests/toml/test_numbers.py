"""Numbers that do not fit end in one line that names their place."""

from pathlib import Path

import pytest

from oomkit.toml.load import apply_overrides, load
from oomkit.toml.table import Fault, TomlError
from oomkit.toml.units import duration, rate, share, size

EXPECTED = "expected a number of at most 64 bits"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"x = {2**63}", "x"),
        ("[[task]]\n[[task]]\nrate = 1e999", "task[1].rate"),
        ("[a]\nb = [1, [2, nan]]", "a.b[1][1]"),
        (f"x = -{'9' * 400}", "x"),
        (f"x = {'9' * 5000}", ""),
    ],
)
def test_a_number_that_does_not_fit_is_named(tmp_path: Path, text: str, path: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(TomlError) as raised:
        load(str(file))
    assert raised.value.faults == (Fault(path=path, expected=EXPECTED),)


def test_64_bits_fit(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f"a = {2**63 - 1}\nb = -{2**63}\nc = 1e300\nd = true")
    assert load(str(file)) == {"a": 2**63 - 1, "b": -(2**63), "c": 1e300, "d": True}


@pytest.mark.parametrize("value", ["9" * 30, "9" * 5000, "inf", "[1, nan]"])
def test_an_override_that_does_not_fit_is_a_fault(value: str) -> None:
    faults: list[Fault] = []
    apply_overrides({"x": 1}, [f"x={value}"], faults)
    assert [fault.expected for fault in faults] == [EXPECTED]


@pytest.mark.parametrize("text", ["9" * 400 + "G", "9" * 400, "2000T"])
def test_a_size_of_any_length_is_too_large(text: str) -> None:
    with pytest.raises(ValueError, match="at most 1024T"):
        size(text)


@pytest.mark.parametrize("value", ["9" * 400 + "s", 10**400, float("nan"), float("inf")])
def test_a_duration_of_any_length_is_too_long(value: object) -> None:
    with pytest.raises(ValueError, match="at most a year"):
        duration(value)


@pytest.mark.parametrize("value", [5, 512, 2**20 - 1, "5", "512", "0.5", " 5 "])
def test_a_size_that_lost_its_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"a size such as .*, with its unit"):
        size(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), ("0", 0), (2**20, 2**20), ("1B", 1), ("4096B", 4096)]
)
def test_a_size_without_a_unit_is_a_large_number_of_bytes_or_0(
    value: object, expected: int
) -> None:
    assert size(value) == expected


@pytest.mark.parametrize("value", ["5/s", "0/s", "5M"])
def test_a_rate_that_lost_a_unit_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match='a rate such as "100M/s"'):
        rate(value)


@pytest.mark.parametrize("value", ["0.2", "20", "1_0%", "nan%", "-5%", 20])
def test_a_share_is_a_percentage_or_a_number_up_to_1(value: object) -> None:
    with pytest.raises(ValueError, match="a share such as"):
        share(value)
    assert share("20%") == share(0.2) == 0.2
