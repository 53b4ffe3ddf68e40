"""Text of others, made safe to be shown: the one place where that is done."""


def printable(text: str) -> str:
    r"""Return foreign text with what is not printable shown as ``\x1b``, never sent.

    Names of processes, files and cgroups can hold anything, also what moves a terminal's cursor,
    turns the direction of writing, or ends a line and begins another one.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
