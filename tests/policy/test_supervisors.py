"""Supervisors: what depends on them goes first, and their own start is a cost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.describe import explain
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.plan import Plan
from oomkit.policy.engine.victim import Chooser, best
from oomkit.policy.read import PolicyError, find_policy
from tests.policy.making import LOW, plan, policy, process

pytestmark = pytest.mark.hermetic

POSTMASTER = {"comm": "postgres", "because": "it recovers", "restart": "10m"}


def order(found: Plan, *candidates: Candidate) -> list[int]:
    return [one.candidate.pid for one in Chooser(found).rank(candidates) if not one.verdict]


def of(*supervisors: dict[str, Any], **whom: Any) -> Plan:
    return plan(LOW, whom={"work": 0.3, "supervisor": list(supervisors), **whom})


def test_what_is_below_a_supervisor_goes_first_even_if_it_is_smaller() -> None:
    tree = (
        process(10, 300, comm="postgres"),
        process(11, 2, comm="sh", ppid=10),
        process(12, 60, comm="job", ppid=11),
        process(13, 100, comm="other"),
    )
    assert order(of(), *tree) == [10, 13, 12, 11]
    assert order(of(POSTMASTER), *tree) == [13, 12, 10, 11]


def test_a_supervisor_that_is_the_culprit_by_itself_is_still_chosen() -> None:
    tree = process(10, 1000, comm="postgres"), process(11, 10, comm="job", ppid=10)
    found = of({**POSTMASTER, "restart": "0s"})
    assert order(found, *tree) == [10, 11], "the other scores less than a tenth"
    assert order(of({**POSTMASTER, "by": 1000}), *tree) == [11, 10]


def test_a_supervisor_without_dependants_is_as_any_other_but_for_its_start() -> None:
    alone, other = process(10, 100, comm="postgres"), process(11, 99)
    assert order(of({**POSTMASTER, "restart": "0s"}), alone, other) == [10, 11]
    assert order(of(POSTMASTER), alone, other) == [11, 10]


def test_the_work_of_what_depends_on_it_is_lost_with_it() -> None:
    lost = process(12, 0.5, comm="job", ppid=10, cpu_s=600.0)
    one, other = process(10, 100, comm="postgres"), process(11, 99, cpu_s=1.0)
    supervisor = {"comm": "postgres", "because": "x"}
    assert order(of(supervisor), one, other, lost) == [11, 10]
    ranked = Chooser(of(supervisor)).rank((one, other, lost))
    factors = {r.candidate.pid: dict(r.factors) for r in ranked}
    assert factors[10]["work"] == pytest.approx(1 - 0.3 * 600 / 1200)


def test_only_the_first_process_of_its_unit_leads() -> None:
    entry = {"unit": "x.service", "leads": True, "because": "x"}
    main = process(10, 100, cgroup="/x.service", unit="x.service")
    worker = process(11, 60, ppid=10, cgroup="/x.service", unit="x.service")
    helper = process(12, 50, ppid=11, cgroup="/x.service", unit="x.service")
    assert order(of(), main, worker, helper) == [10, 11, 12]
    assert order(of(entry), main, worker, helper) == [11, 12, 10] or order(
        of(entry), main, worker, helper
    ) == [11, 10, 12], "the worker, which leads nothing, before its own child"
    manager = process(9, 1, cgroup="/init.scope")
    main.ppid = 9
    assert order(of(entry), manager, main, worker)[:2] == [11, 10]
    main.leads = False
    assert order(of(entry), manager, main, worker)[:2] == [10, 11]


def test_what_was_looked_up_counts_more_than_who_is_listed() -> None:
    one, far = process(10, 100, comm="postgres"), process(12, 60, comm="job", ppid=11)
    assert order(of(POSTMASTER), one, far) == [10, 12]
    far.above = (11, 10)
    assert order(of(POSTMASTER), one, far) == [12, 10]


def test_a_compositor_goes_after_all_of_its_users_processes_and_no_others() -> None:
    entry = {"cgroup": "*/session.slice/*", "takes": "session", "because": "x"}
    user = "/user.slice/user-1000.slice/user@1000.service"
    shell = process(10, 100, cgroup=f"{user}/session.slice/shell.service")
    sound = process(11, 80, cgroup=f"{user}/session.slice/pipewire.service")
    app = process(12, 60, cgroup=f"{user}/app.slice/app.scope")
    other = process(13, 40, cgroup="/user.slice/user-1001.slice/session-2.scope")
    assert order(of(), shell, sound, app, other) == [10, 11, 12, 13]
    assert order(of(entry), shell, sound, app, other)[0] == 12
    assert order(of(entry), shell, sound, other) == [10, 11, 13]


def test_supervisors_above_each_other_go_in_turn() -> None:
    entry = {"comm": "s*", "because": "x"}
    chain = (
        process(10, 100, comm="s1"), process(11, 90, comm="s2", ppid=10),
        process(12, 80, comm="job", ppid=11),
    )  # fmt: skip
    assert order(of(entry), *chain) == [12, 11, 10]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4000), st.booleans()), max_size=12),
    st.sampled_from([1.0, 4.0, 10.0]),
)
def test_no_score_grows_and_none_falls_by_more_than_the_entry_says(
    rows: list[tuple[int, int, bool]], by: float
) -> None:
    candidates = [
        process(100 + i, mb, comm="boss" if boss else "task", ppid=100 + parent if parent else 1)
        for i, (parent, mb, boss) in enumerate(rows)
    ]
    plain, bound = (
        {r.candidate.pid: r.score for r in Chooser(made).rank(candidates)}
        for made in (of(), of({"comm": "boss", "because": "x", "by": by}))
    )
    for pid, score in bound.items():
        # The work of what depends on it is in both factors 0 here: no process used the CPU.
        assert plain[pid] / by * (1 - 1e-9) <= score <= plain[pid]


def test_a_plan_with_them_goes_to_another_process_and_back() -> None:
    made = of(POSTMASTER)
    assert Plan.from_values(made.to_values()).to_values() == made.to_values()


def test_the_reasons_are_said() -> None:
    text = "\n".join(explain(policy(LOW, whom={"work": 0.3, "supervisor": [POSTMASTER]})))
    assert (
        "comm postgres: after what is below it, by x 1/10 at most, 10 min to have it back: it"
        in text
    )


@pytest.mark.parametrize(
    ("override", "said", "missing"),
    [
        ("whom.by=rss", "supervisors count only where a rule ranks by what a death gives back", ""),
        ("whom.work=0", "after what is below it", "to have it back"),
    ],
)
def test_the_default_can_rank_in_other_ways_too(override: str, said: str, missing: str) -> None:
    text = "\n".join(explain(find_policy("default", overrides=(override,))))
    assert said in text
    assert not missing or missing not in text
    assert "count only where" not in "\n".join(explain(find_policy("default")))


@pytest.mark.parametrize(
    ("whom", "place", "expected"),
    [
        ({"supervisor": [{"comm": "x"}]}, "whom.supervisor[0].because", "is missing"),
        ({"supervisor": [{"because": "x"}]}, "whom.supervisor[0]", "at least one of"),
        (
            {"work": 0.3, "supervisor": [{**POSTMASTER, "takes": "all"}]},
            "whom.supervisor[0].takes",
            "children, session",
        ),
    ],
)
def test_what_can_t_be_meant_is_refused_with_its_place(
    whom: dict[str, Any], place: str, expected: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(LOW, whom=whom)
    assert any(f.path == place and expected in f.expected for f in caught.value.faults), (
        caught.value.faults
    )


USER = "/user.slice/user-1000.slice"


@pytest.mark.parametrize(
    ("boss", "child"),
    [
        (
            {"cgroup": f"{USER}/user@1000.service/session.slice/kwin.service"},
            {"cgroup": f"{USER}/user@1000.service/app.slice/app-x.scope", "ppid": 1},
        ),
        ({"comm": "sshd", "unit": "session-3.scope", "cgroup": f"{USER}/session-3.scope"}, {}),
        ({"comm": "tmux: server"}, {}),
        ({"comm": "containerd-shim", "unit": "containerd.service", "cgroup": "/c"}, {}),
        ({"comm": "kubelet", "unit": "kubelet.service", "cgroup": "/k"}, {}),
        ({"unit": "postgresql@15-main.service", "cgroup": "/p"}, {}),
        ({"comm": "postgres", "cgroup": "/kubepods/x"}, {}),
        ({"comm": "run.sh", "unit": "actions.runner.x.service", "cgroup": "/a"}, {}),
        ({"comm": "entrypoint", "container": "0" * 64, "cgroup": "/d"}, {}),
        ({"comm": "claude"}, {}),
    ],
)
def test_the_default_takes_what_hangs_on_a_supervisor_first(
    boss: dict[str, Any], child: dict[str, Any]
) -> None:
    found = compile_plan(find_policy("default"))
    candidates = process(10, 200, **boss), process(11, 150, **{"ppid": 10, **child})
    first = best(Chooser(found).rank(candidates))
    assert first is not None
    assert first.candidate.pid == 11
    unrelated = (
        process(10, 200, **{**boss, "comm": "x", "unit": None, "cgroup": "/x"}),
        candidates[1],
    )
    if not boss.get("container"):
        first = best(Chooser(found).rank(unrelated))
        assert first is not None
        assert first.candidate.pid == 10
