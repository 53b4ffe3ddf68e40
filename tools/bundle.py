"""A directory with oomkit and all it needs to run, for several versions of Python at once.

Modules in C and Rust carry their Python's version in their names, so those of several Pythons lie
beside each other in one directory. The single file and the Debian package are made of it.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
UNUSED = ("markdown_it", "mdurl", "pygments")
"""What rich needs for source code and Markdown alone, which no command shows."""
_OF_THE_INSTALLER = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


def bundle(into: Path, wheel: Path) -> None:
    """Fill a directory with the wheel and what ``requirements/run.txt`` pins.

    Raises:
        SystemExit: pip failed, for instance where no package index can be reached.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        for python in PYTHONS:
            one = Path(scratch) / python
            _pip(
                one,
                "--require-hashes",
                "--requirement",
                ROOT / "requirements/run.txt",
                *_for(python),
            )
            shutil.copytree(one, into, dirs_exist_ok=True)
        _pip(Path(scratch) / "metrics", "--require-hashes", "--requirement", _metrics(scratch))
        shutil.copytree(Path(scratch) / "metrics", into, dirs_exist_ok=True)
        _pip(Path(scratch) / "own", wheel)
        shutil.copytree(Path(scratch) / "own", into, dirs_exist_ok=True)
    for name in ("bin", "share", *UNUSED):
        shutil.rmtree(into / name, ignore_errors=True)
    for name in UNUSED:
        for path in into.glob(f"{name}*.dist-info"):
            shutil.rmtree(path)
    for path in into.glob("*.dist-info/*"):
        if path.name in _OF_THE_INSTALLER:
            path.unlink()
    for path in [into, *into.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _metrics(scratch: str) -> Path:
    """What the guard's metrics need, which is pure, as it is pinned for the tests."""
    pins = (ROOT / "requirements/dev.txt").read_text().replace("\\\n", "\\ ").splitlines()
    (pin,) = (line for line in pins if line.startswith("prometheus-client=="))
    path = Path(scratch) / "metrics.txt"
    path.write_text(pin.replace("\\ ", ""))
    return path


def _for(python: str) -> list[str]:
    machine = platform.machine()
    platforms = [f"manylinux{tag}_{machine}" for tag in ("_2_17", "2014", "_2_28")]
    options = [word for tag in platforms for word in ("--platform", tag)]
    return [
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--only-binary",
        ":all:",
        *options,
    ]


def _pip(target: Path, *arguments: str | Path) -> None:
    words = ["install", "-q", "--no-deps", "--no-compile", "--target", target, *arguments]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run([sys.executable, "-m", "pip", *words], env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("wheel", type=Path)
    arguments = parser.parse_args()
    bundle(arguments.into, arguments.wheel)


if __name__ == "__main__":
    main()
