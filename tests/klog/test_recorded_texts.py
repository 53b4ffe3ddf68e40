"""What is read of short texts, of logs that were damaged in each way, and of single lines."""

import pytest

from tests.recorded_texts import (
    DAMAGED,
    DAMAGES,
    GROUPS,
    SITUATIONS,
    block,
    damaged_read,
    file_of,
    lines_read,
    lines_written,
    reports_written,
    text_read,
    texts,
)


@pytest.mark.parametrize(
    ("group", "number"), [(group, number) for group in GROUPS for number in texts(group)]
)
def test_a_text_reads_as_recorded(group: str, number: str) -> None:
    assert text_read(group, number) == block("texts", group, number)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_log_reads_as_recorded(name: str, how: str) -> None:
    assert damaged_read(name, how) == block("damaged", name, how)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_version_writes_as_recorded(situation: str) -> None:
    assert reports_written(situation) == file_of("written", situation).read_text()


def test_lines_by_themselves_are_written_as_recorded() -> None:
    assert lines_written() == file_of("written", "lines").read_text()


def test_prefixes_are_taken_off_as_recorded() -> None:
    assert lines_read() == file_of("lines", "prefixes").read_text()
