"""A memory cgroup as a person names it."""

from oomkit.kernel.state import Snapshot


class MemcgPathError(ValueError):
    """No such memory cgroup; the text names near ones."""


def find_memcg_path(snapshot: Snapshot, given: str) -> str:
    """Return the path of the memory cgroup that ``given`` means.

    Args:
        snapshot: the machine.
        given: the path as the snapshot has it, with the mount point before it
            (``/sys/fs/cgroup/...``), without the leading slash, or an unmistakable end of it.

    Raises:
        MemcgPathError: nothing fits, or several do.
    """
    known = {memcg.path for memcg in snapshot.memcgs} | {task.cgroup for task in snapshot.tasks}
    path = "/" + given.strip("/")
    for mount in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if path == mount or path.startswith(mount + "/"):
            path = path.removeprefix(mount) or "/"
            break
    if path in known:
        return path
    ends = sorted(name for name in known if name.endswith(path))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise MemcgPathError(f"{given!r} may mean {', '.join(ends[:5])}; give more of the path")
    if not known - {"/"}:
        raise MemcgPathError(f"no memory cgroup {given!r}: this snapshot has none at all")
    last = path.rsplit("/", 1)[-1]
    near = sorted(name for name in known if last and last in name)[:5]
    hint = f"; near: {', '.join(near)}" if near else ""
    raise MemcgPathError(f"no memory cgroup {given!r} in this snapshot{hint}")
