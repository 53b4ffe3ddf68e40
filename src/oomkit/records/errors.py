"""What is raised where a text is not the JSON that was expected."""


class DecodeError(Exception):
    """A text is not JSON."""


class ValidationError(DecodeError):
    """A value is not of the type it should be; the message names the place."""
