"""When a rule holds and when to look again, worked out by hand."""

from typing import Any

import pytest

from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.conditions import CALM, HARD, KINDS, SOFT, WARN
from oomkit.policy.engine.decider import Act, Decider
from oomkit.policy.engine.reading import (
    INFINITY,
    CgroupReading,
    Pace,
    Reading,
    available_kb,
    left_kb,
)
from oomkit.policy.engine.trigger import Watch
from tests.policy.making import GB, LOW, VERY_LOW, plan, process, reading

MB = 1024.0


def test_what_is_available_and_what_is_left() -> None:
    one = Reading(0.0, 1000.0, 100.0, 80.0, 40.0, arc_kb=7.0)
    assert available_kb(one) == 107.0
    assert left_kb(one) == 147.0
    bare = Reading(0.0, 1000.0, 100.0)
    assert (available_kb(bare), left_kb(bare), bare.zram_kb, bare.anon_kb) == (100.0, 100.0, 0, 0)


@pytest.mark.parametrize(("kind", "value"), [
    ("available", 107.0), ("swap_free", 40.0), ("swap_used", 60.0), ("zram", 9.0),
    ("psi_some", 2.0), ("psi_full", 1.0), ("refault", 8.0), ("swap_in", 12.0), ("reclaim", 20.0),
    ("empty_within", 147.0),
])  # fmt: skip
def test_what_each_kind_reads_of_the_machine(kind: str, value: float) -> None:
    """Pages of 4 kB, and microseconds."""
    one = Reading(
        0.0, 1000.0, 100.0, 100.0, 40.0, zram_kb=9.0, arc_kb=7.0, psi_some_us=2e6, psi_full_us=1e6,
        refault_pages=2.0, swap_in_pages=3.0, pgscan_pages=5.0,
    )  # fmt: skip
    assert KINDS[kind].reads(one, None) == pytest.approx(value)


@pytest.mark.parametrize(("kind", "value"), [
    ("psi_some", 4.0), ("psi_full", 3.0), ("reclaim", 28.0), ("limit_left", 30.0),
])  # fmt: skip
def test_what_is_a_cgroups_own(kind: str, value: float) -> None:
    one = Reading(0.0, 1000.0, 100.0, psi_some_us=9e9, psi_full_us=9e9, pgscan_pages=999.0)
    group = CgroupReading("/a", 70.0, 100.0, 0.0, 4e6, 3e6, 7.0)
    assert KINDS[kind].about(group) is group
    assert KINDS[kind].reads(one, group) == pytest.approx(value)
    assert KINDS["available"].about(group) is None


def test_what_is_not_there_is_not_known() -> None:
    bare, group = Reading(0.0, 1000.0, 100.0), CgroupReading("/a", 70.0)
    for kind in ("swap_used", "psi_some", "psi_full", "refault", "swap_in", "reclaim"):
        assert KINDS[kind].reads(bare, None) is None, kind
    assert KINDS["limit_left"].reads(bare, group) is None
    assert KINDS["limit_left"].reads(bare, None) is None
    assert KINDS["swap_used"].reads(Reading(0.0, 1000.0, 1.0, 10.0, 10.0), None) == 0.0


@pytest.mark.parametrize(("kind", "worse", "better"), [
    ("available", 99.9, 100.1), ("limit_left", 99.9, 100.1), ("zram", 100.1, 99.9),
    ("psi_full", 100.1, 99.9),
])  # fmt: skip
def test_a_kind_holds_at_its_threshold_and_beyond(kind: str, worse: float, better: float) -> None:
    assert KINDS[kind].holds(100.0, 100.0)
    assert KINDS[kind].holds(worse, 100.0)
    assert not KINDS[kind].holds(better, 100.0)


def test_a_share_is_of_ram_of_swap_or_of_the_limit() -> None:
    one = Reading(0.0, 1000.0, 100.0, 200.0)
    limited = CgroupReading("/a", 70.0, 300.0)

    def threshold(kind: str, group: CgroupReading | None = limited, *, share: bool = True) -> float:
        return KINDS[kind].threshold(0.5, share, one, group)

    for kind, whole in (("available", 1000.0), ("zram", 1000.0), ("swap_free", 200.0),
                        ("swap_used", 200.0), ("limit_left", 300.0)):  # fmt: skip
        assert threshold(kind) == 0.5 * whole
        assert threshold(kind, share=False) == 0.5
    assert threshold("psi_full") == 0.5
    assert threshold("limit_left", CgroupReading("/a", 1.0)) == 0.0
    assert threshold("limit_left", None) == 0.0


def test_conditions_that_hold_at_different_times_hold_together_from_the_last_on() -> None:
    watch = Watch(plan({"level": "soft", "available": "10%", "swap_free": "10%", "for": "2s"}))
    full, used = {"swap_total_kb": GB, "swap_free_kb": GB}, {"swap_total_kb": GB}
    assert watch.see(reading(0.0, 0.05, **full)).level == CALM
    assert watch.see(reading(5.0, 0.05, **used)).level == CALM
    state = watch.see(reading(6.99, 0.05, **used))
    assert state.level == CALM
    assert [one.held_s for one in state.evidence] == [6.99, pytest.approx(1.99)]
    assert watch.see(reading(7.0, 0.05, **used)).level == SOFT


def test_a_condition_that_stopped_holding_begins_anew() -> None:
    watch = Watch(plan({**LOW, "for": "2s"}))
    for t_s, share, level in ((0, 0.05, CALM), (1, 0.5, CALM), (2, 0.05, CALM), (3.9, 0.05, CALM),
                              (4, 0.05, SOFT)):  # fmt: skip
        assert watch.see(reading(float(t_s), share)).level == level, t_s


def test_after_a_death_a_rule_has_to_hold_anew() -> None:
    watch = Watch(plan({**LOW, "for": "2s"}))
    watch.see(reading(0.0, 0.05))
    watch.restart()
    assert watch.see(reading(2.0, 0.05)).level == CALM
    assert watch.see(reading(4.0, 0.05)).level == SOFT


def test_the_highest_level_counts_and_of_equals_the_first_rule() -> None:
    watch = Watch(plan({**LOW, "by": "rss"}, {**LOW, "by": "swap"}, {**VERY_LOW, "by": "growth"}))
    state = watch.see(reading(0.0, 0.1))
    assert (state.level, state.rule, state.by, state.cgroup) == (SOFT, 0, "rss", None)
    state = watch.see(reading(1.0, 0.05))
    assert (state.level, state.rule, state.by) == (HARD, 2, "growth")
    assert [one.threshold for one in state.evidence] == [pytest.approx(0.05 * GB)]
    calm = watch.see(reading(2.0, 0.5))
    assert (calm.level, calm.rule, calm.by) == (CALM, None, None)


def test_while_calm_the_nearest_rule_is_shown() -> None:
    """The one of which the largest part of the conditions holds; of equals the first."""
    far = {"level": "soft", "available": "10%", "zram": "90%"}
    near = {"level": "hard", "available": "30%", "zram": "80%"}
    state = Watch(plan(far, near)).see(reading(0.0, 0.2))
    assert [one.threshold for one in state.evidence] == [pytest.approx(0.3 * GB),
                                                         pytest.approx(0.8 * GB)]  # fmt: skip
    assert [one.holds for one in state.evidence] == [True, False]
    state = Watch(plan(far, near)).see(reading(0.0, 0.9))
    assert state.evidence[0].threshold == pytest.approx(0.1 * GB)
    one_of_one = {"level": "warn", "available": "20%", "for": "9s"}
    state = Watch(plan(near, one_of_one)).see(reading(0.0, 0.2))
    assert [one.threshold for one in state.evidence] == [pytest.approx(0.2 * GB)]


def test_memory_is_warm_at_its_share_and_below() -> None:
    watch = Watch(plan(LOW, look={"warm": "25%"}))
    assert watch.see(reading(0.0, 0.25)).warm
    assert not watch.see(reading(1.0, 0.2501)).warm
    assert not watch.see(reading(2.0, 0.2, arc_kb=0.1 * GB)).warm


def test_of_cgroups_each_has_its_own_time_and_pressure() -> None:
    rule = {"level": "soft", "cgroup": "/web*", "psi_full": "50%", "limit_left": "10%",
            "over": "2s", "for": "1s"}  # fmt: skip
    watch = Watch(plan(rule))

    def groups(first_us: float, second_us: float) -> tuple[CgroupReading, ...]:
        return (CgroupReading("/web-1", 95.0, 100.0, 0.0, 0.0, first_us),
                CgroupReading("/web-2", 95.0, 100.0, 0.0, 0.0, second_us))  # fmt: skip

    watch.see(reading(0.0, 0.9, cgroups=groups(0.0, 0.0)))
    watch.see(reading(2.0, 0.9, cgroups=groups(0.0, 1e6)))
    state = watch.see(reading(3.0, 0.9, cgroups=groups(0.0, 2e6)))
    assert (state.level, state.cgroup) == (SOFT, "/web-2")
    found = {one.kind.name: one for one in state.evidence}
    assert found["psi_full"].measured == pytest.approx(2 / 3)  # 2 s of the 3 since 0
    assert (found["psi_full"].cgroup, found["psi_full"].over_s) == ("/web-2", 2.0)
    assert (found["limit_left"].measured, found["limit_left"].threshold) == (5.0, 10.0)
    assert (found["limit_left"].over_s, found["limit_left"].held_s) == (0.0, 3.0)


def test_memory_on_its_way_counts_for_what_it_comes_back_to() -> None:
    rules = ({"level": "warn", "available": "10%", "swap_free": "10%", "empty_within": "2s",
              "over": "1s"},)  # fmt: skip
    watch = Watch(plan(*rules))
    watch.see(reading(0.0, 0.3, swap_total_kb=GB))
    state = watch.see(reading(1.0, 0.1, swap_total_kb=GB), coming_kb=0.1 * GB)
    values = {one.kind.name: one.measured for one in state.evidence}
    assert values["available"] == pytest.approx(0.2 * GB)
    assert values["swap_free"] == 0.0
    assert values["empty_within"] == pytest.approx(1.0)  # 0.2 falling by 0.2 a second


def test_what_does_not_fall_lasts_for_ever() -> None:
    watch = Watch(plan({"level": "warn", "empty_within": "2s", "over": "1s"}))
    assert watch.see(reading(0.0, 0.5)).evidence[0].measured is None
    assert watch.see(reading(1.0, 0.5)).evidence[0].measured == INFINITY
    assert watch.see(reading(2.0, 0.6)).evidence[0].measured == INFINITY
    assert watch.falls_kb_s() == 0.0
    watch.see(reading(3.0, 0.4))
    assert watch.falls_kb_s() == pytest.approx(0.2 * GB)
    watch.recall(3.5, 0.2 * GB)
    assert watch.falls_kb_s() == pytest.approx(0.4 * GB)


LOOK = {"least": "50ms", "most": "10s", "fill": "100M/s", "swap_fill": "50M/s"}


def next_look(*rules: dict[str, Any], available: float = 0.5, psi_wakes: bool = False,
              **fields: Any) -> float:  # fmt: skip
    watch = Watch(plan(*rules, look=LOOK))
    now = reading(0.0, available, **fields)
    watch.see(now)
    return watch.next_look_s(now, psi_wakes=psi_wakes)


def test_the_next_look_is_when_memory_could_have_fallen_to_the_threshold() -> None:
    """Of 1 GiB 512 MB are available; at 100 MB/s it takes 4.096 s to 102.4."""
    assert next_look(LOW) == pytest.approx(4.096)
    assert next_look(LOW, available=0.11) == pytest.approx(0.1024)
    assert next_look(LOW, available=0.1001) == 0.05  # never sooner
    assert next_look({"level": "soft", "available": "1M"}, available=1.0) == 10.0  # never later
    assert next_look() == 10.0


def test_memory_falls_first_and_swap_after_it() -> None:
    rule = {"level": "soft", "available": "10%", "swap_free": "50%"}
    swap: dict[str, Any] = {"swap_total_kb": 100 * MB, "swap_free_kb": 100 * MB}
    assert next_look(rule, **swap) == pytest.approx(4.096 + 1.0)
    assert next_look({"level": "soft", "swap_free": "50%"}, **swap) == pytest.approx(1.0)


def test_pressure_fills_while_memory_falls() -> None:
    rule = {"level": "soft", "available": "10%", "psi_full": "25%", "over": "4s"}
    assert next_look(rule, psi_full_us=0.0) == pytest.approx(4.096)
    assert next_look(rule, available=0.1, psi_full_us=0.0) == pytest.approx(1.0)
    assert next_look(rule, available=0.1, psi_full_us=0.0, psi_wakes=True) == 10.0
    assert next_look(rule, available=0.1) == 10.0  # without PSI it never holds


def test_a_rule_that_holds_is_waited_for_as_long_as_it_still_has_to() -> None:
    watch = Watch(plan({**LOW, "for": "3s"}, look=LOOK))
    watch.see(reading(0.0, 0.05))
    now = reading(1.0, 0.05)
    watch.see(now)
    assert watch.next_look_s(now) == pytest.approx(2.0)
    fresh = Watch(plan({**LOW, "for": "9s"}, look=LOOK))
    calm = reading(0.0, 0.5)
    fresh.see(calm)
    assert fresh.next_look_s(calm) == 9.0  # longer than it takes to fall


def test_only_a_higher_level_needs_a_look() -> None:
    watch = Watch(plan({"level": "warn", "available": "50%"}, LOW, look=LOOK))
    now = reading(0.0, 0.3)
    assert watch.see(now).level == WARN
    assert watch.next_look_s(now) == pytest.approx(0.2 * 1024 / 100)
    assert watch.see(reading(1.0, 0.1)).level == SOFT
    assert watch.next_look_s(reading(1.0, 0.1)) == 10.0


def test_at_a_given_pace_it_may_never_come() -> None:
    watch = Watch(plan(LOW, look=LOOK))
    now = reading(0.0, 0.5)
    watch.see(now)
    still = Pace()
    still.available_kb_s = 0.0
    assert watch.earliest_s(now, still) == INFINITY
    still.available_kb_s = 0.1 * GB
    assert watch.earliest_s(now, still) == pytest.approx(4.0)


def test_each_cpu_fills_memory() -> None:
    watch = Watch(plan(LOW, look={**LOOK, "fill_cpu": "50M/s"}), cpus=4)
    now = reading(0.0, 0.5)
    watch.see(now)
    assert watch.next_look_s(now) == pytest.approx(4.096 / 2)


def decider(*rules: dict[str, Any], **rest: Any) -> Decider:
    return Decider(plan(*(rules or (LOW, VERY_LOW)), **rest))


def chosen(made: Decider, *candidates: Candidate, **rest: Any) -> Act:
    act = made.choose(candidates, **rest)
    assert act is not None
    return act


def test_a_look_says_what_it_calls_for() -> None:
    made = decider(look={"warm": "30%"})
    calm = made.look(reading(0.0, 0.5))
    assert (calm.choose, calm.sizes, calm.signals, calm.obstacle) == (False, False, (), "")
    warm = made.look(reading(1.0, 0.3))
    assert (warm.choose, warm.sizes) == (False, True)
    low = made.look(reading(2.0, 0.1))
    assert (low.choose, low.obstacle) == (True, "")
    chosen(made, process(5))
    again = made.look(reading(3.5, 0.1))
    assert (again.choose, again.obstacle) == (False, "p5[5] is exiting")
    later = made.look(reading(7.0, 0.1))  # 5 s after SIGTERM
    assert [(one.pid, one.name) for one in later.signals] == [(5, "KILL")]
    assert (later.choose, later.obstacle) == (False, "")


def test_sizes_are_noted_again_when_a_hundredth_of_memory_has_gone() -> None:
    made = decider(look={"warm": "50%"}, whom={"growth_over": "1s"})
    assert made.look(reading(0.0, 0.5)).sizes
    made.growth.note(0.0, 0.5 * GB, {})
    assert not made.look(reading(2.0, 0.4951)).sizes
    assert made.look(reading(2.0, 0.489)).sizes


def test_nobody_is_chosen_without_need() -> None:
    made = decider({"level": "warn", "available": "50%"}, LOW)
    assert made.choose([process(5)]) is None
    made.look(reading(0.0, 0.5))
    assert made.choose([process(5)]) is None
    made.look(reading(1.0, 0.1))
    assert chosen(made, process(5)).choice.candidate.pid == 5


def test_who_must_not_be_chosen_after_all_is_passed_over_with_the_reason() -> None:
    made = decider()
    made.look(reading(0.0, 0.1))
    act = chosen(made, process(5, 30), process(6, 20), process(7, 10),
                 check=lambda one: "asleep" if one.candidate.pid != 7 else "")  # fmt: skip
    assert act.choice.candidate.pid == 7
    assert [(one.candidate.pid, one.verdict) for one in act.ranked] == [
        (5, "asleep"), (6, "asleep"), (7, ""),
    ]  # fmt: skip


def test_where_all_are_passed_over_nobody_is_asked_for_for_a_second() -> None:
    made = decider()
    made.look(reading(0.0, 0.1))
    assert made.choose([process(5)], check=lambda _: "asleep") is None
    assert made.look(reading(0.5, 0.1)).obstacle == "no process could be chosen"


def test_what_a_death_gave_is_learned_when_the_last_one_is_over() -> None:
    """200 MB were expected of two, and 100 came free (of 1 GiB: 0.09765625)."""
    made = decider(how={"hard_pause": "0s"})
    made.look(reading(0.0, 0.01))
    chosen(made, process(5, 100))
    made.look(reading(0.1, 0.01))
    assert made.escalation.share == 1.0
    made.escalation.begin(chosen_of(6, 100), 0.1, HARD)
    made.died(5, 5, 0.2)
    made.look(reading(0.2, 0.01))
    assert made.escalation.share == 1.0  # one is still under way
    made.died(6, 6, 0.3)
    made.look(reading(0.3, 0.01 + 50 / 1024))
    assert made.escalation.share == pytest.approx(0.5)


def chosen_of(pid: int, mb: float) -> Any:
    from oomkit.policy.engine.candidate import Ranked

    return Ranked(process(pid, mb))


def test_nothing_is_expected_of_who_was_spared() -> None:
    made = decider(how={"hard_pause": "0s"})
    made.look(reading(0.0, 0.01))
    chosen(made, process(5, 100))
    made.spared(5, 5, signalled=False)
    made.look(reading(1.0, 0.01))
    chosen(made, process(6, 100))
    made.died(6, 6, 1.5)
    made.look(reading(2.0, 0.01 + 50 / 1024))
    assert made.escalation.share == pytest.approx(0.5)


@pytest.mark.parametrize(("anon_kb", "share"), [(100 * MB, 0.5), (200 * MB, 1.0), (0.0, 1.0)])
def test_all_deaths_give_no_more_than_the_anonymous_memory_there_is(
    anon_kb: float, share: float
) -> None:
    made = decider()
    made.look(reading(0.0, 0.1, anon_kb=anon_kb))
    chosen(made, process(5, 120), process(6, 80))
    assert made.escalation.share == share


def test_a_rule_chooses_inside_its_cgroup_by_its_own_ranking() -> None:
    made = decider(
        {"level": "soft", "cgroup": "/a", "limit_left": "10%", "by": "swap"}, whom={"least": 0}
    )
    made.look(reading(0.0, 0.9, cgroups=(CgroupReading("/a", 95.0, 100.0),)))
    act = chosen(
        made, process(5, 90, cgroup="/b", swap_kb=9.0), process(6, 50, cgroup="/a", swap_kb=1.0),
        process(7, 10, cgroup="/a", swap_kb=2.0),
    )  # fmt: skip
    assert act.choice.candidate.pid == 7
    assert act.choice.factors == (("swap", 2.0),)


def test_the_next_look_is_when_rules_or_acts_change() -> None:
    made = decider(look=LOOK, how={"pause": "300ms"})
    now = reading(0.0, 0.1)
    made.look(now)
    chosen(made, process(5))
    assert made.next_look_s(now) == pytest.approx(0.2)  # the pause when it is hard
    assert decider(LOW, look=LOOK).next_look_s(now) == pytest.approx(0.05)


def test_commands_replace_sigterm_alone_and_the_first_that_matches() -> None:
    instead = [{"comm": "a", "command": ["/bin/1"]}, {"comm": "p5", "command": ["/bin/2"]},
               {"comm": "p*", "command": ["/bin/3"]}]  # fmt: skip
    for share, command in ((0.1, ("/bin/2",)), (0.05, None)):
        made = decider(how={"instead": instead})
        made.look(reading(0.0, share))
        assert chosen(made, process(5)).command == command
    made = decider(how={"instead": instead[:1]})
    made.look(reading(0.0, 0.1))
    assert chosen(made, process(5)).command is None


def test_used_swap_grows_when_memory_has_fallen() -> None:
    rule = {"level": "soft", "available": "10%", "swap_used": "50%"}
    swap: dict[str, Any] = {"swap_total_kb": 100 * MB, "swap_free_kb": 100 * MB}
    assert next_look(rule, **swap) == pytest.approx(4.096 + 1.0)


def test_the_cgroups_of_rules_are_named_once_and_in_order() -> None:
    rules = [{"level": "warn", "cgroup": name, "psi_full": "5%"} for name in ("re:/b", "re:/a")]
    made = plan(LOW, *rules, rules[0])
    assert made.cgroups() == ("(?:/a)", "(?:/b)")
    assert made.rankings() == {"freed"}
    assert plan({**LOW, "by": "rss"}).rankings() == {"freed", "rss"}
    assert plan(LOW).cgroups() == ()
