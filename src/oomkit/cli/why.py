"""``oomkit why``: was something killed for memory in the cgroup one stands in, and for what."""

import sys

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, live_snapshot
from oomkit.printable import printable

_EXAMPLE = """\b
Examples:
  oomkit why
  kubectl exec web-6d9f -- oomkit why
  oomkit why build.service
"""


@click.command(epilog=_EXAMPLE)
@click.argument("given", type=complete.CGROUP, metavar="[PATH|UNIT|CONTAINER|POD]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(given: str | None, *, as_json: bool) -> None:
    """Report whether processes were killed for memory in this cgroup since it was made, and why.

    Inside a container, the cgroup is the container's; with an argument, it is the one named. No
    privileges are needed: memory.events, memory.peak and the like say how many were killed, and at
    which limit. Where the kernel's log can be read, it names them. The exit status is 1 if any
    process was killed.
    """
    from oomkit.command.group import current
    from oomkit.command.since import since
    from oomkit.host.cgroups import find_hierarchy
    from oomkit.kernel.cgroup_name import MemcgPathError, find_memcg_path, name_in
    from oomkit.posture.anatomy import anatomy
    from oomkit.posture.anatomy_findings import findings

    hierarchy = find_hierarchy("/proc")
    now = current()
    if hierarchy is None or now is None:
        fail("no memory cgroup is seen here: its file system is not mounted, or not this one's")
    snapshot = live_snapshot()
    try:
        path = now.path if given is None else find_memcg_path(snapshot, given)
    except MemcgPathError as error:
        fail(printable(str(error)))
    found = since(hierarchy, snapshot, path)
    if found is None:
        fail(printable(f"{path}: its files cannot be read: gone, or not for this user"))
    made = anatomy(snapshot, found.stat)
    said = findings(snapshot, found.stat, made)
    if as_json:
        import msgspec

        from oomkit.views.why_text import why_object

        names = msgspec.to_builtins(snapshot.names.get(path))
        text = msgspec.json.encode(why_object(found, made, said, names))
        sys.stdout.buffer.write(msgspec.json.format(text, indent=1) + b"\n")
    else:
        from oomkit.render.terminal import show
        from oomkit.views.why_text import why_report

        name = "this cgroup" if given is None else name_in(snapshot, path)
        if given is None and path != "/":
            name += f" ({name_in(snapshot, path)})"
        show(why_report(found, made, said, name))
    sys.exit(1 if found.kills or found.oomd else 0)
