"""``oomkit snapshot``: this machine as JSON, to be looked at elsewhere."""

import sys

import click
import msgspec

from oomkit.cli.common import fail, live_snapshot
from oomkit.cli.streams import say
from oomkit.files.safely import open_output
from oomkit.kernel.state import Snapshot

_EXAMPLE = """\b
Example:
  oomkit snapshot -o db1.json
  oomkit rank --from db1.json --kernel 4.18
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="Write there instead of to standard output.",
)
@click.option(
    "--cmdline",
    "cmdline",
    is_flag=True,
    help="Add the processes' command lines, which may hold passwords.",
)
def command(output: str, *, cmdline: bool) -> None:
    """Write a snapshot of this machine as JSON.

    It holds all that an OOM decision depends on, so that another machine can tell who would die
    here: processes, memory, sysctls, memory cgroups and what fills them, pressure. Environments
    are not in it, command lines only if asked for. What could not be read is said on stderr and in
    the field "missing".
    """
    from oomkit.kernel.snapshot_json import encode_snapshot

    snapshot = _with_anatomy(live_snapshot())
    if cmdline:
        from oomkit.host.process import with_command_lines

        snapshot = with_command_lines(snapshot)
    for sentence in snapshot.missing:
        say(f"oomkit: {sentence}")
    try:
        _write(output, encode_snapshot(snapshot))
    except BrokenPipeError:
        raise  # whoever read has seen enough; click ends quietly
    except OSError as error:
        fail(f"{'standard output' if output == '-' else output}: {error.strerror}")


def _with_anatomy(snapshot: Snapshot) -> Snapshot:
    """Add what fills the memory cgroups that the snapshot holds."""
    from oomkit.host.cgroups import find_hierarchy
    from oomkit.host.memcg_stat import read_memcg_stats

    hierarchy = find_hierarchy("/proc")
    if hierarchy is None:
        return snapshot
    stats = read_memcg_stats(hierarchy, (memcg.path for memcg in snapshot.memcgs))
    return msgspec.structs.replace(snapshot, anatomy=tuple(stats))


def _write(output: str, data: bytes) -> None:
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with open_output(output) as file:
        file.write(data)
