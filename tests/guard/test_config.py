"""Settings: where things are, and the way to the small process."""

import errno
import marshal
import os
from pathlib import Path

import pytest

from oomkit.guard.config import (
    Places,
    Settings,
    from_plain,
    read_boot_id,
    state_directory,
    to_plain,
)
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import find_policy
from tests.guard.made import Fds
from tests.policy.making import LOW, plan

pytestmark = pytest.mark.hermetic


def test_settings_come_back_whole() -> None:
    made = Settings(
        plan(LOW), source="/p.toml", compile_argv=("/c", "x"), dry_run=False,
        places=Places("/p", "/drill", "/s", "/c", 2), missing=("a",), journal="/j",
        take_in_argv=("/t",), recording="/r", recording_bytes=77, status="/st", state="/sa",
        exporter=55, files_bounded=False, self_test=False, learn_argv=("/l", "r"),
        starts=[("x", 2, 1.5, (1.0, 2.0))],
    )  # fmt: skip
    again = from_plain(marshal.loads(marshal.dumps(to_plain(made))))
    assert to_plain(again) == to_plain(made)
    for name in Settings.__slots__:
        if name not in ("plan", "places"):
            assert getattr(again, name) == getattr(made, name)
    bare = Settings(plan(LOW))
    assert (bare.source, bare.dry_run, bare.files_bounded, bare.self_test) == (
        "test", True, True, True,
    )  # fmt: skip
    assert (bare.exporter, bare.recording_bytes, bare.places.proc) == (0, 8 << 20, "/proc")


def test_pressure_is_waited_for_where_it_is_the_machines_own() -> None:
    assert Places(proc="/p").pressure == "/p/pressure/memory"
    assert Places(proc="/p", signals="/drill").pressure == ""
    assert Places(proc="/p").signals == "/p"


@pytest.mark.parametrize(("euid", "environ", "directory"), [
    (0, {}, "/var/lib/oomkit"), (0, {"STATE_DIRECTORY": "/a:/b"}, "/a"),
    (0, {"STATE_DIRECTORY": ""}, "/var/lib/oomkit"),
    (0, {"XDG_STATE_HOME": "/x"}, "/var/lib/oomkit"),
    (5, {"XDG_STATE_HOME": "/x"}, "/x/oomkit"),
    (5, {"STATE_DIRECTORY": "/a"}, "/h/.local/state/oomkit"),
])  # fmt: skip
def test_where_the_state_of_a_user_is(
    monkeypatch: pytest.MonkeyPatch, euid: int, environ: dict[str, str], directory: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "environ", {"HOME": "/h", **environ})
    assert state_directory() == directory


def test_the_boot_is_known_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    assert read_boot_id() == Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    assert Fds().since(before) == 0

    def none(*_: object) -> int:
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "open", none)
    assert read_boot_id() == b""


def test_settings_survive_the_way_to_the_small_process() -> None:
    plan = compile_plan(find_policy("nohang"))
    plan.users = {1000: "me"}
    settings = Settings(
        plan,
        source="nohang",
        dry_run=False,
        places=Places(signals="/drill", cgroups="/sys/fs/cgroup", cgroup_version=2),
        missing=("no swap",),
        journal="/j",
    )
    again = from_plain(marshal.loads(marshal.dumps(to_plain(settings))))
    assert to_plain(again) == to_plain(settings)
