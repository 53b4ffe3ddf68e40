"""Build the manual: README and docs as they are, a page of all commands, the Python interface.

Any warning of Sphinx's, such as a link that leads nowhere, fails the build. No address outside is
asked.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import click
from sphinx.cmd.build import build_main

import oomkit
from oomkit.cli.main import main as command

ROOT = Path(__file__).parents[1]
_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "README.zh-CN.md", "SECURITY.md")
_FILES = ("contrib", "scenarios", "sweeps", "src", "tests", "docs", "LICENSE")
_LINK = re.compile(r"(\]\()((?:\.\./)*)([\w./-]+)((?:#[^)]*)?\))")
_WIDTH = 96
_ORDER = ("explain", "rank", "run", "guard", "lab", "doctor", "scenarios", "policy", "kernels")


def stage(into: Path) -> None:
    """Put together what Sphinx reads: the tree of the source as far as the pages link to it."""
    shutil.rmtree(into, ignore_errors=True)
    (into / "docs").mkdir(parents=True)
    for path in sorted((ROOT / "docs").glob("*.md")):
        (into / "docs" / path.name).write_text(_with_links(path, into))
    for name in _PAGES:
        (into / name).write_text(_with_links(ROOT / name, into))
    (into / "commands.md").write_text(commands())
    (into / "python.md").write_text(interface())
    names = [path.stem for path in sorted((ROOT / "docs").glob("*.md"))]
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    pages = ["commands", "python", *(f"docs/{name}" for name in names)]
    pages += [name.removesuffix(".md") for name in _PAGES]
    contents = "\n".join(pages)
    text = _with_links(ROOT / "README.md", into)
    (into / "index.md").write_text(f"{text}\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n")


def _with_links(page: Path, into: Path) -> str:
    """A page's text; what it links to of the source lies where the link leads, to be downloaded."""

    def placed(link: re.Match[str]) -> str:
        target = (page.parent / link[2] / link[3]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return link[0]
        inside = target.relative_to(ROOT)
        if inside == Path("README.md"):
            return f"{link[1]}{link[2]}index.md{link[4]}"
        if target.is_file() and target.suffix != ".md":
            (into / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, into / inside)
        elif target.is_dir():
            # A folder has no page; its name stays.
            return f"{link[1]}{link[2]}index.md)"
        return link[0]

    return _LINK.sub(placed, page.read_text())


def commands() -> str:
    """What every command's ``--help`` prints, a section each."""
    context = click.Context(command, info_name="oomkit", terminal_width=_WIDTH)
    parts = ["# Commands", "What `--help` prints; `man oomkit-COMMAND` has the same.", "## oomkit"]
    parts.append(f"```text\n{command.get_help(context)}\n```")
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        below = click.Context(found, info_name=name, parent=context, terminal_width=_WIDTH)
        parts += [f"## oomkit {name}", f"```text\n{found.get_help(below)}\n```"]
    return "\n\n".join(parts) + "\n"


def interface() -> str:
    """The page of the public names, from their docstrings."""
    about = "What is imported from `oomkit` is its public interface; anything else may change."
    parts = ["# Python", about]
    for name in oomkit.__all__:
        kind = "autoclass" if isinstance(getattr(oomkit, name), type) else "autofunction"
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. {kind}:: oomkit.{name}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("staged", type=Path, help="where Sphinx's input is put together")
    parser.add_argument("into", type=Path, help="the manual's directory, inside the built site")
    arguments = parser.parse_args()
    stage(arguments.staged)
    shutil.rmtree(arguments.into, ignore_errors=True)
    status = build_main(
        ["-q", "-W", "--keep-going", "-b", "html", "-d", f"{arguments.staged}.doctrees",
         "-c", str(ROOT / "lab/manual"), str(arguments.staged), str(arguments.into)]
    )  # fmt: skip
    if status:
        sys.exit(status)
    about = arguments.into.parent / "lab.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "manual": True}) + "\n")


if __name__ == "__main__":
    main()
