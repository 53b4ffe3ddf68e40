"""``oomkit`` alone: the posture of this machine on one screen."""

import sys

import click

from oomkit.cli.common import rules_or_fail, snapshot_from


def show(source: str | None, release: str | None, *, as_json: bool) -> int:
    """Print the posture; return the exit status, 1 if something critical was found."""
    from oomkit.posture.assess import assess

    snapshot = snapshot_from(source)
    rules = rules_or_fail(release or snapshot.kernel)
    posture = assess(snapshot, rules)
    if as_json:
        import msgspec

        fields = msgspec.to_builtins(posture)
        fields["missing"] = list(snapshot.missing)
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(fields), indent=1) + b"\n")
    else:
        from oomkit.report.posture_text import posture_lines

        for line, style in posture_lines(posture, snapshot):
            words = style.split()
            colour = next((word for word in words if word not in ("bold", "dim")), None)
            click.secho(line, fg=colour, bold="bold" in words or None, dim="dim" in words or None)
    return 1 if posture.state == "critical" else 0
