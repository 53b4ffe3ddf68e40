import json
import re
import shlex
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.views.schema import hold_page

_LEAK = """
name = "a leak beside a shell"
duration = "2m"

[machine]
ram = "512M"
cpus = 2

[[task]]
name = "leak"
steps = [{ touch = "2G", rate = "20M/s" }]

[[task]]
name = "shell"
steps = [{ touch = "5M" }, { work = "20s" }]
"""


@pytest.fixture
def leak(tmp_path: Path) -> str:
    path = tmp_path / "leak.toml"
    path.write_text(_LEAK)
    return str(path)


def test_the_story_tells_what_happened_and_why(oomkit: Command, leak: str) -> None:
    """R1, R5."""
    done = oomkit("run", leak)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert re.search(
        r"\d s  the kernel kills leak/0 \(pid \d+\)\n +select_bad_process: leak\[", done.stdout
    )
    assert re.search(r"^kills +1 ", done.stdout, re.MULTILINE)
    assert "oomkit" not in done.stdout


def test_a_dumb_encoding_gets_ascii(oomkit: Command, leak: str) -> None:
    done = oomkit("run", leak, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "70"})
    assert done.stdout.isascii()
    assert "the kernel kills leak/0" in done.stdout


def test_the_page_and_the_pictures_are_written(oomkit: Command, leak: str, tmp_path: Path) -> None:
    names = {kind: tmp_path / f"out.{kind}" for kind in ("html", "png", "svg")}
    options = [part for kind, path in names.items() for part in (f"--{kind}", str(path))]
    done = oomkit("run", leak, *options)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"wrote {path}" for path in names.values()]
    assert "the kernel kills" in done.stdout
    assert "a leak beside a shell" in names["html"].read_text()
    assert names["png"].read_bytes().startswith(b"\x89PNG")
    assert ET.fromstring(names["svg"].read_bytes()).tag.endswith("svg")


@pytest.mark.parametrize("name", ["database-and-leak", "test1", "fork-bomb"])
def test_the_story_is_the_same_whatever_is_written_beside_it(
    oomkit: Command, name: str, tmp_path: Path
) -> None:
    path = str(Path(__file__).parents[2] / "scenarios" / f"{name}.toml")
    alone = oomkit("run", path).stdout
    for kind in ("html", "svg"):
        assert oomkit("run", path, f"--{kind}", str(tmp_path / f"x.{kind}")).stdout == alone
    samples = json.loads(oomkit("run", path, "--json").stdout)["samples"]
    full = re.search(r"^ *([\d.]+) s  swap is full", alone, re.MULTILINE)
    if full is not None:
        first = next(
            t
            for t, free in zip(samples["t_s"], samples["swap_free_mb"], strict=True)
            if free <= 0.01 * max(samples["swap_free_mb"])
        )
        assert f"{first:.1f}" == full[1]
    hold_page((tmp_path / "x.html").read_text())
    page = unescape((tmp_path / "x.html").read_text())
    for line in re.findall(r"^ *([\d.]+ s)  (\w[^\n]*)$", alone, re.MULTILINE):
        if "more" not in line[1]:
            assert re.search(rf">{line[0]}<.{{1,90}}{re.escape(line[1][:40])}", page, re.DOTALL)


def test_a_table_like_free_is_the_same_beside_a_page(
    oomkit: Command, leak: str, tmp_path: Path
) -> None:
    alone = oomkit("run", leak, "--free", "3s").stdout
    assert oomkit("run", leak, "--free", "3s", "--html", str(tmp_path / "x.html")).stdout == alone


@pytest.mark.parametrize(
    "several",
    [
        ("--vs", "machine.ram=8G", "--seed", "3", "--set", "vm.swappiness=10"),
        ("--policy", "default", "--policy", "kernel", "--policy", "earlyoom"),
    ],
)
def test_several_runs_have_a_page_that_says_what_text_and_json_say(
    oomkit: Command, leak: str, several: tuple[str, ...], tmp_path: Path
) -> None:
    page_path = tmp_path / "several.html"
    text = oomkit("run", leak, *several)
    drawn = oomkit("run", leak, *several, "--html", str(page_path))
    assert (drawn.returncode, drawn.stdout) == (text.returncode, text.stdout)
    hold_page(page_path.read_text())
    page = unescape(page_path.read_text())
    assert f"<code>{shlex.join(['oomkit', 'run', leak])} " in page
    again = re.search(r"<code>(oomkit run [^<]*)</code>", page)
    assert again is not None
    assert oomkit(*shlex.split(again[1])[1:]).stdout == text.stdout
    answer = json.loads(oomkit("run", leak, *several, "--json").stdout)
    runs = list(answer.values()) if isinstance(answer, dict) else answer
    for i, run in enumerate(runs):
        for n, one in enumerate(run["kills"]):
            part = page.partition(f'id="kill-{i}-{n}"')[2].partition("</details>")[0]
            assert f"kills {one['task']}/{one['instance']} (pid {one['pid']})" in part
            assert one["trace"][-1] in part
        assert f'id="chart-memory-{i}"' in page
    row = re.search(r'<th scope="row">kills</th>(.*)</tr>', page)
    assert row is not None
    assert re.findall(r"<td>(\d+)", row[1]) == [str(run["objectives"]["kills"]) for run in runs]


def test_a_recording_has_a_page(oomkit: Command, tmp_path: Path) -> None:
    recording = str(Path(__file__).parents[2] / "docs" / "examples" / "night.recording")
    options = ("--policy", "default", "--policy", "earlyoom")
    text = oomkit("run", recording, *options, env={"TZ": "UTC"})
    path = tmp_path / "r.html"
    drawn = oomkit("run", recording, *options, "--html", str(path), env={"TZ": "UTC"})
    assert (drawn.returncode, drawn.stdout) == (text.returncode, text.stdout)
    page = unescape(path.read_text())
    hold_page(path.read_text())
    happened = re.findall(r"^(\d\d:\d\d:\d\d)  (\S.*)$", text.stdout, re.MULTILINE)
    assert len(happened) == 4
    for when, what in happened:
        assert re.search(
            rf"{when}</span>\s*<div>\s*<details id=\"kill-\d-\d\">\s*<summary>{re.escape(what)}",
            page,
        )


@pytest.mark.parametrize("name", ["test1", "overcommit-2"])
@pytest.mark.parametrize("columns", ["80", "60"])
def test_everything_fits_the_columns_there_are(oomkit: Command, name: str, columns: str) -> None:
    path = str(Path(__file__).parents[2] / "scenarios" / f"{name}.toml")
    for more in ((), ("--vs", "machine.swap=1G"), ("--policy", "default", "--policy", "earlyoom")):
        wide = oomkit("run", path, *more, env={"COLUMNS": "200"}).stdout
        done = oomkit("run", path, *more, env={"COLUMNS": columns}).stdout
        assert max(map(len, done.splitlines())) <= int(columns)
        assert "\u2026" not in done
        # What is said is the same: only the places where lines end differ.
        words = re.compile(r"\b(?!x+\b)[A-Za-z_]{3,}\b|\d+\.\d+")
        if not more:
            assert sorted(words.findall(done)) == sorted(words.findall(wide))
        assert "freed_mb" not in done


def test_a_picture_to_standard_output_stands_alone(oomkit: Command, leak: str) -> None:
    done = oomkit("run", leak, "--svg", "-")
    assert done.stderr == ""
    assert ET.fromstring(done.stdout).tag.endswith("svg")


def test_two_runs_stand_side_by_side(oomkit: Command, leak: str) -> None:
    done = oomkit("run", leak, "--vs", "vm.panic_on_oom=1")
    assert done.returncode == 1
    assert re.search(r"^outcome +\w+ +panicked +worse$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +as it is +vm.panic_on_oom=1$", done.stdout, re.MULTILINE)


def test_two_runs_as_json_are_both_records(oomkit: Command, leak: str, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(_LEAK.replace('ram = "512M"', 'ram = "8G"'))
    done = oomkit("run", leak, "--vs", str(other), "--json")
    both = json.loads(done.stdout)
    assert [len(both[key]["kills"]) for key in ("first", "second")] == [1, 0]


def test_a_line_a_second_like_free(oomkit: Command, leak: str) -> None:
    """R17."""
    record = json.loads(oomkit("run", leak, "--json").stdout)
    lines = oomkit("run", leak, "--free", "1s").stdout.splitlines()[2:]
    assert len(lines) >= record["ended_s"]
    for line in lines:
        total, used, free, cached = map(int, line.split()[1:5])
        assert abs(used + free + cached - total) <= 2
    assert sum("killed leak/0" in line for line in lines) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--json", "--log"),
        ("--free", "1s", "--json"),
        ("--vs", "vm.swappiness=1", "--log"),
        ("--vs", "vm.swappiness=1", "--png", "x.png"),
        ("--vs", "vm.swappiness=1", "--json", "--html", "-"),
        ("--all", "--json"),
        ("--check", "--json"),
        ("--png", "-", "--svg", "-"),
        ("--png", "-", "--json"),
        ("--vs", "a.toml", "--vs", "b.toml"),
        ("--vs", "nonexistent"),
        ("--vs", "vm.nonexistent=1"),
        ("--html", "/nonexistent/x.html"),
        ("--free", "0s"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(
    oomkit: Command, leak: str, options: tuple[str, ...]
) -> None:
    done = oomkit("run", leak, *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_missing_extra_says_what_to_install(oomkit: Command, leak: str, tmp_path: Path) -> None:
    (tmp_path / "altair.py").write_text("raise ImportError('not here')\n")
    done = oomkit("run", leak, "--png", "x.png", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr == (
        "oomkit: --png: pictures and pages need altair: install oomkit[report] "
        "(altair, jinja2, vl-convert-python)\n"
    )
