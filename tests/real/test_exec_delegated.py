"""``oomkit exec`` as an ordinary user under a real systemd, which delegates a cgroup to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real import systemd_guest
from tests.real.guests import HANGS_S, boot, needs_guest

HERE = Path(__file__).parent
UNIT = HERE.parents[1] / "contrib/systemd/oomkit-guard.service"
MIB = 2**20


@pytest.mark.qemu
@pytest.mark.timeout(HANGS_S)
def test_a_user_gets_a_cgroup_where_systemd_delegates_one(tmp_path: Path) -> None:
    """Fit, over the limit, a grandchild that is killed, and no delegation."""
    kernel = needs_guest()
    systemd_guest.needs_systemd()
    made = tmp_path / "initrd"
    made.write_bytes(systemd_guest.image(HERE / "exec_check.py", UNIT))
    output = boot(kernel, made)
    facts: dict[str, Any] = dict(
        json.loads(line) for line in output.splitlines() if line.startswith('["')
    )
    assert set(facts) == {"fits", "over", "grandchild", "undelegated"}, output

    fits = facts["fits"]["record"]
    assert fits["cgroup"]["own"], fits
    assert fits["cgroup"]["path"].startswith("/system.slice/fits.service/")
    assert fits["limit_bytes"] == 100 * MIB
    assert 40 * MIB <= fits["peak_bytes"] < 100 * MIB
    assert fits["verdict"]["killer"] == "none"
    assert facts["fits"]["shown"] == {"ExecMainCode": "1", "ExecMainStatus": "0"}

    over = facts["over"]["record"]
    assert (over["verdict"]["killer"], over["verdict"]["command_killed"]) == ("kernel_here", True)
    assert over["verdict"]["limit_bytes"] == 40 * MIB
    assert facts["over"]["shown"] == {"ExecMainCode": "2", "ExecMainStatus": "9"}  # CLD_KILLED
    assert "by the kernel for the limit of this cgroup" in facts["over"]["err"]

    child = facts["grandchild"]
    assert child["shown"] == {"ExecMainCode": "1", "ExecMainStatus": "3"}
    assert child["record"]["verdict"]["killer"] == "kernel_here"
    assert not child["record"]["verdict"]["command_killed"]

    refused = facts["undelegated"]
    assert refused["record"] is None
    assert refused["shown"]["ExecMainStatus"] == "2"
    assert "Traceback" not in refused["err"]
    assert refused["err"].startswith("oomkit: ")
