"""What a choice and a signal cost, in files that are opened and calls that are made."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import shared_memory
from oomkit.guard.config import Places
from oomkit.guard.identity import Users, Wanted
from oomkit.guard.killer import Killer
from oomkit.guard.process_files import ProcessFiles
from oomkit.guard.recheck import Recheck
from oomkit.guard.reserve import AMPLE, MIN, Reserve
from oomkit.guard.shared_memory import Sharers
from oomkit.host import procfs
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.escalation import Escalation
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import policy_from
from tests.guard.test_shortlist_looks import Proc


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files of each name were opened."""
    count: Counter[str] = Counter()
    really = os.open

    def counted(path: Any, *arguments: Any, **named: Any) -> int:
        count[os.path.basename(path)] += 1
        return really(path, *arguments, **named)

    monkeypatch.setattr(os, "open", counted)
    return count


def test_a_process_is_looked_at_with_each_file_opened_once(
    proc: Proc, opened: Counter[str]
) -> None:
    proc.put(70, 50_000)
    never = [{"comm": "other"}, {"cgroup": "/no"}, {"unit": "no.service"}]
    plan = compile_plan(policy_from({"name": "test", "whom": {"never": never}}))
    places = Places(proc=str(proc.directory), cgroups="/cgroups", cgroup_version=2)
    recheck = Recheck(Chooser(plan), places, frozenset({"cgroup"}), Users({}), root="")
    opened.clear()
    assert recheck.refusal(70) == ""
    assert opened == {"stat": 1, "status": 1, "oom_score_adj": 1, "cgroup": 1}


def test_a_process_of_the_shortlist_is_identified_again_without_opening_a_file(
    proc: Proc, opened: Counter[str]
) -> None:
    proc.put(70, 50_000)
    places = Places(proc=str(proc.directory), cgroups="/cgroups", cgroup_version=2)
    wanted = Wanted(places, frozenset({"cgroup"}), {}, root="")
    one = ProcessFiles(70, wanted, 1e9)
    one.identify(wanted)
    opened.clear()
    one.identify(wanted)
    assert not opened
    assert (one.candidate.cgroup, one.candidate.unit) == ("/user.slice/app.scope", "app.scope")
    (proc.directory / "70" / "cgroup").write_text("0::/system.slice/db.service\n")
    one.identify(wanted)
    assert one.candidate.unit == "db.service", "what it says now"
    one.close()


def compared(monkeypatch: pytest.MonkeyPatch, memory: dict[int, int]) -> list[tuple[int, int]]:
    """Have address spaces be numbers; returns the pairs that are compared."""
    pairs: list[tuple[int, int]] = []

    def compare(one: int, other: int) -> int:
        pairs.append((one, other))
        if one not in memory or other not in memory:
            raise ProcessLookupError
        return 0 if memory[one] == memory[other] else 1 if memory[one] < memory[other] else 2

    monkeypatch.setattr(shared_memory, "kcmp_memory", compare)
    return pairs


def candidates(pids: Sequence[int]) -> list[Candidate]:
    return [Candidate(pid, 1, 1, "x", anon_kb=10.0) for pid in pids]


def groups(found: Sequence[Candidate]) -> list[set[int]]:
    ids = {one.mm_id for one in found if one.mm_id is not None}
    return [{one.pid for one in found if one.mm_id == mm} for mm in ids]


def test_who_was_compared_before_is_compared_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {pid: pid * 37 % 101 for pid in range(1, 65)}
    pairs = compared(monkeypatch, memory)
    finder = Sharers()
    finder.mark(candidates(sorted(memory)))
    first = len(pairs)
    pairs.clear()
    finder.mark(candidates(sorted(memory)))
    assert len(pairs) == 63 < first / 3
    assert finder.compared == memory.keys()


def test_sharers_are_found_whatever_was_known_of_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = {pid: pid * 37 % 101 for pid in range(1, 65)}
    compared(monkeypatch, memory)
    finder = Sharers()
    finder.mark(candidates(sorted(memory)))
    memory[3] = memory[40] = memory[64] = 1000  # as if they had been started anew
    memory[5] = memory[6]
    found = candidates(sorted(memory))
    finder.mark(found)
    assert sorted(map(sorted, groups(found))) == [[3, 40, 64], [5, 6]]


def test_who_ends_meanwhile_costs_no_comparison_of_all_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = {pid: pid * 37 % 101 for pid in range(1, 65)}
    memory[9] = memory[50]
    pairs = compared(monkeypatch, memory)
    del memory[20], memory[30]
    finder = Sharers()
    found = candidates(range(1, 65))
    finder.mark(found)
    assert groups(found) == [{9, 50}]
    assert len(pairs) < 64 * 63 / 2 / 2
    assert finder.compared == memory.keys()


def test_where_comparing_is_refused_none_counts_as_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(one: int, other: int) -> int:
        raise PermissionError

    finder = Sharers()
    compared(monkeypatch, {1: 1, 2: 2})
    finder.mark(candidates([1, 2]))
    monkeypatch.setattr(shared_memory, "kcmp_memory", refused)
    finder.mark(candidates([1, 2]))
    assert finder.compared == frozenset()


@pytest.mark.parametrize("size", [0, 10, 4095, 4096, 4097, 70_000, 300_000])
def test_a_file_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert len(procfs.read_single(str(tmp_path / "file"))) == size


def test_a_reserve_that_could_never_be_missed_is_not_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"SC_OPEN_MAX": AMPLE}
    monkeypatch.setattr(os, "sysconf", lambda name: limits[name])
    for bounded, limit, held in (
        (False, AMPLE, MIN), (False, -1, MIN), (False, AMPLE - 1, 0), (True, AMPLE, 0),
    ):  # fmt: skip
        limits["SC_OPEN_MAX"] = limit
        reserve = Reserve(bounded=bounded)
        with reserve:
            assert reserve.held == held, (bounded, limit)
        assert reserve.held == MIN
        assert reserve.ample(AMPLE) is (not bounded and limit < 0)
        reserve.close()


def test_room_is_not_tried_out_where_it_is_known(opened: Counter[str]) -> None:
    asked: list[int] = []

    def ample(count: int) -> bool:
        asked.append(count)
        return True

    killer = Killer(Places(), frozenset(), None, None, lambda: None, ample=ample)
    killer.check([(1 << 30, 1), ((1 << 30) + 1, 1)])
    assert asked == [4], "a descriptor for each, and one for the reaper"
    assert "null" not in opened


def test_who_frees_most_is_signalled_first_after_the_one_that_was_chosen() -> None:
    plan = compile_plan(policy_from({"name": "test"}))
    members = [Candidate(pid, 1, 1, "x", anon_kb=kb) for pid, kb in ((7, 5), (8, 1), (9, 90))]
    choice = Ranked(members[0])
    choice.members = tuple(members)
    signals = Escalation(plan).begin(choice, 0.0, 3)
    assert [signal.pid for signal in signals] == [7, 9, 8]
