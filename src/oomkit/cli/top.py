"""``oomkit top``: the live view."""

import gc
import os
import sys

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, rules_or_fail
from oomkit.cli.streams import say
from oomkit.cli.watch import interval_option, looking
from oomkit.guard import config
from oomkit.render.extras import MissingExtraError, need_textual

_EXAMPLE = """\b
Examples:
  oomkit top
  oomkit top --interval 5
  sudo oomkit top
"""


@click.command(epilog=_EXAMPLE)
@interval_option(1.0, "Seconds between two looks.")
@click.option(
    "--status",
    type=complete.FILE,
    metavar="FILE",
    help=f"The guard's status file.  [default: {config.STATUS}]",
)
@click.option(
    "--journal",
    type=complete.FILE,
    metavar="FILE",
    help=f"The guard's journal.  [default: {config.JOURNAL}]",
)
def command(interval: float, status: str | None, journal: str | None) -> None:
    """Show live which process dies next and why, and how long memory lasts.

    Three tables: the kill order, the tree of memory cgroups with their limits, and what the guard
    did last. Keys sort and filter them, show one process or cgroup in detail, and change the
    oom_score_adj of a process, after a preview of which process would die then. The last lines of
    the screen name the keys.
    """
    try:
        need_textual()
    except MissingExtraError as error:
        fail(str(error))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("top: expected a terminal; oomkit rank prints the kill order once")
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        fail(
            "top: TERM names no terminal whose cursor can be moved; oomkit rank --watch needs none"
        )
    from oomkit.host.scan import Scanner
    from oomkit.render.terminal import terminal_of
    from oomkit.top.app import TopApp
    from oomkit.top.guard_state import GuardReader
    from oomkit.top.monitor import Monitor
    from oomkit.top.own_memory import lock_in_memory
    from oomkit.top.session import Session

    system = f"{config.SYSTEM_DIR}/journal.jsonl"
    journals = (journal,) if journal is not None else tuple({config.JOURNAL: 0, system: 0})
    guard = GuardReader(config.STATUS if status is None else status, journals)
    with looking(watch=True), Scanner() as scanner:
        monitor = Monitor(scanner, rules_or_fail(scanner.kernel), guard)
        terminal = terminal_of(sys.stdout)
        app = TopApp(Session(monitor, terminal), interval, terminal)
        # What is loaded by now stays: looking for garbage in it again and again would cost time.
        gc.collect()
        gc.freeze()
        unlocked = lock_in_memory()
        app.run(mouse=False)
        if app.fault is not None:
            raise app.fault
        if unlocked and os.geteuid() == 0:
            say(f"oomkit: {unlocked}")
