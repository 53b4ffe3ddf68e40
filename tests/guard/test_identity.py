"""What a policy's patterns are held against, and when it is not known."""

import errno
import os
from pathlib import Path

import pytest

from oomkit.guard import identity
from oomkit.guard.config import Places
from oomkit.guard.identity import (
    Identity,
    Users,
    Wanted,
    look_up_ancestry,
    membership_of,
    units_root,
)
from oomkit.policy.engine.candidate import Candidate
from tests.guard.made import Process

pytestmark = pytest.mark.hermetic

ID = "0123456789abcdef" * 4


def wanted(proc: Path, *fields: str, version: int = 2, **options: bool) -> Wanted:
    places = Places(proc=str(proc), cgroups="/c", cgroup_version=version)
    return Wanted(places, frozenset(fields), {7: "me"}, root="", **options)


@pytest.mark.parametrize(("fields", "by_cgroup", "changes"), [
    ((), False, False), (("user",), False, False), (("oom_score",), False, False),
    (("exe",), False, True), (("cmdline",), False, True), (("cgroup",), False, True),
    (("unit",), False, True), (("container",), False, True), ((), True, True),
])  # fmt: skip
def test_what_can_change_unannounced(
    tmp_path: Path, fields: tuple[str, ...], by_cgroup: bool, changes: bool
) -> None:
    assert wanted(tmp_path, *fields, by_cgroup=by_cgroup).changes is changes


@pytest.mark.parametrize(("text", "version", "path"), [
    (b"0::/a/b\n", 2, "/a/b"),
    (b"1:cpu:/x\n0::/a\n", 2, "/a"),
    (b"5:memory:/m\n0::/a\n", 2, "/a"),
    (b"5:memory:/m\n0::/a\n", 1, "/m"),
    (b"5:cpu,memory:/m\n", 1, "/m"),
    (b"5:memory2:/m\n", 1, None),
    (b"0::/a\n", 1, None),
    (b"5:memory:/m\n", 2, None),
    (b"0:name=x:/m\n", 2, None),
    (b"3::/m\n", 2, None),
    (b"0::nothing\n", 2, None),
    (b"5:memory:\n", 1, None),
    (b"", 2, None),
    (b"", 0, ""), (b"5:memory:/m\n", 0, "/m"),
])  # fmt: skip
def test_the_cgroup_is_that_of_the_memory_controller(
    tmp_path: Path, text: bytes, version: int, path: str | None
) -> None:
    (tmp_path / "cgroup").write_bytes(text)
    assert membership_of(str(tmp_path), Places(cgroup_version=version)) == path


def test_a_cgroup_that_cant_be_read_is_unknown_and_want_of_files_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert membership_of(str(tmp_path), Places(cgroup_version=2)) is None
    assert membership_of(str(tmp_path), Places()) == ""

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        membership_of(str(tmp_path), Places(cgroup_version=2))
    with pytest.raises(OSError, match="Too many open files"):
        Identity(str(tmp_path), wanted(tmp_path, "cmdline"), b"0::/a\n")


@pytest.mark.parametrize(("text", "root"), [
    ("0::/init.scope\n", ""), ("0::/docker/abc/init.scope\n", "/docker/abc"), ("0::/\n", ""),
    ("", ""),
])  # fmt: skip
def test_units_are_below_where_process_1_is(tmp_path: Path, text: str, root: str) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cgroup").write_text(text)
    assert units_root(Places(proc=str(tmp_path), cgroup_version=2)) == root
    places = Places(proc=str(tmp_path), cgroup_version=2)
    assert Wanted(places, frozenset(), {}).root == root
    assert Wanted(places, frozenset(), {}, root="/given").root == "/given"


def filled(
    directory: Path, wants: Wanted, text: bytes | None = None, uid: int | None = 7
) -> Candidate:
    one = Candidate(70, 1, 1, "x", uid=uid)
    Identity(str(directory), wants, text).fill_in(one, wants)
    return one


def test_what_a_path_says_is_filled_in(tmp_path: Path) -> None:
    text = f"0::/system.slice/docker-{ID}.scope\n".encode()
    one = filled(tmp_path, wanted(tmp_path), text)
    assert (one.cgroup, one.unit, one.container) == (
        f"/system.slice/docker-{ID}.scope", f"docker-{ID}.scope", ID,
    )  # fmt: skip
    assert (one.exe, one.cmdline, one.user, one.unknown) == (None, None, None, ())
    root = filled(tmp_path, wanted(tmp_path, version=0), b"")
    assert (root.cgroup, root.unit, root.container, root.unknown) == ("", None, None, ())


def test_the_same_text_is_not_taken_apart_again(tmp_path: Path) -> None:
    wants = wanted(tmp_path)
    first = Identity(str(tmp_path), wants, b"0::/a\n")
    assert Identity(str(tmp_path), wants, b"0::/a\n").membership is first.membership
    assert Identity(str(tmp_path), wants, b"0::/b\n").membership == ("/b", None, None)
    for number in range(1000):
        Identity(str(tmp_path), wants, b"0::/%d\n" % number)
    assert len(wants.memberships) < 1000, "not all that ever was is kept"


def test_what_is_not_asked_for_is_not_unknown(tmp_path: Path) -> None:
    one = filled(tmp_path, wanted(tmp_path), b"0::/a\n")
    assert one.unknown == ()
    one = filled(tmp_path, wanted(tmp_path, "cmdline", "exe"), b"")
    assert one.unknown == ("cgroup", "unit", "container", "cmdline")
    one = filled(tmp_path, wanted(tmp_path, "user"), b"0::/a\n", uid=None)
    assert one.unknown == ("user",)
    for uid, user in ((7, "me"), (8, None)):
        one = filled(tmp_path, wanted(tmp_path, "user"), b"0::/a\n", uid=uid)
        assert (one.user, one.unknown) == (user, ())


@pytest.mark.parametrize(("data", "said"), [
    (b"prog\0--word\0", "prog --word"), (b"prog\0\0\0", "prog"), (b"", ""), (b"a\xff\0", "a\udcff"),
    (b"set proc title", "set proc title"),
])  # fmt: skip
@pytest.mark.parametrize("whole", [False, True])
def test_arguments_are_joined_by_spaces(
    tmp_path: Path, data: bytes, said: str, whole: bool
) -> None:
    (tmp_path / "cmdline").write_bytes(data)
    one = filled(tmp_path, wanted(tmp_path, "cmdline", whole=whole), b"0::/a\n")
    assert (one.cmdline, one.unknown) == (said, ())


def test_a_long_command_line_is_cut_for_the_ranking_and_read_to_its_end_before_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert identity.CMDLINE_BYTES == 64 << 10
    # All arguments of a program: three quarters of 8 MiB of stack (fs/exec.c, bprm_stack_limits).
    assert identity.MAX_CMDLINE_BYTES == (8 << 20) * 3 // 4
    monkeypatch.setattr(identity, "CMDLINE_BYTES", 8)
    monkeypatch.setattr(identity, "MAX_CMDLINE_BYTES", 20)
    for length, whole, cmdline, unknown in (
        (8, False, "x" * 8, ()), (9, False, "x" * 8, ()), (19, True, "x" * 19, ()),
        # One that fills it may go on, so that what it holds can't be ruled out.
        (20, True, "x" * 8, ("cmdline",)), (25, True, "x" * 8, ("cmdline",)),
    ):  # fmt: skip
        (tmp_path / "cmdline").write_bytes(b"x" * length)
        one = filled(tmp_path, wanted(tmp_path, "cmdline", whole=whole), b"0::/a\n")
        assert (one.cmdline, one.unknown) == (cmdline, unknown), (length, whole)


class TestUsers:
    def test_of_several_names_the_first_counts_and_what_is_no_line_is_passed_over(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "passwd"
        path.write_text(
            "a:x:5:5::/:\nb:x:5:5::/:\nbad\nc:x:no:5::/:\nd:x:6\n# \ne:x:7:7\nf\xff:x:8:0:\n",
            encoding="latin-1",
        )
        users = Users({5: "old", 9: "kept"}, str(path))
        assert users.names == {5: "old", 9: "kept"}
        users.refresh()
        assert users.names == {5: "a", 9: "kept", 7: "e", 8: "f\udcff"}
        users.close()
        users.close()

    def test_it_is_read_again_only_when_it_was_written_or_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "passwd"
        path.write_text("a:x:5:5::/:\n")
        users = Users({}, str(path))
        users.refresh()
        reads: list[int] = []
        pread = os.pread

        def counted(fd: int, size: int, at: int) -> bytes:
            reads.append(at)
            return pread(fd, size, at)

        monkeypatch.setattr(os, "pread", counted)
        users.refresh()
        assert reads == []
        # Written at the same time as far as can be seen, but longer.
        before = os.stat(path).st_mtime_ns
        path.write_text("aa:x:5:5::/:\n")
        os.utime(path, ns=(before, before))
        users.refresh()
        assert users.names == {5: "aa"}
        # As long as before, but written later.
        path.write_text("bb:x:5:5::/:\n")
        os.utime(path, ns=(before, before + 1))
        users.refresh()
        assert users.names == {5: "bb"}
        other = tmp_path / "other"
        other.write_text("cc:x:5:5::/:\n")
        os.utime(other, ns=(before, before + 1))
        other.replace(path)
        users.refresh()
        assert users.names == {5: "cc"}
        count = len(reads)
        users.refresh()
        assert len(reads) == count
        users.close()

    def test_what_is_known_stays_where_there_is_no_list(self, tmp_path: Path) -> None:
        users = Users({5: "a"}, str(tmp_path / "none"))
        users.refresh()
        assert users.names == {5: "a"}
        (tmp_path / "none").write_text("b:x:5:5::/:\n")
        users.refresh()
        assert users.names == {5: "b"}
        users.close()


def test_what_is_above_a_process_is_found_beyond_the_candidates(tmp_path: Path) -> None:
    """A shell between a supervisor and what it runs is too small to be a candidate."""
    proc = tmp_path / "proc"
    for pid, ppid, cgroup in ((1, 0, "/init.scope"), (20, 1, "/a"), (21, 20, "/a"), (22, 21, "/a")):
        Process(proc, pid, ppid=ppid, cgroup=f"0::{cgroup}\n")
    places = Places(proc=str(proc), cgroup_version=2)
    boss = Candidate(20, 1, 1, "boss", cgroup="/a")
    inner = Candidate(21, 1, 20, "inner", cgroup="/a")
    job, lost = Candidate(22, 1, 21, "job", cgroup="/a"), Candidate(23, 1, 99, "lost", cgroup="/a")
    look_up_ancestry([boss, job, lost], [boss, lost], places)
    assert (boss.above, job.above, lost.above) == ((), (21, 20), (99,))
    assert (boss.leads, lost.leads) == (True, None), "of a parent that is gone nothing is known"
    look_up_ancestry([boss, inner, job], [inner], places)
    assert inner.leads is False
    inner.cgroup = "/b"
    look_up_ancestry([boss, inner, job], [inner], places)
    assert inner.leads is True
