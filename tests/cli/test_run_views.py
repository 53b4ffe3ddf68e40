import json
import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pytest

from tests.conftest import Command

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
    page = unescape((tmp_path / "x.html").read_text())
    for line in re.findall(r"^ *([\d.]+ s)  (\w[^\n]*)$", alone, re.MULTILINE):
        if "more" not in line[1]:
            assert re.search(rf">{line[0]}<.{{1,90}}{re.escape(line[1][:40])}", page, re.DOTALL)


def test_a_table_like_free_is_the_same_beside_a_page(
    oomkit: Command, leak: str, tmp_path: Path
) -> None:
    alone = oomkit("run", leak, "--free", "3s").stdout
    assert oomkit("run", leak, "--free", "3s", "--html", str(tmp_path / "x.html")).stdout == alone


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
        ("--vs", "vm.swappiness=1", "--html", "x.html"),
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
