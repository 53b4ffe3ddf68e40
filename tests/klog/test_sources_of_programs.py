"""A program's source is no log, whatever its size and whatever stands in its texts."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.klog import userspace
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.program import may_be_source, program_lines
from oomkit.klog.lines.scan import WHOLE_BYTES
from oomkit.klog.reader import scan_records
from oomkit.klog.records import Report

KILL = (
    "[  248.095206] Out of memory: Killed process 1061 (tail) total-vm:9000kB, anon-rss:8000kB, "
    "file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:40kB oom_score_adj:0\n"
)
CODE = '''
def check(path):
    """
    Looks for lines like these:

    {kill}
    """
    with open(path) as file:
        for line in file:
            if line.startswith("x"):
                return found(line)
    return None


class Reader(Base):
    def read(self, path):
        if not path:
            raise ValueError
        for name in path:
            self.take(name)
        return self.all()
'''.replace("{kill}", KILL.replace("\n", "\n    "))


def found_in(text: str) -> Iterator[Report | Evidence]:
    for record in scan_records(io.BytesIO(text.encode()), "x", evidence=True):
        if isinstance(record, Report | Evidence):
            yield record


@pytest.mark.parametrize("times", [1, 4, 400])
def test_a_source_holds_no_report(times: int) -> None:
    text = "import os\n" + CODE * times
    assert (len(text) > WHOLE_BYTES) == (times == 400)
    assert not list(found_in(text))


def test_a_text_in_the_middle_of_a_source_is_no_log() -> None:
    log = "SAMPLE = '''\n" + KILL * 3 + "'''\n"
    assert not list(found_in(CODE.replace(KILL.strip(), "") * 3 + log + CODE * 3))


@pytest.mark.parametrize("times", [1, 12, 400])
def test_a_log_below_a_program_is_one(times: int) -> None:
    program = CODE.replace(KILL.strip(), "") * times
    below = (
        "".join(f"[  247.{i:06}] usb 1-1: new device\n" for i in range(len(program) // 60)) + KILL
    )
    reports = [record for record in found_in(program + "\n" + below) if isinstance(record, Report)]
    assert [victim.pid for report in reports for victim in report.killed] == [1061]


def test_a_log_is_no_source() -> None:
    log = (KILL + "[  249.000000] Call Trace:\n[  249.000001]  dump_stack+0x1/0x2\n") * 50
    assert not may_be_source(log.encode())
    assert not program_lines(log)


TABLES = Path(userspace.__file__).parent


@pytest.mark.parametrize("name", ["killers", "notices", "platforms", "refusals", "sigkills"])
def test_a_source_that_is_a_table_of_messages_is_no_log(name: str) -> None:
    text = (TABLES / f"{name}.py").read_text()
    assert not list(found_in(text))
    assert may_be_source(text[:WHOLE_BYTES].encode())


STRUCT = """
// State is what the engine says of a container.
type State struct {
	Status     string    `json:"status"`
	Pid        int
	ExitCode   int32
	FinishedAt time.Time
	Health     *Health
}
"""


def test_declarations_with_a_log_line_beside_them_are_a_text_with_a_log() -> None:
    source = "package state\n" + STRUCT * 8
    assert not list(found_in(source))
    (report,) = found_in(source + KILL + STRUCT)
    assert isinstance(report, Report)
    assert report.killed[0].pid == 1061


def test_fields_of_a_printed_object_are_no_statements() -> None:
    item = '{\n    "Name": "/web",\n    "State": {\n        "ExitCode": 137\n    }\n},\n'
    assert list(found_in("[\n" + item * 20 + "]\n"))
