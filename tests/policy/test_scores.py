"""What a score is made of, worked out by hand."""

import re
from typing import Any

import pytest

from oomkit.policy.compile import expression, expression_of
from oomkit.policy.engine.candidate import Candidate, Growth, Ranked, memories
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.reading import CgroupReading
from oomkit.policy.engine.victim import Chooser
from tests.policy.making import plan, process

MB = 1024.0


def ranked(*candidates: Candidate, groups: Any = (), by: str | None = None, **whom: Any) -> Any:
    """Each candidate's choice, by pid."""
    found = Chooser(plan(whom={"least": 0, **whom})).rank(candidates, groups=groups, by=by)
    return {one.candidate.pid: one for one in found}


def parts(one: Ranked) -> dict[str, float]:
    return dict(one.factors)


def test_memory_alone_is_the_score_where_nothing_else_weighs() -> None:
    one = ranked(process(2, 100, swap_kb=50 * MB, pgtables_kb=2 * MB), adj=0)[2]
    assert one.factors == (("gain_kb", 152 * MB),)
    assert (one.score, one.freed_kb, one.equal_kb, one.gain_kb) == (152 * MB,) * 4


@pytest.mark.parametrize(("adj", "weight", "factor"), [
    (1000, 0.5, 1.5), (500, 0.5, 1.25), (1, 1.0, 1.001), (1000, 2.0, 3.0),
    (-1, 0.5, 0.999), (-500, 0.5, 0.5), (-500, 2.0, 0.5), (-999, 0.5, 0.001),
])  # fmt: skip
def test_an_adjustment_counts_in_proportion(adj: int, weight: float, factor: float) -> None:
    one = ranked(process(2, 100, oom_score_adj=adj), adj=weight)[2]
    assert parts(one)["oom_score_adj"] == pytest.approx(factor)
    assert one.score == pytest.approx(100 * MB * factor)


def test_no_adjustment_is_no_factor() -> None:
    assert "oom_score_adj" not in parts(ranked(process(2, 100))[2])
    assert "oom_score_adj" not in parts(ranked(process(2, 100, oom_score_adj=500), adj=0)[2])


def test_of_those_who_die_together_the_highest_adjustment_counts() -> None:
    tree = (process(2, 100), process(3, 100, ppid=2, oom_score_adj=500))
    assert parts(ranked(*tree, level="tree")[2])["oom_score_adj"] == 1.25


@pytest.mark.parametrize(("cpu_s", "factor"), [(0.0, 1.0), (600.0, 0.8), (1800.0, 0.7)])
def test_work_counts_half_at_ten_minutes(cpu_s: float, factor: float) -> None:
    one = ranked(process(2, 100, cpu_s=cpu_s), work=0.4)[2]
    assert parts(one)["work"] == pytest.approx(factor)


def test_the_work_of_all_who_die_is_lost() -> None:
    tree = (process(2, 100, cpu_s=300.0), process(3, 100, ppid=2, cpu_s=300.0))
    assert parts(ranked(*tree, level="tree", work=0.4)[2])["work"] == pytest.approx(0.8)


def test_growth_is_a_share_of_the_largest_growth() -> None:
    among = [process(2, 100, growth_kb=0.0), process(3, 100, growth_kb=50.0),
             process(4, 100, growth_kb=100.0), process(5, 100)]  # fmt: skip
    found = ranked(*among, growth=0.8)
    factors = {pid: parts(one)["growth"] for pid, one in found.items()}
    assert factors == pytest.approx({2: 0.2, 3: 0.6, 4: 1.0, 5: 0.2})


def test_where_nobody_grew_growth_is_no_factor() -> None:
    assert "growth" not in parts(ranked(process(2, 100, growth_kb=0.0), growth=0.8)[2])
    assert "growth" not in parts(ranked(process(2, 100, growth_kb=9.0), growth=0.0)[2])


def test_who_fills_tmpfs_gains_what_it_would_have_gone_on_to_take() -> None:
    one = ranked(process(2, 100, tmpfs_growth_kb=300 * MB), growth=0.5)[2]
    assert one.gain_kb == one.score == 400 * MB
    assert one.freed_kb == 100 * MB
    assert parts(one)["growth"] == 1.0
    both = process(3, 1, growth_kb=2.0, tmpfs_growth_kb=3.0)
    assert both.grown_kb() == 5.0


def test_preferences_multiply_and_divide() -> None:
    whom: Any = {"prefer": [{"comm": "p2", "by": 3}], "avoid": [{"comm": "p3", "by": 4}]}
    found = ranked(process(2, 100), process(3, 100), process(4, 100), adj=0, **whom)
    assert {pid: one.score / MB for pid, one in found.items()} == {2: 300.0, 3: 25.0, 4: 100.0}
    assert found[2].factors[-1] == ("comm p2", 3.0)


def test_whom_a_policy_avoids_counts_wherever_it_would_die_along() -> None:
    """Who goes earlier has to be chosen for its own sake; who goes later is spared with others."""
    init = process(2, 100, init_of=7)
    inside = process(3, 10, namespaces=(7,))
    avoided = ranked(init, inside, avoid=[{"comm": "p3", "by": 4}])[2]
    assert avoided.score == 25 * MB
    preferred = ranked(init, inside, prefer=[{"comm": "p3", "by": 4}])[2]
    assert preferred.score == 100 * MB
    assert preferred.freed_kb == 110 * MB
    assert preferred.level == "pid namespace"


@pytest.mark.parametrize(("by", "score"), [
    ("oom_score", 700.0), ("rss", 60 * MB), ("swap", 5 * MB), ("growth", 9.0), ("reclaim", 77.0),
])  # fmt: skip
def test_other_ways_of_ranking(by: str, score: float) -> None:
    one = process(
        2, 10, oom_score=700, shmem_kb=20 * MB, file_kb=30 * MB, swap_kb=5 * MB, growth_kb=9.0,
        cgroup="/a",
    )  # fmt: skip
    found = ranked(one, by=by, groups=(CgroupReading("/a", 0.0, pgscan_pages=77.0),))[2]
    assert found.factors == ((by, score),)
    assert found.score == score
    assert found.freed_kb == 15 * MB
    assert found.equal_kb == (60 * MB if by == "oom_score" else 15 * MB)


@pytest.mark.parametrize("by", ["oom_score", "swap", "growth", "reclaim"])
def test_what_is_not_known_counts_nothing(by: str) -> None:
    groups = (CgroupReading("/a", 0.0), CgroupReading("/b", 0.0, pgscan_pages=3.0))
    for cgroup in ("/a", None):
        one = ranked(process(2, 10, cgroup=cgroup), by=by, groups=groups)[2]
        assert (one.score, one.verdict) == (0.0, "too little to gain")


def test_of_several_the_highest_oom_score_and_the_sum_of_sizes() -> None:
    tree = (process(2, 10, oom_score=5, swap_kb=1.0, growth_kb=1.0),
            process(3, 20, oom_score=9, ppid=2, swap_kb=2.0, growth_kb=2.0))  # fmt: skip
    for by, score in (("oom_score", 9.0), ("rss", 30 * MB), ("swap", 3.0), ("growth", 3.0)):
        assert ranked(*tree, by=by, level="tree")[2].score == score
    assert ranked(*tree, by="oom_score", level="tree")[2].equal_kb == 20 * MB


def test_points_are_added_to_oom_score_and_factors_multiply_the_others() -> None:
    whom: Any = {"prefer": [{"comm": "p2", "by": 3, "points": 100}],
            "avoid": [{"comm": "p*", "by": 2, "points": 30}]}  # fmt: skip
    points = ranked(process(2, 10, oom_score=700), by="oom_score", **whom)[2]
    assert points.factors == (("oom_score", 700.0), ("comm p2", 100.0), ("comm p*", -30.0))
    assert points.score == 770.0
    assert ranked(process(2, 10), by="rss", **whom)[2].score == 15 * MB


def test_a_shared_address_space_counts_once() -> None:
    both = [process(2, 50, mm_id=7, cpu_s=600.0), process(3, 50, mm_id=7)]
    one = ranked(*both)[2]
    assert (one.freed_kb, one.score) == (50 * MB, 50 * MB)
    alone = process(4, 1)
    assert memories([*both, alone]) == [both[0], alone]
    assert memories([both[0]]) == [both[0]]
    assert memories([alone, process(5)])[0] is alone


def test_least_is_what_a_death_has_to_gain_at_least() -> None:
    def verdict(one: Candidate, **whom: Any) -> str:
        (found,) = Chooser(plan(whom=whom)).rank([one])
        return found.verdict

    assert verdict(process(2, 1)) == ""
    assert verdict(process(2, 0.99)) == "too little to gain"
    assert verdict(process(2, 0.5, tmpfs_growth_kb=0.5 * MB)) == ""
    assert verdict(process(2, 9.9), least="10M") == "too little to gain"
    assert verdict(process(2, 10.0), least="10M") == ""
    assert verdict(process(2, 0.0), least=0) == "too little to gain"


def order(*candidates: Candidate, **rest: Any) -> list[int]:
    chooser = Chooser(plan(whom={"adj": 0, **rest}))
    first = [one.candidate.pid for one in chooser.rank(candidates)]
    assert first == [one.candidate.pid for one in chooser.rank(candidates[::-1])]
    return first


def test_equals_are_told_apart() -> None:
    """By what all give back, by what it gives back alone, by age, by pid."""
    assert order(process(2, 10, start_time=5), process(3, 10, start_time=6)) == [3, 2]
    assert order(process(2, 10, start_time=5), process(3, 10, start_time=5)) == [3, 2]
    assert order(process(2, 10, start_time=6), process(3, 10, start_time=5)) == [2, 3]
    # Equal scores: one gives back more, the other is avoided less.
    avoided = {"avoid": [{"comm": "p2", "by": 2}]}
    assert order(process(2, 20), process(3, 10, start_time=99), **avoided) == [2, 3]
    # Equal scores and sums: a tree of two against one; the one is larger by itself.
    tree = (process(2, 10, start_time=99), process(4, 10, ppid=2, start_time=99))
    assert order(*tree, process(3, 20), level="tree")[0] == 3
    assert order(INITIAL, process(3, 5)) == [3, 1]


INITIAL = process(1, 999)


@pytest.mark.parametrize(("field", "value", "text"), [
    ("pid", 1, "init"), ("kthread", True, "kernel thread"), ("pid", 77, "the guard itself"),
    ("dying", True, "already dying"), ("oom_score_adj", -1000, "oom_score_adj -1000"),
    ("oom_score_adj", -999, ""), ("pid", 2, ""), ("comm", "sshd", "never: comm sshd"),
])  # fmt: skip
def test_why_a_process_must_not_be_chosen(field: str, value: Any, text: str) -> None:
    one = process(5, 10)
    setattr(one, field, value)
    chooser = Chooser(plan(whom={"never": [{"comm": "sshd"}]}), own_pids=frozenset({77}))
    assert chooser.refusal(one) == text


def test_what_could_not_be_read_is_not_taken_for_unprotected() -> None:
    chooser = Chooser(plan(whom={"never": [
        {"comm": "a", "exe": "/x"}, {"unit": "u", "user": "me"}, {"exe": "/y"},
    ]}))  # fmt: skip
    assert chooser.protection(process(5, comm="b", unknown=("unit",))) == ""  # user is not me
    assert chooser.protection(process(5, user="me", unknown=("unit",))) == (
        "never: user me, unit u, as far as can be known (unit)"
    )
    assert chooser.protection(process(5, comm="a", unknown=("exe", "unit", "user"))) == (
        "never: comm a, exe /x, as far as can be known (exe)"
    )
    assert chooser.protection(process(5, unknown=("unit", "user"))) == (
        "never: user me, unit u, as far as can be known (user, unit)"
    )
    # What surely protects goes before what may.
    assert chooser.protection(process(5, comm="a", exe="/y", unknown=("unit", "user"))) == (
        "never: exe /y"
    )


def test_a_pattern_has_to_match_the_whole_value_and_a_missing_one_matches_nothing() -> None:
    def holds(pattern: str, field: str = "exe", **fields: Any) -> bool:
        return Matcher([(field, pattern)]).matches(process(5, **fields))

    assert holds("/bin/a", exe="/bin/a")
    assert not holds("/bin/a", exe="/bin/ab")
    assert not holds(".*")
    assert holds("a.b", "cmdline", cmdline="a\nb")
    assert holds("26", "user", uid=26)
    assert holds("me", "user", uid=26, user="me")
    assert not holds("26", "user", uid=27)
    assert not holds("None", "user")
    assert not holds("26", "comm", uid=26)


def test_an_outer_unit_covers_those_inside_of_it_and_only_of_units() -> None:
    def holds(field: str, pattern: str, value: str) -> bool:
        made = Matcher([(field, expression_of(field, (pattern,)))])  # type: ignore[arg-type]  # any field
        one = process(5)
        setattr(one, field, value)
        return made.matches(one)

    for field in ("unit", "container"):
        assert holds(field, "a.service", "a.service")
        assert holds(field, "a.service", "a.service/b.service")
        assert not holds(field, "b.service", "a.service/b.service")
        assert holds(field, "a.service/b*", "a.service/b.service")
        assert not holds(field, "re:.*b.service", "a.service/b.service")
        assert holds(field, "re:.*/b.service", "a.service/b.service")
    assert not holds("exe", "a", "a/b")
    assert holds("exe", "*b", "a/b")
    assert holds("cgroup", "re:.*b", "/a/b")


def test_alternatives_become_one_expression() -> None:
    assert re.fullmatch(expression(("a*", "re:b.")), "axx")
    assert re.fullmatch(expression(("a*", "re:b.")), "bx")
    assert not re.fullmatch(expression(("a*", "re:b.")), "bxx")
    assert expression(("re:b.",)) == "(?:b.)"
    assert expression(("re:b.", "re:c"), outer=True) == "(?!.*/)(?:b.)|(?!.*/)(?:c)"
    assert expression(("re:a/b",), outer=True) == "(?:a/b)"


def within(path: str, *cgroups: str | None) -> list[int]:
    among = [process(10 + i, 10, cgroup=cgroup) for i, cgroup in enumerate(cgroups)]
    return sorted(o.candidate.pid for o in Chooser(plan()).rank(among, within=path))


def test_inside_a_cgroup_is_in_it_or_below() -> None:
    assert within("/a", "/a", "/a/b", "/ab", "/", None) == [10, 11]
    assert within("/", "/a", "/", "/a/b", None) == [10, 11, 12]


def test_sizes_of_a_process() -> None:
    one = Candidate(5, 1, 1, "x", anon_kb=1.0, shmem_kb=2.0, file_kb=4.0, swap_kb=8.0,
                    pgtables_kb=16.0, shmem_sole_kb=32.0)  # fmt: skip
    assert one.rss_kb() == 7.0
    assert one.freed_kb() == 57.0
    assert one.grown_kb() == 0.0
    bare = Candidate(5, 1, 1, "x")
    assert (bare.rss_kb(), bare.freed_kb(), bare.cpu_s, bare.age_s) == (0.0, 0.0, 0.0, 0.0)
    assert (bare.oom_score_adj, bare.kthread, bare.dying, bare.tid) == (0, False, False, 5)


def test_sizes_are_known_from_the_first_time_they_are_noted_until_they_are_forgotten() -> None:
    growth = Growth(10.0)

    def known() -> bool:
        return growth.is_known

    assert not known()
    growth.note(0.0, 100.0, {})
    assert known()
    assert not growth.due(9.9, 0.0, 1.0)
    assert growth.due(10.0, 99.0, 1.0)
    assert not growth.due(10.0, 99.5, 1.0)
    growth.forget()
    assert not known()
    assert growth.of(2, 2, 1.0) is None
    assert growth.due(10.0, 100.0, 1.0)


def test_what_a_death_stops_is_weighed_where_freed_ranks_alone() -> None:
    assert ranked(process(2, 10), by="rss")[2].gain_kb == 0.0
    assert ranked(process(2, 10))[2].gain_kb == 10 * MB
