"""Fill the documents' examples with real output: ``python docs/readme_output.py [--check]``.

Each console block whose command can be repeated (it reads an example under docs/, a scenario, or
nothing of this machine) is run, and its output put behind it. A table below a block that runs
one of docs' own scripts is the script's output as well. ``--check`` only says whether they are
true.
"""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"```console\n\$ ((?:oomkit|for) [^\n]*)\n(.*?)```", re.DOTALL)
_TABLE = re.compile(
    r"```console\n\$ (python (?:docs/|benchmarks/guard_(?:agree|qemu))[^\n]*)\n```\n\n"
    r"((?:\|[^\n]*\n)*)\n?"
)
_PAGES = (
    "README.md",
    "README.zh-CN.md",
    "docs/rank.md",
    "docs/cgroup.md",
    "docs/doctor.md",
    "docs/experiments.md",
    "docs/policy.md",
    "docs/history.md",
    "docs/guard-qemu.md",
)
_REPEATABLE = ("docs/", "scenarios/", "sweeps/cgroup", "tests/data/", "--of")
_WIDTH = "80"


def output(command: str) -> str:
    """Return what a shell prints for the command, with the installed oomkit first in PATH."""
    env = {**os.environ, "COLUMNS": _WIDTH, "NO_COLOR": "1", "TZ": "UTC"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        command, shell=True, check=False, capture_output=True, text=True, env=env, timeout=300
    )
    if not done.stdout:
        sys.exit(f"{command}: no output, exit status {done.returncode}\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().split("\n")) + "\n"


def filled(text: str) -> str:
    """Return a page with every repeatable example's output made anew."""

    def fill(match: re.Match[str]) -> str:
        command = match[1]
        if not any(sign in command for sign in _REPEATABLE):
            return match[0]
        return f"```console\n$ {command}\n{output(command)}```"

    def fill_table(match: re.Match[str]) -> str:
        return f"```console\n$ {match[1]}\n```\n\n{output(match[1])}\n"

    return _TABLE.sub(fill_table, _BLOCK.sub(fill, text))


def main() -> None:
    """Rewrite or check the pages."""
    stale = []
    for name in _PAGES:
        path = Path(name)
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if after != before and "--check" in sys.argv:
            stale.append(name)
            sys.stderr.writelines(
                difflib.unified_diff(
                    before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
                )
            )
        elif after != before:
            path.write_text(after, encoding="utf-8")
    if stale:
        sys.exit(f"{', '.join(stale)}: the examples print something else now")


if __name__ == "__main__":
    main()
