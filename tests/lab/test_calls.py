"""What a page is answered, by the Python that runs the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot
from oomkit.lab.calls import call
from tests.conftest import Command

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests/data/oom-logs/m-5.15-pve-lxc-php-fpm-german-date.log"


def ask(name: str, **given: Any) -> Any:
    """The answer to a page's question."""
    return json.loads(call(name, json.dumps(given)))["answer"]


def faults(name: str, **given: Any) -> list[str]:
    """What is wrong with a page's question."""
    found: list[str] = json.loads(call(name, json.dumps(given)))["faults"]
    return found


def test_a_log_is_explained_as_the_command_does(oomkit: Command) -> None:
    ask("explain", path=str(LOG))
    assert ask("explain_records") == oomkit("explain", "--json", str(LOG)).stdout
    assert ask("explain_page") == oomkit("explain", "--html", "-", str(LOG)).stdout


def test_a_scenario_is_played_as_the_command_does(oomkit: Command) -> None:
    path = ROOT / "scenarios/container-at-limit.toml"
    command = ("run", str(path), "--json", "--set", "machine.swap=64M", "--policy", "earlyoom")
    given = {"overrides": ["machine.swap=64M"], "policy": "earlyoom"}
    record = ask("record", text=path.read_text(), **given)
    assert f"{record}\n" == oomkit(*command).stdout
    shown = ask("play", text=path.read_text(), **given)
    assert len(shown["kills"]) == len(json.loads(record)["kills"]) == len(shown["traces"])


def test_two_runs_share_their_axis_and_are_compared() -> None:
    text = (ROOT / "scenarios/database-and-leak.toml").read_text()
    sides: list[dict[str, Any]] = [{}, {"overrides": ["machine.ram=256M"], "policy": "earlyoom"}]
    found = ask("compare", text=text, sides=sides)
    left, right = found["runs"]
    assert left["end_s"] == right["end_s"]
    assert {"kills", "policy"} <= {row["field"] for row in found["rows"]}


def test_every_fault_of_a_scenario_is_named() -> None:
    assert faults("play", text="name = [") == [
        "scenario: not TOML: Invalid value (at end of document)"
    ]
    found = faults("play", text='name = 1\n[machine]\nram = "1G"\nswap = "x"\n')
    assert [line.split(": ")[1] for line in found] == ["name", "machine.swap", "task"]
    with pytest.raises(KeyError):
        call("no such question", "{}")


def test_a_snapshot_is_ranked_with_changes(machine: Snapshot) -> None:
    text = encode_snapshot(machine).decode()
    before = ask("rank", snapshot=text)
    assert before["victims"] == [812]
    after = ask("rank", snapshot=text, settings=["task.812.oom_score_adj=-900"], why=812)
    assert after["victims"] == [900]
    assert "812" in after["why"]
    inside = ask("rank", snapshot=text, memcg="/pods/a")
    assert sorted(inside["victims"]) == [901, 902]
    old = ask("rank", snapshot=text, kernel="2.6.32")
    assert old["rules"] == "2.6.32"


def test_what_can_not_be_ranked_says_why(machine: Snapshot) -> None:
    text = encode_snapshot(machine).decode()
    assert "snapshot" in faults("rank", snapshot="{}")[0]
    assert "1.0" in faults("rank", snapshot=text, kernel="1.0")[0]
    assert "nobody" in faults("rank", snapshot=text, settings=["task.nobody.oom_score_adj=1"])[0]


def test_the_form_shows_what_the_scenario_sets() -> None:
    text = (ROOT / "scenarios/container-at-limit.toml").read_text()
    found = ask("scenario", text=text, overrides=["machine.ram=3G", "vm.swappiness=1"])
    assert found["ram_mb"] == 3072
    assert found["vm"]["swappiness"] == 1
    assert any(group["max_mb"] for group in found["cgroups"])
