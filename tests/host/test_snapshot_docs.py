"""docs/snapshot.md covers every field, and its example is a snapshot."""

import re
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.names import Names
from oomkit.kernel.rank import rank
from oomkit.kernel.snapshot_json import decode_snapshot
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Pressure, Snapshot, Sysctl, Task
from oomkit.kernel.versions import rules_for

DOC = (Path(__file__).parents[2] / "docs/snapshot.md").read_text()


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("$", Snapshot),
        ("$.memory", Memory),
        ("$.memory.nodes[]", Node),
        ("$.sysctl", Sysctl),
        ("$.tasks[]", Task),
        ("$.memcgs[]", Memcg),
        ("$.anatomy[]", MemcgStat),
        ("$.names.PATH", Names),
        ("$.pressure", Pressure),
    ],
)
def test_every_field_has_its_row_and_no_other_does(path: str, record: type[msgspec.Struct]) -> None:
    section = DOC.split(f"## `{path}`\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]{5,} \|$", section, re.MULTILINE)
    assert rows == [field.name for field in msgspec.structs.fields(record)]


def test_the_example_decodes_and_its_scores_are_those_of_its_kernel() -> None:
    match = re.search(r"```json\n(.*?)```", DOC, re.DOTALL)
    assert match is not None
    snapshot = decode_snapshot(match[1], "docs/snapshot.md")
    rows = rank(snapshot, Allocation(), rules_for(snapshot.kernel))
    assert [row.task.comm for row in rows] == ["backup", "db", "systemd", "sshd"]
    assert all(row.oom_score == row.task.kernel_oom_score for row in rows)
