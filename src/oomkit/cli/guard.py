"""``oomkit guard``: act before the kernel has to."""

import os
import sys
from typing import Any

import click

from oomkit.cli.common import fail
from oomkit.cli.streams import say
from oomkit.guard import paths

_EXAMPLE = """\b
Examples:
  oomkit guard --check
  oomkit guard --check --pid 812
  oomkit guard --policy /etc/oomkit/policy.toml
  oomkit guard --act --journal /var/lib/oomkit/journal.jsonl
"""
_STATE = "/run/oomkit/guard.state"


@click.command(epilog=_EXAMPLE)
@click.option(
    "--policy",
    "source",
    metavar="NAME|FILE",
    default="default",
    show_default=True,
    help="A built-in policy, or a TOML file.",
)
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change the policy.")
@click.option("--check", is_flag=True, help="Only say what the policy means, and what is missing.")
@click.option("--pid", type=int, metavar="PID", help="With --check: what it means for a process.")
@click.option(
    "--act/--dry-run", "act", default=False, show_default="--dry-run", help="Send signals, or not."
)
@click.option("--journal", metavar="FILE", help="Append a JSON line for everything that happens.")
@click.option(
    "--store",
    metavar="FILE",
    help="Take the journal into this history when it is full."
    f"  [default: {paths.STORE} with the usual journal]",
)
@click.option("--record", "recording", metavar="FILE", help="Record samples, to be played again.")
@click.option("--record-size", metavar="SIZE", default="8M", show_default=True)
@click.option("--status", metavar="FILE", help="Rewrite this file with what the guard is doing.")
@click.option(
    "--metrics",
    metavar="ADDRESS",
    help="Serve Prometheus metrics on HOST:PORT, :PORT or unix:PATH; needs --status.",
)
@click.option(
    "--state",
    metavar="FILE",
    help=f"Keep here what is under way, for a restart.  [default: {_STATE} for root]",
)
@click.option("--drill", metavar="DIR", help="Act on meminfo, vmstat and pressure/memory in DIR.")
@click.option("--self-test/--no-self-test", default=True, help="Kill a child of our own first.")
def command(
    source: str,
    overrides: tuple[str, ...],
    *,
    check: bool,
    pid: int | None,
    act: bool,
    journal: str | None,
    store: str | None,
    recording: str | None,
    record_size: str,
    status: str | None,
    metrics: str | None,
    state: str | None,
    drill: str | None,
    self_test: bool,
) -> None:
    """Guard this machine: end the right process before the machine freezes.

    Without --act it is a dry run, which does everything but the signal. SIGHUP reads the policy
    again and keeps the old one if the new one is wrong; SIGTERM ends it. It stays in the
    foreground and talks to stderr; contrib/ has units for systemd and OpenRC.
    """
    from oomkit.guard import launch
    from oomkit.guard.settings import Settings
    from oomkit.policy.find import find_policy
    from oomkit.policy.plan import compile_plan
    from oomkit.toml import units
    from oomkit.toml.table import TomlError

    try:
        policy = find_policy(source, overrides=overrides)
        recording_bytes = units.size(record_size)
    except TomlError as error:
        for line in error.lines():
            say(f"oomkit: {line}")
        sys.exit(2)
    except ValueError as error:
        fail(f"--record-size: expected {error}, not {record_size!r}")
    if pid is not None and not check:
        fail("--pid says what a policy means for a process; give --check as well")
    try:
        settings = Settings(
            compile_plan(policy),
            source=source,
            compile_argv=launch.compile_argv(source, overrides),
            dry_run=not act,
            places=launch.places_here(drill),
            journal=_file("--journal", journal),
            take_in_argv=_take_in_argv(journal, store),
            recording=_file("--record", recording),
            recording_bytes=recording_bytes,
            status=_file("--status", status),
            state=_state_file(state),
            self_test=self_test,
        )
        settings.users = launch.users_for(settings.plan)
        settings.missing = launch.missing_here(policy, settings)
        if check:
            _explain(policy, settings, pid)
            return
        if metrics is not None:
            if not settings.status:
                fail("--metrics are made of the status file; give --status FILE as well")
            settings.exporter = launch.start_exporter(metrics, settings.status)
        launch.exec_daemon(settings)
    except launch.LaunchError as error:
        fail(str(error))


def _file(option: str, path: str | None) -> str:
    """The absolute path of a file that can be made, or empty."""
    if path is None:
        return ""
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        fail(f"{option} {path}: expected a file in a directory that exists")
    if os.path.isdir(path):
        fail(f"{option} {path}: expected a file, not a directory")
    return os.path.abspath(path)


def _take_in_argv(journal: str | None, store: str | None) -> tuple[str, ...]:
    """What takes the journal into the history; of one elsewhere only if it is asked for."""
    from oomkit.guard import launch

    if journal is None:
        if store is not None:
            fail("--store takes in the journal; give --journal FILE as well")
        return ()
    path = _file("--journal", journal)
    if store is None and path != paths.JOURNAL:
        return ()
    return launch.take_in_argv(path, _file("--store", store or paths.STORE))


def _state_file(path: str | None) -> str:
    if path is not None:
        return _file("--state", path)
    if os.geteuid() != 0:
        return ""
    try:
        os.makedirs(os.path.dirname(_STATE), mode=0o755, exist_ok=True)
    except OSError:
        return ""
    return _STATE


def _explain(policy: Any, settings: Any, pid: int | None) -> None:
    from oomkit.guard.consider import NoSuchProcessError, consider
    from oomkit.policy.words import explain

    try:
        lines = explain(policy) if pid is None else consider(policy, settings, pid)
    except NoSuchProcessError as error:
        fail(f"--pid: {error}")
    for line in lines:
        click.echo(line)
    for line in settings.missing:
        say(f"oomkit: {line}")
