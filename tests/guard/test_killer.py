"""Each way in which a signal can fail, by a fake that fails when it is told to."""

import errno
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from oomkit.guard.actions import Actions
from oomkit.guard.config import Places
from oomkit.guard.killer import GONE, Killer, Sent
from oomkit.guard.ongoing_acts import resumed, take_up
from oomkit.host.pidfd import Held, start_ticks_of
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.conditions import HARD, SOFT
from oomkit.policy.engine.escalation import Escalation, Signal
from tests.guard.made import ongoing
from tests.policy.making import plan

if TYPE_CHECKING:
    from oomkit.guard.recheck import Recheck

Key = tuple[int, int]


class Look:
    """Says what it is told of a process, or fails."""

    def __init__(self) -> None:
        self.says: dict[int, str] = {}
        self.fails: list[OSError] = []
        self.asked: list[int] = []

    def refusal(self, pid: int) -> str:
        self.asked.append(pid)
        if self.fails:
            raise self.fails.pop(0)
        return self.says.get(pid, "")


class Stage:
    def __init__(self) -> None:
        self.look = Look()
        self.rooms = 0
        self.now_s = 7.5

    def killer(self, *, look: bool = True) -> Killer:
        recheck = cast("Recheck | None", self.look if look else None)
        own_pids = frozenset({os.getpid()})
        return Killer(Places(), own_pids, recheck, None, self._room, lambda: self.now_s)

    def _room(self) -> None:
        self.rooms += 1


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def children() -> Iterator[list[Key]]:
    """Two processes that wait."""
    started = [
        subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        for _ in range(2)
    ]
    yield [(one.pid, start_ticks_of(one.pid) or 0) for one in started]
    for one in started:
        one.kill()
        one.communicate()


def signal_to(key: Key, name: str = "KILL") -> Signal:
    return Signal(Candidate(key[0], key[1], 1, "x"), name, "chosen")


def said(sent: list[Sent]) -> list[tuple[int, str, str, str, bool, float]]:
    return [(s.pid, s.name, s.why, s.error, s.protected, s.t_s) for s in sent]


def alive(key: Key) -> bool:
    return os.waitid(os.P_PID, key[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@pytest.mark.parametrize(("error", "text"), [
    (PermissionError(errno.EPERM, "Operation not permitted"), "Operation not permitted"),
    (ProcessLookupError(errno.ESRCH, "No such process"), "gone"),
])  # fmt: skip
def test_a_signal_that_can_not_be_sent_is_told_with_the_reason(
    stage: Stage, children: list[Key], monkeypatch: pytest.MonkeyPatch, error: OSError, text: str
) -> None:
    def fails(_self: Held, _number: int) -> None:
        raise error

    monkeypatch.setattr(Held, "send", fails)
    one = stage.killer()
    key = children[0]
    assert said(one.send([signal_to(key)])) == [(key[0], "KILL", "chosen", text, False, 7.5)]
    assert alive(key)
    one.close()


def test_a_kernel_without_pidfd_is_told(
    stage: Stage, children: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_pid: int, _flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", fails)
    (sent,) = stage.killer().send([signal_to(children[0])])
    assert (sent.error, sent.protected, stage.rooms) == ("Function not implemented", False, 0)


def test_room_that_is_made_in_vain_is_told(
    stage: Stage, children: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_pid: int, _flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", fails)
    one = stage.killer()
    assert one.hold(children[0]) == "Too many open files"
    assert stage.rooms == 1


def test_who_is_protected_gets_no_signal(stage: Stage, children: list[Key]) -> None:
    first, second = children
    stage.look.says[first[0]] = "never: comm x"
    one = stage.killer()
    sent = one.send([signal_to(first), signal_to(second, "TERM")], together=False)
    assert said(sent) == [
        (first[0], "KILL", "chosen", "never: comm x", True, 7.5),
        (second[0], "TERM", "chosen", "", False, 7.5),
    ]
    assert alive(first)
    one.close()


def test_who_goes_together_is_looked_at_before_the_first_signal(
    stage: Stage, children: list[Key]
) -> None:
    first, second = children
    stage.look.says[second[0]] = "never: comm x"
    one = stage.killer()
    sent = one.send([signal_to(first), signal_to(second)])
    text = f"with process {second[0]}: never: comm x"
    assert [(s.error, s.protected) for s in sent] == [(text, True)] * 2
    assert alive(first)
    assert alive(second)
    one.close()


def test_a_look_that_fails_for_want_of_files_is_tried_once_more(
    stage: Stage, children: list[Key]
) -> None:
    key, one = children[0], stage.killer()
    few = OSError(errno.EMFILE, "Too many open files")
    stage.look.fails = [few]
    assert one.hold(key) == ""
    assert one.refusal(key) == ""
    assert stage.rooms == 1
    stage.look.fails = [few, few]
    assert one.refusal(key) == "what it is can't be read: Too many open files"
    stage.look.fails = [OSError(errno.EACCES, "Permission denied")]
    assert one.refusal(key) == "what it is can't be read: Permission denied"
    assert stage.rooms == 2
    one.close()


def test_nobody_is_signalled_who_is_not_held_or_of_whom_no_policy_is_known(
    stage: Stage, children: list[Key]
) -> None:
    key = children[0]
    assert stage.killer().refusal(key) == "not held"
    blind = stage.killer(look=False)
    (sent,) = blind.send([signal_to(key)])
    assert (sent.error, sent.protected) == ("no policy is known", True)
    assert alive(key)
    blind.rehearse(key[0])
    blind.close()


def test_a_rehearsal_that_fails_says_nothing(stage: Stage) -> None:
    stage.look.fails = [OSError(errno.EACCES, "Permission denied")]
    stage.killer().rehearse(5)
    assert stage.look.asked == [5]


@pytest.mark.parametrize("pid", [1, 0, -1])
def test_numbers_that_mean_init_or_many_are_never_held(stage: Stage, pid: int) -> None:
    assert stage.killer().hold((pid, 0)) == "never signalled"


def test_a_look_at_several_names_the_first_that_must_not_be_signalled(
    stage: Stage, children: list[Key]
) -> None:
    first, second = children
    one = stage.killer()
    assert one.check([first, second]) is None
    assert set(one.keys) == {first, second}
    stage.look.says[second[0]] = "never: comm x"
    assert one.check([first, second]) == (second, "never: comm x")
    assert one.check([(first[0], first[1] + 1)]) is None  # gone is not protected
    one.close()


def test_a_look_that_keeps_nobody_lets_go_of_those_alone_who_were_not_held(
    stage: Stage, children: list[Key]
) -> None:
    first, second = children
    one = stage.killer()
    one.hold(first)
    assert one.check([first, second], keep=False) is None
    assert one.keys == (first,)
    one.close()


def test_what_has_died_is_let_go_of(stage: Stage, children: list[Key]) -> None:
    first, second = children
    one = stage.killer()
    one.send([signal_to(first), signal_to(second, "TERM")])
    for key in children:
        os.waitid(os.P_PID, key[0], os.WEXITED | os.WNOWAIT)
    assert sorted(one.dead()) == sorted(children)
    assert one.keys == ()
    assert one.dead() == []


@pytest.mark.parametrize(("name", "number"), [("TERM", signal.SIGTERM), ("KILL", signal.SIGKILL)])
def test_the_signal_is_the_one_that_is_named(
    stage: Stage, children: list[Key], name: str, number: int
) -> None:
    one, key = stage.killer(), children[0]
    one.send([signal_to(key, name)])
    ended = os.waitid(os.P_PID, key[0], os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_status == number
    one.close()


@pytest.mark.parametrize(("left_kb", "over"), [(5899.0, False), (5900.0, True)])
def test_an_act_is_over_when_nine_tenths_are_back(left_kb: float, over: bool) -> None:
    one = ongoing({(7, 1)})
    one.died((7, 1), 100.2)
    assert one.settled(100.3, left_kb, short=True) is over


@pytest.mark.parametrize(("t_s", "over"), [(101.19, False), (101.2, True)])
def test_or_a_second_after_the_last_death(t_s: float, over: bool) -> None:
    one = ongoing({(7, 1), (8, 1)})
    one.died((7, 1), 100.1)
    assert one.alive == {(8, 1)}
    one.died((8, 1), 100.2)
    assert one.settled(t_s, 5000.0, short=True) is over


@pytest.mark.parametrize(("t_s", "over"), [(159.9, False), (160.0, True)])
def test_or_a_minute_after_it_began(t_s: float, over: bool) -> None:
    assert ongoing({(7, 1)}).settled(t_s, 5000.0, short=True) is over


@pytest.mark.parametrize(("name", "short", "outcome"), [
    ("TERM", False, "spared"), ("TERM", True, "survived"), ("KILL", False, "survived"),
    ("KILL", True, "survived"),
])  # fmt: skip
def test_what_is_said_of_who_did_not_die(name: str, short: bool, outcome: str) -> None:
    """Spared is who was only asked to leave, and is not needed any more."""
    one = ongoing({(7, 1)})
    one.sent([Sent(signal_to((7, 1), name), 100.0, "")])
    assert one.settled(160.0, 5000.0, short=short)
    assert one.record.outcome == outcome


def test_another_process_that_dies_ends_no_act() -> None:
    one = ongoing({(7, 1)})
    one.died((7, 2), 100.2)
    assert one.alive == {(7, 1)}
    assert not one.settled(105.0, 9000.0, short=False)


def test_the_time_counts_at_which_nearly_all_was_back() -> None:
    """Not that of the last page: another 2 % change nothing."""
    one = ongoing({(7, 1)}, expected_kb=2000.0)
    assert not one.settled(100.5, 6000.0, short=True)
    one.died((7, 1), 100.6)
    assert not one.settled(100.7, 6019.0, short=True)
    assert one.settled(101.7, 6019.0, short=True)
    record = one.record
    assert (record.freed_kb, record.freed_after_ms, record.died_after_ms) == (1000, 500.0, 600.0)


def test_an_act_is_taken_up_by_a_guard_that_is_started_later() -> None:
    before = ongoing({(7, 1), (8, 2)}, expected_kb=4000.0)
    before.sent([Sent(signal_to((7, 1), "TERM"), 100.0, "")])
    again = resumed(before.saved())
    assert again.record.resumed
    assert (again.alive, again.begun_s, again.victim.pid) == ({(7, 1), (8, 2)}, 100.0, 7)
    escalation = Escalation(plan(how={"term_wait": "5s"}))
    take_up(again, escalation, 103.0)
    assert set(escalation.dying()) == {(7, 1), (8, 2)}
    assert escalation.coming_kb(103.0) == 0.0  # only asked to leave so far
    assert escalation.escalate(104.9, SOFT) == ()
    assert [one.name for one in escalation.escalate(105.0, SOFT)] == ["KILL", "KILL"]


def test_an_act_of_a_sigkill_is_taken_up_as_one() -> None:
    before = ongoing({(7, 1), (8, 2)}, expected_kb=4000.0)
    before.sent([Sent(signal_to((7, 1)), 100.0, "")])
    escalation = Escalation(plan(how={"give_up": "10s"}))
    take_up(resumed(before.saved()), escalation, 103.0)
    assert escalation.coming_kb(103.0) == 4000.0
    assert escalation.escalate(105.0, HARD) == ()
    assert escalation.stuck(109.9) == ()
    assert set(escalation.stuck(110.0)) == {(7, 1), (8, 2)}


def test_a_file_that_says_an_act_begins_later_is_not_believed() -> None:
    before = ongoing({(7, 1)})
    before.begun_s = 9e9
    escalation = Escalation(plan(how={"term_wait": "5s"}))
    take_up(resumed(before.saved()), escalation, 103.0)
    assert len(escalation.escalate(108.0, SOFT)) == 1


def test_what_another_version_saved_is_left_out() -> None:
    saved = ongoing({(7, 1)}).saved()
    victim = saved["record"]["victim"]
    endless = [{**saved, name: value} for name in ("begun_s", "left_kb", "expected_kb")
               for value in (1e30, -1e30)]  # fmt: skip
    others = [*endless, {}, {**saved, "alive": [[math.inf, 1]]}, {**saved, "alive": 7},
              {**saved, "left_kb": "much"}, {**saved, "expected_kb": math.nan},
              {**saved, "record": None}, {**saved, "record": {**saved["record"], "time_s": 1e400}},
              *({**saved, "record": {**saved["record"], "victim": {**victim, name: value}}}
                for name, value in (("pid", {}), ("comm", 7), ("cpu_s", math.inf)))]  # fmt: skip
    pending: Any = SimpleNamespace(read=lambda: [*others, saved])
    killer: Any = SimpleNamespace(hold=lambda _key: GONE)
    none: Any = None
    actions = Actions(killer, pending, none, none, lambda: 103.0, lambda: 1.7e9)
    actions.take_over()
    (one,) = actions.ongoing_acts
    assert (one.victim.pid, one.alive) == (7, set())


@pytest.mark.parametrize(("ample", "helped"), [(True, 1), (False, 0)])
def test_the_reaper_helps_only_where_files_are_left_for_it(
    children: list[Key], monkeypatch: pytest.MonkeyPatch, ample: bool, helped: int
) -> None:
    asked: list[int] = []
    help_with: list[bool] = []
    reaper: Any = SimpleNamespace(help=lambda _grip, *, killed: help_with.append(killed))
    look: Any = Look()

    def enough(count: int) -> bool:
        asked.append(count)
        return ample

    one = Killer(
        Places(), frozenset({os.getpid()}), look, reaper, lambda: None, lambda: 7.5, enough
    )
    assert one.hold(children[0]) == ""

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        (sent,) = one.send([signal_to(children[0])])
    assert sent.error == ""
    assert help_with == [True] * helped
    assert asked == [3], "the one that is held, and two more"
    one.close()
