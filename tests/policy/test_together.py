"""Who can't but die together, what can't be known, and choices that are taken back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.escalation import Escalation
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.victim import Chooser, best
from oomkit.policy.read import policy_from
from tests.policy.making import LOW, plan, process, reading

NS, DEEPER = 4026532001, 4026532002


def ranked(*candidates: Candidate, **whom: Any) -> list[Ranked]:
    return Chooser(plan(LOW, whom=whom)).rank(candidates)


def test_sharers_are_one_choice_of_one_size_whichever_is_asked() -> None:
    rows = ranked(process(2, 50, mm_id=7), process(3, 50, mm_id=7), process(4, 60))
    assert [row.candidate.pid for row in rows] == [4, 2]
    assert [one.pid for one in rows[1].members] == [2, 3]
    assert rows[1].freed_kb == 50 * 1024
    assert rows[1].level == "address space"


def test_who_shares_with_a_protected_one_is_protected() -> None:
    rows = ranked(
        process(2, 50, mm_id=7), process(3, 50, mm_id=7, comm="precious"), process(4, 5),
        never=[{"comm": "precious"}],
    )  # fmt: skip
    assert [row.candidate.pid for row in rows] == [4, 2]
    assert rows[1].verdict == "precious[3] shares its memory: never: comm precious"


def test_an_init_takes_all_in_its_namespace_along_and_is_not_chosen_for_their_sake() -> None:
    init = process(2, 40, init_of=NS, namespaces=(NS,))
    inside = [process(3, 20, namespaces=(NS,)), process(4, 30, namespaces=(DEEPER, NS))]
    rows = ranked(init, *inside, process(5, 50))
    assert [row.candidate.pid for row in rows] == [5, 2, 4, 3]
    rows = rows[1:]
    assert [one.pid for one in rows[0].members] == [2, 3, 4]
    assert rows[0].freed_kb == 90 * 1024
    assert rows[0].level == "pid namespace"


@pytest.mark.parametrize("level", ["process", "tree", "cgroup"])
@pytest.mark.parametrize("nested", [True, False])
def test_an_init_with_a_protected_one_in_its_namespace_is_spared(level: str, nested: bool) -> None:
    namespaces = (DEEPER, NS) if nested else (NS,)
    rows = ranked(
        process(2, 90, init_of=NS, namespaces=(NS,), cgroup="/a"),
        process(3, 1, namespaces=namespaces, comm="precious", ppid=9, cgroup="/b"),
        process(5, 5, cgroup="/c"),
        never=[{"comm": "precious"}], level=level,
    )  # fmt: skip
    first = best(rows)
    assert first is not None
    assert first.candidate.pid == 5
    (verdict,) = [row.verdict for row in rows if row.candidate.pid == 2]
    assert verdict == "precious[3] dies with it: never: comm precious"


def test_a_tree_is_not_taken_whole_for_the_sake_of_whom_an_init_in_it_takes_along() -> None:
    rows = ranked(
        process(2, 50), process(3, 10, ppid=2, init_of=NS, namespaces=(NS,)),
        process(4, 1, ppid=99, namespaces=(NS,), comm="precious"),
        never=[{"comm": "precious"}], level="tree",
    )  # fmt: skip
    assert rows[0].candidate.pid == 2
    assert [one.pid for one in rows[0].members] == [2]
    assert rows[0].note.startswith("alone: p3[3] in its tree: precious[4] dies with it: never")


def test_more_than_may_die_at_once_are_not_taken_with_an_init() -> None:
    init = process(2, 90, init_of=NS, namespaces=(NS,))
    inside = [process(pid, 1, namespaces=(NS,)) for pid in (3, 4, 5)]
    rows = ranked(init, *inside, most_processes=3)
    (row,) = [row for row in rows if row.candidate.pid == 2]
    assert row.verdict == "4 die together, at most 3 may die at once"


def test_memory_on_its_way_counts_once() -> None:
    escalation = Escalation(plan(LOW))
    choice = Ranked(process(2, 50, mm_id=7))
    choice.members = (process(2, 50, mm_id=7), process(3, 50, mm_id=7))
    escalation.begin(choice, 1.0, 3)
    assert escalation.coming_kb(1.0) == 50 * 1024


def decider() -> Decider:
    made = Decider(plan({"level": "hard", "available": "10%"}))
    made.look(reading(1.0, 0.02))
    return made


def test_a_choice_that_is_refused_is_recorded_and_the_next_one_is_made_at_once() -> None:
    asked = []

    def check(one: Ranked) -> str:
        asked.append(one.candidate.pid)
        return "protected" if one.candidate.pid != 2 else ""

    act = decider().choose([process(2, 10), process(3, 20), process(4, 30)], check=check)
    assert act is not None
    assert asked == [4, 3, 2]
    assert act.choice.candidate.pid == 2
    assert [row.verdict for row in act.ranked] == ["protected", "protected", ""]


def test_where_all_are_refused_each_is_asked_once() -> None:
    asked = []

    def check(one: Ranked) -> str:
        asked.append(one.candidate.pid)
        return "protected"

    assert decider().choose([process(pid, pid) for pid in range(2, 9)], check=check) is None
    assert asked == [8, 7, 6, 5, 4, 3, 2]


def test_who_is_spared_is_waited_for_no_longer_and_costs_no_pause() -> None:
    made = decider()
    act = made.choose([process(2, 10)])
    assert act is not None
    assert not made.look(reading(1.01, 0.02)).choose
    made.spared(2, 2, signalled=False)
    assert made.look(reading(1.02, 0.02)).choose


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("sshd.service", "sshd.service", True),
        ("sshd.service", "user@1000.service/sshd.service", False),
        ("*sshd.service", "user@1000.service/sshd.service", False),
        ("re:.*sshd.*", "user@1000.service/sshd.service", False),
        ("*", "user@1000.service/sshd.service", True),
        ("user@1000.service", "user@1000.service/sshd.service", True),
        ("user@*.service/sshd.service", "user@1000.service/sshd.service", True),
        ("user@*.service/sshd.service", "sshd.service", False),
        ("*/sshd.service", "user@1000.service/sshd.service", True),
        ("docker-*.scope/sshd.service", "docker-1.scope/sshd.service", True),
    ],
)
def test_a_unit_is_the_system_managers_unless_the_pattern_says_otherwise(
    pattern: str, value: str, matches: bool
) -> None:
    raw = {"name": "x", "whom": {"never": [{"unit": [pattern, "other.service"]}]}}
    (match,) = compile_plan(policy_from(raw)).selection.never
    assert Matcher(match.patterns).matches(process(2, unit=value)) is matches


FIELDS = ("comm", "exe", "cgroup")


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from("ab"), min_size=1),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from("ab")),
    st.sets(st.sampled_from(FIELDS[1:])),
)
def test_what_is_unknown_never_makes_a_protected_one_free(
    match: dict[str, str], truth: dict[str, str], hidden: set[str]
) -> None:
    """Whatever would be protected if all were known is not free when some of it is not."""
    chooser = Chooser(plan(LOW, whom={"never": [match]}))
    known = Candidate(2, 1, 1, truth.get("comm", ""))
    unknown = Candidate(2, 1, 1, truth.get("comm", ""))
    for field in FIELDS[1:]:
        setattr(known, field, truth.get(field))
        setattr(unknown, field, None if field in hidden else truth.get(field))
    unknown.unknown = tuple(hidden)
    if chooser.refusal(known):
        assert chooser.refusal(unknown)
    if not hidden & match.keys():
        assert chooser.refusal(unknown) == chooser.refusal(known)
