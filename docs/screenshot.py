"""Make a picture of a command's output: ``python docs/screenshot.py OUT.svg COMMAND…``.

The command runs on a pseudo-terminal, so that the picture shows what a user sees.
"""

import os
import pty
import re
import sys
from io import StringIO

from rich.console import Console
from rich.text import Text

_COLUMNS = 110


def terminal_output(command: list[str]) -> str:
    """Return what a command writes to a terminal."""
    chunks: list[bytes] = []

    def keep(fd: int) -> bytes:
        data = os.read(fd, 65536)
        chunks.append(data)
        return data

    os.environ.update(COLUMNS=str(_COLUMNS), LINES="60", TERM="xterm-256color")
    pty.spawn(command, keep)
    return b"".join(chunks).decode(errors="replace").replace("\r\n", "\n")


def main() -> None:
    """Run the command and write the picture."""
    if len(sys.argv) < 3:
        sys.exit("usage: screenshot.py OUT.svg COMMAND…")
    target, *command = sys.argv[1:]
    text = Text.from_ansi(terminal_output(command))
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    console.print(text)
    title = "$ " + " ".join([os.path.basename(command[0]), *command[1:]])
    svg = console.export_svg(title=title)
    # The template fetches a font; a picture in a repository must not.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    with open(target, "w", encoding="utf-8") as file:
        file.write(svg.replace("Fira Code", "DejaVu Sans Mono"))


if __name__ == "__main__":
    main()
