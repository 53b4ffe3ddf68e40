"""The group of sub-commands: each imported when it is called, and how all of them end."""

# The part of ``signal`` that is built in: making its enums would take a fiftieth of the start.
import _signal as signal  # type: ignore[import-not-found]  # no stub
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from oomkit.cli import streams

COMMANDS: dict[str, str] = {
    "agree": "oomkit.cli.agree",
    "cgroup": "oomkit.cli.cgroup",
    "daemons": "oomkit.cli.daemons",
    "exec": "oomkit.cli.exec",
    "doctor": "oomkit.cli.doctor",
    "explain": "oomkit.cli.explain",
    "guard": "oomkit.cli.guard",
    "help": "oomkit.cli.help",
    "history": "oomkit.cli.history",
    "kernels": "oomkit.cli.kernels",
    "lab": "oomkit.cli.lab",
    "new": "oomkit.cli.new",
    "rank": "oomkit.cli.rank",
    "run": "oomkit.cli.run",
    "snapshot": "oomkit.cli.snapshot",
    "sweep": "oomkit.cli.sweep",
    "top": "oomkit.cli.top",
    "why": "oomkit.cli.why",
}
"""Sub-command to the module that holds it; its function is called ``command``."""

_INTERRUPTED = 130
_AGAIN_S = 0.01


class LazyGroup(click.Group):
    """A group that imports a sub-command's module only when it is asked for.

    Misuse ends in one line and exit status 2, and so does a defect of ours, whose traceback
    is shown under ``OOMKIT_DEBUG`` only. Ctrl-C ends with status 130 and no message.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        streams.repair()
        interrupts = _Interrupts()
        try:
            status = super().main(*args, **kwargs)
            with _closed_pipe():
                sys.stdout.flush()
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            # A library may turn the interrupt into an error of its own, as imports do.
            status = _INTERRUPTED if interrupts.came else report(error)
        interrupts.over()
        streams.leave()
        sys.exit(status if isinstance(status, int) else 0)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; ``--help`` and ``--version`` end here."""
        with _closed_pipe():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command, and have all of its output written."""
        with _closed_pipe():
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported; None if there is none."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or raise naming the one that may be meant."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing and not name.startswith("-"):
            raise no_such_command(name, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries whole."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(limit=1000)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def report(error: BaseException) -> int:
    """Print what ended the command; return the exit status."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return _INTERRUPTED
    if isinstance(error, click.ClickException):
        _print_error(_with_hint(error))
    elif os.environ.get("OOMKIT_DEBUG"):
        raise error
    elif isinstance(error, OSError) and error.filename is not None:
        from oomkit.cli.common import os_words
        from oomkit.printable import printable

        _print_error(printable(os_words(error)))
    else:
        _print_error(f"internal error, please report it: {type(error).__name__}: {error}")
    return 2


def no_such_command(name: str, ctx: click.Context) -> click.UsageError:
    """What to raise for a command that is none."""
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
    return click.UsageError(f"no such command {name!r}; {hint}", ctx)


def _of_number(message: str, param: click.Parameter) -> str:
    """Click's message on a value that is no number or out of range, in plain words."""
    numbers = getattr(param.type, "range", param.type)
    value, said, _ = message.partition(" is not ")
    if not said or not isinstance(numbers, (click.IntRange, click.FloatRange)):
        return message
    kind = "a whole number" if isinstance(numbers, click.IntRange) else "a number"
    low, high = numbers.min, numbers.max
    if high is None or high >= 2**63 - 1:
        bounds = "" if low is None or low < -(2**62) else f", {low} or more"
    else:
        bounds = f" from {low} to {high}"
    return f"expected {kind}{bounds}, not {value}"


def _with_hint(error: click.ClickException) -> str:
    """The message; where something is missing or unknown, with where to read on."""
    message = error.format_message()
    if isinstance(error, click.BadParameter) and error.param is not None:
        message = message.replace(error.message, _of_number(error.message, error.param))
    if not isinstance(error, (click.MissingParameter, click.NoSuchOption)) or error.ctx is None:
        return message
    if not message.endswith((".", "?", ")")):
        message += "."
    return f"{message} Try '{error.ctx.command_path} --help'."


@contextmanager
def _closed_pipe() -> Iterator[None]:
    """End without an error when the reader has closed the pipe.

    Click would exit with status 1, which commands use for bad news.
    """
    try:
        yield
    except BrokenPipeError:
        streams.give_up(sys.stdout)
        raise click.exceptions.Exit(0) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(_INTERRUPTED) from None


def _print_error(message: str) -> None:
    streams.say(f"oomkit: {' '.join(message.split())}")


class _Interrupts:
    """Whether Ctrl-C came, whatever became of the exception it raised.

    Attributes:
        came: it did.
    """

    def __init__(self) -> None:
        self.came = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            signal.signal(signal.SIGALRM, self._note)
            sys.unraisablehook = self._swallowed

    def _note(self, number: int, frame: Any) -> NoReturn:
        self.came = True
        raise KeyboardInterrupt

    def _swallowed(self, lost: "sys.UnraisableHookArgs") -> None:
        """Raise it again a moment later where a finalizer or an import's lock swallowed it."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            sys.__unraisablehook__(lost)

    def over(self) -> None:
        """From here on there is nothing to undo; another Ctrl-C ends the process."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
