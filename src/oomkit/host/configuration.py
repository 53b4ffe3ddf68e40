"""What of a machine's configuration a decision does not depend on, but its outcome does.

Mounts of tmpfs, swap in zram, the kubelet's thresholds, settings of systemd's services and slices,
which daemons guard memory already.
"""

import glob
import os
import re
import subprocess
from typing import Literal

import msgspec

from oomkit.host.mounts import unescape
from oomkit.host.procfs import read_int, read_or_none, text
from oomkit.kernel.state import Snapshot

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


Controller = Literal["v1", "v2", "hybrid", "none"]

_DAEMONS = frozenset(["bustd", "earlyoom", "nohang", "oomd", "systemd-oomd"])
_DRY_RUN = frozenset(["--dryrun", "--dry-run"])
_STATUS = "/run/oomkit/status.json"
_KUBELET = "/var/lib/kubelet/config.yaml"
_THRESHOLD = re.compile(r"memory\.available[\"']?\s*[:<]\s*[\"']?([0-9.]+)\s*([A-Za-z%]*)")
_UNITS = {
    "": 1, "k": 1000, "M": 1000**2, "G": 1000**3,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30,
}  # fmt: skip
_DEFAULT_EVICTION = 100 << 20
"""The kubelet's own ``memory.available<100Mi``."""


class Tmpfs(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted tmpfs.

    Attributes:
        path: where.
        size_bytes: the most it may hold; None: no limit (``size=0``).
        used_bytes: what it holds.
    """

    path: str
    size_bytes: int | None
    used_bytes: int


class Zram(msgspec.Struct, frozen=True, kw_only=True):
    """A compressed device in memory that is swap.

    Attributes:
        name: such as ``zram0``.
        size_bytes: what may be swapped to it, uncompressed.
        limit_bytes: the most memory it may take; 0: no limit.
        original_bytes: what is in it, uncompressed.
        used_bytes: the memory that takes.
    """

    name: str
    size_bytes: int
    limit_bytes: int = 0
    original_bytes: int = 0
    used_bytes: int = 0


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that kills before the kernel does.

    Attributes:
        name: ``oomkit guard``, or the program's.
        pid: its process.
        acts: it sends signals; false: a dry run; None: not known.
    """

    name: str
    pid: int
    acts: bool | None = True


class _Status(msgspec.Struct):
    pid: int
    dry_run: bool


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        controller: how memory cgroups are mounted; ``hybrid``: the memory controller is of
            version 1 beside a mount of version 2.
        command_line: the kernel's.
        panic_timeout_s: ``kernel.panic``: the seconds from a panic to a reboot; 0: it hangs.
        daemons: those that run.
        tmpfs: all mounts of it.
        zram: those in use as swap.
        eviction_bytes: what has to be available for the kubelet not to evict; None: no kubelet.
        eviction_from: where that stands.
        eviction_directory: of more configuration of the kubelet (``--config-dir``); empty: none.
        memory_disabled: the kernel was booted without memory cgroups.
        units: systemd's active services and slices.
    """

    controller: Controller = "none"
    command_line: str = ""
    panic_timeout_s: int | None = None
    daemons: tuple[Daemon, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    zram: tuple[Zram, ...] = ()
    eviction_bytes: int | None = None
    eviction_from: str = ""
    eviction_directory: str = ""
    memory_disabled: bool = False
    units: tuple[Unit, ...] = ()


def read_configuration(
    snapshot: Snapshot, *, proc: str = "/proc", sys: str = "/sys", root: str = ""
) -> Configuration:
    """Look at the machine that a snapshot was just taken of.

    Args:
        snapshot: its processes are looked over for daemons.
        proc: the proc file system.
        sys: the sys file system.
        root: what stands before paths of the file system.
    """
    kubelet = _kubelet(snapshot, proc)
    directory = _option(kubelet or [], "--config-dir") or ""
    eviction, where = _eviction(snapshot, kubelet, directory, root)
    return Configuration(
        controller=_controller(proc),
        command_line=text((read_or_none(f"{proc}/cmdline") or b"").strip()),
        panic_timeout_s=read_int(f"{proc}/sys/kernel/panic"),
        daemons=tuple(_daemons(snapshot, proc, root)),
        tmpfs=tuple(_tmpfs(proc, root)),
        zram=tuple(_zram(proc, sys)),
        eviction_bytes=eviction,
        eviction_from=where,
        eviction_directory=directory,
        memory_disabled=_memory_disabled(proc),
        units=read_units(root),
    )


def _mounts(proc: str) -> list[tuple[str, str, list[str]]]:
    """Kind, place and options of each mount."""
    found = []
    for line in text(read_or_none(f"{proc}/self/mounts") or b"").splitlines():
        _, place, kind, options, *_ = [*line.split(" "), "", "", "", ""]
        found.append((kind, text(unescape(place.encode())), options.split(",")))
    return found


def _controller(proc: str) -> Controller:
    mounts = _mounts(proc)
    unified = any(kind == "cgroup2" for kind, _, _ in mounts)
    if any(kind == "cgroup" and "memory" in options for kind, _, options in mounts):
        return "hybrid" if unified else "v1"
    return "v2" if unified else "none"


def _daemons(snapshot: Snapshot, proc: str, root: str) -> list[Daemon]:
    found = []
    for task in snapshot.tasks:
        if task.comm in _DAEMONS:
            acts = not _DRY_RUN & set(_words(proc, task.pid))
            found.append(Daemon(name=task.comm, pid=task.pid, acts=acts))
        elif task.comm.startswith(("python", "oomkit")):
            words = _words(proc, task.pid)
            if any(word.endswith("oomkit/guard/bootstrap.py") for word in words):
                found.append(Daemon(name="oomkit guard", pid=task.pid, acts=_acts(task.pid, root)))
            elif any(os.path.basename(word) == "nohang" for word in words[:3]):
                # Its interpreter's name, where env starts that.
                found.append(Daemon(name="nohang", pid=task.pid))
    return found


def _words(proc: str, pid: int) -> list[str]:
    """A process's command line."""
    return text(read_or_none(f"{proc}/{pid}/cmdline") or b"").split("\0")


def _memory_disabled(proc: str) -> bool:
    """Whether ``/proc/cgroups`` lists the memory controller as not enabled."""
    for line in text(read_or_none(f"{proc}/cgroups") or b"").splitlines():
        words = line.split()  # subsys_name hierarchy num_cgroups enabled
        if len(words) == 4 and words[0] == "memory":
            return words[3] == "0"
    return False


def _acts(pid: int, root: str) -> bool | None:
    """Whether a guard is armed, by the status file of its service."""
    try:
        status = msgspec.json.decode(read_or_none(f"{root}{_STATUS}") or b"", type=_Status)
    except msgspec.DecodeError:
        return None
    return None if status.pid != pid else not status.dry_run


def _tmpfs(proc: str, root: str) -> list[Tmpfs]:
    found: dict[str, Tmpfs] = {}
    for kind, place, options in _mounts(proc):
        found.pop(place, None)  # a mount over another hides it
        if kind != "tmpfs" or "ro" in options:
            continue
        try:
            state = os.statvfs(f"{root}{place}")
        except OSError:
            continue
        found[place] = Tmpfs(
            path=place,
            size_bytes=state.f_blocks * state.f_frsize or None,
            used_bytes=(state.f_blocks - state.f_bfree) * state.f_frsize,
        )
    return list(found.values())


def _zram(proc: str, sys: str) -> list[Zram]:
    found = []
    for line in text(read_or_none(f"{proc}/swaps") or b"").splitlines()[1:]:
        name = os.path.basename(line.split()[0]) if line.split() else ""
        if not name.startswith("zram"):
            continue
        # orig_data_size compr_data_size mem_used_total mem_limit ... (Documentation, zram.rst)
        state = [int(n) for n in (read_or_none(f"{sys}/block/{name}/mm_stat") or b"").split()]
        state += [0] * 4
        found.append(
            Zram(
                name=name,
                size_bytes=read_int(f"{sys}/block/{name}/disksize", default=0) or 0,
                limit_bytes=state[3],
                original_bytes=state[0],
                used_bytes=state[2],
            )
        )
    return found


def _kubelet(snapshot: Snapshot, proc: str) -> list[str] | None:
    """Its command line; None: there is none."""
    found = next((task for task in snapshot.tasks if task.comm == "kubelet"), None)
    return None if found is None else _words(proc, found.pid)


def _eviction(
    snapshot: Snapshot, kubelet: list[str] | None, directory: str, root: str
) -> tuple[int | None, str]:
    """Its hard threshold: of its command line, its files, or its default."""
    if kubelet is None:
        return None, ""
    flag = _option(kubelet, "--eviction-hard")
    sources = [] if flag is None else [(flag, "--eviction-hard")]
    # Of files that are laid over each other the last one counts, signal by signal.
    over = sorted(glob.glob(f"{glob.escape(root + directory)}/*.conf")) if directory else []
    for path in (*reversed(over), root + (_option(kubelet, "--config") or _KUBELET)):
        section = _section(text(read_or_none(path) or b""), "evictionHard")
        if section is not None and flag is None:
            sources.append((section, path.removeprefix(root)))
    given = [(source, where) for source, where in sources if _THRESHOLD.search(source)]
    for source, where in given or sources:
        amount = _THRESHOLD.search(source)
        if amount is None and source.strip():
            # Where one signal is given the others have no default.
            return 0, where
        if amount is not None and amount[2] == "%":
            ram = snapshot.memory.total_ram_pages * snapshot.page_size
            return int(float(amount[1]) * ram / 100), where
        if amount is not None and amount[2] in _UNITS:
            return int(float(amount[1]) * _UNITS[amount[2]]), where
    return _DEFAULT_EVICTION, "its default"


def _option(words: list[str], name: str) -> str | None:
    """The value of an option, in the same word or the next; the last one counts."""
    found = None
    for i, word in enumerate(words):
        if word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
        elif word == name and i + 1 < len(words):
            found = words[i + 1]
    return found


def _section(yaml: str, key: str) -> str | None:
    """The lines below a top-level key of a YAML file, comments left out; None: it is not there."""
    _, found, rest = f"\n{yaml}".partition(f"\n{key}:")
    if not found:
        return None
    first, *lines = rest.splitlines() or [""]
    below = [first]
    for line in lines:
        if line.strip() and not line.startswith((" ", "#")):
            break
        below.append(line.partition("#")[0])
    return "\n".join(below)
