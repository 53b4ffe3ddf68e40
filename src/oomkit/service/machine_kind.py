"""What a machine is used for, as far as that says whose death would cost most."""

import os
from collections.abc import Iterator
from typing import Literal

import msgspec

from oomkit.files.safely import open_regular

Kind = Literal["desktop", "server", "container node"]

_ORCHESTRATORS = ("kubelet.service", "k3s.service", "k3s-agent.service", "rke2-agent.service",
                  "rke2-server.service", "microk8s.daemon-kubelite.service")  # fmt: skip
_RUNTIMES = ("containerd.service", "crio.service", "docker.service")
_GRAPHICAL = ("x11", "wayland", "mir")


class Machine(msgspec.Struct, frozen=True):
    """What a machine is used for.

    Attributes:
        kind: its use.
        evidence: what says so.
    """

    kind: Kind
    evidence: str


def machine_kind(root: str = "") -> Machine:
    """Say what a machine is used for.

    A node of a cluster comes first, then whoever sits before it, then containers, since
    developers run those on desktops too.

    Args:
        root: what stands before paths of the file system.
    """
    running = set(_units(root))
    if (unit := next(filter(running.__contains__, _ORCHESTRATORS), None)) is not None:
        return Machine("container node", f"{unit} runs")
    if any(name.startswith("kubepods") for name in running):
        return Machine("container node", "there is a cgroup kubepods")
    if (session := _graphical_session(root)) is not None:
        return Machine("desktop", f"login session {session} is graphical")
    for path in ("etc/systemd/system/display-manager.service",
                 "etc/runlevels/default/display-manager"):  # fmt: skip
        if os.path.lexists(f"{root}/{path}"):
            return Machine("desktop", f"/{path} starts a display manager")
    if (unit := next(filter(running.__contains__, _RUNTIMES), None)) is not None:
        return Machine("container node", f"{unit} runs")
    return Machine("server", "there is no graphical login, no kubelet and no container runtime")


def _units(root: str) -> Iterator[str]:
    """Names of the cgroups of the system's units and of the outermost cgroups, of any hierarchy."""
    mounted = f"{root}/sys/fs/cgroup"
    for above in (mounted, f"{mounted}/systemd", f"{mounted}/memory", f"{mounted}/unified"):
        for directory in (above, f"{above}/system.slice"):
            try:
                yield from os.listdir(directory)
            except OSError:
                continue


def _graphical_session(root: str) -> str | None:
    """The name of a user's session that systemd-logind or elogind says is graphical."""
    directory = f"{root}/run/systemd/sessions"
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return None
    for name in names:
        try:
            fd = open_regular(f"{directory}/{name}")
        except OSError:
            continue  # it has ended, or is the FIFO that the session's own process holds
        with open(fd, encoding="utf-8", errors="replace") as file:
            lines = dict(line.rstrip().partition("=")[::2] for line in file)
        if lines.get("TYPE") in _GRAPHICAL and lines.get("CLASS", "user").startswith("user"):
            return name
    return None
