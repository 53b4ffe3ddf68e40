"""``oomkit history`` and ``oomkit run RECORDING`` as a user runs them."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from oomkit.cli.history import command
from oomkit.guard import config
from tests.conftest import Command

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
JOURNAL = str(EXAMPLES / "night.jsonl")
RECORDING = EXAMPLES / "night.recording"
UTC = {"TZ": "UTC"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    return ("--journal", JOURNAL, "--store", str(tmp_path / "store"))


def test_the_table_shows_what_happened(oomkit: Command, files: tuple[str, ...]) -> None:
    for _ in range(2):
        done = oomkit("history", *files, env=UTC)
        assert (done.returncode, done.stderr) == (1, "")
        rows = done.stdout.splitlines()
        assert [row.split()[0] for row in rows] == ["#", "1", "2", "3"]
        assert "2025-11-26 03:04:58 mysqld[845]    killed by the kernel (global OOM)" in rows[3]
    assert "would have been killed by default, would free 2.70 GiB" in rows[2]


def test_one_act_in_full(oomkit: Command, files: tuple[str, ...]) -> None:
    done = oomkit("history", "2", *files)
    assert done.returncode == 0
    for words in (
        "policy      default (rule ", ", soft)", "available 117 MiB (at most 819 MiB), for 30.0 s",
        "psi_full 25.6 %", "cmdline convert -resize", "most by growth",
        "nothing was done (dry run)",
        "23817 convert 2.70 GiB", "845 mysqld  3.44 GiB",
    ):  # fmt: skip
        assert words in done.stdout


def test_a_kernels_kill_in_full_is_explained(oomkit: Command, files: tuple[str, ...]) -> None:
    done = oomkit("history", "3", *files)
    assert done.returncode == 1
    assert "mysqld[845] was killed: the machine ran out of memory" in done.stdout
    assert "anonymous 2.75 GiB, page tables 6.88 MiB" in done.stdout


def test_json_is_the_records(oomkit: Command, files: tuple[str, ...]) -> None:
    done = oomkit("history", "--json", *files)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    written = [json.loads(line) for line in Path(JOURNAL).read_text().splitlines()]
    assert [{**record, "number": None} for record in written] == [
        {**record, "number": None} for record in records
    ]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (("--kind", "kernel_kill"), [3]),
        (("--kind", "act", "--kind", "start"), [1, 2]),
        (("--comm", "conv*"), [2]),
        (("--since", "2025-11-26 03:00"), [2, 3]),
        (("--until", "2025-11-26T03:00Z"), [1]),
        (("--since", "1h"), []),
        (("--last", "1"), [3]),
    ],
)
def test_filters(
    oomkit: Command, files: tuple[str, ...], filters: tuple[str, ...], numbers: list[int]
) -> None:
    done = oomkit("history", "--json", *filters, *files, env=UTC)
    assert [json.loads(line)["number"] for line in done.stdout.splitlines()] == numbers
    assert done.returncode == int(3 in numbers)


def test_where_the_store_cannot_be_written_the_journal_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "JOURNAL", JOURNAL)
    monkeypatch.setattr(config, "STORE", str(tmp_path / "no" / "store"))
    for _ in range(2):
        done = CliRunner().invoke(command, ["--json"])
        assert "unable to open database file; reading the journal instead" in done.stderr
        assert done.stdout.count("\n") == 3
    monkeypatch.setattr(config, "STORE", str(tmp_path / "store"))
    assert CliRunner().invoke(command, ["--json"]).stderr == ""
    assert (tmp_path / "store").exists()
    monkeypatch.setattr(config, "JOURNAL", str(tmp_path / "gone"))
    assert CliRunner().invoke(command, ["--json"]).stdout.count("\n") == 3


def test_nothing_to_show(oomkit: Command, files: tuple[str, ...]) -> None:
    done = oomkit("history", "--since", "1h", *files)
    assert (done.returncode, done.stdout) == (0, "no records\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--since", "sometime", "--journal", JOURNAL), "--since: expected a time such as"),
        (("9", "--journal", JOURNAL, "--store", ":memory:"), "holds no record 9"),
        (("9", "--last", "3"), "filters can't be used with it"),
        (("--journal", "/no/such"), "/no/such: No such file or directory"),
        (("--journal", JOURNAL, "--store", "/no/such/store"), "/no/such/store: unable to open"),
        (("--journal", "/proc"), "/proc: Is a directory"),
    ],
)
def test_misuse_is_one_line(oomkit: Command, args: tuple[str, ...], said: str) -> None:
    done = oomkit("history", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("oomkit: ")
    assert done.stderr.count("\n") == 1


def test_damaged_lines_are_named(oomkit: Command, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(Path(JOURNAL).read_bytes() + b'{"kind":"ac\n{"kind":"stop","time_s":2e9}\n')
    done = oomkit("history", "--journal", str(journal), "--store", ":memory:")
    assert done.stderr == f"oomkit: {journal}: 1 damaged line skipped\n"
    assert "guard stopped" in done.stdout


def test_names_cannot_reach_the_terminal_raw(oomkit: Command, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    record = json.loads(Path(JOURNAL).read_text().splitlines()[1])
    record["victim"]["comm"] = record["candidates"][0]["comm"] = "evil\x1b[2J"
    record["victim"]["cmdline"] = "\x07"
    journal.write_text(json.dumps(record) + "\n")
    for args in ((), ("1",)):
        done = oomkit("history", *args, "--journal", str(journal), "--store", ":memory:")
        assert "\x1b" not in done.stdout
        assert "\x07" not in done.stdout
        assert "evil\\x1b[2J" in done.stdout


THRASHING = """
name = "thrashing"

[[when]]
level = "soft"
available = "10%"
psi_full = "25%"
over = "3s"

[whom]
by = "freed"
growth = 0.9
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "thrashing.toml"
    path.write_text(THRASHING)
    return str(path)


def test_a_recording_is_known_by_its_content(oomkit: Command, tmp_path: Path, policy: str) -> None:
    path = tmp_path / "night.toml"
    shutil.copy(RECORDING, path)
    done = oomkit("run", str(path), "--policy", policy, "--policy", "earlyoom", env=UTC)
    assert (done.returncode, done.stderr) == (1, "")
    assert "under the policy thrashing" in done.stdout
    assert "03:04:15  would have killed convert[23817] (SIGTERM, soft)" in done.stdout
    assert "convert[23817] would have been dead for 42.5 s" in done.stdout
    assert "mysqld[845]: 8.5 s after the policy would have" in done.stdout


def test_a_recording_as_json(oomkit: Command, policy: str) -> None:
    done = oomkit("run", str(RECORDING), "--json", "--policy", "kernel", "--policy", policy)
    answer = json.loads(done.stdout)
    assert [one["policy"] for one in answer["replays"]] == ["kernel", "thrashing"]
    assert [len(one["would_kill"]) for one in answer["replays"]] == [0, 1]
    assert answer["samples"] == 308


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--seed", "1"), "--seed: a recording takes --policy, --vs, --json and --html only"),
        (("--vs", "vm.panic_on_oom=1"), "--vs vm.panic_on_oom=1: expected the name of a policy"),
        (("--policy", "/no/such.toml"), "/no/such.toml: No such file"),
    ],
)
def test_misuse_of_a_recording_is_one_line(
    oomkit: Command, args: tuple[str, ...], said: str
) -> None:
    done = oomkit("run", str(RECORDING), *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_recording_cut_short_still_plays(oomkit: Command, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(RECORDING.read_bytes()[: os.stat(RECORDING).st_size // 2])
    done = oomkit("run", str(path), "--policy", "default")
    assert (done.returncode, done.stderr) == (0, "")
    assert "would have killed: none" in done.stdout
