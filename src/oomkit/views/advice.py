"""Commands to type, in a window."""

from collections.abc import Sequence

from rich.cells import cell_len

from oomkit.posture.advice import Advice
from oomkit.printable import printable
from oomkit.render.terminal import Page


def show_advice(page: Page, advice: Advice, indent: int) -> None:
    """Print a command under a comment that says how long it lasts; both can be pasted.

    A command too long for the window continues after a backslash; a word is never broken.
    """
    start = " " * indent
    page.text(printable(f"# {advice.lasts}:"), "dim", first=start, rest=f"{start}#   ")
    for line in command_lines(advice.words, page.width, start):
        page.line(line)


def command_lines(words: Sequence[str], width: int, start: str) -> list[str]:
    """Break a command between its words, so that a shell still takes it for one."""
    whole = start + " ".join(words)
    if cell_len(whole) <= width:
        return [whole]
    lines, line = [], start
    for word in words:
        begun = line.strip()
        if begun and line.endswith("&&"):
            lines.append(line)
            line = f"{start}  {word}"
        elif begun and cell_len(line) + 1 + cell_len(word) + len(" &&") > width and word != "&&":
            lines.append(f"{line} \\")
            line = f"{start}    {word}"
        else:
            line += f" {word}" if begun else word
    return [*lines, line]
