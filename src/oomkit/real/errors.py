"""What can keep a scenario from being played on a real kernel."""

from oomkit.errors import OomkitError


class RealError(OomkitError):
    """It was not played; the text is one line that says why."""
