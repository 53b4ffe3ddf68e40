"""What ``--check`` says of patterns, and that names can't do anything to a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.doubts import doubts
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.read import policy_from
from oomkit.printable import printable
from tests.guard.arena import Arena
from tests.guard.policies import SOFT

EVERYBODY = (Candidate(7, 1, 1, "sshd", unit="ssh.service"), Candidate(8, 1, 1, "ours-1"))


def about(whom: dict[str, object]) -> tuple[str, ...]:
    return doubts(policy_from({"name": "test", "whom": whom}), EVERYBODY)


@pytest.mark.parametrize(
    ("kind", "effect"),
    [("never", "is spared"), ("prefer", "dies earlier"), ("avoid", "dies later")],
)
def test_a_name_alone_is_free_to_take(kind: str, effect: str) -> None:
    for match in ({"comm": "sshd"}, {"cmdline": "sshd *"}, {"comm": "a", "cmdline": "b"}):
        (line,) = about({kind: [match]})
        assert f"any process can take that name, and {effect}" in line
        for field in ("user", "unit", "exe"):
            assert about({kind: [{**match, field: "root"}]}) == ()


def test_an_expression_that_only_an_empty_text_can_match_is_named() -> None:
    (line,) = about({"never": [{"comm": "re:^(?!ours-)", "user": "root"}]})
    assert line.startswith("never comm re:^(?!ours-): can only match an empty comm")


def test_an_expression_that_matches_no_process_is_named_and_one_that_does_is_not() -> None:
    (line,) = about({"avoid": [{"unit": ["re:ss", "re:ss.*"], "user": "root"}]})
    assert line.startswith("avoid unit re:ss: matches no process now; ")
    assert about({"avoid": [{"comm": "re:(?!ours-).*", "user": "root"}]}) == ()


def test_check_says_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SOFT + '[whom]\nnever = [{ comm = "re:^(?!ours-)" }]\n')
    done = subprocess.run(
        [Path(sys.executable).with_name("oomkit"), "guard", "--check", "--policy", policy],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\nwhat to look at again\n  never comm re:^(?!ours-): any process" in done.stdout
    assert "can only match an empty comm" in done.stdout


@given(st.text())
def test_what_is_printed_is_printable_and_keeps_what_was(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert len(shown) >= len(name)
    if name.isprintable():
        assert shown == name


@given(st.binary(max_size=15))
def test_names_of_any_bytes_can_be_printed(name: bytes) -> None:
    for errors in ("surrogateescape", "backslashreplace"):
        shown = printable(name.decode("utf-8", errors))
        assert shown.isprintable()
        assert shown.encode().decode() == shown


@pytest.mark.parametrize("name", ["\x1b[31mred\x07", "a\nb\rc", "\u202eabc", "x\x9b2J"])
def test_a_process_cant_write_to_the_terminal_by_its_name(arena: Arena, name: str) -> None:
    pid = arena.victim(name, 30)
    out = arena.directory / "out"
    oomkit = str(Path(sys.executable).with_name("oomkit"))
    arena.policy(SOFT)
    argv = [oomkit, "guard", "--policy", str(arena.directory / "policy.toml"), "--check"]
    arena.ask("start", [*argv, "--pid", str(pid)], out=str(out))
    arena.until(lambda: out.exists() and "number" in out.read_text(), "it is said")
    text = out.read_text()
    assert printable(os.fsdecode(name.encode()[:15])) in text
    assert all(line.isprintable() for line in text.split("\n"))
    arena.guard()
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(pid), "the victim dies")
    arena.until_said(printable(name))
    assert all(line.isprintable() for line in arena.log.read_text().split("\n"))
