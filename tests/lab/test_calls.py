"""What a page is answered, by the Python that runs the command."""

import json
import tomllib
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


def test_a_report_is_shown_in_all_its_parts() -> None:
    ask("explain", path=str(LOG))
    found = ask("explain_detail", number=1)
    columns = [name for name, _, _ in found["processes"]["columns"]]
    rows = [dict(zip(columns, row, strict=True)) for row in found["processes"]["rows"]]
    (killed,) = (row for row in rows if row["note"][1] == "killed")
    assert (killed["process"][0], killed["pid"][0]) == ("php-fpm", 3902942)
    assert max(row["badness"][0] or 0 for row in rows) == killed["badness"][0]
    text = LOG.read_text(errors="replace").splitlines()
    for number, _, pieces in found["lines"]:
        assert "".join(piece[0] for piece in pieces) == text[number - 1].expandtabs()
    keys = {piece[1] for _, _, pieces in found["lines"] for piece in pieces if piece[1]}
    assert keys == set(found["meanings"])
    assert "99" in faults("explain_detail", number=99)[0]


def test_reports_far_into_a_packed_log_are_found_again() -> None:
    path = ROOT / "tests/data/oom-logs/w-2.6.32-642-el6-php-fpm-20-reports.log.xz"
    ask("explain", path=str(path))
    for number in (1, 20):
        _, _, pieces = ask("explain_detail", number=number)["lines"][0]
        assert "invoked oom-killer" in "".join(piece[0] for piece in pieces)


def test_a_redacted_log_shows_no_line_of_its_own() -> None:
    ask("explain", path=str(LOG), redact=True)
    found = ask("explain_detail", number=1)
    assert found["redacted"]
    assert found["lines"] == []
    assert "php-fpm" not in json.dumps(found)


def test_policies_are_judged_by_what_the_command_records(oomkit: Command) -> None:
    path = ROOT / "scenarios/database-and-leak.toml"
    found = ask("outcome", text=path.read_text(), overrides=["machine.ram=3G"], policy="earlyoom")
    words = ("run", str(path), "--json", "--set", "machine.ram=3G", "--policy", "earlyoom")
    record = json.loads(oomkit(*words).stdout)
    objectives = record["objectives"]
    assert [value for value, _ in found["figures"]] == [
        objectives.get(key, 0)
        for key in ("kills", "freed_mb", "work_lost_s", "innocents_killed", "frozen_s",
                    "protected_killed")
    ]  # fmt: skip
    assert found["ended"][0] == record["ended_s"]


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda p: p.stem)
def test_changes_are_written_into_a_scenarios_own_text(path: Path) -> None:
    text = path.read_text()
    first = tomllib.loads(text)["task"][0]
    changes = ["machine.swap=3G", "vm.swappiness=10", "machine.kernel=5.10"]
    if "oom_adj" not in first:
        changes.append(f"task.{first['name']}.oom_score_adj=55")
    found = ask("scenario", text=text, overrides=changes)["text"]
    before = ask("record", text=text, overrides=changes)
    assert ask("record", text=found) == before
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in found.splitlines() if line.startswith("#")
    ]


def test_what_can_not_be_written_into_a_text_makes_a_new_one() -> None:
    text = 'machine = { ram = "1G" }\nname = "a"\ntask = [ { name = "x", steps = [{touch="9M"}] } ]'
    found = ask("scenario", text=text, overrides=["machine.ram=2G", "task.x.oom_score_adj=7"])
    assert found["ram_mb"] == 2048
    again = ask("scenario", text=found["text"])
    assert (again["ram_mb"], again["tasks"]) == (2048, found["tasks"])


def test_a_picture_has_fewer_samples_of_the_same_run() -> None:
    text = (ROOT / "scenarios/test1.toml").read_text()
    record = json.loads(ask("record", text=text))
    shown = ask("play", text=text)
    assert [kill["t"] for kill in shown["kills"]] == [kill["t_s"] for kill in record["kills"]]
    assert len(shown["memory"]["t"]) < len(record["samples"]["t_s"]) / 2
    assert sum(len(one["t"]) for one in shown["tasks"]["curves"]) < 12_000


def test_a_scenario_is_played_as_the_command_does(oomkit: Command) -> None:
    path = ROOT / "scenarios/container-at-limit.toml"
    command = ("run", str(path), "--json", "--set", "machine.swap=64M", "--policy", "earlyoom")
    given = {"overrides": ["machine.swap=64M"], "policy": "earlyoom"}
    record = ask("record", text=path.read_text(), **given)
    assert f"{record}\n" == oomkit(*command).stdout
    shown = ask("play", text=path.read_text(), **given)
    (rest,) = ask("details")
    assert len(shown["kills"]) == len(json.loads(record)["kills"])
    assert rest["traces"] == [kill["trace"] for kill in json.loads(record)["kills"]]
    assert rest["log"] == json.loads(record)["log"]


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
