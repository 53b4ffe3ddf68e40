"""``oomkit new``: write a scenario to start from, commented or of a machine."""

import click

from oomkit.cli.common import fail

_EXAMPLE = """\b
Examples:
  oomkit new leak && oomkit run leak.toml
  oomkit new --from here && oomkit run here.toml
  oomkit new db1 --from db1.json
"""
_HERE = "here"


@click.command(epilog=_EXAMPLE)
@click.argument("name", required=False)
@click.option(
    "--from",
    "source",
    metavar="MACHINE",
    help="Write the scenario of a machine: here, or a snapshot; - for standard input.",
)
def command(name: str | None, source: str | None) -> None:
    """Write NAME.toml, a scenario for oomkit run. An existing file is kept.

    Without --from, it is a commented example. With --from, it has the memory, swap, sysctls,
    cgroups and processes of that machine, and each process keeps the memory that it has. NAME is
    then optional; it defaults to here, or the name of the snapshot. Values that are unknown are
    listed at the top of the file.
    """
    if name is None:
        if source is None or source == "-":
            context = click.get_current_context()
            raise click.MissingParameter(ctx=context, param_hint="'NAME'", param_type="argument")
        name = source.rsplit("/", 1)[-1].removesuffix(".json")
    path = name if name.endswith(".toml") else f"{name}.toml"
    title = path.rsplit("/", 1)[-1].removesuffix(".toml")
    text = _template(title, name) if source is None else _of_machine(title, name, source)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    click.echo(path)


def _template(title: str, name: str) -> str:
    from oomkit.scenario.template import template

    try:
        return template(title)
    except ValueError as error:
        fail(f"NAME: expected {error}, not {name!r}")


def _of_machine(title: str, name: str, source: str) -> str:
    import os

    from oomkit.cli.common import rules_or_fail, snapshot_from
    from oomkit.model.of_snapshot import scenario_of
    from oomkit.scenario.of_machine import machine_text

    if not title or not title.isprintable():
        fail(f"NAME: expected a name without control characters, not {name!r}")
    here = source == _HERE
    snapshot = snapshot_from(None if here else source)
    try:
        rules = rules_or_fail(snapshot.kernel)
        made = scenario_of(snapshot, rules, name=title, cpus=os.cpu_count() if here else None)
    except ValueError as error:
        fail(f"{source}: {error}")
    for note in (*snapshot.missing, *made.notes):
        click.echo(f"oomkit: {note}", err=True)
    return machine_text(made.scenario, made.ready_s, (*snapshot.missing, *made.notes))
