"""The settings of systemd's services and slices that decide what an OOM kill leads to."""

import os
import subprocess

import msgspec

_BOOTED = "/run/systemd/system"
"""There where systemd is the init (``sd_booted(3)``)."""
_TIMEOUT_S = 10
_PROPERTIES = (
    "Id", "ActiveState", "ControlGroup", "Type", "OOMPolicy", "OOMScoreAdjust", "Restart",
    "ManagedOOMSwap", "ManagedOOMMemoryPressure",
)  # fmt: skip


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that is active, with its settings as systemd has them, drop-ins included.

    Attributes:
        name: such as ``ssh.service``.
        cgroup: its path below the mount.
        kind: ``Type=`` of a service; empty: it is none.
        oom_policy: ``stop``, ``kill`` or ``continue``; empty: it has none.
        oom_score_adj: ``OOMScoreAdjust=``; None: it is no service.
        restart: ``Restart=``; empty: it is no service.
        managed: what systemd-oomd is asked to kill in it for: ``ManagedOOMSwap``,
            ``ManagedOOMMemoryPressure``.
    """

    name: str
    cgroup: str = ""
    kind: str = ""
    oom_policy: str = ""
    oom_score_adj: int | None = None
    restart: str = ""
    managed: tuple[str, ...] = ()


def parse_units(shown: str) -> tuple[Unit, ...]:
    """Read what ``systemctl show`` prints of several units, each followed by an empty line."""
    found = []
    for block in shown.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not fields.get("Id") or fields.get("ActiveState") != "active":
            continue
        adj = fields.get("OOMScoreAdjust", "")
        found.append(
            Unit(
                name=fields["Id"],
                cgroup=fields.get("ControlGroup", ""),
                kind=fields.get("Type", ""),
                oom_policy=fields.get("OOMPolicy", ""),
                oom_score_adj=int(adj) if adj.removeprefix("-").isdecimal() else None,
                restart=fields.get("Restart", ""),
                managed=tuple(
                    name
                    for name in ("ManagedOOMSwap", "ManagedOOMMemoryPressure")
                    if fields.get(name) == "kill"
                ),
            )
        )
    return tuple(found)


def read_units(root: str = "", systemctl: str = "systemctl") -> tuple[Unit, ...]:
    """Ask the system manager; nothing where there is none, or it does not answer.

    Args:
        root: what stands before paths of the file system.
        systemctl: the program to ask by.
    """
    if not os.path.isdir(f"{root}{_BOOTED}"):
        return ()
    try:
        done = subprocess.run(
            [systemctl, "show", "--no-pager", f"--property={','.join(_PROPERTIES)}",
             "*.service", "*.slice"],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_units(done.stdout.decode(errors="replace"))
