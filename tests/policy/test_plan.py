"""The compiled policy, and its way to another process."""

import marshal
from typing import Any

import pytest

from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.plan import SCHEMA, Plan
from tests.policy.making import LOW, VERY_LOW, plan, process

WHOLE: dict[str, Any] = {
    "whom": {
        "by": "oom_score",
        "never": [{"comm": "sshd", "user": ["root", "me"]}],
        "prefer": [{"exe": "/opt/*", "by": 3}],
        "avoid": [{"unit": "db.service"}],
    },
    "how": {"instead": [{"comm": "java", "command": ["/bin/restart", "{unit}"]}], "notify": True},
}


def carried(made: Plan) -> Plan:
    return Plan.from_values(marshal.loads(marshal.dumps(made.to_values())))


def test_a_plan_survives_the_way_to_another_process() -> None:
    choosing = {"among": ["/b", "re:/c.*"], "by": "swap", "least": "5%", "spare": "/b/x",
                "last": "/b/y", "pause": "2s"}  # fmt: skip
    made = plan(
        {**LOW, "cgroup": "/a/*", "by": "rss", "psi_some": "5%"}, VERY_LOW, {**LOW, **choosing},
        **WHOLE,
    )  # fmt: skip
    made.users = {1000: "me"}
    again = carried(made)
    assert again.to_values() == made.to_values()
    assert [one.kind.name for one in again.rules[0].conditions] == ["available", "psi_some"]
    assert Matcher(again.selection.never[0].patterns).matches(process(2, comm="sshd", user="me"))
    assert again.selection.prefer[1].match.text == "unit db.service"
    assert again.response.instead[0].command == ("/bin/restart", "{unit}")
    assert again.users == {1000: "me"}
    assert (again.rules[2].least, again.rules[2].pause_s) == ((0.05, True), 2.0)


def test_what_a_plan_asks_of_the_machine() -> None:
    made = plan({**LOW, "cgroup": "/a/*", "by": "rss", "psi_some": "5%"}, VERY_LOW, **WHOLE)
    assert made.fields() == {"comm", "user", "exe", "unit"}
    assert made.rankings() == {"oom_score", "rss"}
    assert len(made.cgroups()) == 1
    assert plan().fields() == frozenset()


@pytest.mark.parametrize("missing", ["name", "polling", "rules", "selection", "response", "users"])
def test_what_lacks_a_part_is_no_plan(missing: str) -> None:
    values = plan(LOW).to_values()
    del values[missing]
    with pytest.raises(ValueError, match="expected a compiled policy"):
        Plan.from_values(values)


@pytest.mark.parametrize("part", ["polling", "selection", "response"])
def test_what_holds_a_field_of_another_version_is_no_plan(part: str) -> None:
    values = plan(LOW).to_values()
    values[part]["news"] = 1
    with pytest.raises(ValueError, match="expected a compiled policy"):
        Plan.from_values(values)


def test_the_plan_of_another_version_is_named_as_such() -> None:
    values = {**plan(LOW).to_values(), "schema": SCHEMA + 1}
    with pytest.raises(ValueError, match="the guard has to be restarted"):
        Plan.from_values(values)
