"""``oomkit new``: write a commented scenario to start from."""

import click

from oomkit.cli.common import fail

_EXAMPLE = """\b
Example:
  oomkit new leak && oomkit run leak.toml
"""


@click.command(epilog=_EXAMPLE)
@click.argument("name")
def command(name: str) -> None:
    """Write NAME.toml, a commented scenario for oomkit run. An existing file is kept."""
    from oomkit.scenario.template import template

    path = name if name.endswith(".toml") else f"{name}.toml"
    title = path.rsplit("/", 1)[-1].removesuffix(".toml")
    try:
        text = template(title)
    except ValueError as error:
        fail(f"NAME: expected {error}, not {name!r}")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{path!r}: {error.strerror}")
    click.echo(path)
