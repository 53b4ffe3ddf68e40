"""The one place where files that root writes, or that decide, are opened.

``fs.protected_symlinks`` and its like may be off, and root may be pointed at a directory that
others may write. So links are followed only where root or we made them, a file that is there
already has to be a regular one of ours, with one name, that no other user can write, and
nothing is opened that could block. The daemon imports this module, so it is kept small.
"""

import errno
import os
import stat

from oomkit.errors import OomkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait: a FIFO waits for its other end, another's file for the holder of its lease.
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_LINKS = 40
_BUFFER_BYTES = 256 * 1024
_OVERFLOW_ID = 65534
"""What is shown for a user or group without a number in this user namespace."""
_ALL_IDS = ["0", "0", "4294967295"]
_KINDS: "tuple[tuple[Callable[[int], bool], str], ...]" = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotSafeError(OomkitError, OSError):
    """The file is not one to write or to believe; ``strerror`` says why, ``filename`` names it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(errno.EPERM, why, path)


def open_own(path: str, flags: int, mode: int, *, make: bool = True) -> int:
    """Open a file of ours, or make it; returns a descriptor.

    Args:
        path: where. Its directory, and each above, must be one that only root and we can change,
            or a sticky one.
        flags: ``os.O_RDWR`` and the like; ``O_CREAT`` and ``O_TRUNC`` are not for them to say.
        mode: what a new file gets, whatever the umask is.
        make: make it where it is not there.

    Raises:
        NotSafeError: others can change its directory, or what is there is not a regular file of
            ours with one name that no other user can write.
        OSError: it can't be opened.
    """
    directory, name = open_parent(path)
    try:
        while True:
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                if not make:
                    raise
                try:
                    fd = os.open(
                        name, flags | _FLAGS | os.O_CREAT | os.O_EXCL, mode, dir_fd=directory
                    )
                except FileExistsError:
                    continue  # just made by another process: it is looked at like any other
                os.fchmod(fd, mode)
                return fd
            _expect_own(path, found)
            fd = os.open(name, flags | _FLAGS, dir_fd=directory)
            try:
                _expect_own(path, os.fstat(fd))
            except NotSafeError:
                os.close(fd)
                raise
            return fd
    except OSError as error:
        if error.filename == name:
            error.filename = path
        raise
    finally:
        os.close(directory)


def open_trusted(path: str) -> int:
    """Open a file that decides, for reading; returns a descriptor.

    Root's and our own links are followed: configuration is often linked together.

    Raises:
        NotSafeError: a user other than root, us and the caller of ``sudo`` can change it.
        OSError: it can't be opened.
    """
    owners = _owners(sudo=True)
    directory, name = _walked(path, owners, strict=True, follow_last=True)
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        _expect_regular(path, found)
        fd = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        found = os.fstat(fd)
        _expect_regular(path, found)
        if found.st_uid not in owners:
            raise NotSafeError(path, f"belongs to user {found.st_uid}; expected root's or our own")
        if _is_open_to_others(found):
            raise NotSafeError(path, f"{_may_write(found)}; expected one that only its owner can")
    except NotSafeError:
        os.close(fd)
        raise
    return fd


def open_regular(path: str) -> int:
    """Open a regular file for reading, through links, without ever waiting.

    Raises:
        NotSafeError: it is a FIFO, a device, a socket or a directory.
        OSError: it can't be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        state = os.fstat(fd)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        _expect_regular(path, state)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_output(path: str, *, keep: int = 0) -> "BinaryIO":
    """Open a file that a person asked for, emptied or made, for writing.

    An ordinary user's own links are the user's own business. Root follows none but root's, and
    overwrites no other user's file but that of the caller of ``sudo``.

    Args:
        path: where; ``/dev/stdout`` and its like are written to as they are.
        keep: number of bytes that stay, and the rest is written behind them.

    Raises:
        NotSafeError: root is led elsewhere, or would overwrite what is not root's.
        OSError: it can't be opened.
    """
    if os.geteuid() != 0 or path.startswith(("/dev/", "/proc/self/fd/")):
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if keep else os.O_TRUNC), 0o666
        )
        if keep:
            os.ftruncate(fd, keep)
            os.lseek(fd, keep, os.SEEK_SET)
        return open(fd, "wb", buffering=_BUFFER_BYTES)
    owners = _owners(sudo=True)
    directory, name = _walked(path, owners, strict=False)
    try:
        try:
            fd = os.open(name, os.O_RDWR | _FLAGS | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
        except FileExistsError:
            _expect_named(path, os.stat(name, dir_fd=directory, follow_symlinks=False), owners)
            fd = os.open(name, os.O_RDWR | _FLAGS, dir_fd=directory)
            try:
                _expect_named(path, os.fstat(fd), owners)
                os.ftruncate(fd, keep)
                os.lseek(fd, keep, os.SEEK_SET)
            except OSError:
                os.close(fd)
                raise
    finally:
        os.close(directory)
    return open(fd, "wb", buffering=_BUFFER_BYTES)


def replace_output(made: str, path: str) -> None:
    """Put a finished file in another's place; as root, only where :func:`open_output` would write.

    Raises:
        NotSafeError: root would remove what is not root's.
        OSError: it can't be done.
    """
    if os.geteuid() == 0 and os.path.lexists(path):
        _expect_named(path, os.lstat(path), _owners(sudo=True))
    os.replace(made, path)


def rename_own(path: str, to: str) -> None:
    """Rename a file of ours within its directory; what it replaces must be ours as well.

    Raises:
        NotSafeError: see :func:`open_own`.
        OSError: it can't be renamed.
    """
    directory, name = open_parent(path)
    try:
        for one in (path, to):
            try:
                found = os.stat(os.path.basename(one), dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            _expect_own(one, found)
        os.rename(name, os.path.basename(to), src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)


def expect_own(path: str) -> None:
    """Refuse what another library may not open by its name, unless it is not there.

    Raises:
        NotSafeError: its directory can be changed by others, sticky or not, or it is not a file
            of ours (:func:`open_own`).
        OSError: its directory can't be opened.
    """
    directory, name = open_parent(path)
    try:
        state = os.fstat(directory)
        if _is_open_to_others(state):
            raise NotSafeError(
                path, f"its directory {_may_write(state)}; expected one that only we can write"
            )
        _expect_own(path, os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return
    finally:
        os.close(directory)


def expect_directory(path: str) -> None:
    """Refuse a directory that others can change, unless it is sticky.

    Raises:
        NotSafeError: they can, or they own it or one above it.
        OSError: it is not there.
    """
    os.close(open_parent(os.path.join(path, "name"))[0])


def is_safe_directory(path: str) -> bool:
    """Whether only root and we can change a directory, so that a program in it may be run."""
    try:
        directory = open_parent(os.path.join(path, "name"))[0]
    except OSError:
        return False
    try:
        return not _is_open_to_others(os.fstat(directory))
    finally:
        os.close(directory)


def open_parent(path: str) -> tuple[int, str]:
    """Open the directory of a file (``O_PATH``), checked all the way down; and the file's name.

    Raises:
        NotSafeError: others can change one of the directories that lead there.
        OSError: one can't be opened.
    """
    return _walked(path, _owners(), strict=True)


def _walked(
    path: str, owners: frozenset[int], *, strict: bool, follow_last: bool = False
) -> tuple[int, str]:
    left = os.path.join(os.getcwd(), path).split("/")[::-1]
    links = 0
    fd = os.open("/", _DIRECTORY)
    try:
        while True:
            if strict:
                _expect_safe(path, os.fstat(fd), owners)
            name = left.pop()
            is_last = not any(left)
            if name in ("", ".") and not is_last:
                continue
            if is_last and not follow_last:
                if name in ("", ".", ".."):
                    raise NotSafeError(path, "expected a file, not a directory")
                return fd, name
            found = os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                target = _target(path, name, fd, found, owners, links)
                left = [part for part in left if part] + target.split("/")[::-1]
                if target.startswith("/"):
                    fd = _instead(fd, os.open("/", _DIRECTORY))
            elif is_last:
                return fd, name
            else:
                fd = _instead(fd, os.open(name, _DIRECTORY, dir_fd=fd))
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError) and not isinstance(error, NotSafeError):
            error.filename = path
        raise


def _target(
    path: str, name: str, fd: int, found: os.stat_result, owners: frozenset[int], links: int
) -> str:
    """Where a link leads that root or we made."""
    if links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if found.st_uid not in owners or found.st_nlink > 1:
        raise NotSafeError(path, f"a link of user {found.st_uid} is on the way there")
    return os.readlink(name, dir_fd=fd)


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _owners(*, sudo: bool = False) -> frozenset[int]:
    """Whose directories and links may lead to a file."""
    owners = {0, os.geteuid()}
    if not _sees_all():
        owners.add(_OVERFLOW_ID)
    caller = os.environ.get("SUDO_UID", "")
    if sudo and caller.isdigit() and os.geteuid() == 0:
        owners.add(int(caller))
    return frozenset(owners)


def _sees_all() -> bool:
    """Every user has a number here; else root of the machine is one of many without one."""
    try:
        fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return os.read(fd, 64).decode("ascii").split() == _ALL_IDS
    finally:
        os.close(fd)


def _expect_safe(path: str, state: os.stat_result, owners: frozenset[int]) -> None:
    if state.st_uid not in owners:
        raise NotSafeError(
            path, f"user {state.st_uid} owns a directory that leads there; expected root's or ours"
        )
    if _is_open_to_others(state) and not state.st_mode & stat.S_ISVTX:
        raise NotSafeError(
            path, f"a directory that leads there {_may_write(state)}; expected one only we can"
        )


def _expect_regular(path: str, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        found = next((name for test, name in _KINDS if test(state.st_mode)), "something else")
        raise NotSafeError(path, f"expected a regular file, not {found}")


def _expect_own(path: str, state: os.stat_result) -> None:
    _expect_named(path, state, frozenset((os.geteuid(),)))
    if _is_open_to_others(state):
        raise NotSafeError(path, f"{_may_write(state)}; expected one that only we can write")


def _expect_named(path: str, state: os.stat_result, owners: frozenset[int]) -> None:
    _expect_regular(path, state)
    if state.st_uid not in owners:
        raise NotSafeError(path, f"belongs to user {state.st_uid}; expected a file of our own")
    if state.st_nlink > 1:
        raise NotSafeError(path, "has a second name (hard link); expected a file with one")


def _is_open_to_others(state: os.stat_result) -> bool:
    """Others than its owner may write; a group of root's, or an ordinary user's own, is none."""
    if state.st_mode & stat.S_IWOTH:
        return True
    own = {0} if os.geteuid() == 0 else {0, os.getegid()}
    return bool(state.st_mode & stat.S_IWGRP) and state.st_gid not in own


def _may_write(state: os.stat_result) -> str:
    whose = "all users" if state.st_mode & stat.S_IWOTH else f"group {state.st_gid}"
    return f"can be written by {whose}"
