"""``oomkit history``: what the guard and the kernel did."""

import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from oomkit.cli import complete
from oomkit.cli.common import Integer, fail
from oomkit.cli.streams import say
from oomkit.guard import config
from oomkit.printable import printable
from oomkit.render.quantities import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.history.records import Record
    from oomkit.history.store import Entry, Store

_KINDS = ("act", "ease", "kernel_kill", "warn", "start", "reload", "stop", "error")
_DEFAULT_LAST = 20
_MAX_FAULTS = 20
_EXAMPLE = """\b
Examples:
  oomkit history
  oomkit history --since 24h --kind act --kind kernel_kill
  oomkit history --comm 'php*' --json
  oomkit history 17
"""


@click.command(epilog=_EXAMPLE)
@click.argument("number", type=Integer(1), required=False)
@click.option(
    "--since",
    metavar="WHEN",
    help='Records from then on: a date and time, a time of today, or a duration ago, such as "2h".',
)
@click.option("--until", metavar="WHEN", help="Records up to then, in the same forms.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Records of this kind only. Can be repeated.",
)
@click.option(
    "--comm", metavar="GLOB", help="Records of victims whose name matches, such as 'php*'."
)
@click.option(
    "--last",
    type=Integer(0),
    metavar="N",
    help="Number of records to show, the newest; 0 for all.  [default: 20; all with --json]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON Lines, one object for each record."
)
@click.option(
    "--journal",
    type=complete.FILE,
    metavar="FILE",
    help=f"Show this journal alone, or with --store import it first.  [default: {config.JOURNAL}]",
)
@click.option(
    "--store",
    type=complete.FILE,
    metavar="FILE",
    help=f"The history, an SQLite file.  [default: {config.STORE}]",
)
def command(
    number: int | None,
    since: str | None,
    until: str | None,
    kinds: tuple[str, ...],
    comm: str | None,
    last: int | None,
    journal: str | None,
    store: str | None,
    *,
    as_json: bool,
) -> None:
    """Show what oomkit guard did, and which processes the kernel killed.

    Imports the guard's journal into the history, then lists its records. NUMBER shows one record in
    full: the evidence, the candidates and, for a kill by the kernel, the explained report. The
    exit status is 1 if a record that is shown is a kill.
    """
    from oomkit.history.store import StoreError

    if number is not None and (since or until or kinds or comm or last is not None):
        fail("NUMBER shows one record; filters can't be used with it")
    since_s, until_s = _moment("--since", since), _moment("--until", until)
    try:
        history = _opened(store, journal)
        if number is not None:
            entry = history.entry(number)
            if entry is None and history.faults:
                fail(printable(history.faults[-1]))
            if entry is None:
                fail(f"{_named(history, journal)}: holds no record {number}")
            entries = [entry]
        else:
            count = last if last is not None else 0 if as_json else _DEFAULT_LAST
            entries = history.entries(
                since_s=since_s, until_s=until_s, kinds=kinds, comm=comm, last=count
            )
    except StoreError as error:
        fail(str(error))
    for line in history.faults[:_MAX_FAULTS]:
        click.echo(f"oomkit: {printable(line)}", err=True)
    if len(history.faults) > _MAX_FAULTS:
        more = len(history.faults) - _MAX_FAULTS
        click.echo(f"oomkit: {history.path}: {more} more records skipped", err=True)
    if as_json:
        _print_json(entries)
    elif number is not None:
        _print_full(entries[0] if journal is not None else _with_name(entries[0]))
    else:
        _print_table(entries)
    sys.exit(int(any(_is_bad_news(entry.record) for entry in entries)))


def _with_name(entry: "Entry") -> "Entry":
    """Add what people call the victim's cgroup, to a record that is of this machine."""
    import msgspec

    from oomkit.history.records import Act
    from oomkit.host.names import NameBook

    record = entry.record
    if not isinstance(record, Act) or record.victim is None or not record.victim.cgroup:
        return entry
    name = NameBook().of(record.victim.cgroup).text()
    if not name:
        return entry
    victim = msgspec.structs.replace(record.victim, name=name)
    return msgspec.structs.replace(entry, record=msgspec.structs.replace(record, victim=victim))


def _opened(store: str | None, journal: str | None) -> "Store":
    """The store with all that the journal says; one in memory where the usual can't be used.

    A journal that was named may be another machine's, so it is not mixed with ours.
    """
    from oomkit.history.store import Store, StoreError

    if journal is not None and store is None:
        store = ":memory:"
    if journal is None and store is None and _only_the_systems():
        journal, store = f"{config.SYSTEM_DIR}/journal.jsonl", ":memory:"
    journals = [path for path in _journals(journal) if _trouble(path) is None]
    path = journal or config.JOURNAL
    if not journals and (journal is not None or _trouble(store or config.STORE)):
        fail(f"{path}: {_trouble(path)}; expected what oomkit guard writes (--journal FILE)")
    try:
        history = Store(store or config.STORE)
        _read(history, journals)
    except StoreError as error:
        if store is not None or not journals:
            raise
        say(f"oomkit: {error}; reading the journal instead")
        history = Store(":memory:")
        _read(history, journals)
    return history


def _only_the_systems() -> bool:
    """Whether this user has no history, and there is root's to look at."""
    own = (config.JOURNAL, config.STORE)
    system = f"{config.SYSTEM_DIR}/journal.jsonl"
    return all(_trouble(path) for path in own) and os.access(system, os.R_OK)


def _named(history: "Store", journal: str | None) -> str:
    """The file to name in messages about the records."""
    return history.path if history.path != ":memory:" else journal or config.JOURNAL


def _trouble(path: str) -> str | None:
    """Why a file can't be read; None if it can."""
    try:
        os.stat(path)
    except OSError as error:
        return error.strerror
    return None


def _journals(journal: str | None) -> tuple[str, ...]:
    from oomkit.guard.journal import rotated

    path = journal or config.JOURNAL
    return *rotated(path), path


def _read(history: "Store", journals: list[str]) -> None:
    for path in journals:
        damaged = history.read_journal(path).damaged
        if damaged:
            say(f"oomkit: {path}: {count_of(damaged, 'damaged line')} skipped")


def _moment(option: str, text: str | None) -> float | None:
    """Seconds since the epoch of a date, a time of today, or a duration before now."""
    if text is None:
        return None
    from oomkit.toml import units

    try:
        return time.time() - units.duration(text)
    except ValueError:
        pass
    try:
        if ":" in text and "-" not in text:
            text = f"{datetime.now().astimezone():%Y-%m-%d} {text}"
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        fail(f'{option}: expected a time such as "2026-11-26 14:03", "14:03" or "2h", not {text!r}')


def _is_bad_news(record: "Record") -> bool:
    """Whether a process was killed."""
    return record.kind in ("act", "kernel_kill") and not record.dry_run


def _print_json(entries: "list[Entry]") -> None:
    import msgspec

    for entry in entries:
        line = msgspec.json.encode({"number": entry.id, **entry.values})
        sys.stdout.buffer.write(line + b"\n")


def _print_table(entries: "list[Entry]") -> None:
    from oomkit.render.terminal import show
    from oomkit.views.history import history_table

    if not entries:
        click.echo("no records")
        return
    show([history_table([(e.id, e.record) for e in entries])])


def _print_full(entry: "Entry") -> None:
    from oomkit.history.records import Act, KernelKill
    from oomkit.render.terminal import show, terminal_of
    from oomkit.views.history import candidates_table, full, hanging

    terminal = terminal_of(sys.stdout)
    record = entry.record
    for line in full(entry.id, record, entry.values):
        click.echo(hanging(line, terminal.width))
    if isinstance(record, Act) and record.candidates:
        click.echo("")
        show([candidates_table(record)])
    if isinstance(record, KernelKill) and record.lines:
        click.echo("")
        _explain(record.lines)


def _explain(lines: "Sequence[str]") -> None:
    from oomkit.explain.explanation import explain
    from oomkit.klog.reader import read_bytes
    from oomkit.klog.replay import replay_all
    from oomkit.render.terminal import show
    from oomkit.views.explain_report import explanation_report

    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    for number, report in enumerate(replay_all(read_bytes(data, "the kernel's log")), 1):
        show(explanation_report(explain(report), number))
