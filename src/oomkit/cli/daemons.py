"""``oomkit daemons``: the user-space OOM killers that a run in QEMU can include."""

import sys

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, os_words

_EXAMPLE = """\b
Examples:
  oomkit daemons
  oomkit daemons --fetch earlyoom
  oomkit run scenarios/guard/fast-hog.toml --on qemu --guard earlyoom
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--fetch",
    type=complete.DAEMON,
    metavar="NAME",
    help="Download Debian's package of a daemon, such as earlyoom, with apt; nothing is installed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each row.")
def command(fetch: str | None, *, as_json: bool) -> None:
    """List the user-space OOM daemons that oomkit run --on qemu --guard can run.

    oomkit looks for them where their packages install them, and where --fetch saves them.
    """
    from oomkit.cli.progress import progress
    from oomkit.real import RealError, companions

    try:
        if fetch is not None:
            with progress(lambda: f"fetching Debian's {fetch}"):
                companions.fetch(fetch)
    except RealError as error:
        fail(str(error))
    except OSError as error:
        fail(os_words(error))
    found = {name: companions.root_of(peer) for name, peer in companions.PEERS.items()}
    if as_json:
        import msgspec

        rows = [{"name": name, "root": root} for name, root in found.items()]
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        return
    for name, root in found.items():
        where = "not here" if root is None else "installed" if root == "/" else f"in {root}"
        click.echo(f"{name:12} {where}")
