"""From the full program to the daemon: everything that takes more than a small process has."""

import marshal
import os
import pwd
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from oomkit.guard import lean
from oomkit.guard.eyes import Eyes, fields_asked_for
from oomkit.guard.places import Places
from oomkit.guard.settings import Settings, to_plain
from oomkit.guard.wake import STALL_US, WINDOW_US
from oomkit.host.mounts import find_hierarchy
from oomkit.host.psitrigger import Trigger
from oomkit.policy.core.when import Watch

_SIGNALS = {
    "psi_some": "pressure (PSI)",
    "psi_full": "pressure (PSI)",
    "refault": "refaults",
    "swap_in": "swap-ins",
    "reclaim": "pages scanned by reclaim",
}


class LaunchError(Exception):
    """The daemon can't be started; the text says why."""


def places_here(drill: str | None = None) -> Places:
    """Where this machine shows what the daemon looks at.

    Args:
        drill: a directory with ``meminfo`` and perhaps ``vmstat`` and ``pressure/memory`` that
            are looked at instead of those in ``/proc``.

    Raises:
        LaunchError: there is no such file.
    """
    if drill is not None and not os.path.isfile(f"{drill}/meminfo"):
        raise LaunchError(f"--drill {drill}: expected a directory with a file meminfo in it")
    hierarchy = find_hierarchy("/proc")
    return Places(
        signals=os.path.abspath(drill) if drill else "",
        cgroups=hierarchy.directory if hierarchy else "",
        cgroup_version=hierarchy.version if hierarchy else 0,
    )


def compile_argv(source: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """The command by which a daemon reads its policy again."""
    name = os.path.abspath(source) if os.path.sep in source or os.path.exists(source) else source
    return (sys.executable, "-m", "oomkit.guard.compile", name, *overrides)


def users_for(plan: dict[str, Any]) -> dict[int, str]:
    """Names of user ids, if the plan has patterns on users."""
    if "user" not in fields_asked_for(plan):
        return {}
    return {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}


def missing_here(settings: Settings) -> tuple[str, ...]:
    """What the policy asks for and this machine does not show, in sentences.

    Raises:
        LaunchError: not even the size of memory can be read.
    """
    eyes = Eyes(settings.plan, settings)
    try:
        reading = eyes.reading(0.0)
    finally:
        eyes.close()
    if reading is None:
        raise LaunchError(
            f"{settings.places.signals}/meminfo: expected MemTotal and MemAvailable (Linux 3.14)"
        )
    absent = dict.fromkeys(_SIGNALS[kind] for kind in Watch(settings.plan).missing(reading))
    found = [f"No {what} here: rules about it never hold." for what in absent]
    if reading.psi_some_us is None:
        found.append("No pressure (PSI), so nothing wakes the guard: it looks by the clock.")
    elif (trigger := _trigger(settings.places)) is None:
        found.append("No pressure triggers are allowed, so the guard looks by the clock.")
    elif not trigger.fine:
        found.append("Pressure triggers are coarse (no CAP_SYS_RESOURCE), so the clock counts.")
    if reading.swap_total_kb == 0:
        found.append("No swap: conditions on free swap hold always.")
    if os.geteuid() != 0:
        found.append("Not root: only processes of this user can be signalled.")
    return tuple(found)


def exec_daemon(settings: Settings) -> NoReturn:
    """Become the daemon.

    Raises:
        LaunchError: the small interpreter can't be started.
    """
    fd = os.memfd_create("oomkit-guard", 0)
    os.write(fd, marshal.dumps(to_plain(settings)))
    argv = [sys.executable, "-I", "-S", lean.__file__, str(fd)]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        raise LaunchError(f"{argv[0]}: {error.strerror}") from None


def _trigger(places: Places) -> Trigger | None:
    try:
        trigger = Trigger(places.pressure, "some", STALL_US, WINDOW_US)
    except OSError:
        return None
    trigger.close()
    return trigger
