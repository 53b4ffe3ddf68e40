"""Play a scenario with real processes in a memory cgroup of this host."""

import os
import re
import resource

from oomkit.guard.config import read_boot_id
from oomkit.host.cgroups import Hierarchy, find_hierarchy
from oomkit.host.pidfd import start_ticks_of
from oomkit.real import cgroup_limits as limits
from oomkit.real.agent import groups as agent_groups
from oomkit.real.cgroup_limits import OUTER, GroupTree, Host, confine, missing_knobs
from oomkit.real.kills import LogLine
from oomkit.real.observe import Observation
from oomkit.real.plan import SAMPLE_S, Places, Plan, Planner, changes, files_of
from oomkit.real.run_agent import run_agent
from oomkit.real.run_record import Played, as_found, assemble
from oomkit.real.workdir import scratch
from oomkit.scenario.format import At, Scenario

_ROOM_BYTES = 512 * 2**20
"""What the host keeps for itself beyond what the scenario may take."""

_SLACK_S = 30.0
_CAP_SYS_RESOURCE = 24
_FILES = {
    1: {"usage": "memory.usage_in_bytes", "stat": "memory.stat"},
    2: {
        "usage": "memory.current",
        "stat": "memory.stat",
        "swap": "memory.swap.current",
        "pressure": "memory.pressure",
    },
}
_NAMES = {
    1: {"file": [b"total_inactive_file", b"total_active_file"], "cache": [b"total_cache"]},
    2: {"file": [b"inactive_file", b"active_file"], "cache": [b"file"]},
}
_OURS = re.compile(r"Killed process (\d+) \(")
_PREFIX = "oomkit-"
_WORLD = "in a memory cgroup of this host"


def host_facts() -> tuple[Host, Hierarchy]:
    """This host, and where its memory cgroups are.

    Raises:
        NotHereError: no memory cgroups, or not root.
    """
    hierarchy = find_hierarchy("/proc")
    if hierarchy is None:
        raise limits.NotHereError(_WORLD, ["no memory controller is mounted"])
    if os.geteuid() != 0:
        raise limits.NotHereError(_WORLD, ["making cgroups and giving tasks their uid needs root"])
    control = f"{hierarchy.directory}/cgroup.subtree_control"
    if hierarchy.version == 2 and "memory" not in _text(control).split():
        raise limits.NotHereError(_WORLD, [f"{control} does not hand the memory controller down"])
    memory = _meminfo()
    host = Host(
        release=os.uname().release,
        version=hierarchy.version,
        ram_bytes=memory["MemTotal"] * 1024,
        swap_bytes=memory["SwapTotal"] * 1024,
        cpus=os.cpu_count() or 1,
    )
    return host, hierarchy


def play(scenario: Scenario, *, seed: int = 0) -> Played:
    """Play a scenario; everything made for it is gone afterwards.

    Args:
        scenario: its RAM and swap become the limits of a cgroup.
        seed: moves only what the scenario declares as random.

    Raises:
        NotHereError: this host can't play it; the reasons say why.
        AgentError: the workload agent failed.
    """
    host, hierarchy = host_facts()
    if reasons := refusals(scenario):
        raise limits.NotHereError(_WORLD, reasons)
    sweep(hierarchy.directory)
    confined = confine(scenario, host)
    root = free_name(f"{hierarchy.directory}/oomkit-{os.getpid()}")
    tree = GroupTree(root, host.version, confined.cgroups)
    at = changes(confined, lambda event: _writes(tree, event))
    made = [_top(root, host.version), *tree.plan()]
    with scratch("/var/tmp") as files_base, scratch("/dev/shm") as tmpfs_base:
        files, tmpfs = _for_tasks(files_base), _for_tasks(tmpfs_base)
        places = Places(
            files=files,
            tmpfs=tmpfs,
            cgroup_procs={group.name: tree.procs(group.name) for group in confined.cgroups},
        )
        planner = Planner(confined, places, seed)
        plan: Plan = {
            "tasks": planner.tasks(),
            "slots": planner.slots,
            "groups": made,
            "at": at,
            "at_end": max((event.t_s for event in confined.at), default=0.0),
            "duration": confined.duration_s,
            "sample_s": SAMPLE_S,
            "files": files,
            "tmpfs": tmpfs,
            "temporary": [files_base, tmpfs_base],
            "sysctl": [],
            "kmsg": True,
            "mark": False,
            "probe": None,
            "clock": None,
            "incompressible": 0.0,
            "programs": "",
            "cpus": confined.machine.cpus,
            "sources": _sources(scenario, tree, host),
        }
        _write_files(files, files_of(plan["tasks"]))
        seen = Observation()
        try:
            run_agent(plan, seen, limit_s=confined.duration_s + _SLACK_S)
        finally:
            agent_groups.remove(entry["path"] for entry in made)
    lines = _our_lines(seen, os.path.basename(root))
    return Played(
        run=assemble(scenario, seen, lines, on="cgroup", release=host.release),
        scenario=as_found(confined, seen.found, whole=False),
        total_mb=scenario.machine.ram_bytes / 2**20,
    )


def _thp() -> str:
    """What this host does with huge pages: the word in brackets."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as file:
            return file.read().partition("[")[2].partition("]")[0]
    except OSError:
        return "never"


def refusals(scenario: Scenario) -> list[str]:
    """Why a scenario can't be played in a cgroup of this host; empty if it can."""
    memory = _meminfo()
    reasons = limits.for_cgroup(
        scenario,
        lowest_adj=lowest_adj(),
        host_swap_bytes=memory["SwapFree"] * 1024,
        lockable_bytes=_lockable_bytes(),
        thp=_thp(),
    )
    hierarchy = find_hierarchy("/proc")
    if hierarchy is not None:
        reasons += missing_knobs(scenario.cgroups, scenario.at, hierarchy.version)
    room = memory["MemAvailable"] * 1024 - _ROOM_BYTES
    if scenario.machine.ram_bytes > room:
        reasons.append(f"its {scenario.machine.ram_bytes >> 20} MB would leave this host too "
                       f"little: {max(room, 0) >> 20} MB can be spared")  # fmt: skip
    return reasons


def lowest_adj() -> int:
    """The lowest ``oom_score_adj`` that this process may give a task."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lowest = int(_text("/proc/self/oom_score_adj"))
        try:
            for candidate in range(-1000, lowest):
                try:
                    agent_groups.write("/proc/self/oom_score_adj", str(candidate))
                except OSError:
                    continue
                lowest = candidate
                break
            os.write(writer, str(lowest).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        return int(answer.read() or "0")


def _lockable_bytes() -> float:
    """What a task may lock after it gave up being root."""
    words = dict(line.split(":", 1) for line in _text("/proc/self/status").splitlines())
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = most == resource.RLIM_INFINITY
    if unlimited or int(words["CapEff"], 16) >> _CAP_SYS_RESOURCE & 1:
        return float("inf")
    return most


def sweep(directory: str) -> None:
    """Remove the cgroups left by runs whose process has exited, with the processes in them.

    They are known by the mark that they were given when they were made, never by their names.
    """
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name.startswith(_PREFIX) and _is_left_over(path):
            agent_groups.remove([below for below, _, _ in os.walk(path)])


def _is_left_over(path: str) -> bool:
    """Whether a cgroup bears the mark of a process that is gone."""
    try:
        mark = os.getxattr(path, agent_groups.MARK, follow_symlinks=False).split()
    except OSError:
        return False
    if len(mark) != 3 or mark[0] != read_boot_id() or not (mark[1] + mark[2]).isdigit():
        return False
    return start_ticks_of(int(mark[1])) != int(mark[2])


def free_name(path: str) -> str:
    """A cgroup's path that is not in use."""
    return f"{path}-{os.urandom(4).hex()}" if os.path.lexists(path) else path


def _top(root: str, version: int) -> Plan:
    files = [("cgroup.subtree_control", "+memory")] if version == 2 else []
    mark = b"%s %d %d" % (read_boot_id(), os.getpid(), start_ticks_of(os.getpid()) or 0)
    return {"path": root, "files": files, "mark": mark}


def _writes(tree: GroupTree, event: At) -> list[tuple[str, str]]:
    swappiness = event.vm.get("swappiness")
    if swappiness is not None and tree.version == 1:
        return [*tree.changes(event),
                (f"{tree.path(OUTER)}/memory.swappiness", str(swappiness))]  # fmt: skip
    return tree.changes(event)


def _sources(scenario: Scenario, tree: GroupTree, host: Host) -> Plan:
    outer = tree.path(OUTER)
    files = {name: f"{outer}/{file}" for name, file in _FILES[host.version].items()}
    files.setdefault("swap", "/dev/null")
    files.setdefault("pressure", "/dev/null")
    return {
        "cgroup": {
            "version": host.version,
            "limit": scenario.machine.ram_bytes,
            "swap": scenario.machine.swap_bytes,
            "names": _NAMES[host.version],
        },
        "files": {**files, "cpu": "/proc/stat"},
        "lines": [],
        "swap": scenario.machine.swap_bytes > 0,
    }


def _for_tasks(base: str) -> str:
    """A directory for the run's tasks, of whatever uid; others cannot enter the one above it."""
    path = f"{base}/tasks"
    os.mkdir(path, 0o700)
    return path


def _write_files(directory: str, sizes: dict[str, int]) -> None:
    """Make the files that tasks read, and leave none of them in the page cache."""
    chunk = bytes([1]) * 2**20
    for name, size in sizes.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{directory}/{name}", flags, 0o600)
        try:
            left = size
            while left > 0:
                left -= os.write(fd, chunk[: min(left, len(chunk))])
            os.fchmod(fd, 0o666)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def _our_lines(seen: Observation, group: str) -> list[LogLine]:
    """The kernel's lines about this run: other cgroups of the host may run out at the same time."""
    blocks: list[list[LogLine]] = []
    for t_s, text in seen.kernel:
        if "invoked oom-killer" in text or not blocks:
            blocks.append([])
        blocks[-1].append(LogLine(t_s, text))
    return [
        line
        for block in blocks
        for line in block
        if any(f"/{group}" in other.text for other in block) or _kills_ours(line, seen)
    ]


def _kills_ours(line: LogLine, seen: Observation) -> bool:
    match = _OURS.search(line.text)
    return match is not None and int(match[1]) in seen.procs


def _meminfo() -> dict[str, int]:
    """``/proc/meminfo`` in kB."""
    pairs = (line.split() for line in _text("/proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in pairs}


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
