"""``oomkit run --policy``."""

import json
import re
import tomllib
from pathlib import Path

from oomkit.policy.read import policy_from
from tests.cli.test_run import SCENARIOS, oomkit

LEAK = str(SCENARIOS / "database-and-leak.toml")
DOCS = SCENARIOS.parent / "docs"


def test_one_policy_tells_its_evidence_and_its_factors() -> None:
    result = oomkit("run", LEAK, "--policy", "default")
    assert result.returncode == 1
    assert "model, kernel 6.12, policy default" in result.stdout
    assert "default kills leak/0" in result.stdout
    assert re.search(r"default: \w+: available", result.stdout)
    assert "chosen: leak[101]" in result.stdout
    assert "badness not computed" not in result.stdout


def test_json_says_by_whom() -> None:
    record = json.loads(oomkit("run", LEAK, "--policy", "earlyoom", "--json").stdout)
    assert record["policy"] == "earlyoom"
    assert {kill["by"] for kill in record["kills"]} == {"earlyoom"}
    many = oomkit(
        "run", LEAK, "--json", "--policy", "default", "--policy", "kernel", "--policy", "nohang"
    )
    assert [one["policy"] for one in json.loads(many.stdout)] == ["default", "kernel", "nohang"]


def test_two_are_shown_side_by_side_and_more_in_a_table() -> None:
    two = oomkit("run", LEAK, "--policy", "default", "--policy", "earlyoom")
    assert "default | earlyoom" in two.stdout
    assert re.search(r"kernel kills +0 +0", two.stdout)
    three = oomkit("run", LEAK, "--policy", "default", "--policy", "kernel", "--policy", "nohang")
    heads = [line.split(" ")[0] for line in three.stdout.splitlines()[2:]]
    assert [head for head in heads if head] == ["policy", "default", "kernel", "nohang"]


def test_a_page_and_a_picture_are_drawn_of_a_guarded_run(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = oomkit("run", LEAK, "--policy", "default", "--html", str(page))
    assert result.returncode == 1
    assert "killed by default" in page.read_text(encoding="utf-8")


def test_misuse_is_reported_in_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "p"\n[[when]]\nlevel = "hard"\npsi_full = "50%"\n')
    for args, expected in (
        (["--policy", "none"], "expected a policy file or one of default, kernel"),
        (["--policy", str(bad)], "bad.toml: when[0]: expected more than pressure"),
        (["--check", "--policy", str(bad)], "bad.toml: when[0]: expected more than pressure"),
        (["--policy", "default", "--on", "cgroup"], "don't go together"),
        (["--policy", "default", "--policy", "kernel", "--log"], "don't go together"),
        (["--policy", "default", "--policy", "kernel", "--vs", "machine.swap=1G"],
         "don't go together"),
    ):  # fmt: skip
        result = oomkit("run", LEAK, *args)
        assert result.returncode == 2, args
        assert expected in result.stderr, args
        assert result.stderr.count("\n") == 1, args
        assert result.stdout == ""


def test_the_policy_in_the_documents_reads() -> None:
    text = (DOCS / "policy.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        assert policy_from(tomllib.loads(example)).when
