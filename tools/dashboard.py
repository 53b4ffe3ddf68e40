"""Hold the Grafana dashboard to the types that Grafana publishes; needs node and npm.

TypeScript refuses what is missing, of another type or unknown; the lines that it names are the
file's own.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from npm import fetched

ROOT = Path(__file__).parents[1]
HERE = ROOT / "tools/grafana"
DASHBOARD = ROOT / "contrib/grafana/oomkit.json"
_BEFORE = "export const dashboard: import('./types').Dashboard = "
_FAULT = re.compile(r"^dashboard\.ts\((\d+),(\d+)\): error TS\d+: (.*)$", re.MULTILINE)


def faults(text: str, into: Path) -> list[str]:
    """What is wrong with a dashboard, each with its place.

    Args:
        text: the dashboard.
        into: where ``fetched()`` put the compiler.

    Raises:
        RuntimeError: the compiler says something else.
    """
    for name in ("types.ts", "tsconfig.json"):
        shutil.copy(HERE / name, into)
    (into / "dashboard.ts").write_text(f"{_BEFORE}{text.rstrip()};\n")
    done = subprocess.run(
        [into / "node_modules/.bin/tsc", "-p", "."],
        cwd=into, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [f"{line}:{column}: {words}" for line, column, words in _FAULT.findall(done.stdout)]
    if bool(done.returncode) != bool(found):
        raise RuntimeError(done.stdout + done.stderr)
    return found


def main() -> None:
    """Check the dashboard; the directory that is named keeps what npm fetches."""
    into = Path(sys.argv[1]).resolve()
    fetched(HERE, into)
    found = faults(DASHBOARD.read_text(), into)
    for fault in found:
        print(f"{DASHBOARD.relative_to(ROOT)}:{fault}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
