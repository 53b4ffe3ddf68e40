"""``oomkit kernels``: the rule sets, what changed when, and what it means."""

import sys

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, os_words
from oomkit.cli.streams import say
from oomkit.kernel.versions import RuleRange, UnknownKernelError, doubt, history, range_of

_EXAMPLE = """\b
Examples:
  oomkit kernels
  oomkit kernels --of 4.18.0-553.el8_10.x86_64
  oomkit kernels --bootable
  oomkit kernels --fetch 6.12
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--of",
    "--kernel",
    "release",
    type=complete.RELEASE,
    metavar="RELEASE",
    help="Describe the rules of this kernel, such as 4.18.0-553.el8_10.x86_64, in words.",
)
@click.option("--bootable", is_flag=True, help="List the kernels that --on qemu can boot here.")
@click.option(
    "--fetch",
    type=complete.RELEASE,
    metavar="VERSION",
    help="Download Debian's cloud kernel of this version, such as 6.12, with apt, for --on qemu; "
    "nothing is installed.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object for each row, with all fields."
)
def command(release: str | None, fetch: str | None, *, bootable: bool, as_json: bool) -> None:
    """List the rule sets of Linux kernels from 2.6.11 on, or the kernels to boot here.

    Each row is a range of versions with the same rules; RELEASE is what "uname -r" prints.
    For kernels to boot, oomkit looks in /boot, in the directories that OOMKIT_KERNELS names
    (separated by colons; each has boot/ or subdirectories that have one), and where --fetch saves
    them. With --bootable, the exit status is 1 if there is none.
    """
    asked = {"--of": release is not None, "--bootable": bootable, "--fetch": fetch is not None}
    together = [name for name, wanted in asked.items() if wanted]
    if len(together) > 1:
        fail(f"{together[0]} and {together[1]} don't go together")
    if bootable or fetch is not None:
        _show_bootable(fetch, as_json=as_json)
        return
    rows = history() if release is None else (_row(release),)
    if as_json:
        import msgspec

        from oomkit.views.kernels import rules_in_words

        objects = [
            msgspec.to_builtins(row) | {"in_words": dict(rules_in_words(row.rules))} for row in rows
        ]
        text = msgspec.json.format(msgspec.json.encode(objects), indent=1)
        sys.stdout.buffer.write(text + b"\n")
        return
    if release is not None:
        from oomkit.render.terminal import show
        from oomkit.views.kernels import rules_report

        show(rules_report(release, rows[0]))
        return
    from oomkit.render.terminal import show, terminal_of
    from oomkit.views.kernels import kernels_table

    show([kernels_table(rows, terminal_of(sys.stdout))])


def _show_bootable(fetch: str | None, *, as_json: bool) -> None:
    from oomkit.cli.progress import progress
    from oomkit.real import RealError, kernels

    try:
        if fetch is not None:
            with progress(lambda: f"fetching Debian's cloud kernel {fetch}"):
                found = [kernels.fetch(fetch)]
        else:
            found = kernels.bootable()
    except RealError as error:
        fail(str(error))
    except OSError as error:
        fail(os_words(error))
    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    elif found:
        from oomkit.views.kernels import bootable_lines

        rows = [(kernel.release, kernel.image, kernel.modules) for kernel in found]
        for line in bootable_lines(rows):
            click.echo(line)
    else:
        say("oomkit: no kernel to boot here; try oomkit kernels --fetch 6.12")
    if not found:
        sys.exit(1)


def _row(release: str) -> RuleRange:
    try:
        row = range_of(release)
    except UnknownKernelError as error:
        fail(str(error))
    if (text := doubt(release)) is not None:
        say(f"oomkit: {text}")
    return row
