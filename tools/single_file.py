"""oomkit in one file, which needs Python alone: made by shiv, with a first look at who runs it.

At its first start it unpacks itself below ``~/.shiv`` (or ``SHIV_ROOT``): modules in C and Rust
can't be loaded from inside of an archive.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bundle import PYTHONS

_MAIN = """\
import os
import sys

PYTHONS = {pythons!r}
MACHINE = {machine!r}


def end(message):
    sys.stderr.write("oomkit: " + message + "\\n")
    sys.exit(2)


def main():
    here = "{{0}}.{{1}}".format(*sys.version_info)
    if here not in PYTHONS or os.uname()[4] != MACHINE or sys.implementation.name != "cpython":
        end(
            "this file is for CPython {{0}} on {{1}}, not for {{2}} {{3}} on {{4}}".format(
                ", ".join(PYTHONS), MACHINE, sys.implementation.name, here, os.uname()[4]
            )
        )
    try:
        from _bootstrap import bootstrap

        bootstrap()
    except OSError as error:
        end(
            "{{0}}: {{1}}; expected to unpack this file there once (SHIV_ROOT names another "
            "directory)".format(error.filename, error.strerror)
        )
    except ImportError as error:
        end("{{0}}; expected a Linux with glibc".format(error))


if __name__ == "__main__":
    main()
"""


def make(site: Path, output: Path) -> None:
    """Make the file of a bundle's directory, the same bytes each time.

    Raises:
        subprocess.CalledProcessError: shiv failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = f"{scratch}/oomkit.pyz"
        subprocess.run(
            [
                sys.executable, "-m", "shiv", "--reproducible", "--site-packages", str(site),
                "--entry-point", "oomkit.__main__:main", "--python", "/usr/bin/env python3",
                "--output-file", made,
            ],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _replace_main(made, output)
    output.chmod(0o755)


def _replace_main(made: str, output: Path) -> None:
    with zipfile.ZipFile(made) as old, open(output, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                data = old.read(entry)
                if entry.filename == "__main__.py":
                    data = _MAIN.format(pythons=PYTHONS, machine=platform.machine()).encode()
                new.writestr(entry, data, zipfile.ZIP_DEFLATED)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    os.makedirs(arguments.output.parent, exist_ok=True)
    make(arguments.site, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
