"""What is done with a decision: signals, commands, records, and each act until it is over."""

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from oomkit.guard.actions import WATCH_DEATH_S, WATCH_SLOWLY_S, Actions
from oomkit.guard.killer import GONE, Sent
from oomkit.guard.messages import ERROR, NOTICE, WARNING
from oomkit.guard.ongoing_acts import OngoingAct
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.conditions import SOFT
from oomkit.policy.engine.decider import Act, Assessment, Decider
from oomkit.policy.engine.reading import Reading
from tests.policy.making import GB, LOW, VERY_LOW, plan, process, reading

if TYPE_CHECKING:
    from oomkit.guard.act_record import ActRecord

pytestmark = pytest.mark.hermetic

Key = tuple[int, int]


class World:
    """Stands in for all that acts and writes.

    Attributes:
        log: what was called, in order.
        gone: processes that can't be held any more.
        says: why a process is protected.
        fails: why a signal does not arrive.
        found: what a look at several finds.
    """

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.gone: set[Key] = set()
        self.says: dict[Key, str] = {}
        self.fails: dict[Key, str] = {}
        self.found: list[tuple[Key, str] | None] = []
        self.found_in_group: tuple[Key, str] | None = None
        self.ended: list[Key] = []
        self.lines: list[tuple[int, str]] = []
        self.records: list[tuple[str | None, ActRecord]] = []
        self.saved: list[list[dict[str, Any]]] = []
        self.left: list[dict[str, Any]] = []
        self.hook_pid: int | None = 70
        self.now_s = 1.5
        self.killer = SimpleNamespace(
            hold=lambda key: GONE if key in self.gone else "",
            refusal=lambda key: self.says.get(key, ""),
            check=self._check, check_group=self._check_group, complete=self._complete,
            send=self._send, sweep=lambda *given: self.log.append(("sweep", *given)),
            dead=lambda: self.ended, let_go=lambda key: self.log.append(("let go", key)),
            obey=lambda recheck: self.log.append(("obey", recheck)),
        )  # fmt: skip
        self.pending = SimpleNamespace(read=lambda: self.left, write=self.saved.append)
        self.hooks = SimpleNamespace(
            start=self._start, wait=lambda pid, s: self.log.append(("wait", pid, s)),
            notify=lambda *texts: self.log.append(("notify", *texts)),
        )  # fmt: skip
        self.reporter = SimpleNamespace(
            line=lambda priority, text: self.lines.append((priority, text)),
            record=lambda one: self.records.append((one.outcome, one)),
        )  # fmt: skip
        self.sensors = SimpleNamespace(
            holding=self._holding,
            warm=SimpleNamespace(
                drop=lambda pid: self.log.append(("drop", pid)), identify_these=lambda _some: None
            ),
        )

    def _holding(self, one: Candidate, size_kb: float) -> list[int]:
        self.log.append(("holding", one.pid, size_kb))
        return [90]

    def _check(self, keys: Any) -> Any:
        self.log.append(("check", list(keys)))
        return self.found.pop(0) if self.found else None

    def _check_group(self, path: str, keys: Any) -> Any:
        self.log.append(("check group", path, list(keys)))
        return self.found_in_group

    def _complete(self, choice: Ranked, pids: list[int]) -> None:
        self.log.append(("complete", choice.candidate.pid, pids))

    def _send(self, signals: Any, *, together: bool = True) -> list[Sent]:
        self.log.append(("send", [(s.pid, s.name) for s in signals], together))
        sent = []
        for one in signals:
            key = (one.pid, one.start_time)
            why = self.says.get(key, "")
            said = GONE if key in self.gone else self.fails.get(key, why)
            sent.append(Sent(one, self.now_s, said, protected=bool(why)))
        return sent

    def _start(self, argv: tuple[str, ...], candidate: Candidate, what: str) -> int | None:
        self.log.append((what, argv, candidate.pid))
        return self.hook_pid

    def did(self, what: str) -> list[Any]:
        return [entry for entry in self.log if entry[0] == what]

    def outcomes(self) -> list[str | None]:
        return [outcome for outcome, _ in self.records]


class Guard:
    """Actions that serve a policy, and what it chooses at a moment."""

    def __init__(self, *, dry_run: bool = False, level: str = "soft", **rest: Any) -> None:
        self.world = World()
        self.plan = plan(LOW, VERY_LOW, **rest)
        self.dry_run = dry_run
        self.hard = level == "hard"
        self.decider = Decider(self.plan, dry_run=dry_run)
        world: Any = self.world
        self.actions = Actions(
            world.killer, world.pending, world.hooks, world.reporter, lambda: world.now_s,
            lambda: 1.7e9,
        )  # fmt: skip
        self.serve()

    def serve(self) -> None:
        self.actions.serve(
            self.plan, self.decider, cast(Any, self.world.sensors), cast(Any, "recheck"),
            dry_run=self.dry_run,
        )  # fmt: skip

    def moment(self, t_s: float = 1.0, **fields: Any) -> Reading:
        return reading(t_s, 0.04 if self.hard else 0.09, **fields)

    def choose(self, *candidates: Candidate, t_s: float = 1.0) -> Act:
        self.decider.look(self.moment(t_s))
        act = self.decider.choose(candidates or (process(10, 100), process(11, 10)))
        assert act is not None
        return act

    def act(self, *candidates: Candidate) -> bool:
        return self.actions.act(self.choose(*candidates), self.moment())

    @property
    def only(self) -> OngoingAct:
        (one,) = self.actions.ongoing_acts
        return one

    def look(self, t_s: float) -> Assessment:
        return self.decider.look(self.moment(t_s))


def test_a_choice_is_saved_signalled_saved_and_recorded() -> None:
    guard = Guard()
    assert guard.act()
    world = guard.world
    assert world.log == [("obey", "recheck"), ("send", [(10, "TERM")], False)]
    assert [len(acts) for acts in world.saved] == [1, 1]
    assert [acts[0]["record"]["signals"] for acts in world.saved] == [
        [], [{"pid": 10, "name": "TERM", "why": "chosen", "t_s": 1.5, "error": ""}],
    ]  # fmt: skip
    assert world.outcomes() == [None]
    record = guard.only.record
    assert (record.time_s, record.mono_s, record.origin.policy, record.origin.dry_run) == (
        1.7e9, 1.0, "test", False,
    )  # fmt: skip
    ((priority, text),) = world.lines
    assert priority == WARNING
    assert text.startswith("sent SIGTERM to p10[10], which frees 100 MiB: available 92.2 MiB <=")
    assert text.endswith("; next: p11[11] 10.0 MiB")
    assert guard.only.alive == {(10, 10)}


def test_a_dry_run_does_nothing_but_say_what_it_would() -> None:
    guard = Guard(dry_run=True, how={"before": ["/x"], "notify": True})
    assert guard.act()
    world = guard.world
    assert world.log == [("obey", "recheck")]
    assert world.saved == []
    assert world.outcomes() == ["dry_run"]
    assert world.lines[0][0] == WARNING
    assert world.lines[0][1].startswith("would send SIGTERM to p10[10], which frees 100 MiB")
    assert guard.actions.ongoing_acts == []


@pytest.mark.parametrize(("level", "waits"), [("soft", True), ("hard", False)])
def test_the_command_before_is_waited_for_unless_it_is_hard(level: str, waits: bool) -> None:
    guard = Guard(level=level, how={"before": ["/save", "{pid}"]})
    guard.act()
    log = guard.world.log[1:]
    assert log[0] == ("before", ("/save", "{pid}"), 10)
    assert guard.world.did("wait") == ([("wait", 70, 0.5)] if waits else [])
    assert log[-1] == ("send", [(10, "TERM" if level == "soft" else "KILL")], True), (
        "it may have taken time, so all are looked at again"
    )
    failing = Guard(how={"before": ["/save"]})
    failing.world.hook_pid = None
    failing.act()
    assert failing.world.did("wait") == [], "it could not be started"


def test_who_is_asked_on_the_desktop_is_told() -> None:
    guard = Guard(how={"notify": True})
    guard.act()
    ((_, summary, body),) = guard.world.did("notify")
    assert summary == "Low memory"
    assert body.startswith("sent SIGTERM to p10[10]")


INSTEAD = {"instead": [{"comm": "p10", "command": ["/restart", "it"]}]}


def test_a_command_instead_runs_if_a_signal_might_be_sent() -> None:
    guard = Guard(how=INSTEAD)
    assert guard.act()
    assert guard.world.log[1:] == [
        ("check", [(10, 10)]), ("instead", ("/restart", "it"), 10),
    ]  # fmt: skip
    assert guard.world.lines[0][1].startswith("ran /restart for p10[10] instead of SIGTERM")
    assert guard.world.outcomes() == [None]
    hard = Guard(level="hard", how=INSTEAD)
    hard.act()
    assert hard.world.did("send") == [("send", [(10, "KILL")], False)]


def test_and_not_where_it_is_protected_by_now() -> None:
    guard = Guard(how=INSTEAD)
    guard.world.found = [((12, 1), "never: comm x")]
    assert not guard.act()
    assert guard.world.did("instead") == []
    assert guard.world.lines == [
        (NOTICE, "process 10 is not signalled: with process 12: never: comm x"),
        (NOTICE, "p10[10]: is protected by now, and was left alone"),
    ]
    assert guard.world.outcomes() == ["protected"]
    assert guard.actions.ongoing_acts == []
    assert guard.world.saved[-1] == []


def test_who_turns_out_to_be_protected_is_spared_and_the_choice_is_not_made() -> None:
    guard = Guard()
    guard.world.says[10, 10] = "never: comm p10"
    assert not guard.act()
    assert guard.world.lines == [
        (NOTICE, "process 10 is not signalled: never: comm p10"),
        (NOTICE, "p10[10]: is protected by now, and was left alone"),
    ]
    assert guard.world.did("drop") == [("drop", 10)]
    ((outcome, record),) = guard.world.records
    assert (outcome, record.spared) == ("protected", [(10, "never: comm p10")])
    assert guard.decider.escalation.dying() == ()
    assert guard.decider.escalation.obstacle(1.0, SOFT) == "", "it was no act"


def test_who_is_gone_before_the_signal_died_by_itself() -> None:
    guard = Guard()
    guard.world.gone.add((10, 10))
    assert guard.act()
    assert guard.only.record.outcome == "gone"
    assert guard.actions.untouchable == {(10, 10)}
    assert guard.decider.escalation.dying() == ()
    guard.actions.settle(guard.moment(2.0), short=True)
    assert guard.world.lines[-1] == (NOTICE, "p10[10]: exited before it could be signalled")
    assert guard.actions.ongoing_acts == []


def test_who_we_may_not_signal_is_left_out_from_then_on() -> None:
    guard = Guard()
    guard.world.fails[10, 10] = "Operation not permitted"
    assert guard.act()
    assert (ERROR, "SIGTERM to 10: Operation not permitted") in guard.world.lines
    assert guard.actions.untouchable == {(10, 10)}
    assert (guard.only.record.outcome, guard.only.alive) == ("refused", set())
    guard.actions.settle(guard.moment(2.0), short=True)
    assert guard.world.lines[-1] == (NOTICE, "p10[10]: could not be signalled")
    assert guard.world.outcomes() == ["refused", "refused"]


TREE: dict[str, Any] = {"whom": {"level": "tree"}, "level": "hard"}
FAMILY = (process(10, 100), process(20, 50, ppid=10), process(21, 60, ppid=10))


def test_of_several_one_that_is_gone_or_refused_ends_no_act() -> None:
    guard = Guard(**TREE)
    guard.world.gone.add((20, 20))
    guard.world.fails[21, 21] = "Operation not permitted"
    assert guard.act(*FAMILY)
    assert guard.world.did("send") == [("send", [(10, "KILL"), (21, "KILL"), (20, "KILL")], False)]
    assert (guard.only.record.outcome, guard.only.alive) == (None, {(10, 10)})
    assert guard.decider.escalation.dying() == ((10, 10),)
    assert guard.actions.untouchable == {(20, 20), (21, 21)}


def test_several_of_which_none_got_a_signal_are_gone_only_if_all_are() -> None:
    for fails, outcome in (({}, "gone"), ({(21, 21): "Operation not permitted"}, "refused")):
        guard = Guard(**TREE)
        guard.world.fails.update(fails)
        guard.world.gone.update({(10, 10), (20, 20), (21, 21)} - fails.keys())
        guard.act(*FAMILY)
        assert guard.only.record.outcome == outcome


@pytest.mark.parametrize(("whom", "level", "swept"), [
    ({"level": "cgroup"}, "hard", True), ({"level": "cgroup"}, "soft", False),
    ({}, "hard", False),
])  # fmt: skip
def test_a_cgroup_that_is_killed_hard_is_swept(
    monkeypatch: pytest.MonkeyPatch, whom: Any, level: str, swept: bool
) -> None:
    monkeypatch.setattr("time.clock_gettime", lambda _clock: 100.0)
    guard = Guard(whom=whom, level=level)
    guard.world.now_s = 1.25
    family = (process(10, 100, cgroup="/app"), process(11, 5, cgroup="/app"))
    guard.act(*family)
    # The moment of the look: a quarter of a second before now.
    ticks = int(99.75 * os.sysconf("SC_CLK_TCK"))
    keys = [(10, 10), (11, 11)]
    assert guard.world.did("sweep") == ([("sweep", "/app", keys, ticks)] if swept else [])


def test_a_sigkill_follows_for_who_is_under_way() -> None:
    guard = Guard(how={"term_wait": "1s"})
    guard.act()
    look = guard.look(2.5)
    guard.world.lines.clear()
    guard.actions.signal(look.signals)
    assert guard.world.did("send")[-1] == ("send", [(10, "KILL")], True)
    assert guard.world.lines == [(WARNING, "SIGKILL to 10: still there 1.5 s after SIGTERM")]
    assert [one.name for one in guard.only.record.signals] == ["TERM", "KILL"]
    saved = len(guard.world.saved)
    guard.actions.ongoing_acts.clear()
    guard.actions.signal(look.signals)
    assert len(guard.world.did("send")) == 2, "of no act that is under way"
    assert len(guard.world.saved) == saved + 1


def test_a_sigkill_that_fails_is_told_and_ends_the_wait() -> None:
    guard = Guard(how={"term_wait": "1s"})
    guard.act()
    guard.world.fails[10, 10] = "Operation not permitted"
    guard.world.lines.clear()
    guard.actions.signal(guard.look(2.5).signals)
    assert guard.world.lines == [(ERROR, "SIGKILL to 10: Operation not permitted")]
    assert (guard.only.alive, guard.only.record.outcome) == (set(), "refused")


def test_a_sigkill_that_is_protected_by_now_leaves_what_was_sent() -> None:
    guard = Guard(how={"term_wait": "1s"})
    guard.act()
    guard.world.says[10, 10] = "never: comm x"
    guard.world.lines.clear()
    guard.actions.signal(guard.look(2.5).signals)
    assert guard.world.lines == [(NOTICE, "process 10 is not signalled: never: comm x")]
    assert guard.only.record.outcome == "protected"
    assert "kills" not in guard.decider.escalation.obstacle(2.6, SOFT)
    counted = Guard(how={"term_wait": "1s", "most_a_minute": 1})
    counted.act()
    counted.world.says[10, 10] = "x"
    counted.actions.signal(counted.look(2.5).signals)
    assert counted.decider.escalation.obstacle(2.6, SOFT) == "1 kills in the last minute"


def test_deaths_are_noted_and_the_memory_that_came_back() -> None:
    guard = Guard(how={"after": ["/tidy"]})
    guard.act()
    guard.world.ended = [(10, 10)]
    guard.world.now_s = 1.75
    guard.actions.see_deaths()
    assert guard.world.did("let go") == [("let go", (10, 10))]
    assert guard.only.alive == set()
    assert guard.decider.escalation.dying() == ()
    guard.actions.settle(reading(1.8, 0.10), short=True)
    assert guard.world.did("after") == [], "9 of 100 MiB are not back yet"
    guard.actions.settle(reading(2.0, 0.18), short=True)
    assert guard.world.did("after") == [("after", ("/tidy",), 10)]
    ((_, record),) = guard.world.records[-1:]
    assert (record.outcome, record.freed_kb, record.died_after_ms, record.freed_after_ms) == (
        "died", int(0.09 * GB), 750.0, 1000.0,
    )  # fmt: skip
    assert guard.world.lines[-1] == (NOTICE, "p10[10] exited after 750 ms; 92.2 MiB came free")
    assert guard.world.saved[-1] == []
    assert guard.world.outcomes() == [None, "died"]
    guard.actions.settle(reading(3.0, 0.18), short=True)
    assert len(guard.world.records) == 2


def test_nothing_follows_on_who_was_protected() -> None:
    guard = Guard(how={"after": ["/tidy"], "term_wait": "1s"})
    guard.act()
    guard.world.says[10, 10] = "x"
    guard.actions.signal(guard.look(2.5).signals)
    guard.actions.settle(guard.moment(2.6), short=True)
    assert guard.world.did("after") == []
    assert guard.actions.ongoing_acts == []


def test_who_is_given_up_is_let_go_of() -> None:
    guard = Guard()
    guard.act()
    guard.world.log.clear()
    guard.actions.settle(guard.moment(60.9), short=True)
    assert guard.world.did("let go") == []
    guard.actions.settle(guard.moment(61.0), short=True)
    assert guard.world.did("let go") == [("let go", (10, 10))]
    assert guard.world.lines[-1] == (NOTICE, "p10[10]: did not exit within a minute")
    spared = Guard()
    spared.act()
    spared.actions.settle(spared.moment(61.0), short=False)
    assert spared.world.lines[-1][1] == "p10[10]: memory recovered; waiting without escalation"


@pytest.mark.parametrize(("t_s", "next_s"), [
    (1.0, WATCH_DEATH_S), (5.99, WATCH_DEATH_S), (6.0, WATCH_SLOWLY_S), (30.0, WATCH_SLOWLY_S),
])  # fmt: skip
def test_deaths_are_looked_for_often_at_first(t_s: float, next_s: float) -> None:
    guard = Guard()
    assert guard.actions.next_s(1.0) == float("inf")
    guard.act()
    assert guard.actions.next_s(t_s) == next_s
    assert (WATCH_DEATH_S, WATCH_SLOWLY_S) == (0.02, 0.25)


# The look before a choice is made


def chosen(guard: Guard, *candidates: Candidate, note: str = "") -> Ranked:
    act = guard.choose(*candidates)
    guard.world.log.clear()
    return act.choice


def test_all_that_die_are_held_and_looked_at_before_a_choice() -> None:
    guard = Guard(**TREE)
    choice = chosen(guard, *FAMILY)
    assert guard.actions.check(choice) == ""
    assert guard.world.log == [
        ("holding", 10, 100 * 1024 / 4), ("complete", 10, [90]),
        ("check", [(10, 10), (20, 20), (21, 21)]),
    ]  # fmt: skip


def test_swap_counts_as_what_another_may_share() -> None:
    guard = Guard()
    guard.actions.check(chosen(guard, process(10, 100, swap_kb=800.0)))
    assert guard.world.did("holding") == [("holding", 10, (100 * 1024 + 800) / 4)]


@pytest.mark.parametrize(("grown_kb", "least_kb"), [(0.0, 25_000), (60_000, 12_500), (9e4, 12_500)])
def test_who_may_share_memory_held_a_part_of_what_it_was_before_it_grew(
    grown_kb: float, least_kb: float
) -> None:
    guard = Guard()
    one = process(10, 0, swap_kb=100_000.0)
    one.growth_kb = grown_kb
    guard.actions.check(chosen(guard, one))
    assert guard.world.did("holding") == [("holding", 10, least_kb)]


def test_all_of_a_cgroup_are_looked_at_beside_its_candidates() -> None:
    guard = Guard(whom={"level": "cgroup"})
    family = (process(10, 100, cgroup="/app"), process(11, 5, cgroup="/app"))
    choice = chosen(guard, *family)
    assert guard.actions.check(choice) == ""
    assert guard.world.did("check group") == [("check group", "/app", [(10, 10), (11, 11)])]
    guard.world.found_in_group = ((12, 3), "never: comm x")
    assert guard.actions.check(choice) == ""
    assert choice.note == "alone: process 12 in its cgroup, looked at again: never: comm x"
    assert (choice.level, [one.pid for one in choice.members]) == ("process", [10])


def test_who_is_protected_is_not_chosen() -> None:
    guard = Guard()
    choice = chosen(guard)
    guard.world.found = [((10, 10), "never: comm p10")]
    assert guard.actions.check(choice) == "looked at again: never: comm p10"
    assert guard.world.did("let go") == [("let go", (10, 10))]
    assert guard.world.did("drop") == [("drop", 10)], "so that the next look reads it again"


def test_with_one_of_its_tree_protected_it_is_chosen_alone() -> None:
    guard = Guard(**TREE)
    choice = chosen(guard, *FAMILY)
    guard.world.found = [((21, 21), "never: comm x")]
    assert guard.actions.check(choice) == ""
    assert choice.note == "alone: process 21 in its tree, looked at again: never: comm x"
    assert (choice.level, choice.members, choice.freed_kb) == (
        "process", (choice.candidate,), 100 * 1024,
    )  # fmt: skip
    assert [entry[1] for entry in guard.world.did("check")] == [
        [(10, 10), (20, 20), (21, 21)], [(10, 10)],
    ]  # fmt: skip
    guard = Guard(**TREE)
    choice = chosen(guard, *FAMILY)
    guard.world.found = [((10, 10), "never: comm x")]
    assert guard.actions.check(choice) == "looked at again: never: comm x"


def test_what_can_t_but_die_together_is_not_chosen_with_one_protected() -> None:
    guard = Guard()
    choice = chosen(guard, process(10, 100, mm_id=5), process(11, 100, mm_id=5))
    assert choice.level == "address space"
    first, second = (one.pid for one in choice.members)
    guard.world.found = [((second, second), "never: comm x")]
    assert guard.actions.check(choice) == (f"looked at again: with process {second}: never: comm x")
    assert (choice.level, first) == ("address space", choice.candidate.pid)


def test_in_a_dry_run_nobody_is_held_on() -> None:
    guard = Guard(dry_run=True)
    choice = chosen(guard)
    assert guard.actions.check(choice) == ""
    assert guard.world.did("let go") == [("let go", (10, 10))]


def test_who_is_under_way_already_stays_held() -> None:
    guard = Guard(**TREE)
    guard.act(*FAMILY[:1])
    choice = Ranked(FAMILY[0])
    choice.members = FAMILY
    guard.world.log.clear()
    guard.world.found = [((10, 10), "never: comm x")]
    assert guard.actions.check(choice) == "looked at again: never: comm x"
    assert guard.world.did("let go") == [("let go", (20, 20)), ("let go", (21, 21))]


# From one guard to the next, from one policy to the next


def test_another_policy_waits_for_what_is_under_way() -> None:
    guard = Guard(how={"term_wait": "1s"})
    guard.act()
    guard.plan = plan(LOW, VERY_LOW, how={"term_wait": "9s"})
    guard.decider = Decider(guard.plan)
    guard.serve()
    assert guard.decider.escalation.dying() == ((10, 10),)
    assert guard.look(9.9).signals == ()
    (signal,) = guard.look(10.1).signals
    assert (signal.pid, signal.name) == (10, "KILL")
    guard.only.alive.clear()
    guard.decider = Decider(guard.plan)
    guard.serve()
    assert guard.decider.escalation.dying() == ()


def test_a_guard_takes_over_from_one_that_was_killed() -> None:
    before = Guard(**TREE)
    before.act(*FAMILY)
    guard = Guard()
    guard.world.left = [before.only.saved()]
    guard.world.gone.add((20, 20))
    guard.world.says[21, 21] = "never: comm x"
    guard.world.now_s = 3.0
    guard.actions.take_over()
    assert guard.only.alive == {(10, 10)}
    assert guard.only.record.resumed
    assert guard.only.record.spared == [(21, "never: comm x")]
    assert guard.world.lines == [(NOTICE, "process 21 is not signalled: never: comm x")]
    assert guard.decider.escalation.dying() == ((10, 10),)
    assert guard.world.did("let go") == [("let go", (21, 21))]


def test_of_an_act_whose_processes_are_gone_nothing_is_waited_for() -> None:
    before = Guard()
    before.act()
    guard = Guard()
    guard.world.left = [before.only.saved()]
    guard.world.gone.add((10, 10))
    guard.actions.take_over()
    assert guard.only.alive == set()
    assert guard.decider.escalation.dying() == ()
    guard.actions.settle(guard.moment(2.5), short=True)
    assert guard.world.outcomes() == ["died"]
