"""What a machine is used for, by what of it is seen from outside."""

import os
from pathlib import Path

import pytest

from oomkit.service.machine_kind import machine_kind

SESSION = "UID=1000\nUSER=me\nTYPE={type}\nCLASS={kind}\nACTIVE=1\n"


def session(root: Path, name: str, type_: str, kind: str = "user") -> None:
    directory = root / "run/systemd/sessions"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(SESSION.format(type=type_, kind=kind))


def unit(root: Path, name: str, above: str = "sys/fs/cgroup/system.slice") -> None:
    (root / above / name).mkdir(parents=True)


def test_nothing_of_the_kind_is_a_server(tmp_path: Path) -> None:
    unit(tmp_path, "ssh.service")
    session(tmp_path, "4", "tty")
    assert machine_kind(str(tmp_path)).kind == "server"


@pytest.mark.parametrize("type_", ["x11", "wayland"])
def test_a_graphical_login_makes_a_desktop_even_beside_docker(tmp_path: Path, type_: str) -> None:
    session(tmp_path, "c2", type_)
    unit(tmp_path, "docker.service")
    machine = machine_kind(str(tmp_path))
    assert (machine.kind, machine.evidence) == ("desktop", "login session c2 is graphical")


def test_the_greeter_alone_is_no_login(tmp_path: Path) -> None:
    session(tmp_path, "c1", "wayland", "greeter")
    assert machine_kind(str(tmp_path)).kind == "server"


def test_a_display_manager_makes_a_desktop_before_anybody_logs_in(tmp_path: Path) -> None:
    link = tmp_path / "etc/systemd/system/display-manager.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("/lib/systemd/system/gdm.service")
    assert machine_kind(str(tmp_path)).kind == "desktop"


@pytest.mark.parametrize(
    ("above", "name"),
    [
        ("sys/fs/cgroup/system.slice", "kubelet.service"),
        ("sys/fs/cgroup/systemd/system.slice", "k3s.service"),
        ("sys/fs/cgroup", "kubepods.slice"),
        ("sys/fs/cgroup/memory", "kubepods"),
        ("sys/fs/cgroup/system.slice", "containerd.service"),
    ],
)
def test_a_kubelet_or_a_runtime_makes_a_node(tmp_path: Path, above: str, name: str) -> None:
    unit(tmp_path, name, above)
    assert machine_kind(str(tmp_path)).kind == "container node"


def test_a_node_of_a_cluster_is_one_whoever_is_logged_in(tmp_path: Path) -> None:
    session(tmp_path, "2", "x11")
    unit(tmp_path, "kubelet.service")
    assert machine_kind(str(tmp_path)).kind == "container node"


def test_a_fifo_among_the_sessions_is_not_waited_for(tmp_path: Path) -> None:
    session(tmp_path, "9", "wayland")
    os.mkfifo(tmp_path / "run/systemd/sessions/1.ref")
    assert machine_kind(str(tmp_path)).kind == "desktop"
