"""Rough sizes: which are read when, and what is made of ``statm``."""

import errno
import os
from pathlib import Path

import pytest

from oomkit.guard.process_sizes import ProcessSizes
from tests.guard.made import PAGE_KB, Fds, Process

pytestmark = pytest.mark.hermetic


def statm(proc: Path, name: str, text: str) -> None:
    (proc / name).mkdir(parents=True, exist_ok=True)
    (proc / name / "statm").write_text(text)


def test_the_size_is_what_is_resident_and_not_shared(tmp_path: Path) -> None:
    """``statm``: size, resident, shared, text, lib, data, dirty; pages."""
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert sizes.kb == {"10": 250 * PAGE_KB}
    assert (sizes.listed, sizes.read) == (1, 1)
    assert not sizes.exact("10")
    sizes.close()


@pytest.mark.parametrize(("used_kb", "pages"), [
    (0, 250),  # no swap is used
    (100 * PAGE_KB, 350),  # no more than all that is used
    (9000 * PAGE_KB, 800),  # and no more than is private and not resident: 800 - 250
])  # fmt: skip
def test_what_is_swapped_out_is_bounded_from_above(
    tmp_path: Path, used_kb: int, pages: int
) -> None:
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(used_kb, 0.0, full=True)
    assert sizes.kb == {"10": pages * PAGE_KB}
    sizes.close()


def test_more_resident_than_private_is_no_swap(tmp_path: Path) -> None:
    statm(tmp_path, "10", "900 300 50 10 0 100 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(1 << 20, 0.0, full=True)
    assert sizes.kb == {"10": 250 * PAGE_KB}
    sizes.close()


def test_exact_sizes_replace_the_bound_and_follow_what_is_resident(tmp_path: Path) -> None:
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(1 << 30, 0.0, full=True)
    sizes.correct("10", 1000, 40, 0)
    assert (sizes.kb["10"], sizes.exact("10")) == (1040, True)
    statm(tmp_path, "10", "900 600 50 10 0 800 0\n")
    sizes.look(1 << 30, 0.0, full=True)
    assert sizes.kb["10"] == 40 + 550 * PAGE_KB
    # What is not resident any more may be in swap by now: not less than before.
    statm(tmp_path, "10", "900 60 50 10 0 800 0\n")
    sizes.look(1 << 30, 0.0, full=True)
    assert sizes.kb["10"] == 40 + 1000
    sizes.close()


@pytest.mark.parametrize("dropping", ["drop", "forget", "gone", "cut", "damaged"])
def test_what_was_known_of_a_number_goes_with_it(tmp_path: Path, dropping: str) -> None:
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.least_shared_kb = 50 * PAGE_KB
    sizes.look(0, 0.0, full=True)
    sizes.correct("10", 5000, 40, 50 * PAGE_KB)
    assert sizes.shared_kb == {"10": 50 * PAGE_KB}
    if dropping == "drop":
        sizes.drop("10")
    elif dropping == "forget":
        sizes.forget()
    elif dropping in ("cut", "damaged"):
        # A file that ends early, or has no numbers, is of none that is known.
        statm(tmp_path, "10", "900 300 50\n" if dropping == "cut" else "900 x 50 10 0 800 0\n")
        sizes.look(0, 0.0)
        assert (sizes.kb, sizes.exact("10")) == ({}, False)
        sizes.close()
        return
    else:
        (tmp_path / "10/statm").unlink()
        (tmp_path / "10").rmdir()
        sizes.look(0, 0.0)
    assert (sizes.kb, sizes.shared_kb, sizes.exact("10")) == ({}, {}, False)
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")
    sizes.look(0, 0.0)
    assert sizes.kb == {"10": 250 * PAGE_KB}
    sizes.drop("none")
    sizes.close()


@pytest.mark.parametrize(("shared", "known"), [(49, {}), (50, {"10": 50 * PAGE_KB})])
def test_what_is_shared_is_known_from_a_size_on(
    tmp_path: Path, shared: int, known: dict[str, int]
) -> None:
    statm(tmp_path, "10", "900 300 90 10 0 800 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert sizes.shared_kb == {}, "nobody asked"
    sizes.least_shared_kb = 50 * PAGE_KB
    sizes.look(0, 0.0, full=True)
    assert sizes.shared_kb == {"10": 90 * PAGE_KB}
    statm(tmp_path, "10", f"900 300 {shared} 10 0 800 0\n")
    sizes.look(0, 0.0, full=True)
    assert sizes.shared_kb == known
    sizes.close()


def crowd(tmp_path: Path, count: int) -> ProcessSizes:
    """So many processes, all of which were read."""
    small = tmp_path / "small"
    small.write_text("600 150 50 10 0 100 0\n")
    for pid in range(1, count + 1):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/statm").hardlink_to(small)
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert sizes.read == count
    return sizes


@pytest.mark.parametrize(("elapsed_s", "turn"), [
    (0.0, 32),  # at least so many
    (0.1, 32),  # a twentieth of 320 is less
    (0.5, 80),  # all in two seconds
    (2.0, 320),
    (50.0, 320),
])  # fmt: skip
def test_the_others_are_read_in_turn_within_two_seconds(
    tmp_path: Path, elapsed_s: float, turn: int
) -> None:
    sizes = crowd(tmp_path, 320)
    sizes.look(0, elapsed_s)
    assert sizes.read - 320 == turn
    assert sizes.listed == 2
    sizes.close()


def test_each_is_read_once_before_any_is_read_twice(tmp_path: Path) -> None:
    sizes = crowd(tmp_path, 80)
    for name in range(1, 81):
        (tmp_path / f"{name}/statm").unlink()
        statm(tmp_path, str(name), "600 160 50 10 0 100 0\n")
    seen = []
    for _ in range(3):
        sizes.look(0, 0.0)
        seen.append(sum(kb == 110 * PAGE_KB for kb in sizes.kb.values()))
    assert seen == [32, 64, 80]
    sizes.look(0, 0.0)
    assert sizes.read == 80 + 80 + 32
    sizes.close()


def test_who_is_new_is_read_at_once_beside_those_whose_turn_it_is(tmp_path: Path) -> None:
    sizes = crowd(tmp_path, 100)
    statm(tmp_path, "500", "900 300 50 10 0 800 0\n")
    sizes.look(0, 0.0)
    assert sizes.kb["500"] == 250 * PAGE_KB
    assert sizes.read == 100 + 1 + 32
    sizes.close()


def test_a_full_look_begins_the_turns_again(tmp_path: Path) -> None:
    sizes = crowd(tmp_path, 100)
    sizes.look(0, 0.0)
    sizes.look(0, 0.0, full=True)
    assert sizes.read == 100 + 32 + 100
    sizes.look(0, 2.0)
    assert sizes.read == 232 + 100, "not what was left of the turn before"
    sizes.close()


def test_the_largest_come_first(tmp_path: Path) -> None:
    for name, pages in (("5", 100), ("6", 300), ("7", 200), ("8", 50)):
        statm(tmp_path, name, f"900 {pages} 0 10 0 800 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert sizes.largest(3) == ["6", "7", "5"]
    assert sizes.largest(9) == ["6", "7", "5", "8"]
    sizes.close()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_want_of_files_is_said_not_taken_for_an_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    sizes = crowd(tmp_path, 3)
    open_ = os.open

    def scarce(path: str, *rest: int, **named: int) -> int:
        if path.endswith("statm"):
            raise OSError(error, os.strerror(error))
        return open_(path, *rest, **named)

    with monkeypatch.context() as few:
        few.setattr(os, "open", scarce)
        sizes.look(0, 0.0, full=True)
    assert sizes.fault == error
    assert len(sizes.kb) == 3
    sizes.look(0, 0.0, full=True)
    assert sizes.fault == 0

    def denied(path: str, *rest: int, **named: int) -> int:
        if path.endswith("2/statm"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_(path, *rest, **named)

    sizes.correct("2", 5, 5, 0)
    monkeypatch.setattr(os, "open", denied)
    sizes.look(0, 0.0, full=True)
    assert sorted(sizes.kb) == ["1", "3"]
    assert not sizes.exact("2")
    sizes.close()


def test_without_a_file_for_the_directory_it_is_listed_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statm(tmp_path, "10", "900 300 50 10 0 800 0\n")

    def none(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as few:
        few.setattr(os, "open", none)
        sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert list(sizes.kb) == ["10"]
    sizes.close()
    with pytest.raises(FileNotFoundError):
        ProcessSizes(str(tmp_path / "no"))


def test_a_process_that_exits_while_it_is_read_has_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = crowd(tmp_path, 2)
    sizes.correct("1", 5, 5, 0)
    before = Fds()

    def gone(_fd: int, _size: int) -> bytes:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    with monkeypatch.context() as raced:
        raced.setattr(os, "read", gone)
        sizes.look(0, 0.0, full=True)
    assert sizes.kb == {}
    assert not sizes.exact("1")
    assert Fds().since(before) == 0
    sizes.close()


def test_without_a_leading_thread_the_size_is_that_of_another(tmp_path: Path) -> None:
    process = Process(tmp_path, 10)
    statm(tmp_path, "10", "0 0 0 0 0 0 0\n")
    for tid, text in ((10, "0 0 0 0 0 0 0\n"), (11, "900 300 50 10 0 800 0\n")):
        (process.directory / f"task/{tid}").mkdir(parents=True)
        (process.directory / f"task/{tid}/statm").write_text(text)
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(0, 0.0, full=True)
    assert sizes.kb == {"10": 250 * PAGE_KB}
    # All of them without a size, as where they come and go: it may be as large as can be.
    (process.directory / "task/11/statm").write_text("0 0 0 0 0 0 0\n")
    sizes.look(40, 0.0, full=True)
    assert sizes.kb == {"10": PAGE_KB}
    sizes.forget()
    (process.directory / "task/11/statm").write_text("1 2\n")
    sizes.look(40, 0.0, full=True)
    assert sizes.kb == {"10": PAGE_KB}
    sizes.close()


@pytest.mark.parametrize("threads", [0, 1])
def test_a_kernel_thread_and_a_zombie_have_none(tmp_path: Path, threads: int) -> None:
    statm(tmp_path, "10", "0 0 0 0 0 0 0\n")
    for tid in range(threads):
        statm(tmp_path / "10/task", str(tid), "0 0 0 0 0 0 0\n")
    sizes = ProcessSizes(str(tmp_path))
    sizes.look(1000, 0.0, full=True)
    assert sizes.kb == {"10": 0}
    statm(tmp_path / "10/task", "7", "900 300 50 10 0 800 0\n")
    sizes.look(1000, 0.0, full=True)
    assert sizes.kb == {"10": 0}, "known to have none, it is not asked for threads each time"
    sizes.close()
