"""``oomkit new``: write a scenario to start from, commented or of a machine."""

import sys
from typing import Any

import click

from oomkit.cli import new_kubernetes
from oomkit.cli.common import fail
from oomkit.printable import printable

_EXAMPLE = """\b
Examples:
  oomkit new leak && oomkit run leak.toml
  oomkit new --from here && oomkit run here.toml
  oomkit new db1 --from db1.json
  oomkit new node --from-kubernetes *.yaml --node-ram 16G
"""
_HERE = "here"


@click.command(epilog=_EXAMPLE)
@click.argument("words", nargs=-1, metavar="[NAME]")
@click.option(
    "--from",
    "source",
    metavar="MACHINE",
    help="Write the scenario of a machine: here, or a snapshot; - for standard input.",
)
@new_kubernetes.options
def command(words: tuple[str, ...], source: str | None, **given: Any) -> None:
    """Write NAME.toml, a scenario for oomkit run. An existing file is kept.

    Without --from, the scenario is a commented example. With --from, it has the memory, swap,
    sysctls, cgroups and processes of that machine, and each process keeps the memory that it has.
    With --from-kubernetes, it is a node with the pods of the manifests. With either, NAME is
    optional; the default is here, the name of the snapshot, or node. The top of the file lists
    what is unknown or assumed.
    """
    words, given["manifests"] = _files(words, given["manifests"])
    if len(words) > 1:
        fail(f"{words[1]}: expected one NAME")
    name = words[0] if words else _usual_name(source, given)
    path = name if name.endswith(".toml") else f"{name}.toml"
    title = path.rsplit("/", 1)[-1].removesuffix(".toml")
    asked = new_kubernetes.asked(given)
    if asked and not given["manifests"]:
        fail(f"{asked[0]}: expected --from-kubernetes beside it")
    if asked and source is not None:
        fail(f"--from and {asked[0]} don't go together")
    if asked:
        _of_manifests(title, name, path, given)
        return
    text = _template(title, name) if source is None else _of_machine(title, name, source)
    _write(path, text)


def _files(
    words: tuple[str, ...], files: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Beside ``--from-kubernetes FILE`` words that name manifests are more of them."""
    if not files:
        return words, files
    more = tuple(word for word in words if new_kubernetes.is_manifest(word))
    return tuple(word for word in words if word not in more), (*files, *more)


def _usual_name(source: str | None, given: dict[str, Any]) -> str:
    if given["manifests"]:
        return "node"
    if source is None or source == "-":
        context = click.get_current_context()
        raise click.MissingParameter(ctx=context, param_hint="'NAME'", param_type="argument")
    return source.rsplit("/", 1)[-1].removesuffix(".json")


def _write(path: str, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    click.echo(path)


def _of_manifests(title: str, name: str, path: str, given: dict[str, Any]) -> None:
    _check_title(title, name)
    made = new_kubernetes.node_text(title, given)
    for line in (*made.notes, *made.faults):
        click.echo(f"oomkit: {printable(line)}", err=True)
    _write(path, made.scenario)
    if made.policy is not None:
        _write(f"{path.removesuffix('.toml')}-kubelet.toml", made.policy)
    if made.faults:
        sys.exit(2)


def _check_title(title: str, name: str) -> None:
    if not title or not title.isprintable():
        fail(f"NAME: expected a name without control characters, not {name!r}")


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
    from oomkit.scenario.template import machine_text

    _check_title(title, name)
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
