"""From the full program to the daemon: what it is told, and what this machine lacks."""

import marshal
import os
import pwd
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oomkit.guard import launch
from oomkit.guard.compile import plan_for_here
from oomkit.guard.config import Places, Settings, to_plain
from oomkit.guard.launch import (
    LaunchError,
    NoSuchProcessError,
    candidates_here,
    clean_environ,
    compile_argv,
    consider,
    exec_daemon,
    files_are_bounded,
    missing_here,
    own_argv,
    places_here,
    refuse_managers,
    take_in_argv,
)
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import policy_from
from tests.guard.made import Fds, Process
from tests.policy.making import LOW, policy

pytestmark = pytest.mark.hermetic


def test_programs_of_ours_run_isolated() -> None:
    argv = own_argv("oomkit.guard.compile", "a", "b")
    assert argv[:3] == (sys.executable, "-I", "-c")
    assert argv[4:] == ("a", "b")
    assert argv[3].endswith("; from oomkit.guard.compile import main; sys.exit(main())")
    source = str(Path(launch.__file__).parents[2])
    assert repr(source) in argv[3]
    assert compile_argv("default", ["a=1"])[4:] == ("default", "a=1")
    assert compile_argv("x.toml", ())[4:] == (os.path.abspath("x.toml"),)
    assert take_in_argv("/j", "/s")[4:] == ("/j", "/s")
    assert "oomkit.history.import_journal" in take_in_argv("/j", "/s")[3]


ENVIRON = {
    "PATH": "/safe:rel:/unsafe:", "HOME": "/h", "PYTHONPATH": "/x", "LD_PRELOAD": "x",
    "BASH_FUNC_a%%": "x", "PERL5LIB": "x", "RUBYOPT": "x", "BASH_ENV": "x", "ENV": "x",
    "GCONV_PATH": "x", "GLIBC_TUNABLES": "x", "IFS": "x", "NODE_OPTIONS": "x", "LANG": "C",
}  # fmt: skip


@pytest.mark.parametrize(("path", "kept"), [
    ("/safe:rel:/unsafe:", "/safe"), ("/unsafe", None),
    ("", None),
])  # fmt: skip
def test_for_root_nothing_is_left_that_loads_code(
    monkeypatch: pytest.MonkeyPatch, path: str, kept: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {**ENVIRON, "PATH": path})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(launch, "is_safe_directory", lambda place: place == "/safe")
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert clean_environ() == {"PATH": kept or usual, "HOME": "/h", "LANG": "C"}
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert clean_environ() == {**ENVIRON, "PATH": path}


def test_where_this_machine_shows_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = SimpleNamespace(directory="/cg", version=2)
    monkeypatch.setattr(launch, "find_hierarchy", lambda _proc: found)
    places = places_here()
    assert (places.proc, places.signals, places.cgroups, places.cgroup_version) == (
        "/proc", "/proc", "/cg", 2,
    )  # fmt: skip
    monkeypatch.setattr(launch, "find_hierarchy", lambda _proc: None)
    with pytest.raises(LaunchError) as caught:
        places_here(str(tmp_path))
    assert (
        str(caught.value) == f"--drill {tmp_path}: expected a directory with a file meminfo in it"
    )
    (tmp_path / "meminfo").write_text("")
    places = places_here(os.path.relpath(tmp_path))
    assert (places.signals, places.cgroups, places.cgroup_version) == (str(tmp_path), "", 0)
    monkeypatch.setattr(launch, "is_own", lambda _proc: False)
    with pytest.raises(LaunchError, match="expected the proc file system of this pid namespace"):
        places_here()


class Here:
    """A machine that lacks what a test wants."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = root / "proc"
        (self.proc / "pressure").mkdir(parents=True)
        (self.proc / "1").mkdir()
        (self.proc / "meminfo").write_text(
            "MemTotal: 4000 kB\nMemAvailable: 900 kB\nSwapTotal: 9 kB\nSwapFree: 9 kB\n"
        )
        self.places = Places(proc=str(self.proc), sys=str(root))
        self.patch = monkeypatch
        self.set(euid=0, capable=True, trigger=True)
        self.pressure()

    def pressure(self, text: str = "some total=1\nfull total=1\n") -> None:
        (self.proc / "pressure/memory").write_text(text)

    def set(
        self, *, euid: int | None = None, capable: bool | None = None, trigger: Any = None
    ) -> None:
        if euid is not None:
            self.patch.setattr(os, "geteuid", lambda: euid)
        if capable is not None:
            self.patch.setattr(launch, "has_capability", lambda _bit: capable)
        if trigger is not None:

            def made(*_: object) -> Any:
                if trigger == "none":
                    raise PermissionError(1, "Operation not permitted")
                return SimpleNamespace(fine=trigger, close=lambda: None)

            self.patch.setattr(launch, "Trigger", made)

    def missing(self, never: Any = None, **whom: Any) -> tuple[str, ...]:
        one = policy(LOW, whom={"never": never or [], **whom})
        return missing_here(one, Settings(compile_plan(one), places=self.places))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path, monkeypatch)


def test_a_machine_that_lacks_nothing_has_nothing_said(here: Here) -> None:
    assert here.missing([{"exe": "/x"}]) == ()


def test_each_thing_that_is_missing_is_a_sentence(here: Here) -> None:
    here.pressure("")
    assert here.missing() == (
        "there is no pressure (PSI), so nothing wakes the guard: it looks by the clock",
    )
    here.pressure()
    here.set(trigger="none")
    assert here.missing() == ("no pressure triggers are allowed, so the guard looks by the clock",)
    here.patch.setattr(launch, "Trigger", lambda *_: SimpleNamespace(fine=False, close=list))
    assert here.missing() == (
        "pressure triggers are coarse (no CAP_SYS_RESOURCE), so the clock counts as well",
    )
    here.set(trigger=True, capable=False)
    assert here.missing() == ()
    assert here.missing([{"exe": "/x"}]) == (
        (
            "the programs of others can't be seen (no CAP_SYS_PTRACE), so a never by exe spares "
            "every process that it could match"
        ),
    )
    here.set(euid=7)
    assert here.missing([{"exe": "/x"}]) == (
        "not root: only processes of this user can be signalled",
    )


def test_without_memory_or_with_what_needs_a_manager_it_does_not_begin(here: Here) -> None:
    (here.proc / "meminfo").write_text("")
    with pytest.raises(LaunchError, match=r"expected MemTotal and MemAvailable \(Linux 3.14\)"):
        here.missing()
    one = policy(LOW, whom={"by": "over_request", "level": "cgroup"})
    with pytest.raises(LaunchError, match="for what manages its victims"):
        refuse_managers(one, Settings(compile_plan(one), places=here.places))


@pytest.mark.parametrize(("most", "namespace", "capable", "bounded"), [
    ("9223372036854775807", 5, False, False), (str((1 << 40) - 1), 5, False, True),
    (str(1 << 40), 5, False, False), ("100", 0xEFFFFFFD, True, False),
    ("100", 0xEFFFFFFD, False, True), ("100", 5, True, True), ("x", 5, False, True),
])  # fmt: skip
def test_whether_the_machines_bound_on_files_is_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: str, namespace: int, capable: bool,
    bounded: bool,
) -> None:  # fmt: skip
    (tmp_path / "file-max").write_text(most)
    opened = open

    def opening(path: str, *rest: Any) -> Any:
        return opened(tmp_path / "file-max" if path == "/proc/sys/fs/file-max" else path, *rest)

    monkeypatch.setattr("builtins.open", opening)
    stat = os.stat
    monkeypatch.setattr(
        os, "stat",
        lambda path, **rest: SimpleNamespace(st_ino=namespace)
        if path == "/proc/self/ns/user" else stat(path, **rest),
    )  # fmt: skip
    monkeypatch.setattr(launch, "has_capability", lambda bit: capable and bit == 1 << 21)
    assert files_are_bounded() is bounded


def test_the_daemon_gets_its_settings_through_a_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def become(program: str, argv: list[str], environ: dict[str, str]) -> None:
        fd = int(argv[-1])
        os.lseek(fd, 0, os.SEEK_SET)
        seen.append((program, argv[:-1], marshal.loads(os.read(fd, 1 << 20)), environ))
        assert os.get_inheritable(fd)
        os.close(fd)
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(os, "execve", become)
    settings = Settings(compile_plan(policy(LOW)), journal="/j")
    with pytest.raises(LaunchError, match="No such file or directory"):
        exec_daemon(settings)
    ((program, argv, plain, environ),) = seen
    assert program == argv[0] == sys.executable
    assert argv[1:5] == ["-I", "-S", "-X", "no_debug_ranges"]
    assert argv[5].endswith("/oomkit/guard/bootstrap.py")
    assert plain == to_plain(settings)
    assert environ == {**clean_environ(), "LD_BIND_NOW": "1"}


# Names of users in a plan


def test_users_are_listed_only_where_a_policy_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [SimpleNamespace(pw_uid=uid, pw_name=name)
              for uid, name in ((0, "root"), (5, "a"), (5, "alias"))]  # fmt: skip
    asked: list[str] = []

    def by_name(name: str) -> Any:
        asked.append(name)
        if name == "nobody-there":
            raise KeyError(name)
        return SimpleNamespace(pw_uid=77 if name == "remote" else 5)

    monkeypatch.setattr(pwd, "getpwall", lambda: listed)
    monkeypatch.setattr(pwd, "getpwnam", by_name)

    def plan_of(**parts: Any) -> Any:
        return plan_for_here(policy_from({"name": "t", "when": [LOW], **parts}))

    assert plan_of(whom={"never": [{"comm": "x"}]}).users == {}
    assert plan_of(whom={"never": [{"user": "remote"}]}).users == {0: "root", 5: "a", 77: "remote"}
    assert asked == ["remote"]
    asked.clear()
    made = plan_of(
        whom={"never": [{"user": ["b*", "nobody-there", "a"]}],
              "prefer": [{"user": "remote", "by": 2}]},
        how={"instead": [{"user": "late", "command": ["/x"]}]},
    )  # fmt: skip
    assert asked == ["nobody-there", "a", "remote", "late"]
    assert made.users == {0: "root", 5: "a", 77: "remote"}
    asked.clear()
    plan_of(whom={"never": [{"user": "re:x"}, {"comm": "a", "user": "a"}]})
    assert asked == ["a"]


# What a policy means for a process


def test_a_process_is_considered_among_all(tmp_path: Path) -> None:
    root = tmp_path / "proc"
    (tmp_path / "sys").mkdir()
    Process(root, 1, comm="init")
    for pid, anon in ((10, 9000), (11, 500)):
        process = Process(root, pid, anon=anon, comm=f"p{pid}")
        (process.directory / "cmdline").write_bytes(b"x" * 70_000 + b" --end\0")
    (root / "meminfo").write_text("MemTotal: 40000 kB\nMemAvailable: 900 kB\n")
    (root / "self").symlink_to("10")
    one = policy(LOW, whom={"never": [{"cmdline": "*--end", "comm": "p11"}]})
    settings = Settings(compile_plan(one), places=Places(proc=str(root), sys=str(tmp_path / "sys")))
    before = Fds()
    assert sorted(c.pid for c in candidates_here(settings)) == [1, 10, 11]
    assert all((c.cmdline or "").endswith("--end") for c in candidates_here(settings) if c.pid > 1)
    said = consider(one, settings, 11)
    assert any("never" in line for line in said), said
    assert any("p10" in line or "chosen" in line for line in consider(one, settings, 10))
    assert Fds().since(before) == 0
    with pytest.raises(NoSuchProcessError, match="no process 99 that can be seen from here"):
        consider(one, settings, 99)
    (root / "meminfo").write_text("")
    with pytest.raises(NoSuchProcessError, match="processes can't be read"):
        consider(one, settings, 10)
