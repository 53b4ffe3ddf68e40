"""A machine with very many memory cgroups: what is read of them, and what is remembered."""

from pathlib import Path

import pytest

from oomkit.host import cgroups, procfs
from oomkit.host.cgroups import Hierarchy, read_memcgs

PAGE = 4096
EMPTY = [f"/empty/{digit}" for digit in range(10)]


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    usual = {
        "cgroup.procs": "", "memory.current": "8192", "memory.max": "max", "memory.high": "max",
        "memory.swap.max": "max", "memory.oom.group": "0",
    }  # fmt: skip
    for name, value in {**usual, **files}.items():
        (folder / name).write_text(f"{value}\n")


def read(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Paths of the groups that are kept, and the files that were read."""
    opened: list[str] = []
    plain = procfs.read_at

    def noting(path: str) -> bytes:
        opened.append(path.removeprefix(str(root)))
        return plain(path)

    monkeypatch.setattr(procfs, "read_at", noting)
    found = read_memcgs(Hierarchy(2, str(root)), PAGE)
    return [one.path for one in found.groups], opened


def test_empty_groups_are_neither_remembered_nor_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(tmp_path, "")
    for number in range(50):
        group(tmp_path, f"empty/{number}")
    group(tmp_path, "pod")
    group(tmp_path, "pod/a", **{"memory.max": "4096000"})
    group(tmp_path, "pod/b", **{"cgroup.procs": "17"})
    group(tmp_path, "pod/c", **{"memory.oom.group": "1"})
    group(tmp_path, "pod/d", **{"memory.high": "4096000"})
    group(tmp_path, "pod/e", **{"memory.swap.max": "0"})
    group(tmp_path, "pod/f")
    paths, opened = read(tmp_path, monkeypatch)
    assert sorted(paths) == ["/", "/pod", *(f"/pod/{name}" for name in "abcde")]
    assert "/pod/a/memory.min" in opened
    assert not any(path.endswith(("current", "min")) for path in opened if path[:8] in EMPTY)


def test_a_file_system_that_counts_no_links_is_walked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(tmp_path, "")
    group(tmp_path, "pod")
    group(tmp_path, "pod/a", **{"cgroup.procs": "17"})
    monkeypatch.setattr(cgroups, "_is_leaf", lambda _: False)
    paths, _ = read(tmp_path, monkeypatch)
    assert sorted(paths) == ["/", "/pod", "/pod/a"]
