"""``oomkit kernels``: the rule sets, what changed when, and what it means."""

import sys

import click

from oomkit.cli.common import fail
from oomkit.kernel.versions import RuleRange, UnknownKernelError, history, range_of

_EXAMPLE = """\b
Examples:
  oomkit kernels
  oomkit kernels --of 4.18.0-553.el8_10.x86_64
"""


@click.command(epilog=_EXAMPLE)
@click.option("--of", "release", metavar="RELEASE", help="Only the rule set of this kernel.")
@click.option("--json", "as_json", is_flag=True, help="One object a rule set, all its fields.")
def command(release: str | None, *, as_json: bool) -> None:
    """List the rule sets of Linux kernels from 2.6.11 on.

    Each row is a range of versions that decide alike; RELEASE is what "uname -r" prints.
    """
    rows = history() if release is None else (_row(release),)
    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        return
    from oomkit.report.kernels_text import kernels_table
    from oomkit.report.terminal import console

    console(sys.stdout).print(kernels_table(rows))


def _row(release: str) -> RuleRange:
    try:
        return range_of(release)
    except UnknownKernelError as error:
        fail(str(error))
