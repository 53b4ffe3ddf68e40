"""Above how much available memory a plan has nothing to do."""

from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.conditions import CALM, KINDS
from oomkit.policy.engine.pace import calm_of
from oomkit.policy.engine.plan_parts import Condition
from oomkit.policy.engine.reading import Reading
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.read import find_policy

TOTAL_KB = float(64 << 20)
amounts = st.floats(0.0, 1.0)


@given(amounts, amounts, st.integers(0, 10**7), st.integers(0, 10**7))
def test_above_it_nothing_holds_whatever_else_is_so(
    available: float, swap: float, psi_us: int, pages: int
) -> None:
    plan = compile_plan(find_policy("default"))
    calm = calm_of(plan, TOTAL_KB, cpus=2)
    assert calm is not None
    watch = Watch(plan, cpus=2)
    state = None
    for t_s, share in ((0.0, 0.0), (10.0, 1.0)):
        state = watch.see(
            Reading(
                t_s, TOTAL_KB, TOTAL_KB * available, TOTAL_KB, TOTAL_KB * swap,
                psi_some_us=psi_us * share, psi_full_us=psi_us * share,
                refault_pages=pages * share, swap_in_pages=pages * share,
                pgscan_pages=pages * share,
            )
        )  # fmt: skip
    assert state is not None
    if calm.next_look_s(TOTAL_KB * available):
        assert state.level == CALM
        assert not state.warm


def test_a_rule_without_available_memory_wants_all_to_be_looked_at() -> None:
    plan = compile_plan(find_policy("default"))
    plan.rules[0].conditions = (Condition(KINDS["psi_full"], 0.5, share=False),)
    assert calm_of(plan, TOTAL_KB, cpus=2) is None


def test_the_pace_is_that_of_the_machine() -> None:
    calm = calm_of(compile_plan(find_policy("default")), float(16 << 20), cpus=2)
    assert calm is not None
    # 2 GiB/s on two CPUs, down to the tenth at which pressure counts.
    assert 6.0 < calm.next_look_s(float(15 << 20)) < 7.5
