"""The oomkit command: one module a sub-command, imported when it is called."""

import sys

if sys.argv[1:2] == ["guard"]:
    # A guard that is still starting is not to end by SIGHUP, which is for the daemon to take: it
    # is held from here on, through the change of programs, until there is a handler for it.
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))

import importlib
import os
from typing import Any, NoReturn

import click

from oomkit import __version__

_COMMANDS: dict[str, str] = {
    "agree": "oomkit.cli.agree",
    "daemons": "oomkit.cli.daemons",
    "explain": "oomkit.cli.explain",
    "guard": "oomkit.cli.guard",
    "history": "oomkit.cli.history",
    "kernels": "oomkit.cli.kernels",
    "new": "oomkit.cli.new",
    "rank": "oomkit.cli.rank",
    "run": "oomkit.cli.run",
    "snapshot": "oomkit.cli.snapshot",
    "sweep": "oomkit.cli.sweep",
}
"""Sub-command to the module that holds it; its function is called ``command``."""


_EXAMPLE = """\b
Examples:
  oomkit
  oomkit rank --top 5
  oomkit snapshot > here.json
"""


class _LazyGroup(click.Group):
    """A group that imports a sub-command's module only when it is asked for.

    Misuse ends in one line and exit status 2, and so does a defect of ours, whose traceback
    is shown under ``OOMKIT_DEBUG`` only.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except click.ClickException as error:
            _say(error.format_message())
            status = 2
        except (click.Abort, KeyboardInterrupt):
            status = 130
        except Exception as error:
            if os.environ.get("OOMKIT_DEBUG"):
                raise
            _say(f"internal error, please report it: {type(error).__name__}: {error}")
            status = 2
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read has seen enough; the interpreter must not flush into the closed pipe.
            # Caught here because click would end with status 1, which is an answer of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command


def _say(message: str) -> None:
    lines = " ".join(message.split())
    click.echo(f"oomkit: {lines}", err=True)


@click.group(cls=_LazyGroup, invoke_without_command=True, epilog=_EXAMPLE)
@click.version_option(__version__, prog_name="oomkit")
@click.option("--kernel", "release", metavar="VERSION", help="What if this kernel decided.")
@click.option("--from", "source", metavar="FILE", help="A snapshot's JSON; - for standard input.")
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
