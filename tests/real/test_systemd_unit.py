"""The guard's unit under a real systemd, in a guest that really runs out of memory."""

import json
from pathlib import Path

import pytest

from tests.real import systemd_guest
from tests.real.guests import HANGS_S, boot
from tests.real.played import needs_kernel

CAPABILITIES = (5, 6, 7, 19, 23, 24, 34)
"""KILL, SETGID, SETUID, SYS_PTRACE, SYS_NICE, SYS_RESOURCE, SYSLOG."""
HERE = Path(__file__).parent
UNIT = HERE.parents[1] / "contrib/systemd/oomkit-guard.service"


@pytest.mark.qemu
@pytest.mark.timeout(HANGS_S)
def test_the_unit_starts_acts_and_comes_back(tmp_path: Path) -> None:
    """Notify, sandbox, commands, notes, reload, a hog, who fills tmpfs, the watchdog, a restart."""
    kernel = needs_kernel()  # PSI wakes the guard in time, and User Mode Linux has none
    systemd_guest.needs_systemd()
    made = tmp_path / "initrd"
    made.write_bytes(systemd_guest.image(HERE / "unit_check.py", UNIT))
    output = boot(kernel, made, own_clock=True)
    facts = dict(json.loads(line) for line in output.splitlines() if line.startswith('["'))
    assert facts.get("state") == {
        "ActiveState": "active", "SubState": "running", "Result": "success",
        "StatusText": "policy default, armed",
    }, output  # fmt: skip
    assert facts["process"]["NoNewPrivs"] == "1"
    assert facts["process"]["Seccomp"] == "2"
    assert facts["adj"] == -1000
    assert facts["locked_kb"] > 1000
    assert facts["capabilities"] == sum(1 << n for n in CAPABILITIES)
    assert facts["files"] == {
        "/var/lib/oomkit/journal.jsonl": "0o640", "/var/lib/oomkit/recording": "0o600",
        "/run/oomkit/status.json": "0o644", "/run/oomkit/guard.state": "0o600",
    }  # fmt: skip
    for word in ("can't be locked", "coarse", "no sooner", "descriptors", "Operation not"):
        assert word not in facts["journal"], facts["journal"]
    for told in ("hook uid 0 adj 0 before", "hook uid 0 adj 0 after", "notify-send uid 1000"):
        assert told in facts["journal"], facts["journal"]
    assert facts["reload"] == ""
    assert facts["reread"]
    assert facts["hog"], facts["journal"]
    assert facts["filler"], facts["journal"]
    assert "to tmpfs: available" in facts["journal"]
    assert facts["oom_kill"] == 0
    assert facts["watchdog"], facts["journal"]
    assert facts["killed"], facts["journal"]
    told = facts["history"] + facts["journal"]
    assert facts["history"].count("killed by default") == 2, told
    assert facts["history"].count("guard started") == 4, told
