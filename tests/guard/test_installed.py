"""Attacks on the guard as installed: the unit, armed, under a real systemd in a guest."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from oomkit.real.kernels import Bootable
from tests.guard import actors
from tests.guard.policies import BRISK
from tests.real import systemd_guest
from tests.real.guests import HANGS_S, boot
from tests.real.played import needs_kernel

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UNIT = ROOT / "contrib/systemd/oomkit-guard.service"
OPTIONS = "--act --policy /etc/oomkit/policy.toml --drill /var/drill"
POLICY = (
    BRISK.replace('term_wait = "1s"', 'term_wait = "30s"')
    + """
most_a_minute = 600
before = ["/bin/sh", "/var/attack/before"]
after = ["/bin/sh", "/var/attack/after", "{comm}"]
[whom]
least = "3M"
never = [
    { cgroup = "/attack/sheltered*" },
    { user = ["daemon", "late"] },
    { exe = "/opt/safe/*" },
    { cmdline = "*--precious" },
    { comm = "precious*" },
    { comm = "sshd", user = "root" },
    { unit = ["sshd.service", "check.service", "systemd-*.service"] },
]
"""
)
PROGRAMS = ("sh", "sleep", "prlimit")
DRILL = {
    "meminfo": "MemTotal: 1048576 kB\nMemAvailable: 943718 kB\nAnonPages: 1 kB\nShmem: 0 kB\n",
    "vmstat": "nr_free_pages 1\noom_kill 0\n",
    "pressure/memory": "".join(
        f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for kind in ("some", "full")
    ),
}
SPARED = (
    "it moves into a protected cgroup",
    "its adjustment becomes -1000",
    "it becomes a protected user",
    "its user is named later",
    "it becomes a protected program of its name",
    "its cgroup is too deep to be told",
    "a word behind 120 kB of arguments protects it",
    "it may have that word in 16 MiB of arguments",
    "its leading thread has exited",
    "its threads come and go",
    "its program was deleted by an upgrade",
    "a protected one shares its memory",
    "an init takes a protected one along",
    "an init without its leading thread takes a protected one along",
    "a protected one is in a cgroup that dies as one",
    "it enters a protected cgroup as the signal is due",
    "its adjustment becomes -1000 as the signal is due",
    "a policy protects between SIGTERM and SIGKILL",
    "no signal follows the first",
    "another process has the victim's number",
    "a victim that is taken over is looked at again",
    "it moves into a protected cgroup as a user takes every file while memory is low",
    "it moves into a protected cgroup as a user takes every file before memory is low",
)
KILLED = (
    "it is in 2,000 groups",
    "its leading thread has exited, no rule means it",
    "it is no longer the protected program",
    "it has left the protected cgroup",
    "a user calls itself sshd",
    "a user's unit is called sshd.service",
    "it has 1,000 threads",
    "its name is a placeholder",
    "its name holds escapes",
    "its name looks like a state",
    "it is in a frozen cgroup",
    "it is stopped",
    "all of its memory is shared: mapped",
    "all of its memory is shared: memfd",
    "all of its memory is shared: segment",
)
HELD = (
    "a policy that is a FIFO is refused",
    "it comes back",
    "users' modules are not run",
    "the socket of metrics is not for all",
    "a scrape gets through among 100 that never end",
    "forks go on without end beside it",
    "a name is no placeholder in a command",
    "commands that never end are bounded",
    "the guard may open 20 files",
    "it is the same guard",
    "a user takes every file while memory is low",
    "a user takes every file before memory is low",
    "nobody reads its log",
    "it ends though nobody reads its log",
    "what it did is recorded",
    "a file stands where the socket shall be",
    "it acts without any file of its own",
    "links are not followed",
    "another user's state is not believed",
    "journal is named as refused",
    "recording is named as refused",
    "status is named as refused",
    "guard.state is named as refused",
    "guard.state.kmsg is named as refused",
)
VERDICT = "verdict: "


BOOTS: dict[int, str] = {}


@pytest.fixture
def facts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What one boot gave, in which all attacks are played; a test played again gets another."""
    attempt = getattr(request.node, "execution_count", 1)
    if attempt not in BOOTS:
        # Forged arguments, shared memory and a number that is used again need CHECKPOINT_RESTORE,
        # which User Mode Linux lacks.
        kernel = needs_kernel()
        systemd_guest.needs_systemd(*PROGRAMS)
        BOOTS[attempt] = ""
        BOOTS[attempt] = output_of(kernel, tmp_path_factory.mktemp("guest") / "initrd")
    facts = dict(json.loads(line) for line in BOOTS[attempt].splitlines() if line.startswith('["'))
    assert facts.get("started") is True, BOOTS[attempt]
    return facts


def output_of(kernel: Bootable, made: Path) -> str:
    python = os.path.realpath(sys.executable)
    made.write_bytes(systemd_guest.image(
        HERE / "installed_check.py", UNIT, options=OPTIONS, policy=POLICY,
        programs=[(python, "/opt/safe/prog"), (python, "/opt/safe/gone")]
        + [(shutil.which(name) or name, "") for name in PROGRAMS],
        modules=[Path(actors.__file__), HERE / "installed_stage.py", HERE / "installed_full.py"],
        texts={f"/var/drill/{name}": text for name, text in DRILL.items()},
    ))  # fmt: skip
    output = boot(kernel, made, mib=1500, own_clock=True)
    made.unlink()
    return output


pytestmark = [pytest.mark.qemu, pytest.mark.timeout(HANGS_S)]


@pytest.mark.parametrize("attack", SPARED)
def test_the_installed_service_spares(attack: str, facts: dict[str, Any]) -> None:
    assert facts.get(VERDICT + attack) is True, facts["journal"]


@pytest.mark.parametrize("attack", KILLED)
def test_the_installed_service_still_kills(attack: str, facts: dict[str, Any]) -> None:
    assert facts.get(VERDICT + attack) is True, facts["journal"]


@pytest.mark.parametrize("attack", HELD)
def test_the_installed_service_stands(attack: str, facts: dict[str, Any]) -> None:
    assert facts.get(VERDICT + attack) is True, facts["journal"]


def test_all_that_was_attempted_is_asked_about(facts: dict[str, Any]) -> None:
    played = {name.removeprefix(VERDICT) for name in facts if name.startswith(VERDICT)}
    assert played == {*SPARED, *KILLED, *HELD}
    assert facts["oom_kill"] == 0, "the kernel killed nobody"
    assert "internal error" not in facts["journal"]
    assert "\x1b" not in facts["journal"]


def test_the_page_names_what_is_played() -> None:
    page = (ROOT / "docs/guard.md").read_text()
    rows = [line for line in page.splitlines() if "; installed: " in line]
    named = re.findall(r"\*([^*]+)\*", "".join(row.rpartition("; installed: ")[2] for row in rows))
    assert set(named) <= {*SPARED, *KILLED, *HELD}
    assert {*SPARED, *KILLED} - set(named) == {"another process has the victim's number"}
