"""The image, run by Podman on a node of its own.

Debian's packages in a guest; the image is that of ``make image``.
"""

import os
from pathlib import Path
from typing import Any

import pytest

import oomkit
from oomkit.real.initramfs import load_order
from tests.packaging import debian_guest
from tests.real.played import needs_kernel
from tests.real.systemd_guest import HANGS_S

HERE = Path(__file__).parent
pytestmark = [pytest.mark.qemu, pytest.mark.timeout(HANGS_S)]


@pytest.fixture(scope="module")
def facts(image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kernel = needs_kernel("6.12")
    assert kernel.modules is not None
    root = debian_guest.root_file_system("trixie", debian_guest.CONTAINERS)
    modules = load_order(kernel.modules, ("overlay",))
    made = tmp_path_factory.mktemp("node") / "initrd"
    made.write_bytes(debian_guest.image(root, HERE / "node_check.py", {
        "/oomkit.oci": (0o644, image_archive.read_bytes()),
        **{f"/modules/{i}-{n}.ko": (0o644, data) for i, (n, data) in enumerate(modules)},
    }))  # fmt: skip
    output = debian_guest.boot(kernel, made, mib=3000)
    os.unlink(made)
    found = debian_guest.facts(output)
    assert "error" not in found, found["error"]
    assert "rank" in found, output[-2000:]
    return found


def test_the_image_needs_no_privileges_for_what_only_reads(facts: dict[str, Any]) -> None:
    assert facts["version"] == f"oomkit, version {oomkit.__version__}\n"
    assert facts["user"] == "65532 65532\n"
    assert "killed" in facts["run"]
    ranked = facts["rank"]
    assert [one["pid"] for one in ranked["decision"]["victims"]] == [ranked["offered"]]
