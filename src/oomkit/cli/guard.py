"""``oomkit guard``: act before the kernel has to."""

import errno
import os
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from oomkit.cli import complete, policies
from oomkit.cli.common import fail
from oomkit.cli.streams import say
from oomkit.guard import config
from oomkit.printable import printable

if TYPE_CHECKING:
    from oomkit.guard.config import Settings
    from oomkit.policy.records import Policy

_EXAMPLE = """\b
Examples:
  oomkit guard --check
  oomkit guard --check --pid 812
  oomkit guard --policy /etc/oomkit/policy.toml
  oomkit guard --act
  sudo oomkit guard --install
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--policy",
    "source",
    type=complete.POLICY,
    metavar="NAME|FILE",
    default="default",
    show_default=True,
    help="A built-in policy (default, kernel, earlyoom, nohang, systemd-oomd, oomd-like), a TOML "
    "file, or the configuration of another daemon (earlyoom:, nohang:, systemd-oomd: or kubelet: "
    "reads this machine's, earlyoom:PATH a file or folder).",
)
@click.option(
    "--set",
    "overrides",
    type=complete.POLICY_KEY,
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a value of the policy, such as look.most=1s. Can be repeated.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Describe the policy in words, list what this machine lacks, and exit.",
)
@click.option(
    "--pid",
    type=int,
    metavar="PID",
    help="With --check: describe what the policy does with this process.",
)
@click.option(
    "--act/--dry-run",
    "act",
    default=False,
    show_default="--dry-run",
    help="Send signals, or only log.",
)
@click.option(
    "--install",
    is_flag=True,
    help="Install and start a service of this machine's init system (systemd, OpenRC), with a "
    "policy that suits the machine (desktop, server or container node). With --act it sends "
    "signals; otherwise it only logs.",
)
@click.option(
    "--uninstall",
    is_flag=True,
    help="Stop that service and remove all that --install and the service made, including its "
    "journal and history.",
)
@click.option(
    "--journal",
    type=complete.FILE,
    metavar="FILE",
    help="Append a JSON line for each event; oomkit history reads it."
    f"  [default: {config.JOURNAL}]",
)
@click.option("--no-journal", is_flag=True, help="Write no journal.")
@click.option(
    "--store",
    type=complete.FILE,
    metavar="FILE",
    help="Import the journal into this history (SQLite) when it is full."
    f"  [default: {config.STORE} with the default journal]",
)
@click.option(
    "--record",
    "recording",
    type=complete.FILE,
    metavar="FILE",
    help="Record samples of the machine, for oomkit run to replay under another policy. If there "
    "is a recording already, the guard continues it, and learns from it how much CPU time services "
    "take to start.",
)
@click.option(
    "--record-size",
    metavar="SIZE",
    default="8M",
    show_default=True,
    help="Maximum size of the recording, in bytes or with a unit; the oldest samples are "
    "overwritten.",
)
@click.option(
    "--status",
    type=complete.FILE,
    metavar="FILE",
    help="Keep the guard's present state in this file.",
)
@click.option(
    "--metrics",
    metavar="ADDRESS",
    help="Serve Prometheus metrics on HOST:PORT, :PORT or unix:PATH, such as 127.0.0.1:9273; needs "
    "--status.",
)
@click.option(
    "--state",
    type=complete.FILE,
    metavar="FILE",
    help="Save to this file which kills are under way and what is throttled or frozen, so that a "
    "guard that is started again can finish."
    f"  [default: {config.STATE} for root]",
)
@click.option(
    "--undo",
    is_flag=True,
    help="Release what a killed guard left throttled or frozen, and exit; --state names its file.",
)
@click.option(
    "--drill",
    type=complete.DIRECTORY,
    metavar="DIR",
    help="To simulate a shortage: read meminfo, vmstat and pressure/memory from DIR, copies of "
    "/proc's that you edit. They are read as often as the policy says, at least every 10 s.",
)
@click.option(
    "--self-test/--no-self-test",
    default=True,
    help="Before the start, check that killing works, with a child process.",
)
def command(
    source: str,
    overrides: tuple[str, ...],
    *,
    check: bool,
    pid: int | None,
    act: bool,
    install: bool,
    uninstall: bool,
    metrics: str | None,
    state: str | None,
    undo: bool,
    **options: Any,
) -> None:
    """Guard this machine: end a process before the machine freezes.

    Without --act it is a dry run, which does everything except sending signals. SIGHUP reloads
    the policy, and keeps the old one if the new one is invalid; SIGTERM ends the guard. It runs in
    the foreground and logs to stderr; --install makes it a service.
    """
    if install or uninstall or undo:
        from oomkit.cli import guard_service

        if install:
            guard_service.install(act=act)
        elif uninstall:
            guard_service.uninstall()
        else:
            guard_service.undo(state)
        return
    from oomkit.guard import launch

    policy = _policy(source, overrides, check=check)
    if pid is not None and not check:
        fail("--pid says what a policy means for a process; give --check as well")
    try:
        settings = _settings(
            policy, source, overrides, dry_run=not act, check=check, state=state, **options
        )
        if not check or policy.origin is None:
            launch.refuse_managers(policy, settings)
        settings.missing = launch.missing_here(policy, settings)
        if check:
            _explain(policy, settings, pid)
            return
        if metrics is not None:
            if not settings.status:
                fail("--metrics are made of the status file; give --status FILE as well")
            settings.exporter = launch.start_exporter(metrics, settings.status, settings.journal)
        launch.exec_daemon(settings)
    except launch.LaunchError as error:
        fail(str(error))


def _settings(
    policy: "Policy",
    source: str,
    overrides: tuple[str, ...],
    *,
    dry_run: bool,
    check: bool,
    journal: str | None,
    no_journal: bool,
    store: str | None,
    recording: str | None,
    record_size: str,
    status: str | None,
    state: str | None,
    drill: str | None,
    self_test: bool,
) -> "Settings":
    """How the daemon shall run, by the options of those names."""
    from oomkit.guard import launch
    from oomkit.guard.compile import plan_for_here
    from oomkit.guard.config import Settings
    from oomkit.toml import units

    try:
        recording_bytes = units.size(record_size)
    except ValueError as error:
        fail(f"--record-size: expected {error}, not {record_size!r}")
    if no_journal and (journal is not None or store is not None):
        fail(f"--no-journal and --{'store' if journal is None else 'journal'} don't go together")
    if journal is None and not no_journal and not check:
        journal = _usual_journal()
    taught = _file("--record", recording)
    return Settings(
        plan_for_here(policy),
        source=source,
        compile_argv=launch.compile_argv(source, overrides),
        dry_run=dry_run,
        places=launch.places_here(drill),
        journal=_file("--journal", journal),
        take_in_argv=_take_in_argv(journal, store),
        recording=taught,
        recording_bytes=recording_bytes,
        status=_file("--status", status),
        state=_state_file(state),
        files_bounded=launch.files_are_bounded(),
        self_test=self_test,
        learn_argv=launch.learn_argv(taught) if taught and not check else (),
        starts=_starts_seen(taught) if taught and check else (),
    )


def _starts_seen(recording: str) -> Any:
    """What a recording teaches; a daemon has it done once it guards, which may take seconds."""
    from oomkit.history.learn_starts import lessons_of
    from oomkit.policy.engine.starts import to_values

    return to_values(lessons_of(recording))


def _policy(source: str, overrides: tuple[str, ...], *, check: bool) -> "Policy":
    """The policy, or the end of the command with a line for each fault in it."""
    from oomkit.policy.read import refuse_dangers
    from oomkit.toml.table import TomlError

    try:
        # It decides which processes root kills and which commands it runs, so it must be root's.
        trusted = os.geteuid() == 0 and not check
        policy = policies.find(source, overrides=overrides, trusted=trusted)
        if not check:
            refuse_dangers(policy, source)
    except TomlError as error:
        for line in error.lines():
            say(f"oomkit: {line}")
        sys.exit(2)
    return policy


def _file(option: str, path: str | None) -> str:
    """The absolute path of a file that can be made, or empty."""
    if path is None:
        return ""
    directory = os.path.dirname(os.path.abspath(path))
    if directory in (config.STATE_DIR, config.SYSTEM_DIR, config.RUN_DIR):
        with suppress(OSError):
            _make_ours(directory)
    if not os.path.isdir(directory):
        fail(f"{option} {path}: expected a file in a directory that exists")
    if os.path.isdir(path):
        fail(f"{option} {path}: expected a file, not a directory")
    return os.path.abspath(path)


def _make_ours(directory: str) -> None:
    """Make a directory that is the guard's own; what root's guard writes, others may read.

    Raises:
        OSError: it can't be made.
    """
    mode = 0o755 if os.geteuid() == 0 else 0o700
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(directory, mode)


def _usual_journal() -> str | None:
    """The default journal; None, with a message, if it can't be written: the guard must start."""
    try:
        _make_ours(config.STATE_DIR)
        if not os.access(config.STATE_DIR, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        say(f"oomkit: {config.STATE_DIR}: {reason}; no journal is written (--journal FILE)")
        return None
    return config.JOURNAL


def _take_in_argv(journal: str | None, store: str | None) -> tuple[str, ...]:
    """What takes the journal into the history; of one elsewhere only if it is asked for."""
    from oomkit.guard import launch

    if journal is None:
        if store is not None:
            fail("--store imports the journal, and none is written; give --journal FILE as well")
        return ()
    path = _file("--journal", journal)
    if store is None and path != config.JOURNAL:
        return ()
    return launch.take_in_argv(path, _file("--store", store or config.STORE))


def _state_file(path: str | None) -> str:
    if path is not None:
        return _file("--state", path)
    if os.geteuid() != 0:
        return ""
    try:
        _make_ours(config.RUN_DIR)
    except OSError:
        return ""
    return config.STATE


def _wrapped(line: str, width: int) -> str:
    """A line of a section, its continuation a little further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(
        line, max(width, 20), subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _explain(policy: "Policy", settings: "Settings", pid: int | None) -> None:
    from oomkit.guard.launch import NoSuchProcessError, candidates_here, consider, first_here
    from oomkit.policy.describe import explain, origin_words
    from oomkit.policy.doubts import doubts

    try:
        if pid is not None:
            lines = consider(policy, settings, pid)
        else:
            lines = explain(policy)
            if policy.origin is not None:
                lines += origin_words(policy.origin)
            found = doubts(policy, candidates_here(settings))
            if found:
                lines += ("what to look at again", *(f"  {line}" for line in found))
            first = first_here(settings) if policy.origin is not None else ()
            if first:
                lines += ("what it would choose first now", *(f"  {line}" for line in first))
    except NoSuchProcessError as error:
        fail(f"--pid: {error}")
    from oomkit.render.terminal import console

    width = console(sys.stdout).width
    for line in lines:
        click.echo(_wrapped(printable(line), width))
    for line in settings.missing:
        say(printable(f"oomkit: {line}"))
