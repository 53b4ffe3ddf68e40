"""Memory cgroups: what is read of each, and who would die along with somebody."""

import re
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import cgroup_reader
from oomkit.guard.cgroup_reader import (
    CgroupReader,
    Members,
    descendants,
    dies_as_one,
    directory_of,
    pressure_us,
    read_group,
)
from oomkit.guard.config import Places
from oomkit.guard.identity import Wanted
from oomkit.guard.shortlist import Shortlist
from oomkit.policy.engine.candidate import Candidate, Growth
from oomkit.policy.engine.reading import Reading
from tests.guard.made import Process
from tests.policy.making import plan

pytestmark = pytest.mark.hermetic


def files(directory: Path, **texts: object) -> None:
    """Files of a cgroup; ``_`` stands for the dot behind the controller."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name.replace("memory_", "memory.", 1)).write_text(f"{text}\n")


def test_all_that_version_2_says(tmp_path: Path) -> None:
    places = Places(cgroups=str(tmp_path), cgroup_version=2)
    group = tmp_path / "a"
    files(group, memory_current=8 << 20)
    bare = read_group(places, "/a", working_set=True)
    assert bare is not None
    assert (bare.path, bare.usage_kb, bare.limit_kb, bare.swap_kb) == ("/a", 8192, None, 0)
    assert (bare.psi_some_us, bare.psi_full_us, bare.pgscan_pages) == (None, None, None)
    assert (bare.oom_group, bare.working_set_kb) == (False, None)
    files(group, memory_max=16 << 20)
    (group / "memory.swap.current").write_text(f"{2 << 20}\n")
    (group / "memory.oom.group").write_text("1\n")
    (group / "memory.pressure").write_text("some avg10=1.00 total=7\nfull avg10=0.50 total=3\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {1 << 20}\npgscan 44\n")
    whole = read_group(places, "/a")
    assert whole is not None
    assert (whole.limit_kb, whole.swap_kb, whole.psi_some_us, whole.psi_full_us) == (
        16384, 2048, 7, 3,
    )  # fmt: skip
    assert (whole.pgscan_pages, whole.oom_group, whole.working_set_kb) == (44, True, 7168)


def test_all_that_version_1_says(tmp_path: Path) -> None:
    places = Places(cgroups=str(tmp_path), cgroup_version=1)
    group = tmp_path / "a"
    files(group, memory_usage_in_bytes=8 << 20, memory_limit_in_bytes=0x7FFFFFFFFFFFF000)
    (group / "memory.stat").write_text(f"inactive_file 5\ntotal_inactive_file {1 << 20}\n")
    bare = read_group(places, "/a")
    assert bare is not None
    assert (bare.path, bare.usage_kb, bare.limit_kb, bare.swap_kb) == ("/a", 8192, None, 0)
    assert (bare.oom_group, bare.psi_some_us, bare.working_set_kb) == (False, None, None)
    (group / "memory.memsw.usage_in_bytes").write_text(f"{11 << 20}\n")
    whole = read_group(places, "/a", working_set=True)
    assert whole is not None
    assert (whole.swap_kb, whole.working_set_kb) == (3072, 7168)
    # The two are read one after the other, and may be of different moments.
    (group / "memory.memsw.usage_in_bytes").write_text(f"{7 << 20}\n")
    (group / "memory.stat").write_text(f"x 1\ntotal_inactive_file {9 << 20}\n")
    odd = read_group(places, "/a", working_set=True)
    assert odd is not None
    assert (odd.swap_kb, odd.working_set_kb) == (0, 0)


@pytest.mark.parametrize("version", [1, 2])
def test_the_nearest_limit_above_counts(tmp_path: Path, version: int) -> None:
    places = Places(cgroups=str(tmp_path), cgroup_version=version)
    usage, limit = (
        ("memory.usage_in_bytes", "memory.limit_in_bytes") if version == 1
        else ("memory.current", "memory.max")
    )  # fmt: skip
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b" / usage).write_text("1024\n")
    (tmp_path / usage).write_text("2048\n")
    (tmp_path / limit).write_text("4096\n")

    def limit_kb(path: str = "/a/b") -> float | None:
        group = read_group(places, path)
        assert group is not None
        return group.limit_kb

    assert limit_kb() is None, "the root has none that would be its own"
    assert limit_kb("/") is None
    (tmp_path / "a" / limit).write_text(f"{8 << 20}\n")
    assert limit_kb() == 8192
    (tmp_path / "a/b" / limit).write_text(f"{1 << 60}\n")
    assert limit_kb() == 8192, "the largest number says none"
    (tmp_path / "a/b" / limit).write_text(f"{(1 << 60) - 1024}\n")
    assert limit_kb() == ((1 << 60) - 1024) / 1024
    (tmp_path / "a/b" / limit).write_text("0\n")
    assert limit_kb() == 0


@pytest.mark.parametrize(("version", "text", "as_one"), [
    (2, "1", True), (2, "0", False), (2, None, False), (1, "1", False), (0, "1", False),
])  # fmt: skip
def test_a_cgroup_dies_as_one_where_version_2_says_so(
    tmp_path: Path, version: int, text: str | None, as_one: bool
) -> None:
    files(tmp_path / "a")
    if text is not None:
        (tmp_path / "a/memory.oom.group").write_text(f"{text}\n")
    assert dies_as_one(Places(cgroups=str(tmp_path), cgroup_version=version), "/a") is as_one


def test_the_root_is_the_directory_itself() -> None:
    places = Places(cgroups="/c")
    assert directory_of(places, "/") == "/c"
    assert directory_of(places, "/a/b") == "/c/a/b"


def test_pressure_is_the_totals_of_both_lines() -> None:
    text = b"some avg10=1.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=9.00 total=34\n"
    assert pressure_us(text) == (12, 34)
    assert pressure_us(text.partition(b"full")[0]) == (12, None)


def test_only_those_that_a_pattern_names_are_watched(tmp_path: Path) -> None:
    for path in ("a", "a/b", "c"):
        files(tmp_path / path, memory_current=1024)
    files(tmp_path, memory_current=4096)
    (tmp_path / "a/x").mkdir()
    places = Places(cgroups=str(tmp_path), cgroup_version=2)

    def found(*patterns: str) -> list[str]:
        reader = CgroupReader(places, map(re.compile, patterns))
        return sorted(one.path for one in reader.read())

    assert found("/a") == ["/a"]
    assert found("/a.*", "/c") == ["/a", "/a/b", "/c"], "without a memory controller none"
    assert found("/") == ["/"]
    assert found() == []
    assert CgroupReader(Places(), [re.compile("/")]).read() == ()
    reader = CgroupReader(places, [re.compile("/d")], working_set=True)
    assert reader.read() == ()
    files(tmp_path / "d", memory_current=3072)
    (tmp_path / "d/memory.stat").write_text("x 1\ninactive_file 1024\n")
    assert reader.read() == ()
    reader.find()
    assert [(one.path, one.working_set_kb) for one in reader.read()] == [("/d", 2.0)]
    (tmp_path / "d/memory.current").unlink()
    assert reader.read() == ()


class Warm:
    """Stands in for the short list."""

    def __init__(self, *top: Candidate) -> None:
        self.top = list(top)
        self.asked: list[list[int]] = []
        self.large: tuple[int, int] = (0, 0)

    def larger_than(self, size_kb: int, most: int) -> list[int]:
        self.large = (size_kb, most)
        return [900, 901]

    def also(self, pids: Any, *, most: int) -> list[Candidate]:
        at_hand = {one.pid for one in self.top}
        found = [pid for pid in dict.fromkeys(pids) if pid not in at_hand][:most]
        self.asked.append(found)
        return [Candidate(pid, 1, 1, "small") for pid in found]


def one(pid: int, cgroup: str | None = None, **fields: Any) -> Candidate:
    return Candidate(pid, 1, 1, "x", cgroup=cgroup, **fields)


def members(tmp_path: Path, *, version: int = 2, by_reclaim: bool = False, **whom: Any) -> Members:
    (tmp_path / "proc").mkdir(exist_ok=True)
    places = Places(
        proc=str(tmp_path / "proc"), cgroups=str(tmp_path / "cg"), cgroup_version=version
    )
    return Members(places, plan(whom=whom).selection, by_reclaim=by_reclaim)


def complete(made: Members, warm: Warm, also: Any = ()) -> tuple[list[int], list[str]]:
    found, groups = made.complete(warm, also=also)  # type: ignore[arg-type]  # a stand-in
    return [one.pid for one in found], sorted(group.path for group in groups)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """``/up`` dies as one, ``/up/low`` and ``/other`` don't."""
    for path, procs in (("up", "10\n"), ("up/low", "11\n12\n"), ("other", "13\n")):
        files(tmp_path / "cg" / path, memory_current=1024)
        (tmp_path / "cg" / path / "cgroup.procs").write_text(procs)
    (tmp_path / "cg/up/memory.oom.group").write_text("1\n")
    return tmp_path


def test_who_is_alone_needs_nobody_else(groups: Path) -> None:
    warm = Warm(one(10, "/other"))
    made = members(groups, level="process", oom_group=False)
    assert complete(made, warm) == ([10], [])
    assert warm.asked == []
    assert complete(made, warm, also=[70]) == ([10, 70], [])
    assert warm.large == (0, 0)


def test_a_group_that_dies_as_one_is_found_from_below(groups: Path) -> None:
    warm = Warm(one(11, "/up/low"), one(13, "/other"), one(14, "/"), one(15))
    assert complete(members(groups, level="process"), warm) == ([11, 13, 14, 15, 10, 12], ["/up"])
    without = members(groups, level="process", oom_group=False)
    assert complete(without, warm) == ([11, 13, 14, 15], [])
    assert complete(members(groups, version=1, level="process"), warm) == ([11, 13, 14, 15], [])


def test_where_cgroups_die_all_of_each_are_candidates(groups: Path) -> None:
    warm = Warm(one(13, "/other"), one(16, "/up/low"))
    found, paths = complete(members(groups, level="cgroup", oom_group=False), warm)
    assert found == [13, 16, 11, 12, 900, 901]
    assert paths == []
    assert warm.large == (1024, 512)


def test_what_a_rule_kills_as_a_whole_is_found_from_below(groups: Path) -> None:
    places = Places(proc=str(groups / "proc"), cgroups=str(groups / "cg"), cgroup_version=2)
    selection = plan(whom={"level": "cgroup", "oom_group": False}).selection
    made = Members(places, selection, by_reclaim=False, wholes=[re.compile("/up")])
    assert complete(made, Warm(one(12, "/up/low")))[0] == [12, 10, 11, 900, 901]
    as_one = members(groups, level="cgroup")
    assert complete(as_one, Warm(one(12, "/up/low")))[0] == [12, 10, 11, 900, 901]


def test_what_a_cgroup_reclaims_is_read_where_it_is_asked_for(groups: Path) -> None:
    warm = Warm(one(13, "/other"), one(11, "/up/low"), one(14, "/"))
    asked = members(groups, level="process", by_reclaim=True)
    assert complete(asked, warm)[1] == ["/other", "/up", "/up/low"]
    files(groups / "cg", memory_current=4096)  # version 1 has it of the root, too
    assert complete(asked, warm)[1] == ["/other", "/up", "/up/low"], "which is the whole machine"


def test_where_trees_die_all_below_each_are_candidates(groups: Path) -> None:
    proc = groups / "proc"
    for pid, children in ((10, "20 21"), (20, "22"), (21, ""), (22, "")):
        process = Process(proc, pid)
        (process.directory / f"task/{pid}").mkdir(parents=True)
        (process.directory / f"task/{pid}/children").write_text(children)
    made = members(groups, level="tree", oom_group=False)
    found, _ = complete(made, Warm(one(10, "/other")))
    assert found[0] == 10
    assert sorted(found[1:]) == [20, 21, 22, 900, 901]


@pytest.mark.parametrize("level", ["tree", "cgroup"])
def test_where_others_die_too_all_that_are_worth_a_look_are_candidates(
    groups: Path, level: str
) -> None:
    found, _ = complete(members(groups, level=level, oom_group=False), Warm(one(10)))
    assert found == [10, 900, 901]


def test_all_in_the_namespace_of_an_init_are_candidates(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def inside(proc: str, namespaces: set[int]) -> dict[int, tuple[int, ...]]:
        asked.append((proc, namespaces))
        return {10: (5, 4), 30: (5,), 31: (5, 4)}

    monkeypatch.setattr(cgroup_reader, "inside", inside)
    warm = Warm(one(10, init_of=5), one(12))
    made = members(groups, level="process", oom_group=False)
    found, _ = made.complete(warm)  # type: ignore[arg-type]  # a stand-in
    assert asked == [(str(groups / "proc"), {5})]
    assert warm.asked == [[30, 31]]
    assert {c.pid: c.namespaces for c in found} == {
        10: (5, 4), 12: (), 30: (5,), 31: (5, 4),
    }  # fmt: skip
    asked.clear()
    assert complete(made, Warm(one(12)))[0] == [12]
    assert asked == []


def thread(proc: Path, pid: int, tid: int, children: str | None) -> None:
    directory = proc / f"{pid}/task/{tid}"
    directory.mkdir(parents=True)
    if children is not None:
        (directory / "children").write_text(children)


def test_the_children_of_all_threads_count_and_theirs(tmp_path: Path) -> None:
    thread(tmp_path, 1, 1, "10 11 ")
    thread(tmp_path, 1, 2, "12")
    thread(tmp_path, 1, 3, None)
    thread(tmp_path, 11, 11, "20")
    assert sorted(descendants(str(tmp_path), 1)) == [10, 11, 12, 20]
    assert descendants(str(tmp_path), 11) == [20]
    assert descendants(str(tmp_path), 99) == []


@pytest.mark.parametrize(("most", "by_parents"), [(3, False), (2, True), (0, True)])
def test_of_very_many_threads_each_process_is_asked_for_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, by_parents: bool
) -> None:
    for tid in (1, 2, 3):
        thread(tmp_path, 1, tid, None)
    Process(tmp_path, 50, ppid=1, comm="a) S 7")
    Process(tmp_path, 51, ppid=50)
    Process(tmp_path, 52, ppid=2)
    (tmp_path / "53").mkdir()
    (tmp_path / "self").mkdir()
    found = descendants(str(tmp_path), 1, most_threads=most)
    assert found == ([50, 51] if by_parents else [])


def test_a_tree_is_followed_no_further_than_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_reader, "MAX_PROCESSES", 4)
    thread(tmp_path, 1, 1, "10 11 12 13")
    thread(tmp_path, 13, 13, "20 21")
    assert descendants(str(tmp_path), 1) == [10, 11, 12, 13]
    thread(tmp_path, 2, 2, "13 14 15")
    assert descendants(str(tmp_path), 2)[:3] == [13, 14, 15]
    for pid in range(60, 70):
        Process(tmp_path, pid, ppid=5)
    thread(tmp_path, 5, 5, "")
    assert len(descendants(str(tmp_path), 5, most_threads=0)) == 10
    for pid in range(70, 80):
        Process(tmp_path, pid, ppid=60)
    assert len(descendants(str(tmp_path), 5, most_threads=0)) == 10, "five are enough"


def test_of_the_real_short_list_the_small_are_added(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for pid, kb in ((10, 90_000), (11, 2000), (12, 500)):
        Process(proc, pid, anon=kb, start=pid)
    places = Places(proc=str(proc), cgroups=str(tmp_path / "cg"), cgroup_version=2)
    warm = Shortlist(Wanted(places, frozenset(), {}, root=""), listed=1)
    warm.look(Reading(1.0, 1 << 20, 1 << 19, 0, 0, 92_500), Growth(1.0))
    made = Members(places, plan(whom={"level": "tree"}).selection, by_reclaim=False)
    found, _ = made.complete(warm)
    assert sorted(one.pid for one in found) == [10, 11], "a MiB is worth a look"
    warm.close()
