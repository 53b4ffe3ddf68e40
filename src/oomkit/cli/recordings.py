"""``oomkit run RECORDING``: a recorded day under another policy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from oomkit.cli import policies as policy_names
from oomkit.cli import run_views
from oomkit.cli.common import fail, repeating
from oomkit.cli.progress import progress
from oomkit.guard.recording_format import is_recording
from oomkit.printable import printable

if TYPE_CHECKING:
    from oomkit.history.recording import Recording
    from oomkit.history.replay import Replay


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
            from oomkit.views.replay_page import recording_page

            return recording_page(recording, played, command=again).encode()

        run_views.write("html", html, page)
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
