"""``oomkit sweep`` as a user runs it."""

import csv
import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forked import command

OOMKIT = str(Path(sys.executable).with_name("oomkit"))
ROOT = Path(__file__).parents[2]
LEAK = ROOT / "tests" / "sweep" / "data" / "leak.toml"

SWEEP = f"""
name = "small"
scenarios = ["{LEAK}"]
policies = ["kernel", "default"]
runs = 20
seed = 3
[vary]
"machine.swap" = {{ uniform = ["0", "256M"] }}
"task.*.spread" = [0.3]
"""


def oomkit(
    cwd: Path, *args: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return command(*args, cwd=cwd, env={"COLUMNS": "100", **(env or {})}, timeout_s=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.toml").write_text(SWEEP)
    return tmp_path


def test_the_answer_comes_first_and_rows_are_written(folder: Path) -> None:
    done = oomkit(folder, "sweep", "s.toml", "-o", "rows.csv", "--html", "page.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert " of 2 in 20 loads" in done.stdout.partition("\n\n")[0].replace("\n", " ")
    assert len((folder / "rows.csv").read_text().splitlines()) == 41
    assert (folder / "page.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in folder.iterdir()) == ["page.html", "rows.csv", "s.toml"]


@pytest.mark.parametrize("changed", [(), ("--set", "seed=5", "--set", "name=two words")])
def test_the_command_it_names_plays_the_run_that_was_played(
    folder: Path, changed: tuple[str, ...]
) -> None:
    done = oomkit(
        folder, "sweep", "s.toml", *changed, "-o", "rows.csv", "--html", "page.html",
        "--workers", "1",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    line = next(line for line in lines if line.startswith("oomkit sweep"))
    told = oomkit(folder, *shlex.split(line)[1:])
    number = shlex.split(line)[-1]
    with (folder / "rows.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["run"] == number)
    assert told.stdout.startswith(f"run {number}: leak, policy {row['policy']}, ")
    assert f"seed {row['seed']}" in told.stdout.replace("\n", " ")
    page = html.unescape((folder / "page.html").read_text())
    assert f"<code>{line}</code>" in page
    # What the page tells of the run is what the command tells.
    story = re.findall(r"^ *([\d.]+ s)  (\S[^\n]*)$", told.stdout, re.MULTILINE)
    part = page[page.index(f'id="run-{number}"') :].partition("</details>")[0]
    assert story
    for time_s, what in story:
        assert re.search(rf">{time_s}</span>\s*<div>{re.escape(what[:40])}", part)
    assert part.count("every task") == 1


def test_at_60_columns_the_key_stays_and_no_number_is_cut(folder: Path) -> None:
    wide = oomkit(folder, "sweep", "s.toml", "--workers", "1")
    for columns in ("80", "60", "45"):
        done = oomkit(folder, "sweep", "s.toml", "--workers", "1", env={"COLUMNS": columns})
        lines = done.stdout.splitlines()
        kept = [line for line in lines if not line.startswith("oomkit sweep")]
        assert max(map(len, kept)) <= int(columns)
        assert "\u2026" not in done.stdout
        numbers = set(re.findall(r"[\d.,]+ (?:s|[KMG]iB)", wide.stdout))
        assert set(re.findall(r"[\d.,]+ (?:s|[KMG]iB)", done.stdout)) <= numbers
        assert any(line.startswith("default") for line in lines)
        assert any(line.startswith("kernel") for line in lines)
    assert "(no room for " in done.stdout.replace("\n", " ")


def test_an_answer_needs_no_directory_that_can_be_written(folder: Path) -> None:
    sweep = str(folder / "s.toml")
    # Nobody, root neither, can make a file there.
    nowhere = Path("/sys")
    done = oomkit(nowhere, "sweep", sweep, "--workers", "1", env={"TMPDIR": str(folder)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == oomkit(folder, "sweep", sweep, "--workers", "1").stdout
    assert [path.name for path in folder.iterdir()] == ["s.toml"]
    asked = oomkit(nowhere, "sweep", sweep, "-o", "rows.csv")
    assert asked.returncode == 2
    assert "rows.csv.part: " in asked.stderr


def test_stopped_where_nothing_can_be_written_it_says_that_nothing_is_saved(folder: Path) -> None:
    process = subprocess.Popen(
        [OOMKIT, "sweep", str(folder / "s.toml"), "--set", "runs=100000", "--workers", "1"],
        cwd="/sys", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    until = time.monotonic() + 60
    while not _children(process.pid) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    # By then a run is finished, or none is.
    assert "are lost: nothing can be written here" in err or "nothing is saved" in err
    assert "--resume" not in err
    assert [path.name for path in folder.iterdir()] == ["s.toml"]


def test_checking_and_telling_a_run_need_no_extra(folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['polars'] = None\n"
        "from oomkit.cli.main import main\n"
        "sys.argv[0] = 'oomkit'\n"
        "main()\n"
    )
    for args in (("--check",), ("--run", "0")):
        done = subprocess.run(
            [sys.executable, "-c", code, "sweep", "s.toml", *args],
            capture_output=True, text=True, check=False, timeout=60, cwd=folder,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def test_json_is_the_answer_with_its_figures(folder: Path) -> None:
    done = oomkit(folder, "sweep", "s.toml", "--json", "--workers", "1")
    answer = json.loads(done.stdout)
    assert answer["runs"] == 40
    assert {group["label"] for group in answer["groups"]} == {"kernel", "default"}
    assert answer["groups"][0]["objectives"]["cost"]["mean"].keys() == {"mean", "low", "high", "n"}


def test_one_run_is_shown_as_run_shows_it(folder: Path) -> None:
    done = oomkit(folder, "sweep", "s.toml", "--run", "7")
    assert done.returncode == 0
    assert done.stdout.startswith("run 7: leak, policy default, machine.swap ")
    assert "leak starts" in done.stdout
    beyond = oomkit(folder, "sweep", "s.toml", "--run", "40")
    assert beyond.returncode == 2
    assert "below 40" in beyond.stderr


def test_check_says_how_much_there_is_to_play(folder: Path) -> None:
    done = oomkit(folder, "sweep", "s.toml", "--check", "--set", "runs=1000")
    assert done.stdout == "s.toml: fine, 2,000 runs, 1,000 loads with 2 each\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "expected a SWEEP file"),
        (("gone.toml",), "gone.toml: No such file"),
        (("s.toml", "--set", "runs=0"), "s.toml: --set runs=0: expected a whole number"),
        (("s.toml", "--check", "--json"), "don't go together"),
        (("s.toml", "--resume", "--restart"), "don't go together"),
        (("s.toml", "--workers", "1", "--cluster", "tcp://x:1"), "don't go together"),
        (("s.toml", "-o", "rows.xls"), "expected a name that ends in"),
        (("s.toml", "-o", "gone/rows.csv"), "gone/rows.csv.part: No such file"),
        (("s.toml", "--resume"), "expected the rows of a sweep that was stopped"),
        (("--fleet", "s.toml"), "s.toml: expected a name that ends in"),
        (("s.toml", "--cluster", "nonsense"), "expected tcp://HOST:PORT, not 'nonsense'"),
    ],
)
def test_misuse_is_one_line_and_status_2(args: tuple[str, ...], words: str, folder: Path) -> None:
    done = oomkit(folder, "sweep", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["s.toml"]


def test_stopped_by_ctrl_c_it_keeps_what_is_done_and_goes_on(folder: Path) -> None:
    runs = ("--set", "runs=400", "-o", "rows.csv", "--workers", "1")
    at_once = oomkit(folder, "sweep", "s.toml", "--set", "runs=400", "-o", "whole.csv")
    assert at_once.returncode == 0
    process = subprocess.Popen(
        [OOMKIT, "sweep", "s.toml", *runs], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    part = folder / "rows.csv.part"
    until = time.monotonic() + 60
    while not (part.exists() and part.read_text().count("\n") > 1) and time.monotonic() < until:
        time.sleep(0.02)
    # As a terminal does: everybody in the group gets it.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "runs are saved in rows.csv.part, --resume continues" in err
    assert err.count("\n") == 1
    kept = len(part.read_text().splitlines()) - 1
    assert f"stopped; {kept:,} of 800 runs" in err
    assert kept < 800
    refused = oomkit(folder, "sweep", "s.toml", *runs)
    assert refused.returncode == 2
    assert "--resume continues it" in refused.stderr
    other = oomkit(folder, "sweep", "s.toml", *runs, "--resume", "--set", "seed=9")
    assert "made by another sweep" in other.stderr
    done = oomkit(folder, "sweep", "s.toml", *runs, "--resume")
    assert done.returncode == 0
    assert (folder / "rows.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert not part.exists()


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_workers_end_with_a_parent_that_is_killed(folder: Path) -> None:
    process = subprocess.Popen(
        [OOMKIT, "sweep", "s.toml", "--set", "runs=100000", "--workers", "2"], cwd=folder,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(_group(process.pid)) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    while _group(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert _group(process.pid) == []


def _group(leader: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[2]) == leader and stat[0] != "Z":
            found.append(int(entry))
    return found


def test_a_fleet_needs_no_sweep_file(folder: Path) -> None:
    fleet = str(ROOT / "sweeps" / "fleet.csv")
    done = oomkit(folder, "sweep", "--fleet", fleet, "--set", "runs=3", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["runs"] == 18
    assert answer["failed"] == 0


def test_what_is_not_installed_is_named(folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules[sys.argv.pop(1)] = None\n"
        "from oomkit.cli.main import main\n"
        "sys.argv[0] = 'oomkit'\n"
        "main()\n"
    )
    for module, args, extra in (
        ("polars", ("s.toml",), "oomkit[sweep]"),
        ("distributed", ("s.toml", "--cluster", "tcp://x:1"), "oomkit[cluster]"),
        ("altair", ("s.toml", "--html", "x.html"), "oomkit[report]"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, module, "sweep", *args],
            capture_output=True, text=True, check=False, timeout=60, cwd=folder,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"install {extra}" in done.stderr
        assert done.stderr.count("\n") == 1
