"""Whom a policy chooses."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.policy import builtin
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.plan import Plan
from oomkit.policy.engine.reading import CgroupReading
from oomkit.policy.engine.victim import Chooser, best
from oomkit.policy.read import find_policy
from tests.policy.making import INIT, plan, process

OWN = 77


def chosen(made: Plan, *candidates: Candidate, **rest: Any) -> int | None:
    one = best(Chooser(made, own_pids=frozenset({OWN})).rank(candidates, **rest))
    return one.candidate.pid if one is not None else None


def test_what_death_gives_back_ranks_not_what_is_resident() -> None:
    """Shared memory and files stay; swap and page tables come free."""
    shared = process(2, 10, shmem_kb=900_000, file_kb=900_000)
    swapped = process(3, 10, swap_kb=500_000, pgtables_kb=9_000)
    assert chosen(plan(), INIT, shared, swapped) == 3
    sole = process(4, 10, shmem_kb=900_000, shmem_sole_kb=900_000)
    assert chosen(plan(), INIT, shared, swapped, sole) == 4


def test_a_small_tab_with_a_raised_adjustment_does_not_outrank_a_large_process() -> None:
    """Row 6: the weight of oom_score_adj is bounded."""
    tab = process(2, 79, oom_score_adj=300)
    most = process(3, 79, oom_score_adj=1000)
    large = process(4, 3000)
    assert chosen(plan(), tab, most, large) == 4


def test_a_lowered_adjustment_spares_in_proportion() -> None:
    database = process(2, 1000, oom_score_adj=-900)
    other = process(3, 200)
    assert chosen(plan(), database, other) == 3


def test_who_grew_in_the_shortage_goes_before_who_merely_is_large() -> None:
    large = process(2, 2000, growth_kb=0.0)
    leak = process(3, 500, growth_kb=50_000.0)
    assert chosen(plan(), large, leak) == 2
    assert chosen(plan(whom={"growth": 0.9}), large, leak) == 3


def test_work_that_would_be_lost_counts() -> None:
    worked = process(2, 101, cpu_s=50_000.0)
    fresh = process(3, 100)
    assert chosen(plan(), worked, fresh) == 2
    assert chosen(plan(whom={"work": 0.5}), worked, fresh) == 3


def test_preferences_match_every_field() -> None:
    """Rows 8 and 15: comm, exe, command line, user, cgroup, unit, container."""
    fields = {
        "comm": "java", "exe": "/usr/bin/java", "cmdline": "java -jar build.jar", "user": "ci",
        "cgroup": "/user.slice/ci.scope", "unit": "ci.service", "container": "abc123",
    }  # fmt: skip
    for field, value in fields.items():
        other = process(2, 100)
        made = plan(whom={"prefer": [{field: value, "by": 20}]})
        assert chosen(made, other, process(3, 10, **{field: value})) == 3, field
        made = plan(whom={"avoid": [{field: f"re:{value[:3]}.*", "by": 20}]})
        assert chosen(made, process(2, 10), process(3, 100, **{field: value})) == 2, field
        made = plan(whom={"never": [{field: [value, "other"]}]})
        assert chosen(made, process(2, 1), process(3, 100, **{field: value})) == 2, field


def test_a_number_matches_as_user() -> None:
    made = plan(whom={"never": [{"user": "26"}]})
    assert chosen(made, process(2, 1), process(3, 100, uid=26)) == 2


def test_only_fields_that_patterns_name_have_to_be_looked_up() -> None:
    """Row 27."""
    whom = {"never": [{"exe": "/bin/x"}], "prefer": [{"cgroup": "/a*", "comm": "b"}]}
    assert Chooser(plan(whom=whom)).looks_at == {"exe", "cgroup", "comm"}


def test_a_tree_dies_together() -> None:
    """Row 3."""
    made = plan(whom={"level": "tree"})
    root, child, grandchild = process(2, 50), process(3, 5, ppid=2), process(4, 5, ppid=3)
    one = best(Chooser(made).rank([INIT, root, child, grandchild, process(5, 55)]))
    assert one is not None
    assert [m.pid for m in one.members] == [2, 3, 4]
    assert one.level == "tree"
    assert one.freed_kb == 60 * 1024


def test_memory_oom_group_is_honoured_and_bounded() -> None:
    """Rows 1, 2 and 19: the whole cgroup, but not a whole session."""
    group = CgroupReading("/app", 0.0, oom_group=True)
    members = [process(pid, 10, cgroup="/app/inner") for pid in range(10, 15)]
    chooser = Chooser(plan())
    one = best(chooser.rank(members, groups=[group]))
    assert one is not None
    assert (one.level, len(one.members)) == ("cgroup", 5)
    many = [process(pid, 10, cgroup="/app") for pid in range(100, 200)]
    one = best(chooser.rank(many, groups=[group]))
    assert one is not None
    assert (one.level, len(one.members)) == ("process", 1)
    assert "100 in its cgroup, at most 50" in one.note


def test_a_group_that_holds_one_that_must_not_die_is_not_taken_whole() -> None:
    group = CgroupReading("/session", 0.0, oom_group=True)
    never = {"never": [{"comm": "shell"}]}
    shell = process(9, 1, comm="shell", cgroup="/session")
    hog = process(10, 100, cgroup="/session")
    one = best(Chooser(plan(whom=never)).rank([shell, hog], groups=[group]))
    assert one is not None
    assert [m.pid for m in one.members] == [10]
    assert "never" in one.note


def test_cgroups_rank_by_their_sum() -> None:
    """Row 2: process, tree and cgroup are levels of a policy."""
    made = plan(whom={"level": "cgroup"})
    small = [process(pid, 30, cgroup="/many") for pid in range(10, 15)]
    large = process(20, 100, cgroup="/one")
    one = best(Chooser(made).rank([*small, large]))
    assert one is not None
    assert {m.pid for m in one.members} == {10, 11, 12, 13, 14}


def test_who_shares_an_address_space_dies_with_it() -> None:
    one = best(Chooser(plan()).rank([process(2, 50, mm_id=7), process(3, 50, mm_id=7)]))
    assert one is not None
    assert {m.pid for m in one.members} == {2, 3}


def test_only_inside_the_cgroup_a_rule_is_about() -> None:
    inside, outside = process(2, 1, cgroup="/a/b"), process(3, 100, cgroup="/ab")
    assert chosen(plan(whom={"least": 0}), inside, outside, within="/a") == 2


adjs = st.integers(-1000, 1000)
people = st.lists(
    st.builds(
        lambda pid, mb, adj, growth, cpu, kthread, dying, score: process(
            pid, mb, oom_score_adj=adj, growth_kb=growth, cpu_s=cpu, kthread=kthread,
            dying=dying, oom_score=score, cgroup=f"/g{pid % 3}", swap_kb=mb, ppid=pid // 2,
        ),
        st.integers(1, 100), st.floats(0, 4000), adjs, st.none() | st.floats(0, 4e6),
        st.floats(0, 1e6), st.booleans(), st.booleans(), st.integers(0, 2000),
    ),
    unique_by=lambda c: c.pid, max_size=20,
)  # fmt: skip


@pytest.mark.parametrize("name", builtin.NAMES)
@settings(deadline=None)
@given(people, st.randoms(use_true_random=False))
def test_never_the_untouchable_and_never_by_order(
    name: str, candidates: list[Candidate], rng: Any
) -> None:
    """Row 26: not init, not kernel threads, not itself, not -1000, not the dying."""
    chooser = Chooser(compile_plan(find_policy(name)), own_pids=frozenset({OWN}))
    groups = [CgroupReading(f"/g{i}", 0.0, pgscan_pages=float(i), oom_group=i == 1)
              for i in range(3)]  # fmt: skip
    ranked = chooser.rank(candidates, groups=groups)
    for one in ranked:
        if not one.verdict:
            for member in one.members:
                assert member.pid not in (1, OWN)
                assert not member.kthread
                assert not member.dying
                assert member.oom_score_adj > -1000
    shuffled = list(candidates)
    rng.shuffle(shuffled)
    again = chooser.rank(shuffled, groups=groups)
    assert [(o.candidate.pid, o.score, o.verdict) for o in ranked] == [
        (o.candidate.pid, o.score, o.verdict) for o in again
    ]


@settings(deadline=None)
@given(people, st.integers(0, 19), st.floats(1.0, 1e6))
def test_who_would_give_back_more_never_ranks_lower_for_it(
    candidates: list[Candidate], index: int, more: float
) -> None:
    if not candidates:
        return
    chooser = Chooser(compile_plan(find_policy("default")))

    def place(pid: int) -> int:
        return [o.candidate.pid for o in chooser.rank(candidates)].index(pid)

    one = candidates[index % len(candidates)]
    before = place(one.pid)
    one.anon_kb += more
    assert place(one.pid) <= before


def test_among_those_who_die_as_one_the_largest_is_named() -> None:
    large = process(2, 900, cgroup="/job", start_time=10)
    young = process(3, 100, cgroup="/job", start_time=99)
    group = CgroupReading("/job", 0.0, oom_group=True)
    for order in ((large, young), (young, large)):
        assert chosen(plan(), *order, groups=(group,)) == 2
