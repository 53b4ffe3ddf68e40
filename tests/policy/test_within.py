"""How soon a rule could hold, asked for the near future alone, and rates asked for again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.history import History
from oomkit.policy.engine.reading import INFINITY, Pace, Reading
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.read import find_policy
from tests.policy.making import GB

AMOUNTS = st.floats(0.0, 1.0).map(lambda share: share * GB)
RATES = st.one_of(st.just(INFINITY), st.floats(0.0, 2 * GB))


@st.composite
def readings(draw: st.DrawFn) -> list[Reading]:
    now_s = stalled_us = pages = 0.0
    made = []
    for _ in range(draw(st.integers(1, 6))):
        now_s += draw(st.floats(0.01, 8.0))
        stalled_us += draw(st.floats(0.0, 5e6))
        pages += draw(st.floats(0.0, 1e5))
        made.append(
            Reading(
                now_s, GB, draw(AMOUNTS), GB, draw(AMOUNTS), psi_some_us=stalled_us,
                psi_full_us=stalled_us / 2, refault_pages=pages, swap_in_pages=pages / 2,
                pgscan_pages=pages, working_set_kb=draw(AMOUNTS),
            )
        )  # fmt: skip
    return made


@settings(deadline=None)
@given(
    name=st.sampled_from(["default", "earlyoom", "nohang", "systemd-oomd", "oomd-like"]),
    seen=readings(),
    available=RATES,
    swap=RATES,
    in_turn=st.booleans(),
    within_s=st.floats(0.001, 1000.0),
)
def test_what_comes_later_is_later_and_what_comes_before_is_the_same(
    name: str, seen: list[Reading], available: float, swap: float, in_turn: bool, within_s: float
) -> None:
    found = find_policy(name)
    assert found is not None
    watch = Watch(compile_plan(found), cpus=2)
    for one in seen:
        watch.see(one)
    pace = Pace()
    pace.available_kb_s, pace.swap_kb_s, pace.in_turn = available, swap, in_turn
    whole = watch.earliest_s(seen[-1], pace)
    assert watch.earliest_s(seen[-1], pace, within_s) == min(whole, within_s)


def test_a_rate_is_worked_out_anew_after_each_moment() -> None:
    history = History(10.0, 1.0)
    history.add(0.0, {"pages": 0.0})
    history.add(5.0, {"pages": 10.0})
    assert [history.rate("pages", 5.0) for _ in range(2)] == [2.0, 2.0]
    history.add(10.0, {"pages": 40.0})
    assert history.rate("pages", 5.0) == 6.0
    history.clear()
    assert history.rate("pages", 5.0) == 0.0
