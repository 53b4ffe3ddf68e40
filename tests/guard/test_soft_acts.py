"""Softer acts on a made cgroup tree: what is written, what is refused, and how it is taken back."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oomkit.guard.config import Places
from oomkit.guard.hooks import NOT_ASKED
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.records import Origin
from oomkit.guard.soft_acts import WATCH_S, SoftActs
from oomkit.guard.undo import LEFT, NOT_THERE, TAKEN_BACK, Undo, left_behind
from oomkit.host.cgroup_control import HeldCgroup
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.easing import Ease
from tests.guard.made import ABSENT, Process
from tests.policy.making import plan, reading

pytestmark = pytest.mark.hermetic

USAGE = 100 << 20
EASE = {"level": "ease", "available": "20%"}


class World:
    """A made cgroup v2 with one culprit, a made ``/proc``, and what would signal and write.

    Attributes:
        protected: process ids that must not be hit.
        sent: signals.
        answers: what notes are answered with, by their number.
        saved_at: what ``memory.high`` said each time when the state file was written.
    """

    def __init__(
        self,
        tmp_path: Path,
        how: dict[str, Any],
        *,
        state: bool = True,
        places: Places | None = None,
    ) -> None:
        self.root, self.proc = tmp_path / "cgroup", tmp_path / "proc"
        self.job = self.cgroup("job", ABSENT)
        Process(self.proc, ABSENT, comm="leak", start=500, cgroup="0::/job\n")
        self.protected: set[int] = set()
        self.sent: list[tuple[int, str]] = []
        self.lines: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.notes: list[Any] = []
        self.answers: dict[int, str] = {}
        self.saved_at: list[str] = []
        self.t_s = 1.0
        self.decider = Decider(plan(EASE, how=how))
        self.places = places or Places(
            proc=str(self.proc), cgroups=str(self.root), cgroup_version=2
        )
        self.path = tmp_path / "state"
        self.pending = PendingKills(str(self.path) if state else None)
        killer: Any = SimpleNamespace(
            keys=(), check=self._check, send=self._send, let_go=lambda _key: None
        )
        hooks: Any = SimpleNamespace(
            notify=lambda *texts: self.notes.append(texts),
            offer=self._offer,
            answer=self.answers.get,
        )
        reporter: Any = SimpleNamespace(
            line=lambda _priority, text: self.lines.append(text),
            repeat=lambda _priority, text: self.lines.append(text),
            record=lambda one: self.records.append(one.to_values()),
        )
        self.acts = SoftActs(
            killer, self.places, hooks, reporter, lambda: self.t_s, lambda: 1.7e9, self._save
        )

    def cgroup(self, name: str, *pids: int) -> Path:
        directory = self.root / name
        directory.mkdir(parents=True)
        for file, text in (
            ("memory.current", USAGE), ("memory.high", "max"), ("memory.reclaim", ""),
            ("cgroup.freeze", 0), ("cgroup.procs", "".join(f"{pid}\n" for pid in pids)),
        ):  # fmt: skip
            (directory / file).write_text(f"{text}\n" if text != "" and pids else str(text))
        return directory

    def _check(self, keys: Any, *, keep: bool = True) -> Any:
        return next(((key, "never: x") for key in keys if key[0] in self.protected), None)

    def _send(self, signals: Any) -> Any:
        self.sent += [(one.pid, one.name) for one in signals]
        return [SimpleNamespace(error="") for _ in signals]

    def _offer(self, uid: int, *words: Any, longest_s: float) -> int:
        self.notes.append((uid, *words))
        return 7

    def _save(self) -> bool:
        self.saved_at.append(self.says("memory.high"))
        self.pending.write(self.acts.saved())
        return self.pending.keeps

    def decided(self, level: str = "process", cgroup: str = "/job") -> Ease:
        self.decider.look(reading(self.t_s, 0.15))
        one = Candidate(ABSENT, 500, 1, "leak", anon_kb=50 << 10, uid=1000, cgroup=cgroup)
        ease = self.decider.ease([one])
        assert ease is not None
        ease.choice.level = level
        return ease

    def begin(self, *, notify: bool = False, dry_run: bool = False, **which: Any) -> bool:
        origin = Origin("p", dry_run=dry_run)
        return self.acts.begin(self.decided(**which), origin, notify=notify)

    def in_force(self) -> bool:
        return self.acts.any

    def says(self, file: str) -> str:
        return (self.job / file).read_text().strip("\0").strip()

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 20.0
        while not true():
            assert time.monotonic() < end, self.lines
            time.sleep(0.005)

    def written(self) -> None:
        """Wait until the throttle is written, and that is known."""
        self.tend_until(lambda: self.says("memory.high") != "max")
        self.tend_until(lambda: self.acts.next_s(self.t_s) > WATCH_S)

    def tend_until(self, true: Callable[[], bool]) -> None:
        def tended() -> bool:
            self.acts.tend(self.t_s)
            return true()

        self.until(tended)


THROTTLE = {"throttle": {"high": "50%", "time": "30s"}}
FREEZE = {"freeze": {"time": "60s"}}
RECLAIM = {"reclaim": {"amount": "10%"}}


def test_a_throttle_is_saved_before_it_is_done_and_taken_back_in_time(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    assert world.begin()
    assert world.saved_at[0] == "max", "it says what was there before that is changed"
    world.written()
    assert world.says("memory.high") == str(USAGE // 2)
    (saved,) = world.pending.read()
    assert (saved["undo"]["before"], saved["undo"]["value"]) == ("max", str(USAGE // 2))
    world.t_s = 30.9
    assert world.acts.tend(world.t_s) == []
    assert world.in_force()
    world.t_s = 31.0
    world.acts.tend(world.t_s)
    assert world.says("memory.high").startswith("max")
    assert not world.in_force()
    assert world.pending.read() == []
    first, last = world.records
    assert (first["kind"], first["act"], first["place"], first.get("outcome")) == (
        "ease", "throttle", "/job", None,
    )  # fmt: skip
    assert (last["outcome"], last["text"], last["id"]) == (
        "taken back", "its time is over", first["id"],
    )  # fmt: skip


def test_a_reclaim_asks_for_a_share_of_the_usage_and_has_nothing_to_take_back(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, RECLAIM)
    assert world.begin()
    assert world.pending.read() == []
    world.until(lambda: world.says("memory.reclaim") == str(USAGE // 10))
    (world.job / "memory.current").write_text(str(USAGE - (8 << 20)))
    world.tend_until(lambda: not world.in_force())
    assert (world.records[-1]["outcome"], world.records[-1]["freed_kb"]) == ("done", 8 << 10)


def test_a_cgroup_that_would_die_as_one_is_frozen_as_one(tmp_path: Path) -> None:
    world = World(tmp_path, FREEZE)
    assert world.begin(level="cgroup")
    assert world.says("cgroup.freeze") == "1"
    world.acts.take_back_all()
    assert world.says("cgroup.freeze") == "0"


def test_any_process_of_a_frozen_cgroup_that_is_signalled_lets_it_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, FREEZE)
    (world.job / "cgroup.procs").write_text(f"{ABSENT}\n12\n")
    Process(world.proc, 12, start=3, cgroup="0::/job\n")
    world.begin(level="cgroup")
    world.acts.release([(11, 3)], 2.0)
    assert world.says("cgroup.freeze") == "1"
    world.acts.release([(12, 3)], 2.0)
    assert world.says("cgroup.freeze") == "0"


def test_with_cgroup_v1_a_freeze_stops_processes_and_the_rest_is_refused(tmp_path: Path) -> None:
    places = Places(proc=str(tmp_path / "1/proc"), cgroups="/nowhere", cgroup_version=1)
    world = World(tmp_path / "1", FREEZE, places=places)
    assert world.begin(level="cgroup")
    assert (world.sent, world.records[-1]["place"]) == ([(ABSENT, "STOP")], "")
    assert not World(tmp_path / "2", THROTTLE, places=places).begin()


def test_a_process_is_stopped_and_let_go_on_when_it_is_signalled(tmp_path: Path) -> None:
    world = World(tmp_path, FREEZE)
    assert world.begin(notify=True)
    assert world.sent == [(ABSENT, "STOP")]
    assert world.notes == [
        (
            1000,
            "Low memory",
            f"freeze leak[{ABSENT}]",
            (("resume", "Let it go on"), ("end", "End it")),
        )
    ]
    assert world.pending.read()[0]["undo"]["keys"] == ((ABSENT, 500),)
    world.acts.release([(11, 1)], 2.0)
    assert world.in_force()
    world.acts.release([(ABSENT, 500)], 2.0)
    assert not world.in_force()


@pytest.mark.parametrize(("answer", "ends"), [("resume", False), ("end", True)])
def test_the_user_says_how_it_goes_on(tmp_path: Path, answer: str, ends: bool) -> None:
    world = World(tmp_path, FREEZE)
    world.begin(notify=True)
    assert world.acts.tend(1.5) == []
    world.answers[7] = answer
    assert bool(world.acts.tend(1.6)) == ends
    assert not world.in_force()
    assert world.records[-1]["text"] == "its user wants it so"


def test_who_could_not_be_asked_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, FREEZE)
    world.begin(notify=True)
    world.answers[7] = NOT_ASKED
    assert world.acts.tend(1.5) == []
    assert world.notes[1:] == [("Low memory", f"freeze leak[{ABSENT}]")]
    assert world.in_force()


def test_an_answer_that_is_none_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, FREEZE)
    world.begin(notify=True)
    world.answers[7] = ""
    assert world.acts.tend(1.5) == []
    assert world.in_force()


@pytest.mark.parametrize("how", [THROTTLE, FREEZE, RECLAIM])
def test_a_cgroup_with_a_protected_process_in_it_or_below_is_not_hit(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    world = World(tmp_path, how)
    Process(world.proc, 20, comm="sshd", start=7, cgroup="0::/job/below\n")
    world.cgroup("job/below", 20)
    world.protected.add(20)
    assert not world.begin(level="cgroup")
    assert (world.says("memory.high"), world.says("memory.reclaim")) == ("max", "")
    assert world.says("cgroup.freeze") == "0"
    assert world.records[-1]["outcome"] == "refused"
    assert world.records[-1]["text"] == "process 20 in it: never: x"
    assert not world.in_force()


def test_what_becomes_protected_is_let_go_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    world.begin()
    world.written()
    world.protected.add(ABSENT)
    world.t_s = 2.5
    world.acts.tend(world.t_s)
    assert world.says("memory.high").startswith("max")
    assert world.records[-1]["text"] == f"process {ABSENT} in it: never: x"


def test_the_culprit_has_to_be_in_the_cgroup_still(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    (world.job / "cgroup.procs").write_text("11\n")
    assert not world.begin()
    assert world.records[-1]["text"] == f"process {ABSENT} is not in it any more"


def test_a_process_that_can_t_be_seen_may_be_protected(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    (world.job / "cgroup.procs").write_text(f"{ABSENT}\n0\n")
    assert not world.begin()
    assert "can't be seen" in world.records[-1]["text"]


@pytest.mark.parametrize("how", [THROTTLE, FREEZE])
def test_without_a_state_file_nothing_is_done_that_had_to_be_taken_back(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    world = World(tmp_path, how, state=False)
    assert not world.begin()
    assert (world.says("memory.high"), world.sent) == ("max", [])
    assert "no state file" in world.records[-1]["text"]


def test_a_dry_run_does_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, {**THROTTLE, **FREEZE, **RECLAIM})
    assert world.begin(dry_run=True)
    assert (world.says("memory.high"), world.says("memory.reclaim"), world.sent) == ("max", "", [])
    assert world.records[-1]["outcome"] == "dry_run"
    assert not world.in_force()


def test_what_is_throttled_further_or_stopped_already_is_not_ours(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    (world.job / "memory.high").write_text("4096\n")
    assert not world.begin()
    assert world.records[-1]["text"] == "memory.high is 4096 already"
    frozen = World(tmp_path / "2", FREEZE)
    Process(frozen.proc, ABSENT + 1, comm="x")
    (frozen.proc / f"{ABSENT}/stat").write_text(
        (frozen.proc / f"{ABSENT}/stat").read_text().replace(") S ", ") T ")
    )
    assert not frozen.begin()
    assert frozen.sent == []


def test_a_link_is_not_followed_to_a_cgroup(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    (world.root / "link").symlink_to(world.job)
    (world.root / "up").mkdir()
    assert not world.begin(cgroup="/link")
    assert world.says("memory.high") == "max"
    for path in ("/../job", "/up/../job", "//", "/"):
        with pytest.raises(OSError, match="names no cgroup"):
            HeldCgroup(str(world.root), path)
    (world.job / "memory.high").unlink()
    (world.job / "memory.high").symlink_to(world.job / "memory.current")
    assert not world.begin(cgroup="/job")
    assert world.says("memory.current") == str(USAGE)


def left(world: World) -> dict[str, Any]:
    (values,) = world.pending.read()
    return values


def test_the_next_guard_takes_back_what_a_killed_one_left(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    world.begin()
    world.written()
    values = left(world)
    later = World(tmp_path / "later", THROTTLE, places=world.places)
    later.acts.take_over([values, {"undo": 5, "record": {}}])
    assert world.says("memory.high").startswith("max")
    assert [one["outcome"] for one in later.records] == ["taken back"]
    assert later.records[0]["id"] == world.records[0]["id"]
    assert not later.in_force()


def test_another_cgroup_of_the_name_and_what_others_changed_are_left(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    world.begin()
    world.written()
    values = left(world)
    (world.job / "memory.high").write_text("777\n")
    assert left_behind(values, world.places)[0] == LEFT
    assert world.says("memory.high") == "777"
    os.rename(world.job, world.root / "old")
    world.job = world.cgroup("job", ABSENT)
    assert left_behind(values, world.places)[0] == NOT_THERE
    assert world.says("memory.high") == "max"


def test_a_crash_between_the_state_and_the_act_leaves_what_was(tmp_path: Path) -> None:
    world = World(tmp_path, THROTTLE)
    held = HeldCgroup(str(world.root), "/job")
    undo = Undo(file="memory.high", place="/job", identity=held.identity, before="max", value="1")
    held.close()
    assert Undo.from_values(undo.to_values()).run(world.places) == TAKEN_BACK
    assert world.says("memory.high") == "max"
    with pytest.raises(ValueError, match="release_agent"):
        Undo.from_values({**undo.to_values(), "file": "release_agent"})


def test_what_can_t_be_taken_back_now_stays_in_the_state_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, THROTTLE)
    world.begin()
    world.written()
    run = Undo.run
    monkeypatch.setattr(Undo, "run", lambda *_: (_ for _ in ()).throw(OSError(13, "Denied")))
    world.t_s = 31.0
    world.acts.tend(world.t_s)
    assert world.in_force()
    assert len(world.pending.read()) == 1
    assert "Denied" in world.lines[-1]
    monkeypatch.setattr(Undo, "run", run)
    world.t_s += 5.0
    world.acts.tend(world.t_s)
    assert world.says("memory.high").startswith("max")
    assert cast(Any, world.pending.read()) == []
