"""The command ``oomkit``, with what it does without a sub-command."""

import sys
from typing import TYPE_CHECKING

import click

from oomkit import __version__
from oomkit.cli.group import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

_EXAMPLE = """\b
Examples:
  oomkit
  oomkit rank --top 5
  oomkit snapshot > here.json
"""


def _completed_as(name: str) -> "Callable[..., list[CompletionItem]]":
    """Complete as that type of ``complete`` does, which no other start has to import."""

    def complete(ctx: click.Context, param: click.Parameter, text: str) -> "list[CompletionItem]":
        from oomkit.cli import complete

        found: list[CompletionItem] = getattr(complete, name).shell_complete(ctx, param, text)
        return found

    return complete


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
    shell_complete=_completed_as("RELEASE"),
    metavar="VERSION",
    help="Apply the rules of this kernel, such as 6.12.  [default: the running one's]",
)
@click.option(
    "--from",
    "source",
    shell_complete=_completed_as("FILE"),
    metavar="FILE",
    help="Read this snapshot, or - for standard input, instead of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def main(ctx: click.Context, release: str | None, source: str | None, *, as_json: bool) -> None:
    """Predict, prevent and explain out-of-memory kills on Linux.

    Without a command, print the OOM posture of this machine: memory, pressure, the next victim,
    and what needs attention. The exit status is 0 if all is fine, 1 if the answer is bad news
    (each command says which), 2 for a usage error or unreadable input.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_posture(source, release, as_json=as_json))
    if release is not None or source is not None or as_json:
        raise click.UsageError(
            f"give options after the command: oomkit {ctx.invoked_subcommand} ..."
        )


def _posture(source: str | None, release: str | None, *, as_json: bool) -> int:
    """Print the posture; return the exit status, 1 if something critical was found."""
    from oomkit.cli.common import rules_or_fail, snapshot_from
    from oomkit.posture.assess import assess

    snapshot = snapshot_from(source)
    rules = rules_or_fail(release or snapshot.kernel)
    posture = assess(snapshot, rules)
    if as_json:
        import msgspec

        from oomkit.views.posture import posture_object

        text = msgspec.json.encode(posture_object(posture, snapshot))
        sys.stdout.buffer.write(msgspec.json.format(text, indent=1) + b"\n")
    else:
        from oomkit.render import terminal
        from oomkit.views.posture import posture_screen

        terminal.show(posture_screen(posture, snapshot))
    return 1 if posture.state == "critical" else 0
