"""What the commands that repeat share: their options, and how they end."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, os_words
from oomkit.cli.streams import STDOUT


def watch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``watch``, ``interval`` in seconds, ``source`` and ``as_json``."""
    command = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object; with --watch, one line for each repetition.",
    )(command)
    command = click.option(
        "--from",
        "source",
        type=complete.FILE,
        metavar="FILE",
        help="Read this snapshot, or - for standard input, instead of this machine.",
    )(command)
    command = interval_option(2.0, "Seconds between repetitions with --watch.")(command)
    return click.option("--watch", is_flag=True, help="Repeat until interrupted.")(command)


def interval_option(
    default_s: float, text: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--interval``.

    Args:
        default_s: seconds, where it is not given.
        text: its help.
    """
    return click.option(
        "--interval",
        type=click.FloatRange(min=0.1, max=3600),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        callback=_checked,
        help=text,
    )


def _checked(_ctx: click.Context, _param: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds):  # which is outside of no range
        fail("--interval: expected seconds from 0.1 to 3600, not nan")
    return seconds


def refuse_file(source: str | None, *, watch: bool) -> None:
    """End with one line if a file is to be watched, which does not change."""
    if watch and source is not None:
        fail("--watch looks at this machine; it can't be used with --from")


@contextmanager
def looking(*, watch: bool) -> Iterator[None]:
    """End with one line where /proc can't be read, and quietly where a watch is interrupted."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename == STDOUT:
            raise
        fail(f"/proc: {os_words(error)}; expected a readable proc file system")
    except KeyboardInterrupt:
        sys.exit(0 if watch else 130)
