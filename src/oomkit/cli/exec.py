"""``oomkit exec``: run a command, and say what memory it took and whether that killed it."""

import click

from oomkit.cli import complete
from oomkit.cli.exec_run import ADJ, Given, carry_out, size

_EXAMPLE = """\b
Examples:
  oomkit exec -- make -j8
  oomkit exec --limit 2G --swap 0 -- pytest
  oomkit exec --adj 500 --json run.json -- ./train.py
"""


@click.command(
    epilog=_EXAMPLE,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("--limit", metavar="SIZE", help="Limit its memory, such as 2G.")
@click.option("--swap", metavar="SIZE", help="Limit its swap; 0 for none.")
@click.option(
    "--adj",
    type=click.IntRange(*ADJ),
    metavar="N",
    help="Run it with this oom_score_adj; above 0 it is killed before its supervisor.",
)
@click.option(
    "--json",
    "json_file",
    type=complete.FILE,
    metavar="FILE",
    help="Write a record of the run to this file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless a process was killed.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print the evidence, and the processes seen when memory was fullest.",
)
@click.argument("argv", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def command(
    argv: tuple[str, ...],
    limit: str | None,
    swap: str | None,
    adj: int | None,
    json_file: str | None,
    *,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a command as "time" does, and report its memory and what killed it.

    It runs in a memory cgroup of its own where one can be made, else in the present one; signals,
    terminal and exit status are as without oomkit. One line on stderr reports its peak, the time it
    waited for memory and the limit; if a process of it was killed for memory, more lines report
    which, by what, for which limit, and what would have sufficed.
    """
    given = Given(argv)
    given.limit, given.swap = _size("--limit", limit), _size("--swap", swap)
    given.adj, given.json_file, given.quiet, given.verbose = adj, json_file, quiet, verbose
    carry_out(given)


def _size(option: str, given: str | None) -> int | None:
    try:
        return size(given)
    except ValueError as error:
        raise click.UsageError(f"{option}: {given!r}: expected {error}") from None
