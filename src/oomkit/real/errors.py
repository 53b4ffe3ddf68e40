"""What can keep a scenario from being played on a real kernel."""


class RealError(Exception):
    """It was not played; the text is one line that says why."""
