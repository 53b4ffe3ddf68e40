"""``oomkit exec`` reads most command lines without click, and to the same effect."""

import sys
from pathlib import Path

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oomkit.cli.exec import command
from oomkit.cli.exec_run import plainly, size
from tests.conftest import Command

OPTIONS = ["--limit", "--swap", "--adj", "--json", "--quiet", "--verbose", "-q", "-v", "--help"]
VALUES = ["1G", "0", "500", "-500", "2000", "1X", "run.json", "", "+5", "--", "-", "-h"]


def words() -> st.SearchStrategy[list[str]]:
    joined = st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES)).map("=".join)
    word = st.sampled_from([*OPTIONS, *VALUES, "-qv", "true", "a b"]) | joined | st.text(max_size=6)
    return st.lists(word, max_size=7)


@given(words())
@example(["--limit", "1G", "--", "true"])
@example(["--limit=1G", "--swap=0", "--adj", "-5", "-q", "-v", "true", "--help", "-q"])
@example(["--json", "--", "true"])
@example(["--", "--limit", "1G"])
def test_both_ways_read_the_same(line: list[str]) -> None:
    found = plainly(line)
    if found is None:
        return
    with click.Context(command, ignore_unknown_options=False, allow_interspersed_args=False) as ctx:
        command.parse_args(ctx, list(line))
    read = ctx.params
    assert read["argv"] == found.argv
    assert (size(read["limit"]), size(read["swap"])) == (found.limit, found.swap)
    assert (read["adj"], read["json_file"]) == (found.adj, found.json_file)
    assert (read["quiet"], read["verbose"]) == (found.quiet, found.verbose)


@pytest.mark.parametrize(
    "line",
    [
        ["true"],
        ["--", "true"],
        ["-q", "--limit", "1G", "--adj=5", "--json", "x", "--", "true"],
        ["--verbose", "--swap=0", "true", "-h"],
    ],
)
def test_what_is_plain_needs_no_click(line: list[str]) -> None:
    assert plainly(line) is not None


@pytest.mark.parametrize(
    "line",
    [
        [], ["-h"], ["--help"], ["--"], ["--limit"], ["--limit", "1X", "true"], ["-qv", "true"],
        ["--adj", "2000", "true"], ["--json", "", "true"], ["--nonsense", "true"], ["-", "true"],
        ["--quiet=1", "true"],
    ],
)  # fmt: skip
def test_the_rest_is_left_to_click(line: list[str]) -> None:
    assert plainly(line) is None


def test_a_defect_is_reported_as_by_the_other_commands(oomkit: Command, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import oomkit.command.group as group\n"
        "def current(): raise ValueError('not so')\n"
        "group.current = current\n"
    )
    path = ":".join([str(tmp_path), *filter(None, sys.path)])
    done = oomkit("exec", "true", env={"PYTHONPATH": path})
    assert done.returncode == 2
    assert done.stderr == "oomkit: internal error, please report it: ValueError: not so\n"
