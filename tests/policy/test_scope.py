"""How far a kill reaches: bounds to both sides, and what each refusal says."""

from typing import Any

import pytest

from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.kill_scope import take_along
from oomkit.policy.engine.reading import CgroupReading
from oomkit.policy.engine.victim import Chooser
from tests.policy.making import plan, process

MB = 1024.0


def choices(*candidates: Candidate, groups: Any = (), **whom: Any) -> dict[int, Ranked]:
    found = Chooser(plan(whom=whom)).rank(candidates, groups=groups)
    return {one.candidate.pid: one for one in found}


def reach(one: Ranked) -> tuple[str, list[int], str]:
    return one.level, [member.pid for member in one.members], one.note


def group(path: str, **fields: Any) -> CgroupReading:
    return CgroupReading(path, 0.0, **{"oom_group": True, **fields})


def test_as_many_as_the_bound_die_together_and_not_one_more() -> None:
    tree = [process(2, 50), process(3, 5, ppid=2), process(4, 5, ppid=3)]
    whole = choices(*tree, level="tree", most_processes=3)[2]
    assert reach(whole) == ("tree", [2, 3, 4], "")
    bounded = choices(*tree, level="tree", most_processes=2)[2]
    assert reach(bounded) == (
        "process", [2], "alone: 3 in its tree, at most 2 may die at once",
    )  # fmt: skip
    assert bounded.freed_kb == 50 * MB


def test_a_tree_with_somebody_who_is_spared_is_not_taken() -> None:
    tree = [process(2, 50), process(3, 5, ppid=2, oom_score_adj=-1000)]
    one = choices(*tree, level="tree")[2]
    assert reach(one) == ("process", [2], "alone: p3[3] in its tree: oom_score_adj -1000")


def test_those_who_are_dying_already_neither_count_nor_spare() -> None:
    tree = [process(2, 50), process(3, 5, ppid=2, dying=True), process(4, 5, ppid=2)]
    one = choices(*tree, level="tree", most_processes=2)[2]
    assert reach(one) == ("tree", [2, 4], "")


def test_a_process_without_children_is_no_tree() -> None:
    assert reach(choices(process(2, 50), level="tree")[2]) == ("process", [2], "")


def test_parents_that_go_round_in_a_circle_end() -> None:
    """As when a number was used again while the processes were read."""
    one = choices(process(2, 50, ppid=3), process(3, 5, ppid=2), level="tree")[2]
    assert reach(one) == ("tree", [2, 3], "")


def test_members_come_by_pid_after_the_one_it_is_about() -> None:
    tree = [process(9, 50), process(20, 5, ppid=9), process(3, 5, ppid=9), process(5, 1, ppid=20)]
    assert [m.pid for m in choices(*tree, level="tree")[9].members] == [9, 3, 5, 20]


def test_the_uppermost_group_counts_and_never_the_root() -> None:
    inner = [process(2, 5, cgroup="/a/b"), process(3, 5, cgroup="/a/c")]
    both = (group("/a/b"), group("/a"), group("/"))
    assert reach(choices(*inner, groups=both)[2]) == ("cgroup", [2, 3], "")
    assert reach(choices(*inner, groups=(group("/a/b"), group("/")))[2])[1] == [2]
    assert reach(choices(*inner, groups=both, oom_group=False)[2])[1] == [2]
    assert reach(choices(*inner, groups=(group("/a", oom_group=False),))[2])[1] == [2]


def test_a_group_of_a_similar_name_is_another() -> None:
    among = [process(2, 5, cgroup="/app2"), process(3, 5, cgroup="/app"), process(4, 5)]
    found = choices(*among, process(5, 5, cgroup="/app/x"), groups=(group("/app"),))
    assert reach(found[2]) == ("process", [2], "")
    assert reach(found[3]) == ("cgroup", [3, 5], "")
    assert reach(found[4]) == ("process", [4], "")


def test_a_group_that_is_too_large_says_so() -> None:
    among = [process(pid, 5, cgroup="/a") for pid in (2, 3, 4)]
    assert reach(choices(*among, groups=(group("/a"),), most_processes=2)[2]) == (
        "process", [2], "alone: 3 in its cgroup, at most 2 may die at once",
    )  # fmt: skip
    assert reach(choices(*among, groups=(group("/a"),), most_processes=3)[2])[0] == "cgroup"


def by_cgroup(*candidates: Candidate, groups: Any = (), **whom: Any) -> dict[int, Ranked]:
    return choices(*candidates, groups=groups, level="cgroup", **whom)


def test_a_cgroup_is_one_choice_about_its_largest_process() -> None:
    among = [process(2, 5, cgroup="/a"), process(3, 9, cgroup="/a"), process(4, 9, cgroup="/a/b")]
    found = by_cgroup(*among)
    assert set(found) == {3, 4}
    assert reach(found[3]) == ("cgroup", [3, 2], "")
    assert found[3].score == 14 * MB
    whole = by_cgroup(*among, groups=(group("/a"),))
    assert set(whole) == {4}  # the younger of equals
    assert reach(whole[4]) == ("cgroup", [4, 2, 3], "")


def test_equals_of_a_cgroup_are_told_apart_by_age_and_pid() -> None:
    old, young = process(9, 5, cgroup="/a", start_time=1), process(2, 5, cgroup="/a", start_time=2)
    assert set(by_cgroup(old, young)) == {2}
    same = process(3, 5, cgroup="/a", start_time=2)
    assert set(by_cgroup(old, young, same)) == {3}


def test_who_has_no_known_cgroup_or_is_refused_is_listed_with_the_reason() -> None:
    found = by_cgroup(process(2, 5), process(3, 5, cgroup="/a", kthread=True))
    assert found[2].verdict == "its cgroup is not known"
    assert found[3].verdict == "kernel thread"


def test_a_cgroup_with_somebody_spared_loses_its_largest_alone() -> None:
    among = [process(2, 5, cgroup="/a"), process(3, 9, cgroup="/a", oom_score_adj=-1000)]
    found = by_cgroup(*among)
    assert reach(found[2]) == (
        "process", [2], "alone: p3[3] in its cgroup: oom_score_adj -1000",
    )  # fmt: skip


def test_who_shares_memory_with_one_who_is_spared_is_spared() -> None:
    among = [process(2, 5, mm_id=7), process(3, 5, mm_id=7, oom_score_adj=-1000)]
    found = choices(*among)
    assert set(found) == {2}  # one memory, one choice
    assert found[2].verdict == "p3[3] shares its memory: oom_score_adj -1000"


def test_the_init_of_a_namespace_with_one_who_is_spared_is_spared() -> None:
    init, inside = process(2, 5, init_of=7), process(3, 5, namespaces=(7,), oom_score_adj=-1000)
    found = choices(init, inside, process(4, 5, namespaces=(8,)))
    assert found[2].verdict == "p3[3] dies with it: oom_score_adj -1000"
    assert found[4].verdict == ""


@pytest.mark.parametrize(("most", "verdict"), [
    (3, ""), (2, "3 die together, at most 2 may die at once"),
])  # fmt: skip
def test_who_cant_die_without_too_many_is_not_chosen(most: int, verdict: str) -> None:
    among = [process(2, 5, init_of=7), *(process(pid, 5, namespaces=(7,)) for pid in (3, 4))]
    assert choices(*among, most_processes=most)[2].verdict == verdict
    dying = [*among, process(5, 5, namespaces=(7,), dying=True)]
    assert choices(*dying, most_processes=most)[2].verdict == verdict


def test_what_a_namespaces_init_takes_along_is_freed_and_not_weighed() -> None:
    init = process(2, 5, init_of=7, mm_id=1)
    shares = process(9, 5, mm_id=1)
    inside = process(3, 40, namespaces=(7, 8))
    one = choices(init, shares, inside, process(4, 1, dying=True, namespaces=(7,)))[2]
    assert reach(one) == ("pid namespace", [2, 3, 9], "")
    assert [member.pid for member in one.weighed] == [2, 9]
    assert (one.freed_kb, one.score) == (45 * MB, 5 * MB)


def test_namespaces_within_namespaces_die_with_the_outer_one() -> None:
    outer, inner = process(2, 5, init_of=7), process(3, 5, init_of=8, namespaces=(7,))
    leaf = process(4, 5, namespaces=(7, 8))
    sharer = process(5, 5, mm_id=1)
    inside = process(6, 5, namespaces=(8,), mm_id=1)
    found = choices(outer, inner, leaf, sharer, inside)
    assert sorted(m.pid for m in found[2].members) == [2, 3, 4, 5, 6]
    assert sorted(m.pid for m in found[3].members) == [3, 4, 5, 6]
    assert [m.pid for m in found[5].members] == [5, 6]
    assert found[5].level == "address space"


def test_who_shares_an_address_space_is_taken_into_a_tree() -> None:
    tree = [process(2, 50), process(3, 5, ppid=2, mm_id=1), process(4, 5, mm_id=1)]
    assert reach(choices(*tree, level="tree")[2]) == ("tree", [2, 3, 4], "")


def bombs(count: int, **first: Any) -> list[Ranked]:
    found = []
    for pid in range(10, 10 + count):
        one = Ranked(process(pid, 20, comm="bomb", growth_kb=20 * MB))
        one.freed_kb = one.gain_kb = one.candidate.freed_kb()
        found.append(one)
    for name, value in first.items():
        setattr(found[0], name, value)
    return found


def along(among: list[Ranked], **changed: Any) -> list[int]:
    usual: dict[str, Any] = {
        "left_kb": 0.0, "falls_kb_s": 100 * MB, "lasts_s": 1.0, "share": 0.0, "most": 50,
    }  # fmt: skip
    take_along(among[0], among, **{**usual, **changed})
    return [member.pid for member in among[0].members]


def test_as_many_of_a_name_go_as_it_takes_and_not_one_more() -> None:
    """Ten grow 10 MB/s each: with 50 MB left five may stay for a second, with less four."""
    assert along(bombs(10), left_kb=50 * MB) == [10, 11, 12, 13, 14]
    assert along(bombs(10), left_kb=50 * MB - 1) == [10, 11, 12, 13, 14, 15]
    assert along(bombs(10), left_kb=25 * MB, lasts_s=0.5) == [10, 11, 12, 13, 14]
    assert along(bombs(10), left_kb=90 * MB) == [10]


def test_what_goes_along_is_added_up() -> None:
    among = bombs(10)
    along(among, left_kb=70 * MB)
    one = among[0]
    assert (len(one.members), one.level) == (3, "namesakes")
    assert one.freed_kb == one.gain_kb == 60 * MB


def test_what_deaths_give_counts_by_its_share() -> None:
    """Three deaths give 30 MB at one half: with them 70 MB are left for the seven who stay."""
    assert along(bombs(10), left_kb=40 * MB, share=0.5) == [10, 11, 12]


def test_the_bound_on_how_many_go() -> None:
    assert len(along(bombs(10), most=10)) == 10
    assert len(along(bombs(10), most=3)) == 3
    assert along(bombs(10), most=1) == [10]


def test_a_choice_that_reaches_further_already_is_not_widened() -> None:
    assert along(bombs(10, level="tree")) == [10]


def test_where_nobody_grew_nobody_goes_along() -> None:
    among = bombs(3)
    for one in among:
        one.candidate.growth_kb = None
    assert along(among) == [10]


def test_who_takes_others_along_is_no_namesake() -> None:
    among = bombs(3)
    among[1].members = (among[1].candidate, process(99))
    assert along(among) == [10, 12]
