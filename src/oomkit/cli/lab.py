"""``oomkit lab``: the pages of the lab, handed out on this machine."""

import click

from oomkit.cli import complete
from oomkit.cli.common import fail

_EXAMPLE = """\b
Examples:
  oomkit lab
  oomkit lab build/site --port 8080
"""


@click.command(epilog=_EXAMPLE)
@click.argument("directory", type=complete.FILE, metavar="[DIRECTORY]", required=False)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8088,
    show_default=True,
    metavar="N",
    help="Port of the loopback address; 0: any that is free.",
)
def command(directory: str | None, port: int) -> None:
    """Serve the lab to a browser on this machine: logs, scenarios and snapshots to try things on.

    DIRECTORY holds the files that make site built, by default build/site of the checkout that
    oomkit runs from. Any web server can serve these files; served by oomkit, they also show this
    machine. Only this machine can connect, and nothing is changed on it. Ctrl-C ends it.
    """
    from oomkit.lab.server import LabError, LabServer, built

    try:
        site = built(directory)
    except LabError as error:
        fail(str(error))
    try:
        server = LabServer(site, port, _snapshot)
    except OSError as error:
        fail(f"--port {port}: {error.strerror}")
    with server:
        click.echo(f"oomkit lab: {server.url} (Ctrl-C ends)")
        server.serve_forever()


def _snapshot() -> bytes:
    """This machine, as ``oomkit snapshot`` prints it.

    Raises:
        OSError: /proc can't be read.
    """
    from oomkit.cli.common import with_names, without_self
    from oomkit.host.scan import take_snapshot
    from oomkit.kernel.snapshot_json import encode_snapshot

    return encode_snapshot(with_names(without_self(take_snapshot())))
