"""What ``--guard`` names: this project's guard with a policy, a peer, or only the measuring."""

import marshal
import os
from typing import Any

import oomkit
from oomkit.guard.config import Places, Settings, to_plain
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import PolicyError, find_policy
from oomkit.real import daemons
from oomkit.real.companion import Companion
from oomkit.real.errors import RealError
from oomkit.scenario.format import Scenario

NONE = "none"
"""Nobody but the kernel; reactions are measured."""

OWN = "oomkit"

_SETTINGS = "/etc/oomkit/settings"
_START = f"""
import os
fd = os.open({_SETTINGS!r}, os.O_RDONLY)
os.set_inheritable(fd, True)
import oomkit.guard.bootstrap as bootstrap
os.execv("/usr/bin/python3", ["/usr/bin/python3", "-I", "-S", bootstrap.__file__, str(fd)])
"""
"""What ``oomkit guard`` does last: become the daemon, with its settings in a descriptor."""


class PolicyOfGuardError(RealError):
    """The policy for the guard is wrong; the text says what and where."""


def companion_of(name: str, scenario: Scenario) -> Companion | None:
    """The daemon of a name.

    Args:
        name: ``none``; ``oomkit``, or ``oomkit:`` and a policy's name or file; or a peer of
            :mod:`oomkit.real.daemons`.
        scenario: what it will run beside.

    Raises:
        NoDaemonError: there is none of that name, or it is not here.
        PolicyOfGuardError: the policy is wrong.
    """
    if name == NONE:
        return None
    word, _, policy = name.partition(":")
    if word == OWN:
        return _guard(name, policy or "default", scenario)
    return daemons.find(name)


def _guard(name: str, policy: str, scenario: Scenario) -> Companion:
    """Armed, with journal and flight recorder on the guest's disk, as it is on a server."""
    try:
        plan = compile_plan(find_policy(policy))
    except PolicyError as error:
        raise PolicyOfGuardError("; ".join(error.lines())) from None
    settings = Settings(plan, source=policy, dry_run=False, places=_places(scenario))
    settings.state = "/tmp/guard.state"
    if scenario.machine.programs_bytes:
        settings.journal = "/disk/journal.jsonl"
        settings.recording = "/disk/recording"
    return Companion(
        name=name,
        command=("/usr/bin/python3", "-I", "-S", "-c", _START),
        texts={_SETTINGS: marshal.dumps(to_plain(settings))},
        modules=(
            "oomkit.guard.bootstrap",
            "oomkit.guard.config",
            "oomkit.guard.selftest",
            "oomkit.guard.daemon",
            "oomkit.guard.flight_recorder",
            "oomkit.guard.recording_format",
            "oomkit.host.libc",
            "oomkit.host.self_protection",
        ),
        paths=(os.path.dirname(os.path.dirname(os.path.abspath(oomkit.__file__))),),
        ready="guarding by policy",
    )


def _places(scenario: Scenario) -> Places:
    """Where the guest shows its cgroups."""
    where: dict[int, dict[str, Any]] = {
        2: {"cgroups": "/sys/fs/cgroup", "cgroup_version": 2},
        1: {"cgroups": "/cgroup/memory", "cgroup_version": 1},
    }
    versions = {group.version for group in scenario.cgroups}
    return Places(**where[max(versions)]) if versions else Places()
