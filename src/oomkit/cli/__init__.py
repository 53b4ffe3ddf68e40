"""The oomkit command: one module a sub-command, imported when it is called."""

import click

from oomkit import __version__
from oomkit.cli import complete
from oomkit.cli.group import LazyGroup

_EXAMPLE = """\b
Examples:
  oomkit
  oomkit rank --top 5
  oomkit snapshot > here.json
"""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    epilog=_EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="oomkit")
@click.option(
    "--kernel",
    "release",
    type=complete.RELEASE,
    metavar="VERSION",
    help="What if this kernel decided.",
)
@click.option(
    "--from",
    "source",
    type=complete.FILE,
    metavar="FILE",
    help="A snapshot's JSON; - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="The posture as one JSON object.")
@click.pass_context
def main(ctx: click.Context, release: str | None, source: str | None, *, as_json: bool) -> None:
    """Who the Linux OOM killer would kill now, why, and how to make it the right one.

    Without a command: the OOM posture of this machine. The exit status is 0 when all is fine,
    1 when the answer is bad news, 2 when the question was wrong.
    """
    if ctx.invoked_subcommand is None:
        from oomkit.cli.posture import show

        ctx.exit(show(source, release, as_json=as_json))
    if release is not None or source is not None or as_json:
        raise click.UsageError(
            f"give options after the command: oomkit {ctx.invoked_subcommand} ..."
        )
