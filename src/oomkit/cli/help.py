"""``oomkit help``: what ``--help`` prints, where other programs have it."""

import click

from oomkit.cli import complete
from oomkit.cli.group import LazyGroup, no_such_command


@click.command()
@click.argument("name", type=complete.COMMAND, metavar="[COMMAND]", required=False)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Show the help of oomkit, or of one of its commands."""
    above = ctx.parent
    assert above is not None
    group = above.command
    assert isinstance(group, LazyGroup)
    if name is None:
        click.echo(group.get_help(above))
        return
    found = group.get_command(above, name)
    if found is None:
        raise no_such_command(name, above)
    with found.make_context(name, [], parent=above, resilient_parsing=True) as below:
        click.echo(found.get_help(below))
