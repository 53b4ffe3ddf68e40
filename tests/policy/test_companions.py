"""How many of one name go together."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.engine.candidate import Ranked
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.kill_scope import take_along
from tests.policy.making import GB, VERY_LOW, plan, process, reading

MB = 1024.0


def ranked(pid: int, mb: float, grown_mb: float, comm: str = "bomb", **fields: Any) -> Ranked:
    one = Ranked(process(pid, mb, comm=comm, growth_kb=grown_mb * MB, **fields))
    one.freed_kb = one.candidate.freed_kb()
    return one


def taken(among: list[Ranked], *, left_mb: float, falls_mb_s: float, **changed: Any) -> list[int]:
    """Who dies when the first of these is chosen."""
    usual: dict[str, Any] = {"lasts_s": 1.0, "share": 1.0, "most": 50}
    take_along(
        among[0], among, left_kb=left_mb * MB, falls_kb_s=falls_mb_s * MB, **{**usual, **changed}
    )
    return [member.pid for member in among[0].members]


def test_who_has_all_the_growth_goes_alone() -> None:
    among = [ranked(10, 50, 50), ranked(11, 400, 0), ranked(12, 400, 0)]
    assert taken(among, left_mb=1, falls_mb_s=1000) == [10]
    assert among[0].level == "process"


def test_so_many_go_that_the_rest_can_grow_for_that_long() -> None:
    """Ten grow by 10 MB/s each; 50 MB are left, so five may stay where deaths give back nothing."""
    bombs = [ranked(pid, 20, 20) for pid in range(10, 20)]
    assert taken(bombs, left_mb=50, falls_mb_s=100, share=0.0) == [10, 11, 12, 13, 14]
    assert bombs[0].level == "namesakes"
    assert bombs[0].freed_kb == 5 * 20 * MB


def test_what_deaths_give_back_lasts_as_well() -> None:
    bombs = [ranked(pid, 20, 20) for pid in range(10, 20)]
    assert taken(bombs, left_mb=30, falls_mb_s=100) == [10, 11, 12]


def test_others_stay() -> None:
    """Another name, who did not grow, who must not be chosen, and who takes others along."""
    group = ranked(14, 20, 20)
    group.level = "cgroup"
    refused = ranked(13, 20, 20)
    refused.verdict = "never: comm bomb"
    among = [ranked(10, 20, 20), ranked(11, 20, 20, comm="cc1"), ranked(12, 20, 0), refused, group,
             ranked(15, 20, 20)]  # fmt: skip
    assert taken(among, left_mb=0, falls_mb_s=1000) == [10, 15]


def test_the_growth_of_the_dying_is_over() -> None:
    among = [ranked(10, 20, 20), ranked(11, 20, 20), ranked(12, 20, 60, dying=True)]
    assert taken(among, left_mb=10, falls_mb_s=50, share=0.0) == [10]


def test_no_more_than_the_bound() -> None:
    bombs = [ranked(pid, 20, 20) for pid in range(10, 40)]
    assert len(taken(bombs, left_mb=0, falls_mb_s=9000, most=7)) == 7


GROWN_MB = st.floats(0, 500).map(lambda mb: round(mb, 3))


@given(
    st.lists(st.tuples(st.floats(1, 500), GROWN_MB, st.booleans()), min_size=1),
    st.floats(0, 1000),
    st.floats(0, 5000),
    st.floats(0.05, 1.0),
)
def test_none_goes_without_need(
    sizes: list[tuple[float, float, bool]], left_mb: float, falls_mb_s: float, share: float
) -> None:
    among = [
        ranked(10 + i, mb, grown, comm="bomb" if same or not i else "other")
        for i, (mb, grown, same) in enumerate(sizes)
    ]
    pids = taken(among, left_mb=left_mb, falls_mb_s=falls_mb_s, share=share)
    assert pids[0] == 10
    assert len(set(pids)) == len(pids)
    all_kb = sum(one.candidate.growth_kb or 0.0 for one in among)
    if len(pids) > 1:
        short_of = [one for one in among if one.candidate.pid in pids[:-1]]
        stays = sum(c.candidate.growth_kb or 0.0 for c in among if c not in short_of)
        back = share * sum(one.candidate.freed_kb() for one in short_of)
        assert left_mb * MB + back <= falls_mb_s * MB * stays / all_kb * (1 + 1e-6)


def test_shared_pages_are_not_counted_as_often_as_they_are_mapped() -> None:
    """Eight forked processes seem to hold twice of what there is: a death gives half at most."""
    decider = Decider(plan(VERY_LOW, whom={"lasts": "1s"}))
    decider.look(reading(0.0, 0.04, anon_kb=0.5 * GB))
    found = decider.choose([process(pid, 128, comm="bomb") for pid in range(10, 18)])
    assert found is not None
    assert decider.escalation.share == 0.5
    assert decider.escalation.coming_kb(0.0) == 64 * MB
