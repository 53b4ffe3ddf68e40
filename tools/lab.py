"""Build the lab: static files that any web server can hand out, with Python for the browser.

Nothing in them is loaded from elsewhere: Pyodide is vendored as npm's lock file pins it, oomkit is
the modules that ``oomkit.lab`` needs, compiled for Pyodide's Python by that Python.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import grimp

import browser_modules
from npm import fetched
from oomkit import __version__
from oomkit.real.packages import PackageError

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "lab"
PYODIDE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
)
_OLD = (1980, 1, 1, 0, 0, 0)
_ASSETS = ("policy/builtin", "render/assets", "views/assets")


def modules() -> list[Path]:
    """The files of oomkit that its answers for pages need."""
    graph = grimp.build_graph("oomkit", cache_dir=None, exclude_type_checking_imports=True)
    names = graph.find_upstream_modules("oomkit.lab.calls") | {"oomkit.lab.calls"}
    packages = {name.rpartition(".")[0] for name in names} - {""}
    found = set()
    for name in names | packages:
        path = ROOT / "src" / name.replace(".", "/")
        found.add(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    return sorted(found)


def python_files(into: Path, npm: Path, extensions: Path | None) -> None:
    """Write the archive that the worker unpacks: compiled modules, and the files they read.

    Args:
        into: the archive.
        npm: where Pyodide is.
        extensions: the directory of modules that are machine code; None: there are none.

    Raises:
        SystemExit: node failed.
    """
    scratch = npm / "compiled"
    shutil.rmtree(scratch, ignore_errors=True)
    for path in modules():
        target = scratch / path.relative_to(ROOT / "src")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(SOURCE / "compile.mjs", npm)
    done = subprocess.run(
        ["node", "compile.mjs", "compiled"], cwd=npm, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"node: {done.stderr.strip()[-1000:]}")
    for folder in _ASSETS:
        for path in sorted((ROOT / "src/oomkit" / folder).iterdir()):
            if path.suffix in (".toml", ".css"):
                target = scratch / "oomkit" / folder / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    if extensions is not None:
        shutil.copytree(extensions, scratch, dirs_exist_ok=True)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(scratch.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(scratch).as_posix(), _OLD)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())


def examples(into: Path) -> None:
    """Copy the logs and scenarios that the pages offer, and write what there is of them."""
    asked = json.loads((SOURCE / "examples.json").read_text())
    for kind, folder in (("logs", "tests/data/oom-logs"), ("snapshots", "docs/examples")):
        (into / kind).mkdir(parents=True)
        for one in asked[kind]:
            shutil.copy(ROOT / folder / one["file"], into / kind)
    (into / "scenarios").mkdir()
    for path in sorted((ROOT / "scenarios").glob("*.toml")):
        shutil.copy(path, into / "scenarios")
    asked["scenarios"] = sorted(path.name for path in (into / "scenarios").iterdir())
    (into / "index.json").write_text(json.dumps(asked, indent=1))


def build(into: Path, npm: Path, python: str | None) -> None:
    """Fill the directory.

    Args:
        into: the site.
        npm: keeps what npm fetches.
        python: a Python with ``ziglang``, to compile the model; None: it is interpreted.

    Raises:
        SystemExit: npm or node is missing or failed.
    """
    fetched(SOURCE, npm)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for path in sorted((SOURCE / "pages").iterdir()):
        shutil.copy(path, into)
    for package in ("render", "views"):
        for path in (ROOT / "src/oomkit" / package / "assets").glob("*.css"):
            shutil.copy(path, into)
    (into / "pyodide").mkdir()
    for name in PYODIDE:
        shutil.copy(npm / "node_modules/pyodide" / name, into / "pyodide")
    python_files(into / "oomkit.zip", npm, _extensions(npm, python))
    examples(into / "examples")
    for path in [into, *into.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    write_list(into)


def _extensions(npm: Path, python: str | None) -> Path | None:
    if python is None:
        return None
    try:
        return browser_modules.compiled(npm, python, npm / "extensions")
    except PackageError as error:
        print(f"the model will be interpreted, which is slower: {error}", file=sys.stderr)
        return None


def write_list(into: Path) -> None:
    """Say what the site is, for ``oomkit lab`` and the worker to see."""
    archive = hashlib.sha256((into / "oomkit.zip").read_bytes()).hexdigest()
    text = json.dumps({"oomkit": __version__, "archive": archive[:16]})
    (into / "lab.json").write_text(text + "\n")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path, help="the site's directory")
    parser.add_argument("npm", type=Path, help="a directory that keeps what npm fetches")
    parser.add_argument(
        "--zig", metavar="PYTHON", help="one that has ziglang: the model is compiled"
    )
    arguments = parser.parse_args()
    os.umask(0o022)
    build(arguments.into.resolve(), arguments.npm.resolve(), arguments.zig)


if __name__ == "__main__":
    main()
