"""``rank``'s score beside the kernel's own ``oom_score``, on kernels that count differently."""

from pathlib import Path

import msgspec
import pytest

import oomkit
from oomkit.real import kernels, qemu
from oomkit.real.companion import Companion
from oomkit.scenario import read_scenario
from tests.real.played import OVER, needs_kernel

pytestmark = pytest.mark.qemu

_PROBE = (
    OVER
    + """
import sys, time
from oomkit.host.scan import take_snapshot
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation
from oomkit.kernel.versions import rules_for
print("probing", flush=True)
time.sleep(4)
before = {task.pid: task for task in take_snapshot().tasks}
snapshot = take_snapshot()
rows = rank(snapshot, Allocation(), rules_for(snapshot.kernel))
still = [row for row in rows if before.get(row.task.pid) == row.task and row.task.has_mm]
for row in still:
    task = row.task
    same = row.oom_score == task.kernel_oom_score
    print("score", task.comm, row.oom_score, task.kernel_oom_score, same, task.threads, flush=True)
print("probed", flush=True)
over()
time.sleep(60)
"""
)

_STILL = """
name = "still"
duration = "9s"
[machine]
ram = "384M"
cpus = 4
[[task]]
name = "plain"
steps = [ { touch = "60M" }, { hold = "forever" } ]
[[task]]
name = "scattered"
oom_score_adj = 137
steps = [ { touch = "40M" }, { touch = "352K", scatter = 4 }, { hold = "forever" } ]
[[task]]
name = "shared"
oom_score_adj = -300
steps = [ { share = "20M" }, { share = "448K", scatter = 4 }, { hold = "forever" } ]
[[task]]
name = "timer"
steps = [ { hold = "8s" } ]
"""


@pytest.mark.parametrize("version", ["5.10", "6.1", "6.12", "6.19", "7.3"])
def test_the_score_of_a_still_process_is_the_kernels(version: str, tmp_path: Path) -> None:
    needs_kernel()
    found = [k for k in kernels.bootable() if k.release.startswith(f"{version}.")]
    if not found:
        pytest.skip(f"no kernel {version} here; oomkit kernels --fetch {version} gets one")
    path = tmp_path / "still.toml"
    path.write_text(_STILL)
    companion = Companion(
        name="probe",
        command=("/usr/bin/python3", "-I", "-S", "-c", _PROBE),
        modules=("oomkit.host.scan", "oomkit.kernel.rank", "msgspec"),
        paths=tuple(str(Path(module.__file__ or "").parent.parent) for module in (oomkit, msgspec)),
        ready="probing",
        settle_s=0.0,
    )
    run = qemu.play(read_scenario(str(path)), found[0], companion=companion).run
    rows = [line.split()[-6:] for line in run.log]
    scores = {row[1]: row for row in rows if len(row) == 6 and row[0] == "score"}
    assert {"plain", "scattered", "shared"} <= scores.keys(), "\n".join(run.log[-30:])
    assert {comm for comm, row in scores.items() if row[4] != "True"} == set()
    assert scores["scattered"][5] == "5"
