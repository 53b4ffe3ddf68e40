"""A memory cgroup as a person names it."""

import difflib

from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Snapshot

_MOUNTS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
_MAX_NAMED = 5


class MemcgPathError(ValueError):
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
    word = _plain(path.strip("/"))
    for fitting in (
        [name for name in known if name.endswith(path)],
        [name for name in known if word and word in _plain(name.rsplit("/", 1)[-1])],
        [name for name in known if word and word in _plain(name)],
    ):
        highest = sorted(
            name for name in fitting if not any(name != o and in_memcg(name, o) for o in fitting)
        )
        if len(highest) == 1:
            return highest[0]
        if highest:
            raise MemcgPathError(f"{given!r} may mean {_some(highest)}; give more of the path")
    if not known - {"/"}:
        raise MemcgPathError(f"no memory cgroup {given!r}: this snapshot has none at all")
    raise MemcgPathError(f"no memory cgroup {given!r} in this snapshot{_near(word, known)}")


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
