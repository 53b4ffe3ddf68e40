"""The checklist of a release: what is ready, what is not, and the tag to set.

Every point is looked at, whatever the others say; exit status 1 if one is open. ``--quick`` leaves
out what builds.
"""

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")

_ADDRESSES = ("Source", "Documentation", "Issues")

Check = Callable[[Path], str]
"""Returns what is missing; empty when all is well."""


def version(root: Path) -> str:
    """The version, from the one place that has it; empty if it is not there."""
    text = (root / "src/oomkit/__init__.py").read_text()
    found = re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)
    return found[1] if found else ""


def well_formed(root: Path) -> str:
    """The version is a release's."""
    return "" if _VERSION.fullmatch(version(root)) else f"{version(root)!r} is no X.Y.Z"


def changelog(root: Path) -> str:
    """The changelog has a dated section of this version, and only sections that have a name."""
    text = (root / "CHANGELOG.md").read_text()
    sections = set(re.findall(r"^### (.*)$", text, re.MULTILINE)) - set(_SECTIONS)
    if sections:
        return f"sections {', '.join(sorted(sections))}; expected {', '.join(_SECTIONS)}"
    if not re.search(r"^## \[Unreleased\]$", text, re.MULTILINE):
        return "no section [Unreleased]"
    heading = rf"^## \[{re.escape(version(root))}\] - \d{{4}}-\d\d-\d\d$"
    return "" if re.search(heading, text, re.MULTILINE) else f"no section [{version(root)}] - DATE"


def chart(root: Path) -> str:
    """The chart has the same version."""
    text = (root / "contrib/helm/oomkit/Chart.yaml").read_text()
    found = re.findall(r'^(?:version|appVersion): "?([^"\n]*)"?$', text, re.MULTILINE)
    return "" if found == [version(root)] * 2 else f"Chart.yaml says {' and '.join(found)}"


def addresses(root: Path) -> str:
    """The package index is given the addresses of source, documentation and issues."""
    given = tomllib.loads((root / "pyproject.toml").read_text())["project"].get("urls", {})
    lacks = [name for name in _ADDRESSES if not str(given.get(name, "")).startswith("https://")]
    return f"[project.urls] of pyproject.toml lacks {', '.join(lacks)}" if lacks else ""


def clean(root: Path) -> str:
    """Nothing is uncommitted."""
    changed = _output(root, "git", "status", "--porcelain")
    return f"{len(changed.splitlines())} files are not committed" if changed else ""


def untagged(root: Path) -> str:
    """The version's tag is free, or stands here, and no other version's does."""
    tag = f"v{version(root)}"
    here = _output(root, "git", "tag", "--points-at", "HEAD", "v[0-9]*").split()
    if others := sorted({*here} - {tag}):
        return f"tag {', '.join(others)} stands here, and the version is {version(root)}"
    if tag not in here and _output(root, "git", "tag", "--list", tag):
        return f"tag {tag} stands at another commit"
    return ""


def checks(root: Path) -> str:
    """``make check`` passes."""
    return _made(root, "check")


def twice(root: Path) -> str:
    """Wheel and sdist pass the index's checks, and are the same bytes when built again."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        for directory in (one, other):
            if fault := _made(root, "dist", f"DIST={directory}"):
                return fault
        names = [path.name for path in Path(one).iterdir()]
        _, differ, missing = filecmp.cmpfiles(one, other, names, shallow=False)
        return ", ".join(f"{name} differs" for name in (*differ, *missing))


def charts(root: Path) -> str:
    """Chart and manifest pass their checks."""
    with tempfile.TemporaryDirectory() as scratch:
        return _made(root, "chart", f"DIST={scratch}")


def package(root: Path) -> str:
    """The Debian package is built, and lintian finds nothing."""
    for name in ("dpkg-buildpackage", "dh", "lintian"):
        if shutil.which(name) is None:
            return f"needs {name}"
    with tempfile.TemporaryDirectory() as scratch:
        if fault := _made(root, "deb", f"DIST={scratch}", f"BUILD={scratch}/build"):
            return fault
        (made,) = Path(scratch).glob("*.deb")
        return _output(root, "lintian", "--allow-root", str(made)).replace("\n", "; ")


QUICK: tuple[Check, ...] = (well_formed, changelog, chart, addresses, clean, untagged)
BUILDS: tuple[Check, ...] = (checks, twice, charts, package)


def _output(root: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    return (done.stdout + (done.stderr if done.returncode else "")).strip()


def _made(root: Path, *words: str) -> str:
    done = subprocess.run(["make", *words], cwd=root, capture_output=True, text=True, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines() or ["failed"]
    return f"make {words[0]}: {lines[-1]}" if done.returncode else ""


def looked_at(root: Path, points: tuple[Check, ...]) -> Iterator[tuple[str, str]]:
    """Each point as a sentence, with what is missing."""
    for check in points:
        yield (check.__doc__ or "").strip().rstrip(".").replace("``", "`"), check(root)


def main() -> int:
    """Print the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what builds")
    parser.add_argument("--root", type=Path, default=ROOT)
    arguments = parser.parse_args()
    points = QUICK if arguments.quick else (*QUICK, *BUILDS)
    missing = 0
    for sentence, fault in looked_at(arguments.root, points):
        missing += bool(fault)
        print(f"[{' ' if fault else 'x'}] {sentence}{f': {fault}' if fault else ''}", flush=True)
    if not missing:
        print(f"ready: git tag -s v{version(arguments.root)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
