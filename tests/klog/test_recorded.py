"""Every field that is read of a real log, and what its decision comes to when it is made again."""

import pytest

from tests.recorded import KEPT, NAMES, records_of


@pytest.mark.parametrize("name", NAMES)
def test_a_real_log_reads_as_recorded(name: str) -> None:
    assert records_of(name) == (KEPT / "records" / f"{name}.txt").read_text()
