"""What starts of services took, learnt from processes that were listed before and after."""

import marshal
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.engine.candidate import Candidate, Start
from oomkit.policy.engine.evidence import start_lines, start_words
from oomkit.policy.engine.starts import (
    LONGEST_S,
    MAX_AGE_S,
    MAX_COST_S,
    MAX_NAME,
    MAX_SEEN,
    MAX_SERVICES,
    MAX_TIMES,
    SETTLED_S,
    Starts,
    from_values,
    service_of,
    to_values,
)
from oomkit.policy.engine.victim import Chooser
from tests.policy.making import LOW, plan, process

pytestmark = pytest.mark.hermetic

WALL_S = 1.7e9
NGINX = "nginx.service"


def service(pid: int, mb: float, now_s: float, *, since_s: float, **fields: Any) -> Candidate:
    """The first process of nginx.service, which began at a time."""
    named = {"unit": NGINX, "cgroup": f"/system.slice/{NGINX}", **fields}
    return process(pid, mb, start_time=int(100 * since_s), age_s=now_s - since_s, **named)


def other(mb: float = 5.0) -> Candidate:
    return process(9, mb, cgroup="/", start_time=1)


def learn(starts: Starts, *, at_s: float = 1000.0, cpu_s: float = 12.0, pid: int = 20) -> float:
    """Show a service that is started again; returns when its start is over."""
    starts.see(at_s, WALL_S, [service(pid, 900, at_s, since_s=at_s - 500), other()])
    sizes = [(5.0, 100.0, cpu_s / 4), (10.0, 500.0, cpu_s / 2), (15.0, 800.0, cpu_s)]
    for after_s, mb, used_s in sizes:
        t_s = at_s + after_s
        one = service(pid + 1, mb, t_s, since_s=at_s + 3, cpu_s=used_s)
        starts.see(t_s, WALL_S + after_s, [one, other()])
    end_s = at_s + 15.0 + SETTLED_S
    done = service(pid + 1, 801, end_s, since_s=at_s + 3, cpu_s=cpu_s + 30.0)
    starts.see(end_s, WALL_S + end_s - at_s, [done, other()])
    return end_s


def known(starts: Starts) -> dict[str, tuple[int, float]]:
    return {one.name: (one.times, one.cost_s()) for one in starts.known()}


def test_the_cpu_time_until_memory_settles_is_what_a_start_took() -> None:
    starts = Starts()
    learn(starts)
    assert known(starts) == {NGINX: (1, 12.0)}, "what it used afterwards is no part of its start"


def test_it_is_learnt_when_memory_has_stood_still_long_enough_and_no_sooner() -> None:
    starts = Starts()
    starts.see(0.0, WALL_S, [service(20, 900, 0.0, since_s=-500.0), other()])
    for t_s, found in ((5.0, 0), (4.9 + SETTLED_S, 0), (5.0 + SETTLED_S, 1)):
        starts.see(t_s, WALL_S, [service(21, 100, t_s, since_s=3.0, cpu_s=1.5), other()])
        assert len(starts.known()) == found
    assert known(starts) == {NGINX: (1, 1.5)}


def test_the_median_of_the_newest_counts() -> None:
    starts, at_s = Starts(), 1000.0
    for pid, cpu_s in enumerate([500.0, 10.0, 12.0, 11.0, 300.0, 13.0], 10):
        at_s = learn(starts, at_s=at_s + 400.0, cpu_s=cpu_s, pid=100 * pid)
    assert known(starts) == {NGINX: (6, 12.0)}
    assert starts.known()[0].costs_s == (10.0, 12.0, 11.0, 300.0, 13.0)
    assert len(starts.known()[0].costs_s) == MAX_SEEN


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"since_s": -20.0}, "it began while the other was seen"),
        ({"since_s": 3.0, "ppid": 77}, "its parent may be in the same unit"),
        ({"since_s": 3.0, "dying": True}, "it is exiting"),
        ({"since_s": 3.0, "kthread": True}, "it is the kernel's"),
        ({"since_s": 3.0, "unknown": ("cgroup",)}, "its cgroup could not be read"),
        ({"since_s": 3.0, "cpu_s": MAX_COST_S + 1.0}, "no start takes as much"),
        ({"since_s": 3.0, "cpu_s": math.nan}, "that is no time"),
        ({"since_s": 3.0, "cpu_s": -1.0}, "that is no time"),
    ],
)
def test_what_is_no_start_is_not_learnt(fields: dict[str, Any], why: str) -> None:
    starts = Starts()
    starts.see(0.0, WALL_S, [service(20, 900, 0.0, since_s=-500.0), other()])
    for t_s in (5.0, 5.0 + SETTLED_S):
        starts.see(t_s, WALL_S, [service(21, 100, t_s, **fields), other()])
    assert known(starts) == {}, why


def test_one_that_shrank_below_all_that_are_listed_may_live_unless_it_was_killed() -> None:
    for killed in (False, True):
        starts = Starts()
        starts.see(0.0, WALL_S, [service(20, 4, 0.0, since_s=-500.0), other()])
        if killed:
            starts.killed(20, 1.0)
        for t_s in (5.0, 5.0 + SETTLED_S):
            starts.see(t_s, WALL_S, [service(21, 100, t_s, since_s=3.0), other()])
        assert bool(known(starts)) is killed


def test_one_that_was_old_when_it_was_first_seen_is_no_start() -> None:
    starts = Starts()
    starts.see(0.0, WALL_S, [service(20, 900, 0.0, since_s=-500.0), other()])
    for t_s in (40.0, 40.0 + SETTLED_S):
        starts.see(t_s, WALL_S, [service(21, 100, t_s, since_s=3.0), other()])
    assert known(starts) == {}


def test_a_service_that_fails_again_and_again_or_never_settles_teaches_nothing() -> None:
    starts = Starts()
    for i in range(20):
        t_s = 10.0 * i
        starts.see(t_s, WALL_S, [service(20 + i, 100, t_s, since_s=t_s - 5.0), other()])
    assert known(starts) == {}
    leaks, t_s, mb = Starts(), 0.0, 100.0
    leaks.see(t_s, WALL_S, [service(20, 900, t_s, since_s=-500.0), other()])
    while t_s < 2 * LONGEST_S:
        t_s, mb = t_s + 10.0, min(mb * 1.1, 1e5)
        leaks.see(t_s, WALL_S, [service(21, mb, t_s, since_s=3.0), other()])
    assert not leaks.awaits(t_s)
    for later_s in (t_s + 10.0, t_s + 10.0 + SETTLED_S):
        leaks.see(later_s, WALL_S, [service(21, mb, later_s, since_s=3.0), other()])
    assert known(leaks) == {}


def test_a_service_is_awaited_from_its_death_until_its_start_is_over() -> None:
    starts = Starts()
    starts.see(0.0, WALL_S, [service(20, 900, 0.0, since_s=-500.0), other()])
    assert not starts.awaits(0.0)
    starts.killed(9, 1.0)
    assert not starts.awaits(1.0), "it is the first of no service"
    starts.killed(20, 1.0)
    assert starts.awaits(1.0)
    assert starts.awaits(120.0)
    assert not starts.awaits(122.0)
    starts.see(5.0, WALL_S, [service(21, 100, 5.0, since_s=3.0), other()])
    assert starts.awaits(200.0), "it is starting"
    starts.see(5.0 + SETTLED_S, WALL_S, [service(21, 100, 45.0, since_s=3.0), other()])
    assert not starts.awaits(5.0 + SETTLED_S)


def test_old_figures_are_forgotten() -> None:
    starts = Starts([Start(NGINX, 3, WALL_S, (12.0,))])
    one = service(20, 900, 0.0, since_s=-500.0)
    starts.see(0.0, WALL_S + MAX_AGE_S, [one])
    assert known(starts) == {NGINX: (3, 12.0)}
    starts.see(1.0, WALL_S + MAX_AGE_S + 1.0, [one])
    assert starts.of(one) is None


def test_after_a_boot_numbers_mean_others() -> None:
    starts = Starts()
    starts.see(1000.0, WALL_S, [service(20, 900, 1000.0, since_s=500.0), other()])
    starts.begin_boot()
    for t_s in (5.0, 5.0 + SETTLED_S):
        starts.see(t_s, WALL_S + 60, [service(21, 100, t_s, since_s=3.0), other()])
    assert known(starts) == {}


def test_users_cant_push_out_what_is_known_of_the_systems_services() -> None:
    ours = [Start(f"s{i}.service", 1, WALL_S, (1.0,)) for i in range(MAX_SERVICES - 1)]
    starts, at_s = Starts(ours), 1000.0
    for i in range(3):
        name = f"user@1000.service/x{i}.service"
        starts.see(at_s, WALL_S, [service(20, 900, at_s, since_s=at_s - 500, unit=name), other()])
        for t_s in (at_s + 5.0, at_s + 5.0 + SETTLED_S):
            one = service(21, 100, t_s, since_s=at_s + 3, unit=name)
            starts.see(t_s, WALL_S, [one, other()])
        at_s += 1000.0
    assert len(starts.known()) == MAX_SERVICES
    assert {one.name for one in starts.known()} == {
        *(one.name for one in ours), "user@1000.service/x2.service"
    }  # fmt: skip
    learn(starts, at_s=at_s)
    assert {one.name for one in starts.known()} == {*(one.name for one in ours), NGINX}


def test_names_that_are_none_or_too_long_are_no_services() -> None:
    assert service_of(process(1, cgroup="/")) == ""
    assert service_of(process(1)) == ""
    assert service_of(process(1, cgroup="/a", unit="x" * (MAX_NAME + 1))) == ""
    assert service_of(process(1, unit="session-3.scope")) == ""
    assert service_of(process(1, unit="docker-1a.scope", container="1a")) == "docker-1a.scope"
    assert service_of(process(1, cgroup="/a/b")) == "/a/b"
    assert service_of(process(1, cgroup="/a/b", unit="b.service")) == "b.service"


names = st.one_of(st.none(), st.sampled_from([NGINX, "a.service", "/"]), st.text(max_size=300))
numbers = st.floats(allow_nan=True, allow_infinity=True)
tasks = st.lists(
    st.builds(
        Candidate, st.integers(1, 40), st.integers(0, 10**9), st.integers(0, 40), st.just("x"),
        anon_kb=numbers, swap_kb=numbers, cpu_s=numbers, age_s=numbers, unit=names, cgroup=names,
        dying=st.booleans(),
    ),
    max_size=6,
)  # fmt: skip


@given(looks=st.lists(st.tuples(numbers, numbers, tasks, st.integers(1, 40)), max_size=30))
def test_whatever_is_shown_what_is_known_is_bounded(looks: list[Any]) -> None:
    starts = Starts()
    for t_s, wall_s, found, pid in looks:
        starts.see(t_s, wall_s, found)
        starts.killed(pid, t_s)
        starts.awaits(t_s)
        for one in starts.known():
            assert 0.0 <= one.cost_s() <= MAX_COST_S
            assert 1 <= len(one.costs_s) <= min(one.times, MAX_SEEN)
            assert one.times <= MAX_TIMES
            assert 0 < len(one.name) <= MAX_NAME
    assert len(starts.known()) <= MAX_SERVICES
    carried = marshal.loads(marshal.dumps(to_values(starts.known())))
    assert to_values(from_values(carried)) == to_values(starts.known())


@given(cpu_s=st.floats(0.0, MAX_COST_S), guess_s=st.integers(0, 600))
def test_what_was_learnt_counts_in_place_of_what_the_policy_says(
    cpu_s: float, guess_s: int
) -> None:
    starts = Starts()
    learn(starts, cpu_s=cpu_s)
    entry = {"unit": NGINX, "leads": True, "because": "x", "restart": f"{guess_s}s"}
    made = plan(LOW, whom={"work": 0.3, "supervisor": [entry]})
    one = service(50, 100, 2000.0, since_s=1500.0, cpu_s=7.0)
    for given_starts, start_s in ((None, guess_s), (starts, cpu_s)):
        (ranked,) = Chooser(made, starts=given_starts).rank((one,))
        lost_s = 7.0 + start_s
        assert dict(ranked.factors)["work"] == pytest.approx(1 - 0.3 * lost_s / (lost_s + 600))
    assert start_lines([ranked]) == (start_words(NGINX, cpu_s, 1),)


def test_without_the_weight_of_work_nothing_is_said_of_it() -> None:
    starts = Starts()
    learn(starts)
    entry = {"unit": NGINX, "leads": True, "because": "x"}
    made = plan(LOW, whom={"work": 0.0, "supervisor": [entry]})
    (ranked,) = Chooser(made, starts=starts).rank((service(50, 100, 2000.0, since_s=1500.0),))
    assert start_lines([ranked]) == ()


def test_in_words() -> None:
    assert start_words(NGINX, 12.0, 3) == f"{NGINX} took 12 s of CPU to start, seen 3 times"
    assert start_words(NGINX, 0.054, 1) == f"{NGINX} took 0.054 s of CPU to start, seen once"
