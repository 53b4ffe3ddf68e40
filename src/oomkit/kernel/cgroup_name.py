"""Names that people know a cgroup by (unit, pod, container), and the process a name means."""

import difflib
import re
from functools import lru_cache

from oomkit.errors import OomkitError
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Snapshot, Task
from oomkit.records import Record

ID_CHARS = 12
"""Minimum number of digits of a container's id that people use."""
_POD_CHARS = 8
_UNIT = re.compile(r"[^/]+\.(?:service|scope|slice|socket|mount|swap)\Z")
_UID = r"[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}"
POD = re.compile(rf"(?:^|[-_])pod_?({_UID}|(?<=pod)-\d+)(?:\.slice)?(?:\Z|:)")
"""A pod's part of a path; its name, or the token that redaction put there."""
CONTAINER = re.compile(
    r"(?:^|^(?:docker|cri-containerd|containerd|crio|libpod|nerdctl)[-:]"
    r"|\.slice:(?:docker|cri-containerd|crio|nerdctl):)"
    r"([0-9a-f]{64}|container-\d+)(?:\.scope)?\Z"
)
"""A container's part of a path. ``SLICE:PREFIX:ID`` is what a runtime whose driver is cgroupfs
makes of a path that was meant for systemd's."""
_LXC = "lxc.payload."


class Place(Record, frozen=True, kw_only=True):
    """What a cgroup belongs to.

    Attributes:
        unit: the systemd unit (service or scope), else the slice.
        pod: the Kubernetes pod's uid.
        container: the container's id, its first 12 digits.
    """

    unit: str | None = None
    pod: str | None = None
    container: str | None = None


def _is_slice(unit: str | None) -> bool:
    return unit is None or unit.endswith(".slice")


@lru_cache(maxsize=4096)
def place(path: str | None) -> Place:
    """Read the names off a cgroup's path."""
    unit = pod = container = None
    for part in (path or "").split("/"):
        found_pod, found_container = POD.search(part), CONTAINER.search(part)
        if found_pod:
            pod = found_pod[1].replace("_", "-").removeprefix("-")
        if found_container:
            container = found_container[1][:ID_CHARS]
        if (
            not found_pod
            and not found_container
            and _UNIT.match(part)
            and (_is_slice(unit) or not _is_slice(part))
        ):
            unit = part
    return Place(unit=unit, pod=pod, container=container)


def full_container_id(path: str) -> str | None:
    """The whole id of the innermost container that a cgroup's path names; None: it names none."""
    for part in reversed(path.split("/")):
        found = CONTAINER.search(part)
        if found:
            return found[1]
    return None


def name_in(snapshot: Snapshot, path: str) -> str:
    """What people call a cgroup: by the names that the snapshot holds, else as a table shows it."""
    return _known(snapshot, path) or short_name(path)


def row_name(snapshot: Snapshot, path: str) -> str:
    """The same for a table, where a container's own groups have rows beside its: with their path
    inside of it.
    """
    name = name_in(snapshot, path)
    top = path
    while (above := top.rpartition("/")[0]) and name_in(snapshot, above) == name:
        top = above
    return name + path[len(top) :]


def label_in(snapshot: Snapshot, path: str) -> str:
    """The same in a sentence: by the names that the snapshot holds, else as :func:`label` says."""
    return _known(snapshot, path) or label(path)


def _known(snapshot: Snapshot, path: str) -> str:
    names = snapshot.names.get(path)
    known = "" if names is None else names.text()
    container = place(path).container
    if known and names is not None and container and not names.container:
        return f"{known}, container {container}"
    return known


def qos_of(path: str) -> str:
    """The quality-of-service class that a pod's path names: guaranteed pods have no level of it."""
    for part in path.split("/"):
        for qos in ("burstable", "besteffort"):
            if part == qos or part.startswith(f"kubepods-{qos}"):
                return qos
    return "guaranteed"


def short_name(path: str) -> str:
    """A cgroup's path as a table shows it: unit, pod and container shortened; else the path."""
    found = place(path)
    parts = []
    if found.pod:
        parts.append(f"pod {found.pod[:_POD_CHARS]}")
    if found.container:
        parts.append(f"container {found.container}")
    if parts:
        return ", ".join(parts)
    last = path.rsplit("/", 1)[-1]
    if last.startswith(_LXC):
        return f"lxc {last.removeprefix(_LXC)}"
    if found.unit and not _is_slice(found.unit):
        return found.unit + path.rpartition(f"/{found.unit}")[2]
    return path


def label(path: str) -> str:
    """A cgroup in a sentence: pods and containers by their short names, others by path."""
    found = place(path)
    return short_name(path) if found.pod or found.container else path


_MOUNTS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
_MAX_NAMED = 5


class MemcgPathError(OomkitError, ValueError):
    """No such memory cgroup; the text names near ones."""


def find_memcg_path(snapshot: Snapshot, given: str) -> str:
    """Return the path of the memory cgroup that ``given`` means.

    Args:
        snapshot: the machine.
        given: the path as the snapshot has it, with the mount point before it
            (``/sys/fs/cgroup/...``), without the leading slash, an unmistakable end of it, or
            an unmistakable part of it, such as a container's or a pod's short id. Of a cgroup
            and those below it that fit, the highest is meant.

    Raises:
        MemcgPathError: nothing fits, or several do.
    """
    known = {memcg.path for memcg in snapshot.memcgs} | {task.cgroup for task in snapshot.tasks}
    path = "/" + given.strip("/")
    for mount in _MOUNTS:
        if path == mount or path.startswith(mount + "/"):
            path = path.removeprefix(mount) or "/"
            break
    if path in known:
        return path
    named = [p for p, names in snapshot.names.items() if p in known and given in names.words()]
    if len(highest := _highest(named)) == 1:
        return highest[0]
    if highest:
        raise MemcgPathError(f"{given!r} may mean {_some(highest)}; give more of the name")
    word = _plain(path.strip("/"))
    for fitting in (
        [name for name in known if name.endswith(path)],
        [name for name in known if word and word in _plain(name.rsplit("/", 1)[-1])],
        [name for name in known if word and word in _plain(name)],
    ):
        highest = _highest(fitting)
        if len(highest) == 1:
            return highest[0]
        if highest:
            raise MemcgPathError(f"{given!r} may mean {_some(highest)}; give more of the path")
    if not known - {"/"}:
        raise MemcgPathError(f"no memory cgroup {given!r}: this snapshot has none at all")
    raise MemcgPathError(f"no memory cgroup {given!r} in this snapshot{_near(word, known)}")


def _highest(fitting: list[str]) -> list[str]:
    """Of groups, those that are not below another one of them."""
    return sorted(
        name for name in fitting if not any(name != o and in_memcg(name, o) for o in fitting)
    )


def _plain(name: str) -> str:
    """The name with dashes for underscores: systemd's driver writes pod uids with the latter."""
    return name.replace("_", "-")


def _some(paths: list[str]) -> str:
    more = len(paths) - _MAX_NAMED
    return ", ".join(paths[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _near(word: str, known: set[str]) -> str:
    lasts = {_plain(name.rsplit("/", 1)[-1]): name for name in sorted(known, reverse=True)}
    stems = {last.rsplit(".", 1)[0]: name for last, name in lasts.items()} | lasts
    close = difflib.get_close_matches(word.rsplit("/", 1)[-1], list(stems), n=_MAX_NAMED)
    near = list(dict.fromkeys(stems[last] for last in close))
    return f"; near: {', '.join(near)}" if near else ""


_COMM_BYTES = 15
_MAX_TASKS_NAMED = 8
_MAX_NEAR = 4


class TaskNameError(OomkitError, ValueError):
    """No such process, or several; the text names them."""


def find_tasks(snapshot: Snapshot, given: str) -> tuple[Task, ...]:
    """Return the processes that ``given`` means: the one with that pid, else all of that name.

    Args:
        snapshot: the machine.
        given: a pid, or a name; the kernel keeps 15 bytes of one, so a longer one is cut.

    Raises:
        TaskNameError: there is none; the text names near ones.
    """
    if given.isascii() and given.isdigit():
        for task in snapshot.tasks:
            if task.pid == int(given):
                return (task,)
    cut = given.encode()[:_COMM_BYTES].decode(errors="ignore")
    for name in (given, cut):
        found = tuple(task for task in snapshot.tasks if task.comm == name)
        if found and name:
            return found
    names = {task.comm for task in snapshot.tasks if task.has_mm and task.comm}
    near = difflib.get_close_matches(given, names, n=_MAX_NEAR)
    near += sorted(name for name in names if given and given in name and name not in near)
    hint = f"; near: {', '.join(near[:_MAX_NEAR])}" if near else ""
    raise TaskNameError(f"no process {given} in this snapshot{hint}")


def find_task(snapshot: Snapshot, given: str) -> Task:
    """Return the one process that ``given`` means.

    Raises:
        TaskNameError: there is none, or there are several of that name.
    """
    found = find_tasks(snapshot, given)
    if len(found) == 1:
        return found[0]
    pids = ", ".join(str(task.pid) for task in found[:_MAX_TASKS_NAMED])
    more = len(found) - _MAX_TASKS_NAMED
    pids += f" and {more} more" if more > 0 else ""
    raise TaskNameError(f"{len(found)} processes are named {given}: {pids}; give a pid")
