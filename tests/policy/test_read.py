"""Policy files: what they say, and every fault at once with its place."""

import marshal
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oomkit.policy import builtin
from oomkit.policy.compile import compile_plan
from oomkit.policy.describe import effective, explain, missing_words
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.plan import Plan
from oomkit.policy.read import PolicyError, find_policy, policy_from, read_policy
from tests.policy.making import INIT, policy, process, reading


def faults(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        policy_from({"name": "p", **raw}, source="p.toml")
    return caught.value.lines()


@pytest.mark.parametrize("name", builtin.NAMES)
def test_built_in_policies_read_and_become_plain_values(name: str) -> None:
    chosen = find_policy(name)
    assert chosen.name == name
    values = compile_plan(chosen).to_values()
    carried = marshal.loads(marshal.dumps(values))
    assert carried == values
    assert Plan.from_values(carried).to_values() == values


def test_a_name_that_is_neither_built_in_nor_a_file_is_reported_with_those_that_are() -> None:
    with pytest.raises(PolicyError, match=r"earlyom: expected a policy file or one of .*earlyoom"):
        find_policy("earlyom")
    with pytest.raises(PolicyError, match=r"earlyom\.toml: No such file"):
        find_policy("earlyom.toml")


def test_every_fault_is_reported_at_once_with_its_place() -> None:
    text = """
    name = "p"
    [look]
    least = "1h"
    [[when]]
    level = "sof"
    available = "lots"
    [[when]]
    level = "soft"
    [whom]
    growht = 0.5
    [[whom.never]]
    [how]
    before = ["logger"]
    """
    lines = faults(tomllib.loads(text))
    assert [line.split(": ")[1] for line in lines] == [
        "look.least", "when[0].level", "when[0].available", "when[1]", "whom.never[0]",
        "whom.growht", "how.before",
    ]  # fmt: skip
    assert all(line.startswith("p.toml: ") for line in lines)
    assert "did you mean growth?" in lines[5]


def test_pressure_alone_and_plenty_of_memory_are_refused_for_a_kill() -> None:
    """Row 10."""
    assert "more than pressure" in faults({"when": [{"level": "hard", "psi_full": "50%"}]})[0]
    rule = {"level": "soft", "available": "60%", "psi_some": "50%"}
    assert 'at most "50%"' in faults({"when": [rule]})[0]
    assert policy({"level": "warn", "psi_full": "50%"}).when[0].level == "warn"


@pytest.mark.parametrize("value", ["5", 5, "5000000", 5000000, "2_0%", "1e1%"])
def test_amounts_without_a_unit_are_refused(value: object) -> None:
    for key in ("available", "swap_free", "swap_used", "zram"):
        (line,) = faults({"when": [{"level": "soft", key: value}]})
        assert line.startswith(f'p.toml: when[0].{key}: expected a share such as "10%"')
    if not str(value).endswith("%"):
        (line,) = faults({"whom": {"least": value}})
        assert line.startswith("p.toml: whom.least: expected a size")
        rule = {"level": "soft", "available": "5%", "for": value}
        (line,) = faults({"when": [rule], "how": {}})
        assert line.startswith("p.toml: when[0].for: expected a duration")
    assert policy({"level": "soft", "available": "5%", "swap_free": 0, "for": 0}).when


@pytest.mark.parametrize("key", ["term_least", "term_wait", "give_up", "pause", "hard_pause"])
def test_times_without_a_unit_are_refused(key: str) -> None:
    (line,) = faults({"how": {key: 500}})
    assert line.startswith(f"p.toml: how.{key}: expected a duration such as")
    assert line.endswith("with its unit, not 500")


def test_names_longer_than_the_kernel_keeps_are_refused() -> None:
    """Row 8."""
    lines = faults({"whom": {"never": [{"comm": "gnome-shell-calendar-server"}]}})
    assert "15 bytes" in lines[0]
    assert "match exe or cmdline instead" in lines[0]
    assert policy(whom={"never": [{"comm": "gnome-shell-ca*"}]}).whom.never
    assert "regular expression" in faults({"whom": {"avoid": [{"exe": "re:("}]}})[0]


def test_what_cant_go_together_is_refused() -> None:
    assert "a cgroup beside it" in faults({"when": [{"level": "soft", "limit_left": "5%"}]})[0]
    alone = faults({"when": [{"level": "soft", "cgroup": "/a", "available": "5%"}]})
    assert "when[0].cgroup" in alone[0]
    by = faults({"when": [{"level": "soft", "available": "5%", "by": "reclaim"}]})
    assert 'whom.level = "cgroup"' in by[0]


def test_files_that_cant_be_read_give_one_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy(str(tmp_path / "none.toml"))
    assert caught.value.lines() == [f"{tmp_path}/none.toml: No such file or directory"]
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(PolicyError, match="not TOML"):
        read_policy(str(tmp_path / "bad.toml"))


def test_values_can_be_changed_without_the_file() -> None:
    assert find_policy("default", overrides=["whom.level=tree"]).whom.level == "tree"


def test_a_policy_is_explained_in_words() -> None:
    text = "\n".join(explain(find_policy("earlyoom")))
    rule = "memory available is at or below 10 % of RAM and free swap is at or below 10 % of swap"
    assert f"asks a victim to leave (SIGTERM) when {rule}" in text
    assert "the kernel's oom_score; of equals the larger rss" in text
    for name in builtin.NAMES:
        assert explain(find_policy(name))[0].startswith(f"{name}: ")
    assert "never: the kernel's own OOM killer" in "\n".join(explain(find_policy("kernel")))


def test_signals_that_are_missing_are_named_with_their_rules() -> None:
    """Row 9."""
    lines = missing_words(find_policy("default"), reading(0.0, 0.5))
    assert lines[0].startswith("psi_full (")
    assert lines[1].startswith("  so this never happens: asks a victim to leave")
    assert lines[-1] == "there is no swap: conditions on free swap always hold"


def test_the_effective_rule_for_one_process_is_reported() -> None:
    """Row 15."""
    chosen = policy(
        whom={"never": [{"comm": "sshd"}], "prefer": [{"exe": "/usr/bin/chrome*", "by": 3}]},
        how={"instead": [{"comm": "nginx", "command": ["/bin/restart", "nginx"]}]},
    )

    def rule(one: Candidate, *others: Candidate) -> str:
        return "\n".join(effective(chosen, one, processes=(one, *others) if others else ()))

    assert rule(process(5, comm="sshd")) == "sshd[5] is never chosen: never: comm sshd"
    assert rule(INIT) == "init[1] is never chosen: init"
    tab = rule(process(6, 100, exe="/usr/bin/chromium"), process(7, 10), INIT)
    assert "exe /usr/bin/chrome* 3" not in rule(process(6, 100, exe="/bin/x"))
    assert "exe /usr/bin/chrom" not in tab
    tab = rule(process(6, 100, exe="/usr/bin/chrome-beta"), process(7, 10), INIT)
    assert "100 MiB x exe /usr/bin/chrome* 3 = 300 MiB" in tab
    assert "number 1 of 2" in tab
    assert "running /bin/restart nginx" in rule(process(8, comm="nginx"))


def test_an_unset_bound_and_long_times_are_reported_in_words() -> None:
    text = "\n".join(explain(find_policy("earlyoom")))
    assert "SIGKILL once the level is hard" in text
    assert "as many a minute as it takes" in text
    assert "1000000" not in text


def test_what_a_process_counts_for_has_a_unit_and_no_exponent() -> None:
    """A score of 1023 points, and one of sizes."""
    points = policy(whom={"by": "oom_score", "prefer": [{"comm": "a", "points": 300}]})
    (first, why, *_) = effective(points, process(6, 100, comm="a", oom_score=1023))
    assert first == "a[6] would be chosen first: number 1 of 1 that could be"
    assert why.endswith("oom_score 1,023 + comm a 300 = 1,323")
    sizes = policy(whom={"by": "rss"})
    lines = effective(
        sizes, process(6, 100), processes=(process(6, 100), process(7, 3000, comm="big"))
    )
    assert lines[0] == "p6[6] can be chosen: number 2 of 2 that could be"
    assert lines[1].endswith("its resident memory: rss 100 MiB")
    assert lines[2] == "one place before it: big[7] with 2.93 GiB"
    assert lines[3] == "but test has no rule, and never acts"
