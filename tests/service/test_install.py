"""The service's files and commands, in a made root."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from oomkit.host.configuration import Daemon
from oomkit.policy.compile import compile_plan
from oomkit.policy.describe import explain
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import read_policy
from oomkit.service import install as service
from oomkit.service.machine_kind import Kind, Machine

SERVER = Machine("server", "nothing else")
COMMAND = "/bin/sh"
"""Root's everywhere; what an installed oomkit is to the service."""


SUPERVISORS: dict[str, dict[str, str]] = {
    "desktop": {
        "comm": "gnome-shell",
        "cgroup": "/user.slice/user-1000.slice/user@1000.service/session.slice/"
        "org.gnome.Shell@wayland.service",
    },
    "server": {
        "comm": "postgres",
        "unit": "postgresql@15-main.service",
        "cmdline": "/usr/lib/postgresql/15/bin/postgres -D /var/lib/x -c y",
    },
    "container node": {"comm": "kubelet", "unit": "kubelet.service"},
}
CHILDREN: dict[str, dict[str, str]] = {
    "desktop": {
        "comm": "firefox",
        "cgroup": "/user.slice/user-1000.slice/user@1000.service/app.slice/app.scope",
    },
    "server": {
        "comm": "postgres",
        "unit": "postgresql@15-main.service",
        "cmdline": "postgres: 15/main: app db [local] SELECT",
    },
    "container node": {
        "comm": "java",
        "cgroup": "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab.scope",
    },
}


def candidate(known: dict[str, str]) -> Candidate:
    """A process of which all is known that a policy may ask for."""
    values = dict.fromkeys(("cgroup", "exe", "cmdline", "unit", "container"), "/x") | known
    one = Candidate(100, 1, 1, values.pop("comm"), uid=0, user="root")
    for name, value in values.items():
        setattr(one, name, value)
    return one


class Commands:
    """What would have been run; the one named fails."""

    def __init__(self, failing: str = "") -> None:
        self.run: list[str] = []
        self._failing = failing

    def __call__(self, argv: Sequence[str]) -> None:
        self.run.append(" ".join(argv))
        if self._failing and self._failing in self.run[-1]:
            raise service.ServiceError(f"{self.run[-1]}: failed")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def openrc(tmp_path: Path) -> Path:
    (tmp_path / "run/openrc").mkdir(parents=True)
    return tmp_path


def plan(root: Path, **more: object) -> service.Plan:
    given: dict[str, object] = {"act": False, "daemons": (), **more}
    return service.plan_install(SERVER, COMMAND, root=str(root), **given)  # type: ignore[arg-type]  # as a user mixes them


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_systemd_gets_unit_settings_and_policy_and_starts_it(root: Path) -> None:
    commands = Commands()
    service.install(plan(root), run=commands, root=str(root))
    assert files_below(root) == {
        "etc/systemd/system/oomkit-guard.service", "etc/default/oomkit-guard",
        "etc/oomkit/policy.toml",
    }  # fmt: skip
    assert commands.run == [
        "systemctl daemon-reload", "systemctl enable oomkit-guard.service",
        "systemctl restart oomkit-guard.service",
    ]  # fmt: skip
    unit = (root / "etc/systemd/system/oomkit-guard.service").read_text()
    assert f"ExecStart={COMMAND} guard" in unit
    settings = (root / "etc/default/oomkit-guard").read_text()
    assert settings.endswith('OOMKIT_GUARD_OPTIONS="--dry-run --policy /etc/oomkit/policy.toml"\n')


def test_openrc_gets_a_script_that_can_be_run(openrc: Path) -> None:
    commands = Commands()
    service.install(plan(openrc, act=True), run=commands, root=str(openrc))
    script = openrc / "etc/init.d/oomkit-guard"
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert f'command="{COMMAND}"' in script.read_text()
    assert "--act --policy" in (openrc / "etc/conf.d/oomkit-guard").read_text()
    assert commands.run == [
        "rc-update add oomkit-guard default", "rc-service oomkit-guard restart",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_kind_has_a_policy_that_says_why_and_spares_its_supervisors(
    kind: Kind, tmp_path: Path
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(service.policy_text(Machine(kind, "as a test says")))
    policy = read_policy(str(path))
    assert policy.name == kind.replace(" ", "-")
    assert f"for a {kind}: as a test says" in path.read_text()
    assert explain(policy)
    protection = Chooser(compile_plan(policy)).protection
    assert protection(candidate(SUPERVISORS[kind]))
    assert not protection(candidate(CHILDREN[kind]))
    assert protection(candidate({"comm": "sshd", "unit": "ssh.service"}))


def test_what_is_there_stays_as_it_is(root: Path) -> None:
    (root / "etc/oomkit").mkdir(parents=True)
    (root / "etc/oomkit/policy.toml").write_text("mine\n")
    made = plan(root)
    assert made.kept == ("/etc/oomkit/policy.toml",)
    service.install(made, run=Commands(), root=str(root))
    assert (root / "etc/oomkit/policy.toml").read_text() == "mine\n"


def test_settings_that_are_there_are_not_armed_behind_their_owners_back(root: Path) -> None:
    (root / "etc/default").mkdir(parents=True)
    (root / "etc/default/oomkit-guard").write_text("OOMKIT_GUARD_OPTIONS=--dry-run\n")
    with pytest.raises(service.ServiceError, match="/etc/default/oomkit-guard: is there already"):
        plan(root, act=True)


def test_a_packages_unit_is_used(root: Path) -> None:
    unit = root / "usr/lib/systemd/system/oomkit-guard.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    assert "/etc/systemd/system/oomkit-guard.service" not in plan(root).files
    with pytest.raises(service.ServiceError, match="apt purge oomkit"):
        service.remove(run=Commands(), root=str(root))


def test_a_service_that_does_not_start_leaves_nothing(root: Path) -> None:
    with pytest.raises(service.ServiceError, match=r"restart oomkit-guard.service: failed"):
        service.install(plan(root), run=Commands("restart"), root=str(root))
    assert files_below(root) == set()


def test_a_file_that_cant_be_written_leaves_nothing(root: Path) -> None:
    (root / "etc/systemd").mkdir(parents=True)
    (root / "etc/systemd/system").touch()
    with pytest.raises(service.ServiceError, match="etc/systemd/system"):
        service.install(plan(root), run=Commands(), root=str(root))
    assert files_below(root) == {"etc/systemd/system"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("earlyoom", "systemctl disable --now earlyoom"),
        ("systemd-oomd", "systemctl disable --now systemd-oomd.service systemd-oomd.socket"),
    ],
)
def test_it_is_not_armed_beside_another_that_acts(root: Path, name: str, words: str) -> None:
    other = Daemon(name=name, pid=77)
    with pytest.raises(service.ServiceError, match=f"{name} .pid 77.*{words}"):
        plan(root, act=True, daemons=[other])
    assert plan(root, daemons=[other]).files


def test_a_program_that_others_can_change_is_not_run_by_root(root: Path) -> None:
    program = root / "oomkit"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    with pytest.raises(service.ServiceError, match="root would run it at each boot"):
        service.plan_install(SERVER, str(program), act=False, daemons=(), root=str(root))
    with pytest.raises(service.ServiceError, match="plain characters"):
        service.plan_install(SERVER, "/opt/a b/oomkit", act=False, daemons=(), root=str(root))


def test_where_no_init_system_is_known_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(service.ServiceError, match="expected a machine that systemd or OpenRC"):
        plan(tmp_path)


@pytest.mark.parametrize("init", ["systemd/system", "openrc"])
def test_removing_leaves_nothing(tmp_path: Path, init: str) -> None:
    (tmp_path / "run" / init).mkdir(parents=True)
    service.install(plan(tmp_path), run=Commands(), root=str(tmp_path))
    for path in ("var/lib/oomkit/journal.jsonl", "run/oomkit/status.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    commands = Commands()
    removed = service.remove(run=commands, root=str(tmp_path))
    assert files_below(tmp_path) == set()
    assert {"/etc/oomkit/policy.toml", "/var/lib/oomkit", "/run/oomkit"} < set(removed)
    assert not os.path.exists(tmp_path / "etc/oomkit")
    assert any("oomkit-guard" in one for one in commands.run)
    assert service.remove(run=Commands(), root=str(tmp_path)) == []


def test_a_service_that_cant_be_stopped_stays(root: Path) -> None:
    service.install(plan(root), run=Commands(), root=str(root))
    before = files_below(root)
    with pytest.raises(service.ServiceError):
        service.remove(run=Commands("disable"), root=str(root))
    assert files_below(root) == before


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(service.ServiceError, match=r"^ls /gone/away: .*No such file"):
        service.run_command(("ls", "/gone/away"))
    with pytest.raises(service.ServiceError, match=r"^oomkit-no-such-command: No such file"):
        service.run_command(("oomkit-no-such-command",))
