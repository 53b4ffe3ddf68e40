"""``oomkit new``: write a scenario to start from, commented, of a machine or of a node."""

import os
import sys
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import click

from oomkit.cli.common import fail
from oomkit.cli.streams import say
from oomkit.printable import printable
from oomkit.records import Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oomkit.kubernetes.documents import Document
    from oomkit.kubernetes.manifest import Manifests
    from oomkit.kubernetes.rules import Kubelet

_OPTIONS = (
    click.option(
        "--from-kubernetes",
        "manifests",
        multiple=True,
        metavar="FILE...",
        help="Write the scenario of a Kubernetes node from manifests; - for standard input.",
    ),
    click.option("--node-ram", metavar="SIZE", help="RAM of the node, such as 16G."),
    click.option("--node-swap", metavar="SIZE", help="Swap of the node.  [default: none]"),
    click.option(
        "--reserved",
        metavar="SIZE",
        help="Memory kept from pods (systemReserved and kubeReserved together).  [default: none]",
    ),
    click.option(
        "--kubelet-config",
        metavar="FILE",
        help="A KubeletConfiguration. Where it changes eviction, NAME-kubelet.toml is the policy.",
    ),
    click.option("--kubernetes-version", metavar="VERSION", help="1.22 to 1.37.  [default: 1.34]"),
    click.option(
        "--cgroup-version", type=click.Choice(["1", "2"]), help="Of the node.  [default: 2]"
    ),
    click.option(
        "--memory-qos", is_flag=True, help="The kubelet's feature gate MemoryQoS is enabled."
    ),
    click.option(
        "--usage",
        type=click.Choice(["grow", "request", "limit"]),
        help="What containers use: grow: their request at first, then up to the limit; request: "
        "their request; limit: their limit.  [default: grow]",
    ),
    click.option(
        "--use",
        multiple=True,
        metavar="[POD/]CONTAINER=SIZE",
        help="What one container grows to; it may be more than its limit.",
    ),
    click.option("--grow-over", metavar="TIME", help="How long growing takes.  [default: 5m]"),
    click.option(
        "--replicas", type=int, metavar="N", help="At most N pods of each workload on this node."
    ),
)


def options(command: "Callable[..., None]") -> "Callable[..., None]":
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked_options(given: dict[str, Any]) -> list[str]:
    """Those of the options that were given, as they are typed."""
    names = {"manifests": "--from-kubernetes"}
    return [
        names.get(key, f"--{key.replace('_', '-')}")
        for key, value in given.items()
        if value not in (None, False, ())
    ]


class Written(Record, frozen=True, kw_only=True):
    """What is to be written.

    Attributes:
        scenario: the scenario's text.
        policy: the policy's; None: the built-in one is as the configuration says.
        notes: sentences for the user.
        faults: what could not be read, a line each.
    """

    scenario: str
    policy: str | None
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def node_text(title: str, given: dict[str, Any]) -> Written:
    """The scenario of the node that the options describe."""
    from oomkit.kubernetes.node import Node, NodeError, scenario_of
    from oomkit.kubernetes.policy import differs, policy_text
    from oomkit.scenario.format import Machine
    from oomkit.scenario.template import node_head
    from oomkit.scenario.write import scenario_text
    from oomkit.toml import units

    if not given["node_ram"]:
        fail("--node-ram: expected the RAM of the node beside --from-kubernetes")
    if given["replicas"] is not None and given["replicas"] < 1:
        fail("--replicas: expected a whole number from 1 on")
    machine = Machine(
        ram_bytes=_size("--node-ram", given["node_ram"]),
        swap_bytes=_size("--node-swap", given["node_swap"] or "0"),
        cpus=4,
    )
    if machine.ram_bytes < 2**29:
        fail("--node-ram: expected at least 512M")
    kubelet, notes = _kubelet(given)
    found = _manifests(given["manifests"], given["replicas"])
    if not found.pods:
        for line in found.faults:
            say(f"oomkit: {printable(line)}")
        fail(f"{', '.join(given['manifests'])}: expected at least one pod")
    node = Node(
        machine=machine,
        kubelet=kubelet,
        usage=cast(Literal["grow", "request", "limit"], given["usage"] or "grow"),
        use=_uses(given["use"]),
        grow_s=_parsed("--grow-over", given["grow_over"] or "5m", units.duration),
    )
    try:
        made = scenario_of(node, found.pods, name=title)
    except NodeError as error:
        fail(str(error))
    policy = policy_text(kubelet, f"{title}-kubelet") if differs(kubelet) else None
    run = f"oomkit run {title}.toml --policy {f'{title}-kubelet.toml' if policy else 'kubelet'}"
    head = node_head(run, made.notes, (*notes, *found.notes, *found.faults))
    return Written(
        scenario=scenario_text(made.scenario, head),
        policy=policy,
        notes=(*made.notes[2:], *notes, *found.notes),
        faults=found.faults,
    )


def _manifests(paths: "Sequence[str]", replicas: int | None) -> "Manifests":
    from oomkit.kubernetes.documents import ManifestError, read_documents
    from oomkit.kubernetes.manifest import read_manifests

    documents: list[Document] = []
    unread = []
    for path in paths:
        try:
            documents += read_documents(path)
        except ManifestError as error:
            unread.append(str(error))
    found = read_manifests(documents, most_replicas=replicas)
    return replace(found, faults=(*unread, *found.faults))


def _kubelet(given: dict[str, Any]) -> "tuple[Kubelet, tuple[str, ...]]":
    from oomkit.kubernetes.documents import ManifestError, read_documents
    from oomkit.kubernetes.kubelet_config import ConfigurationError, read_kubelet
    from oomkit.kubernetes.rules import Kubelet

    kubelet = Kubelet(memory_qos=given["memory_qos"])
    version = given["kubernetes_version"]
    if version is not None:
        kubelet = replace(kubelet, version=_version(version))
    if given["cgroup_version"] is not None:
        kubelet = replace(kubelet, cgroup_version=int(given["cgroup_version"]))
    notes: tuple[str, ...] = ()
    path = given["kubelet_config"]
    if path is not None:
        try:
            documents = list(read_documents(path))
            if len(documents) != 1:
                fail(f"{path}: expected one document, a KubeletConfiguration")
            kubelet, notes = read_kubelet(documents[0], kubelet)
        except ManifestError as error:
            fail(str(error))
        except ConfigurationError as error:
            _fail_all(error.faults)
    if given["reserved"] is not None:
        reserved = _size("--reserved", given["reserved"])
        kubelet = replace(kubelet, system_reserved_bytes=reserved, kube_reserved_bytes=0)
    return kubelet, notes


def _fail_all(lines: "Sequence[str]") -> NoReturn:
    for line in lines[:-1]:
        say(f"oomkit: {printable(line)}")
    fail(lines[-1])


def _version(text: str) -> tuple[int, int]:
    from oomkit.kubernetes.rules import NEWEST, OLDEST

    parts = text.removeprefix("v").split(".")
    if len(parts) >= 2 and all(part.isascii() and part.isdecimal() for part in parts[:2]):
        found = int(parts[0][:6]), int(parts[1][:6])
        if OLDEST <= found <= NEWEST:
            return found
    low, high = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
    return fail(f"--kubernetes-version: expected a version from {low} to {high}, not {text!r}")


def _uses(given: "Sequence[str]") -> dict[str, int]:
    found = {}
    for one in given:
        name, equals, size = one.rpartition("=")
        if not equals or not name:
            fail(f"--use: expected [POD/]CONTAINER=SIZE, not {one!r}")
        found[name] = _size(f"--use {name}", size)
    return found


def _size(option: str, value: str) -> int:
    from oomkit.toml import units

    # Manifests have Gi where our files have G.
    plain = value.removesuffix("i") if value.endswith(("Ki", "Mi", "Gi", "Ti")) else value
    return int(_parsed(option, plain, units.size))


def _parsed(option: str, value: str, parse: "Callable[[str], Any]") -> Any:
    try:
        return parse(value)
    except ValueError as error:
        fail(f"{option}: expected {error}, not {value!r}")


def is_manifest(word: str) -> bool:
    """Whether a word beside ``--from-kubernetes`` is one more of its files: ``*`` of a shell."""
    return word == "-" or os.path.splitext(word)[1] in (".yaml", ".yml", ".json")


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
@options
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
    asked = asked_options(given)
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
    more = tuple(word for word in words if is_manifest(word))
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
    made = node_text(title, given)
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
