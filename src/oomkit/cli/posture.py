"""``oomkit`` alone: the posture of this machine on one screen."""

import sys

from oomkit.cli.common import rules_or_fail, snapshot_from


def show(source: str | None, release: str | None, *, as_json: bool) -> int:
    """Print the posture; return the exit status, 1 if something critical was found."""
    from oomkit.posture.assess import assess

    snapshot = snapshot_from(source)
    rules = rules_or_fail(release or snapshot.kernel)
    posture = assess(snapshot, rules)
    if as_json:
        import msgspec

        from oomkit.views.posture import posture_object

        text = msgspec.json.encode(posture_object(posture, snapshot))
        sys.stdout.buffer.write(msgspec.json.format(text, indent=1) + b"\n")
    else:
        from oomkit.render import terminal
        from oomkit.views.posture import posture_screen

        terminal.show(posture_screen(posture, snapshot))
    return 1 if posture.state == "critical" else 0
