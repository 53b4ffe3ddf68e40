"""What a shell offers when the completion key is pressed: files as files, names as names.

Called only while completing; a name that can't be found out is not offered, and nothing is said.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from oomkit.records import Record

Names = Callable[[click.Context], Iterable[str]]


class _Text(click.types.StringParamType):
    """A text that a shell completes as names, files or both."""

    def __init__(self, names: Names | None = None, files: str | None = None) -> None:
        """Say what it is completed as.

        Args:
            names: the names.
            files: ``file`` or ``dir``, for what no name begins with.
        """
        self._names = names
        self._files = files

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """What could stand there."""
        from click.shell_completion import CompletionItem

        found = [] if self._files is None else [CompletionItem(incomplete, type=self._files)]
        if self._names is not None:
            names = set()
            with suppress(Exception):  # a shell that completes is no place for an error
                for name in self._names(ctx):
                    names.add(name)
            found += [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
        return found


def _policies(_: click.Context) -> Iterable[str]:
    from oomkit.policy import builtin

    return builtin.NAMES


def _kernels(_: click.Context) -> Iterable[str]:
    from oomkit.kernel.versions import history

    return (row.rules.name for row in history())


def _daemons(_: click.Context) -> Iterable[str]:
    from oomkit.real.companions import PEERS

    return PEERS


def _guards(ctx: click.Context) -> Iterable[str]:
    return ("none", "oomkit", *_daemons(ctx))


def _cgroups(ctx: click.Context) -> Iterable[str]:
    """Those with a limit or not, of this machine or of the snapshot that ``--from`` names."""
    source = ctx.params.get("source")
    if source is None:
        from oomkit.host.scan import take_snapshot

        return (group.path for group in take_snapshot().memcgs)
    from oomkit.kernel.snapshot_json import decode_snapshot

    with open(source, "rb") as file:
        return (group.path for group in decode_snapshot(file.read(), source).memcgs)


def _keys_of(kind: type, prefix: str) -> list[str]:
    """Keys of a table of a policy: its fields without their units."""
    import msgspec

    ends = ("_bytes_s", "_bytes", "_kb_s", "_kb", "_s")
    names = [field.name for field in msgspec.structs.fields(kind)]
    shorts = [next((n.removesuffix(e) for e in ends if n.endswith(e)), n) for n in names]
    return [f"{prefix}{short}=" for short in shorts]


def _scenario_keys_of(kind: "type[Record]", prefix: str) -> list[str]:
    from oomkit.records import field_names
    from oomkit.scenario.write import key_of

    return [f"{prefix}{key_of(name)}=" for name in field_names(kind)]


def _scenario_file() -> str:
    """The scenario on the line; click does not parse arguments before an unfinished option."""
    from click.shell_completion import split_arg_string

    words = split_arg_string(os.environ.get("COMP_WORDS", ""))
    return next(word for word in words if word.endswith(".toml"))


def _scenario_keys(_: click.Context) -> Iterable[str]:
    from oomkit.scenario.format import Cgroup, Machine, Task
    from oomkit.scenario.knobs import RANGES
    from oomkit.toml.load import load

    yield "duration="
    yield from _scenario_keys_of(Machine, "machine.")
    yield from (f"vm.{name}=" for name in RANGES)
    raw = load(_scenario_file())
    for table, kind in (("task", Task), ("cgroup", Cgroup)):
        for entry in raw.get(table, ()):
            yield from _scenario_keys_of(kind, f"{table}.{entry['name']}.")


def _policy_keys(_: click.Context) -> Iterable[str]:
    from oomkit.policy.records import How, Polling, Whom

    for kind, prefix in ((Polling, "look."), (Whom, "whom."), (How, "how.")):
        yield from (key for key in _keys_of(kind, prefix) if key.rstrip("=") not in _TABLES)
    yield from ("how.reclaim.amount=", "how.reclaim.wait=", "how.throttle.high=")
    yield from ("how.throttle.time=", "how.throttle.wait=", "how.freeze.time=", "how.freeze.wait=")


_TABLES = frozenset({"how.reclaim", "how.throttle", "how.freeze"})
"""Keys of a policy that are tables, so that a value is set of a key below."""


def _sweep_keys(_: click.Context) -> Iterable[str]:
    from oomkit.sweep.spec import Weights

    yield from ("runs=", "repeat=", "seed=", "want.by=", "want.in=")
    yield from (f"fleet.{key}=" for key in ("window", "pack", "tasks", "swap", "unit"))
    import msgspec

    yield from (f"weights.{field.name}=" for field in msgspec.structs.fields(Weights))


def _commands(_: click.Context) -> Iterable[str]:
    from oomkit.cli.group import COMMANDS

    return COMMANDS


FILE = _Text(files="file")
DIRECTORY = _Text(files="dir")
POLICY = _Text(_policies, "file")
KERNEL = _Text(_kernels, "file")
RELEASE = _Text(_kernels)
DAEMON = _Text(_daemons)
GUARD = _Text(_guards)
CGROUP = _Text(_cgroups)
SCENARIO_KEY = _Text(_scenario_keys)
OTHER_SCENARIO = _Text(_scenario_keys, "file")
POLICY_KEY = _Text(_policy_keys)
SWEEP_KEY = _Text(_sweep_keys)
COMMAND = _Text(_commands)
