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
    help="Write to this file.  [default: standard output]",
)
@click.option(
    "--cmdline",
    "cmdline",
    is_flag=True,
    help="Include the command lines of processes, which may contain passwords.",
)
def command(output: str, *, cmdline: bool) -> None:
    """Write a snapshot of this machine as JSON.

    It contains everything an OOM decision depends on: processes, memory, sysctls, memory cgroups
    and what fills them, pressure. So oomkit rank --from can decide on another machine. It contains
    no environment variables, and command lines only with --cmdline. What could not be read is
    reported on stderr and in the field "missing".
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
        raise  # the reader has closed the pipe; click ends quietly
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
