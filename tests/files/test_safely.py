"""What is opened, and what is refused with a reason."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.files.safely import (
    NotSafeError,
    expect_own,
    is_safe_directory,
    open_output,
    open_own,
    open_regular,
    open_trusted,
    rename_own,
    replace_output,
)

OTHER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make others' files")


def opened(path: Path) -> None:
    os.close(open_own(str(path), os.O_RDWR, 0o640))


@pytest.fixture
def old_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("old_umask")
def test_a_new_file_gets_the_mode_that_is_said(tmp_path: Path) -> None:
    opened(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    opened(tmp_path / "new")


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory", "socket", "hard link"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    import socket

    path, target = tmp_path / "here", tmp_path / "target"
    if kind == "link":
        target.write_text("precious")
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    else:
        target.write_text("precious")
        os.link(target, path)
    with pytest.raises(NotSafeError) as caught:
        opened(path)
    assert caught.value.filename == str(path)
    assert ("hard link" if kind == "hard link" else "regular file") in str(caught.value.strerror)
    assert target.exists() == (kind in ("link", "hard link"))
    if target.exists():
        assert target.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "here"
    path.touch()
    path.chmod(mode)
    with pytest.raises(NotSafeError, match="can be written by all users"):
        opened(path)


@needs_root
def test_files_and_directories_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "here"
    path.touch()
    os.chown(path, OTHER, OTHER)
    with pytest.raises(NotSafeError, match=f"belongs to user {OTHER}"):
        opened(path)
    below = tmp_path / "theirs" / "below"
    below.mkdir(parents=True)
    os.chown(below.parent, OTHER, OTHER)
    with pytest.raises(NotSafeError, match=f"user {OTHER} owns a directory"):
        opened(below / "new")
    os.chown(below.parent, 0, OTHER)
    below.parent.chmod(0o775)
    with pytest.raises(NotSafeError, match=f"can be written by group {OTHER}"):
        opened(below / "new")


def test_a_directory_that_all_can_change_must_be_sticky(tmp_path: Path) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(NotSafeError, match="can be written by all users"):
        opened(place / "new")
    assert not is_safe_directory(str(place))
    place.chmod(0o1777)
    opened(place / "new")
    assert not is_safe_directory(str(place))
    with pytest.raises(NotSafeError, match="its directory can be written by all users"):
        expect_own(str(place / "new"))
    place.chmod(0o755)
    assert is_safe_directory(str(place))
    expect_own(str(place / "new"))


def test_our_own_links_may_lead_there(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "again").symlink_to(tmp_path / "link")
    opened(tmp_path / "again" / ".." / "link" / "new")
    assert (tmp_path / "real" / "new").exists()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path / "loop" / "new")


@needs_root
def test_links_of_others_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    os.lchown(link, OTHER, OTHER)
    with pytest.raises(NotSafeError, match=f"a link of user {OTHER}"):
        opened(link / "new")
    (tmp_path / "policy").write_text("x")
    (tmp_path / "name").symlink_to("policy")
    os.close(open_trusted(str(tmp_path / "name")))
    os.lchown(tmp_path / "name", OTHER, OTHER)
    with pytest.raises(NotSafeError, match=f"a link of user {OTHER}"):
        open_trusted(str(tmp_path / "name"))


@needs_root
def test_who_called_sudo_may_own_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy"
    path.write_text("x")
    os.chown(path, OTHER, OTHER)
    with pytest.raises(NotSafeError, match=f"belongs to user {OTHER}"):
        open_trusted(str(path))
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    os.close(open_trusted(str(path)))
    path.chmod(0o666)
    with pytest.raises(NotSafeError, match="can be written by all users"):
        open_trusted(str(path))


def test_reading_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(NotSafeError, match="expected a regular file, not a"):
            open_regular(str(path))
    with pytest.raises(IsADirectoryError):
        open_regular(str(tmp_path))


def test_renaming_replaces_nothing_that_is_not_a_plain_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(NotSafeError):
        rename_own(str(tmp_path / "a"), str(tmp_path / "b"))
    (tmp_path / "b").unlink()
    rename_own(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "a"


def write(path: Path, data: bytes, *, keep: int = 0) -> None:
    with open_output(str(path), keep=keep) as file:
        file.write(data)


def test_output_is_made_emptied_and_gone_on_with(tmp_path: Path) -> None:
    write(tmp_path / "out", b"long enough")
    write(tmp_path / "out", b"short")
    assert (tmp_path / "out").read_bytes() == b"short"
    write(tmp_path / "out", b"!", keep=4)
    assert (tmp_path / "out").read_bytes() == b"shor!"
    write(Path("/dev/null"), b"nothing")


@needs_root
def test_root_writes_no_output_where_others_lead(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(precious)
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    os.chown(theirs, OTHER, OTHER)
    os.mkfifo(tmp_path / "fifo")
    for path in (link, theirs, tmp_path / "fifo"):
        with pytest.raises(NotSafeError):
            write(path, b"overwritten")
        (tmp_path / "made").write_text("x")
        with pytest.raises(NotSafeError):
            replace_output(str(tmp_path / "made"), str(path))
    assert precious.read_text() == "precious"
    assert theirs.read_text() == "theirs"


@needs_root
def test_an_ordinary_users_own_link_is_followed(tmp_path: Path) -> None:
    place = tmp_path / "home"
    place.mkdir()
    os.chown(place, OTHER, OTHER)
    mine = [above for above in tmp_path.parents if "pytest-" in str(above)]
    for above in (tmp_path, *mine):
        above.chmod(above.stat().st_mode | 0o011)
    (place / "page.html").symlink_to("elsewhere.html")
    code = f"""
import os
os.setgid({OTHER}); os.setuid({OTHER})
from oomkit.files.safely import open_output
with open_output({str(place / "page.html")!r}) as file:
    file.write(b"page")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (place / "elsewhere.html").read_text() == "page"
    assert (place / "page.html").is_symlink()
