"""Who holds victims and sends signals: every way in which that can fail, by a made kernel."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from oomkit.guard import killer as module
from oomkit.guard.config import Places
from oomkit.guard.killer import GONE, SWEEPS, Killer, Sent
from oomkit.guard.reserve import MIN
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.escalation import Signal

if TYPE_CHECKING:
    from oomkit.guard.reaper import Reaper
    from oomkit.guard.recheck import Recheck
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic

Key = tuple[int, int]


class World:
    """A kernel with processes that are there, can be held, and are signalled, or not.

    Attributes:
        started: pid to start time of those that are there.
        refuses: pid to what opening its pidfd raises, and how often.
        spoils: pid to what a signal raises.
        unreadable: pids whose start can't be read.
        says: pid to why a policy protects it.
        sent: the signals that arrived.
        free: how many more files can be opened.
        shed: how many more there are once room was made.
    """

    def __init__(self) -> None:
        self.started: dict[int, int] = {}
        self.refuses: dict[int, list[OSError]] = {}
        self.spoils: dict[int, OSError] = {}
        self.unreadable: set[int] = set()
        self.says: dict[int, str] = {}
        self.looked: list[int] = []
        self.log: list[str] = []
        self.sent: list[tuple[int, int]] = []
        self.fds: dict[int, int] = {}
        self.free = 1000
        self.shed = 0
        self.rooms = 0
        self.ample: list[int] = []

    def add(self, *pids: int) -> list[Key]:
        self.started.update({pid: 100 + pid for pid in pids})
        return [(pid, 100 + pid) for pid in pids]

    def die(self, pid: int) -> None:
        del self.started[pid]
        if pid in self.fds:
            os.eventfd_write(self.fds[pid], 1)

    def held(self, pid: int, start: int, proc: str, *, ready: int) -> Any:
        assert (proc, ready) == ("/made", -1)
        if self.refuses.get(pid):
            raise self.refuses[pid].pop(0)
        if self.started.get(pid) != start:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        fd = self.fds[pid] = os.eventfd(0)
        self.log.append(f"hold {pid}")

        def send(number: int) -> None:
            if pid in self.spoils:
                raise self.spoils[pid]
            self.sent.append((pid, number))

        def close() -> None:
            self.log.append(f"drop {pid}")
            os.close(fd)
            del self.fds[pid]

        return SimpleNamespace(pid=pid, fd=fd, start_ticks=start, send=send, close=close)

    def start_ticks_of(self, pid: int, proc: str) -> int | None:
        assert proc == "/made"
        if pid in self.unreadable:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.started.get(pid)

    def refusal(self, pid: int) -> str:
        self.looked.append(pid)
        self.log.append(f"look {pid}")
        return self.says.get(pid, "")

    def room(self) -> None:
        self.rooms += 1
        self.free += self.shed

    def can_be_opened(self, most: int) -> int:
        return min(most, self.free)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Held", made.held)
    monkeypatch.setattr(module, "start_ticks_of", made.start_ticks_of)
    open_ = os.open
    opened: set[int] = set()

    def scarce(path: str, *rest: int, **named: int) -> int:
        if path != "/dev/null":
            return open_(path, *rest, **named)
        opened.intersection_update({fd for fd in opened if _is_open(fd)})
        if len(opened) >= made.free:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.add(fd := open_(path, *rest, **named))
        return fd

    monkeypatch.setattr(os, "open", scarce)
    return made


def _is_open(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "/dev/null"
    except OSError:
        return False


class Reaping:
    def __init__(self) -> None:
        self.helped: list[tuple[int, bool]] = []

    def help(self, held: Any, *, killed: bool) -> None:
        self.helped.append((held.pid, killed))


def killer(
    world: World, *, cgroups: str = "", reaper: Reaping | None = None, ample: bool | None = None
) -> Killer:
    def enough(count: int) -> bool:
        world.ample.append(count)
        return bool(ample)

    return Killer(
        Places(proc="/made", cgroups=cgroups, cgroup_version=2), frozenset({5}),
        cast("Recheck", world), cast("Reaper | None", reaper), world.room, lambda: 7.5,
        None if ample is None else enough,
    )  # fmt: skip


def signal(key: Key, name: str = "KILL") -> Signal:
    return Signal(Candidate(key[0], key[1], 1, "x"), name, "chosen")


def errors(sent: list[Sent]) -> list[tuple[int, str, bool]]:
    return [(one.pid, one.error, one.protected) for one in sent]


def held_by(one: Killer) -> list[Key]:
    return list(one.keys)


@pytest.fixture
def no_leak() -> Iterator[None]:
    before = Fds()
    yield
    assert Fds().since(before) == 0


def test_each_is_held_looked_at_and_signalled_in_this_order(world: World, no_leak: None) -> None:
    first, second = world.add(10, 11)
    one = killer(world)
    sent = one.send([signal(second, "TERM"), signal(first)], together=False)
    assert errors(sent) == [(11, "", False), (10, "", False)]
    assert [(s.name, s.why, s.t_s) for s in sent] == [
        ("TERM", "chosen", 7.5), ("KILL", "chosen", 7.5),
    ]  # fmt: skip
    assert world.sent == [(11, 15), (10, 9)]
    assert world.log == ["hold 11", "look 11", "hold 10", "look 10"]
    assert held_by(one) == [second, first]
    assert sorted(one.fds()) == sorted(world.fds.values())
    one.send([signal(first)])
    assert world.log[4:] == ["look 10"], "it is held already, and looked at again"
    one.close()
    assert held_by(one) == []


def test_who_goes_together_is_all_looked_at_first(world: World, no_leak: None) -> None:
    keys = world.add(10, 11, 12)
    one = killer(world)
    world.says[11] = "never: comm x"
    sent = one.send([signal(key) for key in keys])
    assert errors(sent) == [(pid, "with process 11: never: comm x", True) for pid in (10, 11, 12)]
    assert (world.sent, sent[0].t_s) == ([], 7.5)
    world.says.clear()
    world.looked.clear()
    assert errors(one.send([signal(key) for key in keys])) == [(p, "", False) for p in (10, 11, 12)]
    assert world.looked == [10, 11, 12, 10, 11, 12]
    world.looked.clear()
    one.send([signal(keys[0])])
    assert world.looked == [10], "alone there is nothing to go together with"
    one.close()


def test_of_those_together_who_is_gone_stops_nobody(world: World) -> None:
    keys = world.add(10, 11)
    del world.started[10]
    one = killer(world)
    assert errors(one.send([signal(key) for key in keys])) == [(10, GONE, False), (11, "", False)]
    one.close()


@pytest.mark.parametrize(("error", "text"), [
    (ProcessLookupError(errno.ESRCH, "No such process"), GONE),
    (PermissionError(errno.EPERM, "Operation not permitted"), "Operation not permitted"),
    (OSError("odd"), "odd"),
])  # fmt: skip
def test_a_signal_that_does_not_arrive_is_told(world: World, error: OSError, text: str) -> None:
    (key,) = world.add(10)
    world.spoils[10] = error
    one = killer(world)
    assert errors(one.send([signal(key)])) == [(10, text, False)]
    one.close()


@pytest.mark.parametrize(("failures", "said", "rooms"), [
    ([OSError(errno.EMFILE, "Too many open files")], "", 1),
    ([OSError(errno.ENFILE, "Full")], "Full", 0),  # what is closed is anybody's then
    ([OSError(errno.EMFILE, "Too many open files")] * 2, "Too many open files", 1),
    ([OSError(errno.ENOSYS, "Function not implemented")], "Function not implemented", 0),
    ([OSError("odd")], "odd", 0),
])  # fmt: skip
def test_what_keeps_it_from_being_held(
    world: World, failures: list[OSError], said: str, rooms: int
) -> None:
    (key,) = world.add(10)
    world.refuses[10] = failures
    one = killer(world)
    assert one.hold(key) == said
    assert world.rooms == rooms
    assert held_by(one) == ([] if said else [key])
    one.close()


@pytest.mark.parametrize("key", [(1, 1), (0, 0), (-1, 0), (5, 1)])
def test_init_ourselves_and_what_is_no_process_are_never_held(world: World, key: Key) -> None:
    world.started[key[0]] = key[1]
    assert killer(world).hold(key) == "never signalled"
    assert killer(world).hold((2, 9)) == GONE


def test_the_first_that_must_not_be_signalled_is_named(world: World, no_leak: None) -> None:
    keys = world.add(10, 11, 12)
    one = killer(world)
    world.says.update({11: "a", 12: "b"})
    assert one.check(keys) == (keys[1], "a")
    assert held_by(one) == [keys[0], keys[1]]
    assert one.check([(9, 1), keys[0]]) is None, "who is gone is passed over"
    one.close()
    assert one.check([keys[0]], keep=False) is None
    assert held_by(one) == []
    world.refuses[10] = [OSError(errno.EACCES, "Permission denied")]
    assert one.check([keys[0]]) == (keys[0], "Permission denied")
    assert one.check([(5, 1)]) == ((5, 1), "never signalled")
    one.hold(keys[0])
    assert one.check([keys[0]], keep=False) is None
    assert held_by(one) == [keys[0]], "who was held before is held still"
    one.close()


@pytest.mark.parametrize(("free", "held"), [
    (MIN + 3, 3), (MIN + 2, 2), (MIN, 0), (MIN - 1, 0), (0, 0),
])  # fmt: skip
def test_no_more_are_held_than_leave_room_for_one_looked_at(
    world: World, free: int, held: int
) -> None:
    keys = world.add(10, 11, 12)
    world.free = free
    one = killer(world)
    assert one.check(keys) is None
    assert held_by(one) == keys[:held]
    assert world.looked == [10, 11, 12]
    assert world.rooms == (free < MIN + 3)
    one.close()


def test_room_is_made_before_fewer_are_held(world: World) -> None:
    keys = world.add(10, 11, 12)
    world.free, world.shed = MIN, 2
    one = killer(world)
    one.check(keys)
    assert (world.rooms, held_by(one)) == (1, keys[:2])
    one.close()


@pytest.mark.parametrize("ample", [True, False])
def test_where_there_are_ample_files_it_is_not_tried_how_many(world: World, ample: bool) -> None:
    keys = world.add(10, 11, 12)
    world.free = 0
    one = killer(world, ample=ample)
    one.hold(keys[0])
    one.check(keys)
    # Two more and the one that is held, each with one more while the reaper has it.
    assert world.ample == [6]
    assert held_by(one) == (keys if ample else keys[:1])
    assert world.rooms == (not ample)
    one.close()


def test_who_cant_be_held_for_long_is_signalled_and_followed_by_number(
    world: World, no_leak: None
) -> None:
    keys = world.add(10, 11, 12)
    world.free = MIN + 1
    one = killer(world)
    assert errors(one.send([signal(key) for key in keys])) == [
        (10, "", False), (11, "", False), (12, "", False),
    ]  # fmt: skip
    assert held_by(one) == [keys[0]]
    assert world.sent == [(10, 9), (11, 9), (12, 9)]
    assert sorted(world.looked[:3]) == world.looked[3:] == [10, 11, 12]
    assert one.dead() == []
    world.die(11)
    assert one.dead() == [keys[1]]
    assert one.dead() == []
    world.started[12] = 999  # another process has its number
    world.unreadable.add(12)
    assert one.dead() == [], "not known"
    world.unreadable.clear()
    assert one.dead() == [keys[2]]
    world.die(10)
    assert one.dead() == [keys[0]]
    assert one.dead() == []


def test_of_those_looked_at_loosely_one_that_is_protected_spares_all(world: World) -> None:
    keys = world.add(10, 11)
    world.free = 0
    world.says[11] = "x"
    one = killer(world)
    assert errors(one.send([signal(key) for key in keys])) == [
        (10, "with process 11: x", True), (11, "with process 11: x", True),
    ]  # fmt: skip
    assert world.sent == []
    assert held_by(one) == []
    assert one.dead() == [], "who was not signalled is not followed"


def test_who_is_looked_at_loosely_is_not_held_though_there_was_room_by_then(world: World) -> None:
    keys = world.add(10, 11)
    world.free, world.shed = MIN, 1
    world.says[11] = "x"
    one = killer(world)
    one.send([signal(key) for key in keys])
    assert held_by(one) == keys[:1]
    one.close()


def test_who_was_spoiled_is_not_followed(world: World) -> None:
    (key,) = world.add(10)
    world.free = 0
    world.spoils[10] = PermissionError(errno.EPERM, "Operation not permitted")
    one = killer(world)
    one.send([signal(key)])
    world.die(10)
    assert one.dead() == []


def test_the_reaper_helps_those_that_were_signalled(world: World) -> None:
    keys = world.add(10, 11, 12)
    reaper = Reaping()
    one = killer(world, reaper=reaper)
    world.spoils[12] = PermissionError(errno.EPERM, "Operation not permitted")
    one.send([signal(keys[0]), signal(keys[1], "TERM"), signal(keys[2])], together=False)
    assert reaper.helped == [(10, True), (11, False)]
    one.close()


@pytest.mark.parametrize(("free", "helped"), [(MIN + 2, 1), (MIN + 1, 0)])
def test_the_reaper_gets_no_descriptor_that_may_be_needed(
    world: World, free: int, helped: int
) -> None:
    (key,) = world.add(10)
    reaper = Reaping()
    one = killer(world, reaper=reaper)
    one.hold(key)
    world.free = free
    one.send([signal(key)])
    assert len(reaper.helped) == helped
    assert world.rooms == 0
    one.close()


# Cgroups


@pytest.fixture
def group(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    return tmp_path


def listed(group: Path, *pids: int) -> None:
    (group / "app/cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def test_all_of_a_cgroup_are_looked_at_and_let_go_of(world: World, group: Path) -> None:
    keys = world.add(10, 11, 12)
    one = killer(world, cgroups=str(group))
    listed(group, 10, 11, 12, 99)
    assert one.check_group("/app", [keys[0]]) is None
    assert world.looked == [11, 12]
    assert held_by(one) == []
    world.says[12] = "never: comm x"
    assert one.check_group("/app", [keys[0]]) == (keys[2], "never: comm x")
    assert one.check_group("/app", keys) is None, "what was looked at is not looked at again"
    world.unreadable.add(12)
    assert one.check_group("/app", []) == (
        (12, 0), "what it is can't be read: Too many open files",
    )  # fmt: skip
    assert one.check_group("/gone", []) is None


def test_what_was_forked_meanwhile_is_killed_too(world: World, group: Path) -> None:
    keys = world.add(10)
    world.started.update({20: 500, 21: 501})
    listed(group, 10, 20, 21)
    one = killer(world, cgroups=str(group))
    assert one.sweep("/app", keys, 500) == 2
    assert sorted(world.sent) == [(20, 9), (21, 9)]
    assert held_by(one) == []


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_is_never_swept(world: World, group: Path, path: str) -> None:
    world.started[20] = 500
    (group / "cgroup.procs").write_text("20\n")
    assert killer(world, cgroups=str(group)).sweep(path, [], 0) == 0
    assert world.sent == []


def test_one_that_is_older_ends_the_sweep(world: World, group: Path) -> None:
    world.started[20] = 499
    listed(group, 20)
    one = killer(world, cgroups=str(group))
    assert one.sweep("/app", [], 500) == 0
    assert (world.sent, held_by(one)) == ([], [])
    world.started[20] = 500
    assert one.sweep("/app", [], 500) == 1


def test_one_that_is_protected_or_can_t_be_read_ends_the_sweep(world: World, group: Path) -> None:
    world.started[20] = 500
    listed(group, 20)
    one = killer(world, cgroups=str(group))
    world.says[20] = "never: comm x"
    assert one.sweep("/app", [], 500) == 0
    assert (world.sent, held_by(one)) == ([], [])
    world.says.clear()
    world.unreadable.add(20)
    assert one.sweep("/app", [], 500) == 0
    assert world.sent == []


def test_who_was_held_before_is_held_after_a_sweep(world: World, group: Path) -> None:
    world.started[20] = 500
    listed(group, 20)
    one = killer(world, cgroups=str(group))
    one.hold((20, 500))
    assert one.sweep("/app", [], 500) == 1
    assert held_by(one) == [(20, 500)]
    one.close()
    world.says[20] = "x"
    one.hold((20, 500))
    assert one.sweep("/app", [], 500) == 0
    assert held_by(one) == [(20, 500)]
    one.close()


def test_who_is_gone_or_cant_be_signalled_does_not_count(world: World, group: Path) -> None:
    world.started[21] = 501
    world.spoils[21] = PermissionError(errno.EPERM, "Operation not permitted")
    listed(group, 20, 21)
    one = killer(world, cgroups=str(group))
    assert one.sweep("/app", [], 500) == 0
    assert held_by(one) == []


@pytest.mark.parametrize("forks", [3, SWEEPS, SWEEPS + 3])
def test_it_is_swept_until_nothing_new_is_there_but_not_for_ever(
    world: World, group: Path, monkeypatch: pytest.MonkeyPatch, forks: int
) -> None:
    pids: list[int] = []

    def pids_below(directory: str) -> list[int]:
        assert directory == f"{group}/app"
        if len(pids) < forks:
            pids.append(100 + len(pids))
            world.started[pids[-1]] = 600
        return list(pids)

    monkeypatch.setattr(module, "pids_below", pids_below)
    assert killer(world, cgroups=str(group)).sweep("/app", [], 500) == min(forks, SWEEPS)
    assert SWEEPS == 8


# What shares the memory of a choice


def test_what_shares_its_memory_dies_with_a_choice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def sharers_of(pid: int, pids: list[int], proc: str, *, tid: int) -> list[int]:
        asked.append((pid, pids, proc, tid))
        return [11, 12, 13]

    monkeypatch.setattr(module, "sharers_of", sharers_of)
    known = Candidate(11, 111, 1, "known")
    world.candidate = lambda pid: Candidate(pid, 100, 1, "x") if pid == 12 else None  # type: ignore[attr-defined]  # a stand-in
    choice = Ranked(Candidate(10, 110, 1, "x"))
    choice.members = (choice.candidate, known)
    choice.level = "tree"
    killer(world).complete(choice, [12, 13])
    assert asked == [(10, [12, 13], "/made", 10)]
    assert [one.pid for one in choice.members] == [10, 11, 12]
    assert [one.mm_id for one in choice.members] == [10, None, 10]
    assert choice.level == "tree"
    alone = Ranked(Candidate(10, 110, 1, "x", mm_id=77))
    killer(world).complete(alone, [12])
    assert alone.level == "address space"
    assert [(one.pid, one.mm_id) for one in alone.members] == [(10, 77), (12, 77)]
    monkeypatch.setattr(module, "sharers_of", lambda *_, **__: [])
    nobody = Ranked(Candidate(10, 110, 1, "x"))
    killer(world).complete(nobody, [12])
    assert (nobody.level, nobody.candidate.mm_id, len(nobody.members)) == ("process", None, 1)


def test_without_a_policy_nothing_is_added_and_another_can_be_obeyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "sharers_of", lambda *_, **__: [12])
    (key,) = world.add(10)
    blind = Killer(Places(proc="/made"), frozenset(), None, None, world.room, lambda: 7.5)
    choice = Ranked(Candidate(10, 110, 1, "x"))
    blind.complete(choice, [12])
    assert (choice.level, len(choice.members)) == ("process", 1)
    assert errors(blind.send([signal(key)])) == [(10, "no policy is known", True)]
    blind.obey(cast("Recheck", world))
    assert errors(blind.send([signal(key)])) == [(10, "", False)]
    blind.close()
