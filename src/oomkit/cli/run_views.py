"""What ``oomkit run`` shows of a run or a replayed recording, and the files it writes."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from oomkit.cli import policies as policy_names
from oomkit.cli.common import fail, repeating
from oomkit.cli.progress import progress
from oomkit.cli.streams import say
from oomkit.files.safely import open_output
from oomkit.guard.recording_format import is_recording
from oomkit.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.agree import Pair
    from oomkit.history.recording import Recording
    from oomkit.history.replay import Replay
    from oomkit.scenario import Run, Scenario


def show_story(run: "Run", scenario: "Scenario", *, every_one: bool) -> None:
    """Print what happened and why."""
    from oomkit.render.terminal import show
    from oomkit.views.run_text import story

    show(story(run, scenario, every_one=every_one))


def show_free(run: "Run", scenario: "Scenario", every_s: float, total_mb: float) -> None:
    """Print the view of ``free``, with the MemTotal the machine had."""
    from oomkit.views.run_text import free_table

    try:
        table = free_table(run, every_s, scenario, total_mb=total_mb)
    except ValueError as error:
        fail(f"--free: {error}")
    click.echo(table, nl=False)


def show_log(run: "Run") -> None:
    """Print the kernel's log."""
    from oomkit.printable import printable

    for line in run.log:
        click.echo(printable(line.expandtabs()))


def show_json(*runs: "Run") -> None:
    """Print one record, two as ``first`` and ``second``, or more as a list."""
    from oomkit.scenario.record import to_json

    if len(runs) == 1:
        click.echo(to_json(runs[0]))
    elif len(runs) == 2:
        click.echo(b'{"first":%b,"second":%b}' % (to_json(runs[0]), to_json(runs[1])))
    else:
        click.echo(b"[%b]" % b",".join(to_json(run) for run in runs))


def show_policies(runs: tuple["Run", ...]) -> None:
    """Print the objectives of several policies."""
    from oomkit.render.terminal import show
    from oomkit.views.run_compare import policies_table

    show(policies_table(runs))


def show_two(
    runs: tuple["Run", ...], scenarios: tuple["Scenario", "Scenario"], names: tuple[str, str]
) -> None:
    """Print two runs side by side."""
    from oomkit.render.terminal import show, terminal_of
    from oomkit.views.run_compare import side_by_side

    terminal = terminal_of(sys.stdout)
    show(side_by_side(runs[0], runs[1], names, scenarios=scenarios, terminal=terminal))


def show_compared(pair: "Pair", scenario: "Scenario") -> None:
    """Print a real run beside the modelled one, and where they part."""
    from oomkit.render.terminal import show, terminal_of
    from oomkit.views import agree_text
    from oomkit.views.run_compare import side_by_side

    terminal = terminal_of(sys.stdout)
    real = pair.played.run
    page = side_by_side(
        real,
        pair.model,
        (f"real ({real.on})", "model"),
        scenarios=(scenario, scenario),
        terminal=terminal,
        judged=False,
    )
    show(page)
    click.echo("\n" + "\n".join(agree_text.verdict(pair.agreement)))


def show_compared_json(pair: "Pair") -> None:
    """Print both records and their comparison."""
    import msgspec

    data = {"first": pair.played.run, "second": pair.model, "agreement": pair.agreement}
    click.echo(msgspec.json.encode(data))


def write_file(run: "Run", scenario: "Scenario", kind: str, path: str, again: str) -> None:
    """Write the page (``html``) or a picture (``png``, ``svg``) to a file, ``-`` for stdout."""
    write(kind, path, lambda: _drawn(run, scenario, kind, again))


def write_comparison(
    runs: "Sequence[Run]",
    scenarios: "Sequence[Scenario]",
    names: "Sequence[str]",
    path: str,
    again: str,
    *,
    judged: bool = True,
) -> None:
    """Write a page of several runs."""

    def page() -> bytes:
        from oomkit.views.run_compare_page import compare_page

        return compare_page(runs, scenarios, names, command=again, judged=judged).encode()

    write("html", path, page)


def write(kind: str, path: str, draw: "Callable[[], bytes]") -> None:
    """Draw something and write it to a file, ``-`` for stdout; trouble ends the command."""
    from oomkit.render.extras import MissingExtraError

    def refuse(why: object) -> NoReturn:
        fail(f"--{kind}: {why}")

    try:
        with _reported(f"drawing {kind}"):
            data = draw()
    except (MissingExtraError, ValueError) as error:
        refuse(error)
    if path == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        with open_output(path) as file:
            file.write(data)
    except OSError as error:
        refuse(f"{path}: {error.strerror}")
    say(f"wrote {path}")


def _reported(what: str) -> AbstractContextManager[object]:
    """Show on a terminal what takes a second or two."""
    if not sys.stderr.isatty():
        return nullcontext()
    from oomkit.render.terminal import console

    return console(sys.stderr).status(what)


def _drawn(run: "Run", scenario: "Scenario", kind: str, again: str) -> bytes:
    if kind == "html":
        from oomkit.views.run_page import html_page

        return html_page(run, scenario, command=again).encode()
    from oomkit.views.run_figure import picture

    return picture(run, "svg" if kind == "svg" else "png", scenario)


_TAKES = frozenset({"scenario_file", "policies", "others", "as_json", "html"})


def play_if_one(
    ctx: click.Context,
    path: str,
    policies: Sequence[str],
    others: Sequence[str],
    html: str | None,
    *,
    as_json: bool,
) -> None:
    """Replay the file and end, if it is a recording; by its content, not its name."""
    if not is_recording(path):
        return
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name not in _TAKES:
            fail(f"{param.opts[-1]}: a recording takes --policy, --vs, --json and --html only")
    if others:
        fail(f"--vs {others[0]}: expected the name of a policy, as a recording is what it is")
    if html == "-" and as_json:
        fail("--json and --html - don't go together")
    again = repeating(ctx, ("as_json", "html"))
    ctx.exit(_play(path, policies, html, again, as_json=as_json))


def _play(
    path: str, policies: Sequence[str], html: str | None, again: str, *, as_json: bool
) -> int:
    """Replay a recording under policies, the default one if none is named.

    Returns:
        The exit status: 1 when one of them, or the kernel, killed.
    """
    from oomkit.history.recording import RecordingError, read_recording
    from oomkit.history.replay import replay

    found = [policy_names.found(name) for name in policies or ("default",)]
    with progress(lambda: f"playing {printable(path)}"):
        try:
            recording = read_recording(path)
        except RecordingError as error:
            fail(str(error))
        played = [replay(recording, policy) for policy in found]
    if html is not None:

        def page() -> bytes:
            from oomkit.views.replay import recording_page

            return recording_page(recording, played, command=again).encode()

        write("html", html, page)
    if as_json:
        _print_json(recording, played)
    elif html != "-":
        _print_text(recording, played)
    return int(any(one.would_kill or one.kernel_kills for one in played))


def _print_text(recording: "Recording", played: "Sequence[Replay]") -> None:
    from oomkit.render.terminal import show
    from oomkit.views.replay import replay_report

    show(replay_report(recording, played))


def _print_json(recording: "Recording", played: "Sequence[Replay]") -> None:
    import msgspec

    first, last = recording.samples[0], recording.samples[-1]
    answer: dict[str, Any] = {
        "recording": recording.path,
        "kernel": recording.kernel,
        "from_s": first.wall_s,
        "to_s": last.wall_s,
        "samples": len(recording.samples),
        "damaged": recording.damaged,
        "replays": played,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=1))
