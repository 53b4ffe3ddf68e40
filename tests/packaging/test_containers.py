"""Containers of a real Podman (crun) and a real containerd (runc), named and explained by oomkit.

Debian's packages in a guest; the installed command is that of ``make deb``.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from oomkit.real.initramfs import load_order
from tests.packaging import debian_guest
from tests.packaging.containers_check import BIG_MIB, LIMIT_MIB
from tests.real.guests import HANGS_S, boot, needs_guest

HERE = Path(__file__).parent
MIB = 2**20


@pytest.fixture(scope="module")
def facts(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kernel = needs_guest("6.12")
    assert kernel.modules is not None
    root = debian_guest.root_file_system("trixie", debian_guest.CONTAINERS)
    modules = load_order(kernel.modules, ("overlay",))
    scratch = tmp_path_factory.mktemp("containers")
    made = scratch / "initrd"
    installed = debian_guest.with_package(root, package, scratch)
    made.write_bytes(debian_guest.image(installed, HERE / "containers_check.py", {
        # An empty unit is none: the guard would end what fills the containers.
        "/etc/systemd/system/oomkit-guard.service": (0o644, b""),
        **{f"/modules/{i}-{n}.ko": (0o644, data) for i, (n, data) in enumerate(modules)},
    }))  # fmt: skip
    os.unlink(installed)
    output = boot(kernel, made, mib=3000)
    os.unlink(made)
    found = debian_guest.facts(output)
    assert "error" not in found, found["error"]
    assert {"web", "cart"} <= found.keys(), output[-2000:]
    return found


both = pytest.mark.parametrize("name", ["web", "cart"])
pytestmark = [pytest.mark.qemu, pytest.mark.timeout(HANGS_S)]


def test_paths_are_those_that_the_names_are_read_from(facts: dict[str, Any]) -> None:
    identity = facts["podman id"]
    assert facts["web"]["limited"] == f"/machine.slice/libpod-{identity}.scope"
    assert facts["cart"]["group"] == facts["cart"]["limited"] == "/default/cart"


@both
def test_the_container_is_named(facts: dict[str, Any], name: str) -> None:
    """By its state files: in the table, in its anatomy, in the kill order."""
    of = facts[name]
    names = of["cgroup"]["names"]
    assert (of["cgroup"]["path"], names["container"]) == (of["limited"], name)
    assert names["image"] == ("localhost/shop:1" if name == "web" else None)
    rows = {row["path"]: row["names"]["container"] for row in of["table"]["cgroups"]}
    assert rows[of["limited"]] == name
    assert f"container {name}" in of["shown"]
    assert f"container {name}" in of["rank shown"]


def test_a_group_inside_of_the_container_has_another_row(facts: dict[str, Any]) -> None:
    assert facts["web"]["group"].startswith(f"{facts['web']['limited']}/")
    below = facts["web"]["group"].removeprefix(facts["web"]["limited"])
    assert f"container web{below}" in facts["web"]["shown"]


@both
def test_rows_add_up_to_the_usage(facts: dict[str, Any], name: str) -> None:
    made = facts[name]["cgroup"]
    total = sum(row["bytes"] for row in made["rows"] if row["of"] is None)
    assert total == made["current_bytes"]
    assert abs(made["figures"]["rest_bytes"]) <= total * 0.01
    anonymous = next(row["bytes"] for row in made["rows"] if row["name"] == "anonymous")
    assert anonymous >= BIG_MIB * MIB
    assert made["own_limit_bytes"] == LIMIT_MIB * MIB


@both
def test_the_predicted_victim_is_the_kernels(facts: dict[str, Any], name: str) -> None:
    """Which is not the one that asked for the last page."""
    of = facts[name]
    limited, _, pid = of["kernel"]
    assert limited == of["limited"]
    assert of["cgroup"]["victim"]["pid"] == int(pid)
    assert [victim["pid"] for victim in of["rank"]["decision"]["victims"]] == [int(pid)]
    assert of["explain"]["killed"][0]["pid"] == int(pid) != of["explain"]["invoker_pid"]
    assert of["explain"]["agrees"]


@both
def test_what_was_killed_is_explained_with_the_containers_name(
    facts: dict[str, Any], name: str
) -> None:
    of = facts[name]
    assert f"container {name}" in of["explain"]["headline"]
    assert f"container {name}" in of["explained"]
    assert of["why"]["kills"] >= 1
    assert of["why"]["limit_bytes"] == LIMIT_MIB * MIB
    assert int(of["kernel"][2]) in {victim["pid"] for victim in of["why"]["victims"]}
    assert name in of["why shown"]
