"""Whatever stands in a configuration, it is read, or refused in lines that name the file."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.describe import explain, origin_words
from oomkit.policy.peers.command_line import command_lines
from oomkit.policy.peers.units import entries
from oomkit.policy.read import PolicyError, find_policy
from tests.policy.peers.trees import NANO, write

NAMES = {
    "earlyoom": "etc/default/earlyoom",
    "nohang": "etc/nohang/nohang.conf",
    "systemd-oomd": "etc/systemd/oomd.conf",
    "oomrule": "etc/systemd/oomd/rules.d/a.oomrule",
    "unit": "etc/systemd/system/a-.slice.d/a.conf",
    "shown": "shown.txt",
}
WORDS = st.sampled_from([
    "EARLYOOM_ARGS=", '"', "'", "\\", "-m ", "5,", "-s ", "-M ", "--avoid ", "(", "[a", "\n", " ",
    "#", "=", "1e-9", "max_sleep = ", "min_badness = ", "DefaultMemoryPressureDurationSec=9999y",
    "ManagedOOMMemoryPressureDurationSec=1e9",
    "[OOM]\n", "[Rule]\n", "[Slice]\n", "SwapUsedLimit=", "90%", "1e400", "Action=kill-all",
    "99999999999999999999999999",
    "LastingSec=", "infinity", "MemoryPressureAbove=", "ManagedOOMSwap=kill", "OOMRules=a b", "%i",
    "ManagedOOMMemoryPressure=kill", "ManagedOOMMemoryPressureLimit=", "ManagedOOMPreference=omit",
    "Id=x.service\n", "ControlGroup=/a*/b", "\n\n", "@BADNESS_ADJ_RE_NAME ", "///", "-5", "(?i)x",
    "@SOFT_ACTION_RE_NAME ", "/bin/x $PID", "min_badness = 2\n", "max_sleep = 0.5\n", "\t", "ü",
    "‰",
    "psi_checking_enabled = True\n", "NaN", "Slice=-.slice\n", "\0", "\x1b",
])  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(NAMES)), st.lists(WORDS, max_size=14))
@example("nohang", ["min_badness = 2\n", "max_sleep = 0.5\n"])
@example("unit", ["[Slice]\n", "ManagedOOMMemoryPressure=kill", "\n", "OOMRules=a b"])
@example("shown", ["Id=x.service\n", "ControlGroup=/a*/b", "\n", "ManagedOOMSwap=kill", "\n\n"])
def test_nothing_but_lines_comes_of_damage(kind: str, words: list[str]) -> None:
    text = "".join(words)
    daemon = kind if kind in ("earlyoom", "nohang") else "systemd-oomd"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        before = NANO.replace("min_badness = 1\nmax_sleep = 3\n", "") if kind == "nohang" else ""
        write(root, {NAMES[kind]: before + text})
        where = root / NAMES[kind] if kind == "shown" else root
        try:
            policy = find_policy(f"{daemon}:{where}")
        except PolicyError as error:
            lines = error.lines()
            assert lines
            assert all(line.startswith(directory) and line.isprintable() for line in lines)
        else:
            assert policy.origin is not None
            assert explain(policy)
            assert origin_words(policy.origin)
            compile_plan(policy)


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.text("xy z", max_size=5)), max_size=6))
def test_what_is_written_is_read_with_its_line(pairs: list[tuple[str, str]]) -> None:
    text = "# comment\n[S]\n" + "".join(f" {key} = {value}\n\n" for key, value in pairs)
    found = [(one.section, one.key, one.value, one.place) for one in entries(text, "f")]
    assert found == [
        ("S", key, value.strip(), f"f:{3 + 2 * i}") for i, (key, value) in enumerate(pairs)
    ]


def test_lines_that_go_on_and_comments_between() -> None:
    said = entries("[S]\nA=one \\\n; no\n# no\n  two\nB=3\n", "f")
    assert [(one.key, one.value.split(), one.place) for one in said] == [
        ("A", ["one", "two"], "f:2"), ("B", ["3"], "f:6"),
    ]  # fmt: skip


@pytest.mark.parametrize("daemon", ["earlyoom", "nohang", "systemd-oomd"])
def test_what_is_no_text_is_refused(tmp_path: Path, daemon: str) -> None:
    file = tmp_path / "x.conf"
    file.write_bytes(b"\xff\xfe[OOM]")
    with pytest.raises(PolicyError, match=r"x\.conf: expected UTF-8 text"):
        find_policy(f"{daemon}:{file}")


@contextlib.contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start it, and wait until it runs: while it is loaded its words are not there yet."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_a_daemon_is_known_by_the_name_of_its_program() -> None:
    """A script is the word behind its interpreter; what it is given is no name."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-S", "-c", code, "/opt/x/some-daemon", "other-daemon"]
    with running(words) as process:
        path = f"/proc/{process.pid}/cmdline"
        found = {
            name: path in dict(command_lines(name)) for name in ("some-daemon", "other-daemon")
        }
        process.communicate()
    assert found == {"some-daemon": False, "other-daemon": False}
    words = [sys.executable, "-c", code, "/opt/x/some-daemon", "other-daemon"]
    with running(words) as process:
        path = f"/proc/{process.pid}/cmdline"
        assert dict(command_lines("some-daemon"))[path] == words
        assert path not in dict(command_lines("other-daemon"))
        process.communicate()
