"""What a rule says of its choice, and what ranks beside sizes."""

from typing import Any

import pytest

from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.reading import CgroupReading
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import PolicyError, policy_from
from tests.policy.making import GB, LOW, plan, process, reading

CGROUPS = {"level": "cgroup", "by": "swap", "least": "0"}
TREE = ("/a/b/one", "/a/b/two", "/a/c", "/d")


def crowd(*swap_mb: float) -> list[Candidate]:
    return [
        process(10 + i, comm=path.rpartition("/")[2], cgroup=path, swap_kb=1024 * mb)
        for i, (path, mb) in enumerate(zip(TREE, swap_mb, strict=True))
    ]


def chosen(
    rule: dict[str, Any], swap_mb: tuple[float, ...] = (10, 20, 30, 40), *groups: CgroupReading
) -> list[str]:
    decider = Decider(plan({**LOW, **rule}, whom=CGROUPS))
    moment = reading(0.0, 0.05, swap_total_kb=GB, swap_free_kb=GB)
    assert decider.look(moment).choose
    act = decider.choose(crowd(*swap_mb), groups)
    return [] if act is None else sorted(one.comm for one in act.choice.members)


@pytest.mark.parametrize(
    ("rule", "victims"),
    [
        ({}, ["d"]),
        ({"among": "/a"}, ["c"]),
        ({"among": ["/a/b", "/a/c/below"]}, ["two"]),
        ({"among": "/no"}, []),
        ({"spare": "/d"}, ["c"]),
        # What would die is matched, none above or below it.
        ({"spare": ["/d", "/a", "/a/c/below"]}, ["c"]),
        ({"last": "/d"}, ["c"]),
        ({"last": "re:/.*"}, ["d"]),
        ({"least": "30M"}, ["d"]),
        ({"least": "40M"}, []),
        ({"least": "3%"}, ["d"]),
        ({"least": "4%"}, []),
        ({"among": "/a/b", "whole": True}, ["one", "two"]),
    ],
)
def test_among_which_cgroups_a_rule_chooses(rule: dict[str, Any], victims: list[str]) -> None:
    assert chosen(rule) == victims


def test_a_kill_reaches_no_further_than_the_cgroups_in_which_a_rule_chooses() -> None:
    whole = CgroupReading("/a", 0.0, oom_group=True)
    assert chosen({"among": "/a"}, (10, 20, 30, 40), whole) == ["c"]
    assert chosen({}, (10, 20, 30, 40), whole) == ["c", "one", "two"]
    inner = CgroupReading("/a/b", 0.0, oom_group=True)
    assert chosen({"among": "/a"}, (20, 20, 30, 40), inner) == ["one", "two"]


def test_a_rule_has_its_own_pause() -> None:
    decider = Decider(plan({**LOW, "pause": "20s"}, how={"pause": "1s", "term": False}))
    hog = process(5, 100)
    assert decider.look(reading(0.0, 0.05)).choose
    assert decider.choose([hog]) is not None
    decider.died(5, 5, 0.5)
    looks = {t: decider.look(reading(t, 0.05)) for t in (1.0, 5.0, 20.0, 20.6)}
    assert [look.choose for look in looks.values()] == [False, False, False, True]
    assert looks[5.0].obstacle == "pause of 20 s after the last one"
    assert decider.next_look_s(reading(20.0, 0.05)) <= 10.0


def test_all_amounts_of_a_list_have_to_be_met() -> None:
    rule = {"level": "soft", "available": ["10%", "50M"], "for": "1s"}
    decider = Decider(plan(rule))
    moments = ((0.0, 60), (1.0, 60), (1.5, 50), (2.0, 40), (2.5, 40))
    looks = [decider.look(reading(t, mb / 1024)).choose for t, mb in moments]
    assert looks == [False, False, False, False, True]


def scores(whom: dict[str, Any], *candidates: Candidate) -> list[tuple[str, float]]:
    found = Chooser(plan(whom={"least": "0", **whom})).rank(candidates)
    return [(one.candidate.comm, one.score) for one in found if not one.verdict]


def test_what_is_preferred_counts_points_or_a_size() -> None:
    low = process(5, comm="low", oom_score=300, oom_score_adj=-1)
    high = process(6, comm="high", oom_score=310)
    points = {"by": "oom_score", "prefer": [{"comm": "search:ow$", "points": 20}]}
    assert scores(points, low, high) == [("low", 320.0), ("high", 310.0)]
    points["prefer"][0]["unless_lowered"] = True  # type: ignore[index]  # plain values
    assert scores(points, low, high) == [("high", 310.0), ("low", 300.0)]
    size = {"by": "rss", "avoid": [{"comm": "search:^h", "size": "4M"}], "least_score": -1e6}
    assert scores(size, process(7, 10, comm="h"), process(8, 7, comm="l")) == [
        ("l", 7168.0), ("h", 6144.0),
    ]  # fmt: skip


def test_a_raised_adjustment_can_be_taken_off() -> None:
    tab = process(5, comm="tab", oom_score=900, oom_score_adj=300)
    db = process(6, comm="db", oom_score=720, oom_score_adj=-300)
    both = scores({"by": "oom_score", "raised_adj": 0.6667}, tab, db)
    assert both == [("db", 720.0), ("tab", 700.0)]


@pytest.mark.parametrize(("least", "left"), [(None, ["b"]), (0, ["b", "a"]), (8, [])])
def test_what_scores_too_little_is_not_chosen(least: float | None, left: list[str]) -> None:
    whom: dict[str, Any] = {"by": "oom_score", "avoid": [{"comm": "a", "points": 7}]}
    if least is not None:
        whom["least_score"] = least
    both = scores(whom, process(5, comm="a", oom_score=7), process(6, comm="b", oom_score=7))
    assert [name for name, _ in both] == left


def test_an_expression_may_be_searched_for() -> None:
    sshd = process(5, comm="sshd")
    for text, spared in (("search:ssh", True), ("search:^hd", False), ("re:ssh", False),
                         ("search:hd$", True), ("search:a|h", True)):  # fmt: skip
        chooser = Chooser(plan(whom={"never": [{"comm": text}]}))
        assert bool(chooser.refusal(sshd)) is spared, text


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"least": "5%"}, 'when[0].least: expected by = "swap" beside it'),
        ({"whole": True}, "when[0].whole: expected cgroup or among beside it"),
        ({"among": "/a", "whole": True}, 'when[0].whole: expected whom.level = "cgroup" beside it'),
        ({"available": []}, "when[0].available: expected at least one threshold"),
        ({"pause": 5}, "when[0].pause: expected a duration"),
        ({"spare": "re:("}, "when[0].spare: expected a regular expression after re:"),
        ({"last": "search:("}, "when[0].last: expected a regular expression after search:"),
    ],
)
def test_what_is_wrong_is_named(rule: dict[str, Any], fault: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_from({"name": "x", "when": [{**LOW, **rule}]})
    assert any(fault in line for line in caught.value.lines())
