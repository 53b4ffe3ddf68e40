"""Fill the README's examples with real output: ``python docs/readme_output.py [--check]``.

Each console block whose first line starts with ``$ oomkit`` and that reads an example
under docs/ is run, and its output put behind it. ``--check`` only says whether they are true.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"```console\n\$ (oomkit [^\n]*)\n(.*?)```", re.DOTALL)
_WIDTH = "96"


def output(command: str) -> str:
    """Return what a shell prints for the command, with the installed oomkit first in PATH."""
    env = {**os.environ, "COLUMNS": _WIDTH, "NO_COLOR": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        command, shell=True, check=False, capture_output=True, text=True, env=env, timeout=300
    )
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().split("\n")) + "\n"


def filled(text: str) -> str:
    """Return the README with every repeatable example's output made anew."""

    def fill(match: re.Match[str]) -> str:
        command = match[1]
        if "docs/" not in command and "scenarios/" not in command and "--of" not in command:
            return match[0]
        return f"```console\n$ {command}\n{output(command)}```"

    return _BLOCK.sub(fill, text)


def main() -> None:
    """Rewrite or check README.md."""
    path = Path("README.md")
    before = path.read_text(encoding="utf-8")
    after = filled(before)
    if "--check" in sys.argv:
        sys.exit(0 if before == after else "README.md: its examples print something else now")
    path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
