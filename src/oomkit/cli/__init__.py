"""The oomkit command: one module a sub-command, imported when it is called."""

import importlib

import click

from oomkit import __version__

_COMMANDS: dict[str, str] = {
    "snapshot": "oomkit.cli.snapshot",
}
"""Sub-command to the module that holds it; its function is called ``command``."""


class _LazyGroup(click.Group):
    """A group that imports a sub-command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, invoke_without_command=True)
@click.version_option(__version__, prog_name="oomkit")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Who the Linux OOM killer would kill now, why, and how to make it the right one."""
