"""The lines to type for a change to a machine, and how long each of them lasts.

Every word that stems from the machine is quoted for a shell. Where a name holds control
characters no command is given.
"""

import re
import shlex
from collections.abc import Iterator, Sequence

from oomkit.kernel.cgroup_name import place
from oomkit.kernel.decision import Counterfactual
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memcg, Snapshot, Task
from oomkit.records import Record
from oomkit.render.quantities import label

_USER_MANAGER = re.compile(r"/user@(\d+)\.service/")
_DROP_IN = "50-oom.conf"
_MAX_PIDS = 20
_FILES = {
    1: {
        "max": "memory.limit_in_bytes",
        "memsw_max": "memory.memsw.limit_in_bytes",
        "swappiness": "memory.swappiness",
        "oom_kill_disable": "memory.oom_control",
    },
    2: {
        "max": "memory.max",
        "high": "memory.high",
        "swap_max": "memory.swap.max",
        "oom_group": "memory.oom.group",
    },
}
_PROPERTIES = {
    1: {"max": "MemoryLimit"},
    2: {"max": "MemoryMax", "high": "MemoryHigh", "swap_max": "MemorySwapMax"},
}
_KNOBS_WITHOUT_FILE = ("oom_killer_disabled",)


class Advice(Record, frozen=True, kw_only=True):
    """A command.

    Attributes:
        words: the words of the line to type, each quoted for a shell.
        lasts: since when and how long it holds.
    """

    words: tuple[str, ...]
    lasts: str

    @property
    def command(self) -> str:
        """The line to type."""
        return " ".join(self.words)

    def as_object(self) -> dict[str, str]:
        """The command as JSON shows it."""
        return {"command": self.command, "lasts": self.lasts}


def _advice(lasts: str, *words: str) -> Advice:
    return Advice(words=words, lasts=lasts)


def adjustment(
    snapshot: Snapshot, tasks: Sequence[Task], value: int, rules: RuleSet
) -> tuple[Advice, ...]:
    """Give processes another ``oom_score_adj`` (``oom_adj`` where the rules read that).

    A unit file sets it for all processes of the unit, so it is proposed only where these are all.
    """
    return _safe(_adjustment(snapshot, tasks, value, rules))


def _adjustment(
    snapshot: Snapshot, tasks: Sequence[Task], value: int, rules: RuleSet
) -> Iterator[Advice]:
    classic = rules.adj_files == "oom_adj"
    if 0 < len(tasks) <= _MAX_PIDS:
        one = f"{label(tasks[0].comm, tasks[0].pid)} ends" if len(tasks) == 1 else "they end"
        pids = " ".join(str(task.pid) for task in tasks)
        pid = pids if len(tasks) == 1 else "$p"
        words = ["echo", str(value), ">", f"/proc/{pid}/oom_adj"]
        if not classic:
            words = ["choom", "-n", str(value), "-p", pid]
        if len(tasks) > 1:
            words[-1] += ";"
            words = [
                "for",
                "p",
                "in",
                *pids.split()[:-1],
                f"{tasks[-1].pid};",
                "do",
                *words,
                "done",
            ]
        yield _advice(f"at once, until {one}", *words)
    for path in dict.fromkeys(task.cgroup for task in tasks):
        unit = _service(path)
        if unit is not None and not classic and _are_all_of(tasks, unit, snapshot):
            yield _drop_in(path, unit, f"OOMScoreAdjust={value}")


def _are_all_of(tasks: Sequence[Task], unit: str, snapshot: Snapshot) -> bool:
    pids = {task.pid for task in tasks}
    return all(
        task.pid in pids for task in snapshot.tasks if task.has_mm and _service(task.cgroup) == unit
    )


def sysctl(knob: str, value: int) -> tuple[Advice, ...]:
    """Set a knob of ``/proc/sys/vm``."""
    if knob in _KNOBS_WITHOUT_FILE:
        return ()
    return (
        _advice("at once, until reboot", "sysctl", "-w", f"vm.{knob}={value}"),
        _advice(
            "for good, from the next boot on",
            *("echo", f"vm.{knob}={value}", ">", f"/etc/sysctl.d/90-oom-{knob}.conf"),
        ),
    )


def cgroup(
    memcg: Memcg, field: str, value: int | None, page_size: int = 4096
) -> tuple[Advice, ...]:
    """Set a knob of a memory cgroup.

    Args:
        memcg: the cgroup.
        field: the knob as scenarios call it (``max``, ``oom_group``, ...).
        value: bytes, or the number to write; None: unlimited.
        page_size: bytes in a page of the cgroup's record.
    """
    return _safe(_cgroup(memcg, field, value, page_size))


def _cgroup(memcg: Memcg, field: str, value: int | None, page_size: int) -> Iterator[Advice]:
    found, path = place(memcg.path), memcg.path
    last = path.rsplit("/", 1)[-1]
    if found.pod is not None:
        to = "" if value is None or field != "max" else f" to {value >> 20}Mi"
        if to and found.container is None:
            to += " in all"
        yield from pod_name(path, then=f"; then change resources.limits.memory in its spec{to}")
    elif found.container is not None and field == "max" and _runtime(path) is not None:
        program = _runtime(path) or ""
        size = -1 if value is None else value
        swap = memcg.swap_max_pages
        both = -1 if value is None or swap is None else value + swap * page_size
        yield _advice(
            "at once, as long as the container exists",
            *(program, "update", "--memory", str(size), "--memory-swap", str(both)),
            found.container,
        )
    elif found.container is None and found.unit == last and field in _PROPERTIES[memcg.version]:
        setting = f"{_PROPERTIES[memcg.version][field]}={'infinity' if value is None else value}"
        user, as_user = _user(path)
        lasts = "at once and for good; with --runtime until reboot"
        if last.endswith(".scope"):
            lasts = "at once, while it runs"
        command = ("systemctl", *user, "set-property", shlex.quote(last), setting)
        yield _advice(lasts + as_user, *command)
    else:
        mount = "/sys/fs/cgroup/memory" if memcg.version == 1 else "/sys/fs/cgroup"
        file = f"{mount}{path}/{_FILES[memcg.version][field]}"
        unlimited = "-1" if memcg.version == 1 else "max"
        number = unlimited if value is None else value
        lasts = "at once, as long as the cgroup is there"
        yield _advice(lasts, "echo", str(number), ">", shlex.quote(file))
        unit = _service(path)
        if field == "oom_group" and unit == last:
            policy = "kill" if value else "continue"
            yield _drop_in(path, last, f"OOMPolicy={policy}")


def _runtime(path: str) -> str | None:
    if "/libpod-" in path:
        return "podman"
    return "docker" if "/docker-" in path or "/docker/" in path else None


def pod_name(path: str, then: str = "") -> tuple[Advice, ...]:
    """Find the name of the pod that a cgroup's path names by its uid."""
    pod = place(path).pod
    if pod is None:
        return ()
    columns = "NAMESPACE:.metadata.namespace,POD:.metadata.name,UID:.metadata.uid"
    words = ("kubectl", "get", "pods", "-A", "-o", f"custom-columns={columns}")
    return _safe([_advice(f"names the pod{then}", *words, "|", "grep", shlex.quote(pod))])


def more_swap(size_bytes: int) -> tuple[Advice, ...]:
    """Add swap in a file of its own."""
    return (
        _advice(
            "at once, until reboot; with a line in /etc/fstab for good",
            *("f=/swap.$(date +%s)", "&&", "fallocate", "-l", str(size_bytes), '"$f"', "&&"),
            *("chmod", "600", '"$f"', "&&", "mkswap", '"$f"', "&&", "swapon", '"$f"'),
        ),
    )


def counterfactual(
    snapshot: Snapshot, change: Counterfactual, rules: RuleSet
) -> tuple[Advice, ...]:
    """What to type for a change that would alter a decision; nothing where none can be typed."""
    if change.kind == "oom_score_adj":
        tasks = [task for task in snapshot.tasks if task.pid == change.pid]
        return adjustment(snapshot, tasks, change.needed, rules)
    if change.kind == "sysctl":
        return sysctl(change.knob, change.needed)
    if change.kind == "oom_group":
        path = change.knob.rpartition("/")[0] or "/"
        for memcg in snapshot.memcgs:
            if memcg.path == path:
                return cgroup(memcg, "oom_group", change.needed)
    return ()


def _service(path: str) -> str | None:
    """The service a cgroup is, or is inside of, whose unit file steers its processes."""
    found = place(path)
    if found.pod or found.container or found.unit is None:
        return None
    return found.unit if found.unit.endswith(".service") else None


def _user(path: str) -> tuple[tuple[str, ...], str]:
    """An option for the manager of a user's own units, and the user that has to type it."""
    found = _USER_MANAGER.search(path)
    return (("--user",), f"; as user {found[1]}") if found else ((), "")


def _drop_in(path: str, unit: str, setting: str) -> Advice:
    user, as_user = _user(path)
    # The home directory stays outside of the quotes, so that a shell fills it in.
    home, directory = ("~/", ".config/systemd/user") if user else ("", "/etc/systemd/system")
    folder = home + shlex.quote(f"{directory}/{unit}.d")
    file = home + shlex.quote(f"{directory}/{unit}.d/{_DROP_IN}")
    text = shlex.quote(f"[Service]\\n{setting}\\n")
    return _advice(
        f"for good, from the next start of {unit} on{as_user}",
        *("mkdir", "-p", folder, "&&", "printf", text, ">", file, "&&"),
        *("systemctl", *user, "daemon-reload"),
    )


def _safe(found: Iterator[Advice] | Sequence[Advice]) -> tuple[Advice, ...]:
    return tuple(item for item in found if item.command.isprintable())
