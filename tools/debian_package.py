"""The Debian package, of a bundle's directory: stages a source tree and has it built."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NEEDS = ("dpkg-buildpackage", "dh")


def version() -> str:
    """The version, from the one place that has it."""
    text = (ROOT / "src/oomkit/__init__.py").read_text()
    found = re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


def stage(site: Path, build: Path) -> Path:
    """Put the source tree together; returns where."""
    tree = build / f"oomkit-{version()}"
    shutil.rmtree(build, ignore_errors=True)
    tree.mkdir(parents=True)
    shutil.copytree(site, tree / "site", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("completion", "man", "systemd"):
        shutil.copytree(ROOT / "contrib" / name, tree / "contrib" / name)
    shutil.copytree(ROOT / "contrib/debian", tree / "debian")
    shutil.copytree(ROOT / "docs/examples", tree / "examples")
    for name in ("scenarios", "sweeps"):
        shutil.copytree(ROOT / name, tree / name)
    for page in (tree / "contrib/man").glob("*.in"):
        page.unlink()
    epoch = float(os.environ.get("SOURCE_DATE_EPOCH", "1577836800"))
    when = formatdate(epoch)
    maintainer = re.search(
        r"^Maintainer: (.*)$", (tree / "debian/control").read_text(), re.MULTILINE
    )
    assert maintainer is not None
    (tree / "debian/changelog").write_text(
        f"oomkit ({version()}) unstable; urgency=medium\n\n"
        f"  * Release {version()}; CHANGELOG.md of the source says what changed.\n\n"
        f" -- {maintainer[1]}  {when}\n"
    )
    for path in tree.rglob("*"):
        # dpkg-deb keeps what is older than the epoch, and a checkout's files may be.
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    return tree


def build_package(site: Path, build: Path, into: Path) -> Path:
    """Build the package; returns its path.

    Raises:
        SystemExit: a tool is missing, or the build failed.
    """
    missing = [name for name in _NEEDS if shutil.which(name) is None]
    if missing:
        sys.exit(f"make deb needs {' and '.join(missing)}: apt install dpkg-dev debhelper")
    tree = stage(site, build)
    words = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"]
    done = subprocess.run(words, cwd=tree, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    (made,) = build.glob("oomkit_*.deb")
    into.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(made, into))


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("build", type=Path)
    parser.add_argument("into", type=Path)
    arguments = parser.parse_args()
    print(build_package(arguments.site, arguments.build, arguments.into))


if __name__ == "__main__":
    main()
