"""``oomkit doctor``: what of this machine's configuration invites a bad OOM."""

import os
import sys

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, os_words, rules_or_fail, snapshot_from
from oomkit.cli.streams import say

_EXAMPLE = """\b
Examples:
  oomkit doctor
  oomkit doctor --fix-dir fixes
  oomkit doctor --from db1.json --json
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--from",
    "source",
    type=complete.FILE,
    metavar="FILE",
    help="Read this snapshot, or - for standard input, instead of this machine; what no snapshot "
    "holds is then not checked.",
)
@click.option(
    "--kernel",
    "release",
    type=complete.RELEASE,
    metavar="VERSION",
    help="Apply the rules of this kernel.  [default: the snapshot's, or the running one's]",
)
@click.option(
    "--fix-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write files that make the changes, below DIR as they would be below /.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    release: str | None,
    fix_dir: str | None,
    *,
    as_json: bool,
) -> None:
    """Find what of this machine's configuration invites a bad OOM.

    Each finding shows the evidence, why it matters to the kernel, the exact change, and what the
    change would alter, as computed by the kernel's rules where they decide. The system is not
    changed. The exit status is 1 if something critical was found.
    """
    from oomkit.host.configuration import read_configuration
    from oomkit.posture.doctor.examine import examine

    if fix_dir is not None and os.path.realpath(fix_dir) == "/":
        fail(f"--fix-dir {fix_dir}: expected a directory to look the files over in, not the system")
    snapshot = snapshot_from(source)
    rules = rules_or_fail(release or snapshot.kernel)
    found = examine(snapshot, rules, None if source else read_configuration(snapshot))
    if as_json:
        import msgspec

        from oomkit.views.doctor import findings_object

        text = msgspec.json.encode(findings_object(found, snapshot.missing))
        sys.stdout.buffer.write(msgspec.json.format(text, indent=1) + b"\n")
    else:
        from oomkit.render.terminal import show
        from oomkit.views.doctor import findings_report

        show(findings_report(found))
        for sentence in snapshot.missing:
            say(f"oomkit: {sentence}")
    if fix_dir is not None:
        from oomkit.views.doctor import write_fixes

        try:
            written = write_fixes(found, fix_dir)
        except OSError as error:
            fail(os_words(error))
        for path in written:
            say(f"oomkit: wrote {path}")
    ctx.exit(1 if any(finding.severity == "critical" for finding in found) else 0)
