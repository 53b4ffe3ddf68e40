"""The public interface: what ``import oomkit`` gives a Python program."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import oomkit

ROOT = Path(__file__).parent.parent
SHOP = str(ROOT / "docs/examples/shop.json")
LOGS = ROOT / "tests/data/oom-logs"


def test_every_public_name_is_there_and_documented() -> None:
    for name in oomkit.__all__:
        assert getattr(oomkit, name).__doc__, name
    assert set(dir(oomkit)) == {*oomkit.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        oomkit.nothing  # noqa: B018 - the look-up is what is tested


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import oomkit; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "['oomkit']\n"


def test_a_snapshot_is_ranked_and_decided() -> None:
    snapshot = oomkit.read_snapshot(SHOP)
    rules = oomkit.rules_for(snapshot.kernel)
    request = oomkit.Allocation()
    first = oomkit.rank(snapshot, request, rules)[0]
    decision = oomkit.decide(snapshot, request, rules)
    assert (first.task.comm, first.task.pid) == ("backup", 4711)
    assert [victim.pid for victim in decision.victims] == [4711]
    context = oomkit.control_for(snapshot, request, rules)
    assert oomkit.badness(first.task, context) == first.badness


def test_a_log_is_explained() -> None:
    (told,) = oomkit.explain_log(str(LOGS / "g-3.10.0-514-el7-sed-mysqld.log"))
    assert "mysqld" in told.headline
    assert told.report.killed[0].comm == "mysqld"


def test_a_scenario_is_played() -> None:
    run = oomkit.play(str(ROOT / "scenarios/database-and-leak.toml"))
    assert [kill.task for kill in run.kills] == ["postgres", "leak"]
    guarded = oomkit.play(str(ROOT / "scenarios/database-and-leak.toml"), policy="default")
    assert [kill.by for kill in guarded.kills] == ["default"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: oomkit.rules_for("not a kernel"),
        lambda: oomkit.read_snapshot("/nowhere/s.json"),
        lambda: oomkit.read_scenario("/nowhere/s.toml"),
        lambda: oomkit.explain_log("/nowhere/kern.log"),
        lambda: oomkit.play(str(ROOT / "scenarios/test1.toml"), policy="/nowhere/p.toml"),
    ],
)
def test_every_error_has_one_base(call: Callable[[], object]) -> None:
    with pytest.raises(oomkit.OomkitError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_the_readme_shows_it() -> None:
    text = (ROOT / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    assert code
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "backup" in done.stdout
