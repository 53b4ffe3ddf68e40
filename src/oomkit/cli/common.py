"""What the sub-commands share: misuse in one line, snapshots from here or from a file."""

import os
import shlex
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec
from click.core import ParameterSource

from oomkit.cli.streams import say
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Snapshot
from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.printable import printable
from oomkit.toml.units import MAX_INTEGER, MIN_INTEGER

if TYPE_CHECKING:
    from oomkit.host.names import NameBook


class Integer(click.types.IntParamType):
    """A whole number of 64 bits, whose range help texts leave out.

    Attributes:
        range: the numbers that it takes.

    Raises:
        click.BadParameter: it is none, or out of range.
    """

    def __init__(self, minimum: int = MIN_INTEGER) -> None:
        self.range = click.IntRange(minimum, MAX_INTEGER)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number that a text holds."""
        return int(self.range.convert(value, param, ctx))


def fail(message: str) -> NoReturn:
    """End with one line on stderr and exit status 2."""
    say(f"oomkit: {printable(message)}")
    sys.exit(2)


def os_words(error: OSError) -> str:
    """``FILE: No such file or directory``, without the error's number."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def snapshot_from(source: str | None) -> Snapshot:
    """Return the snapshot in a file (``-``: standard input), or this machine's for None."""
    if source is None:
        return live_snapshot()
    from oomkit.api import read_snapshot
    from oomkit.kernel.snapshot_json import SnapshotError

    try:
        return read_snapshot(source)
    except SnapshotError as error:
        fail(str(error))


def live_snapshot() -> Snapshot:
    """Return this machine's snapshot; end with one line if it has no /proc."""
    from oomkit.host.scan import take_snapshot

    try:
        return with_names(without_self(take_snapshot()))
    except OSError as error:
        fail(f"/proc: {error.strerror}; expected a readable proc file system")


def without_self(snapshot: Snapshot) -> Snapshot:
    """Leave out this process, which will have exited when memory runs out."""
    own = os.getpid()
    tasks = tuple(task for task in snapshot.tasks if task.pid != own)
    return msgspec.structs.replace(snapshot, tasks=tasks)


def with_names(snapshot: Snapshot, book: "NameBook | None" = None) -> Snapshot:
    """Add what people call this machine's cgroups.

    Args:
        snapshot: this machine.
        book: keeps what was looked up; None: it is looked up once.
    """
    from oomkit.host.names import NameBook, names_of

    paths = dict.fromkeys(memcg.path for memcg in snapshot.memcgs)
    paths.update(dict.fromkeys(task.cgroup for task in snapshot.tasks))
    names = names_of(paths, NameBook() if book is None else book)
    return msgspec.structs.replace(snapshot, names=names)


def rules_or_fail(release: str) -> RuleSet:
    """Return the rules of a release, or end saying which are known."""
    try:
        return rules_for(release)
    except UnknownKernelError as error:
        fail(str(error))


def repeating(ctx: click.Context, shows: Collection[str]) -> str:
    """Return the command line, for a shell, with all that was given to change what is played.

    Args:
        ctx: the command as it was given.
        shows: names of its parameters that only say what is shown, and where.
    """
    words = ["oomkit", ctx.info_name or ""]
    for param in ctx.command.params:
        name = param.name or ""
        if name in shows or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        several = isinstance(value, tuple)
        for one in value if several else (value,):
            if isinstance(param, click.Argument):
                words.append(str(one))
            elif isinstance(param, click.Option) and param.is_flag:
                words.append(max(param.opts, key=len))
            else:
                words += [max(param.opts, key=len), str(one)]
    return shlex.join(words)
