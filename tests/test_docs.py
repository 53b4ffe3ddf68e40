"""What the documents say is what the commands print."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from oomkit.cli.main import main as command

ROOT = Path(__file__).parent.parent


def test_every_picture_is_shown_somewhere() -> None:
    pages = [*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]
    shown = "".join(page.read_text(encoding="utf-8") for page in pages)
    for picture in (ROOT / "docs" / "img").iterdir():
        assert f"img/{picture.name})" in shown, picture.name


def test_scenarios_speak_of_themselves_alone() -> None:
    for path in (ROOT / "scenarios").rglob("*.toml"):
        assert not re.search(r"\bR\d+\b", path.read_text(encoding="utf-8")), path.name


def test_the_readme_shows_real_output() -> None:
    done = subprocess.run(
        [sys.executable, "docs/readme_output.py", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _code_blocks(page: str) -> list[str]:
    return re.findall(r"```[a-z]+\n.*?```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_both_readmes_have_the_same_examples() -> None:
    english = _code_blocks("README.md")
    assert len(english) > 10
    assert _code_blocks("README.zh-CN.md") == english


def test_both_readmes_link_to_each_other_at_the_top() -> None:
    for page, other in (("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")):
        top = (ROOT / page).read_text(encoding="utf-8")[:200]
        assert f"]({other})" in top


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    anchors = {
        page: {
            _anchor(h)
            for h in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        }
        for page in pages
    }
    broken = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (anchor and anchor not in anchors.get(target, {anchor})):
                broken.append(f"{page.name}: {link}")
    assert not broken


PRIVATE_NAMES = re.compile("eyes|books|deeds|kept|tally", re.IGNORECASE)


def test_names_are_those_of_the_field() -> None:
    found = []
    for folder in ("src", "tests", "docs", "benchmarks", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            names = [path.stem]
            names += re.findall(r"^\s*(?:def|class) (\w+)", path.read_text("utf-8"), re.MULTILINE)
            found += [f"{path.name}: {name}" for name in names if PRIVATE_NAMES.search(name)]
    assert found == []


def test_the_architecture_names_what_there_is() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "oomkit"
    modules = {path.stem for path in source.rglob("*.py")}
    folders = {path.name for path in source.rglob("*") if path.is_dir()}
    for name in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+)`", page):
        places = [source, source / "policy", source / "real", ROOT]
        assert any((at / f"{name}.py").is_file() or (at / name).is_dir() for at in places), name
    for table in re.findall(r"^\| `[^|]*\|.*$", page, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)(?:\.py|/)`", table.split("|")[1]):
            assert name in modules | folders, name
    kernel = page[
        page.index("## `kernel/`, file by file") : page.index("## How a decision is made")
    ]
    for path in (source / "kernel").glob("*.py"):
        if not path.stem.startswith(("__", "changes_")):
            assert re.search(rf"`{path.stem}(\.py)?`", kernel), path.name


_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(?:\$ |# )?(?:sudo )?(oomkit(?= -| [a-z-]+(?:\s|$))[^\n]*)", re.MULTILINE)


def _examples() -> Iterator[tuple[str, list[str]]]:
    """Every command line of oomkit's in the pages, with its page."""
    for page in [*ROOT.glob("README*.md"), *sorted((ROOT / "docs").glob("*.md"))]:
        for block in _BLOCK.findall(page.read_text("utf-8")):
            text = block.replace("\\\n", " ")
            for line in _LINE.findall(text):
                try:
                    words = shlex.split(line, comments=True)
                except ValueError:
                    continue
                end = next((i for i, word in enumerate(words) if word in _SHELL), len(words))
                yield page.name, words[1:end]


_SHELL = {"|", ">", ">>", "&&", "||", ";", "&", "2>&1", "2>"}


def test_every_example_has_options_that_there_are() -> None:
    wrong, seen = [], 0
    for page, words in _examples():
        context = click.Context(command, info_name="oomkit")
        if not words or words[0].startswith("-"):
            found: click.Command | None = command
        else:
            found = command.get_command(context, words.pop(0))
        if found is None:
            wrong.append(f"{page}: no such command: {' '.join(words)}")
            continue
        seen += 1
        known = {name for one in found.params for name in (*one.opts, *one.secondary_opts)}
        for word in words:
            if word == "--" or (found.name == "exec" and not word.startswith("-")):
                break
            name = word.partition("=")[0]
            if re.fullmatch(r"--[a-z][\w-]*", name) and name not in {*known, "--help"}:
                wrong.append(f"{page}: oomkit {found.name} {name}")
    assert wrong == []
    assert seen > 60
