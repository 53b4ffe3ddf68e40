"""The image run by Podman, and its pod by a kubelet, on a node of their own.

Debian's packages in a guest; the image is that of ``make image``, the pods are those of the
manifest and the chart, and the kubelet is that of ``make kubernetes``. Where that is not built,
Podman runs the pods.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import oomkit
from oomkit.real.initramfs import load_order
from tests.packaging import debian_guest
from tests.packaging.control_plane import built
from tests.real.guests import HANGS_S, boot, needs_guest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MANIFEST = ROOT / "contrib/kubernetes/daemonset.yaml"
LIMIT = 64 << 20
CAPABILITIES = sum(1 << bit for bit in (5, 14, 19, 23, 24, 34))
"""KILL, IPC_LOCK, SYS_PTRACE, SYS_NICE, SYS_RESOURCE and SYSLOG of linux/capability.h."""
_FILES = """
import chart, json, sys, yaml
def pod(manifests):
    made = next(one for one in manifests if one["kind"] == "DaemonSet")
    metadata = {"name": made["metadata"]["name"], "namespace": made["metadata"]["namespace"]}
    template = made["spec"]["template"]
    metadata["labels"] = template["metadata"]["labels"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
rendered = chart.rendered({"image": {"repository": "oomkit", "tag": "latest"},
                           "guard": {"act": True}, "metrics": {"enabled": True}})
manifest = list(yaml.safe_load_all(open(sys.argv[1])))
print(json.dumps({
    "chart.yaml": yaml.safe_dump_all(rendered), "chart.json": json.dumps(pod(rendered)),
    "manifest.json": json.dumps(pod(manifest)),
}))
"""
BOTH = pytest.mark.parametrize("name", ["manifest", "chart"])
DRY = "manifest"
"""The chart's is armed, and serves metrics."""
pytestmark = [pytest.mark.qemu, pytest.mark.timeout(HANGS_S)]


def pods() -> dict[str, tuple[int, bytes]]:
    """Manifest and rendered chart, and the pod that a DaemonSet's controller makes of each."""
    text = subprocess.check_output(
        [ROOT / ".venv/release/bin/python", "-c", _FILES, MANIFEST], cwd=ROOT / "tools", text=True
    )
    made = {"manifest.yaml": MANIFEST.read_text(), **json.loads(text)}
    return {f"/{name}": (0o644, data.encode()) for name, data in made.items()}


@pytest.fixture(scope="module")
def facts(image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kernel = needs_guest("6.12")
    assert kernel.modules is not None
    root = debian_guest.root_file_system("trixie", debian_guest.CONTAINERS)
    modules = load_order(kernel.modules, ("overlay", "veth"))
    kubelet = built("kubelet")
    made = tmp_path_factory.mktemp("node") / "initrd"
    made.write_bytes(debian_guest.image(root, HERE / "node_check.py", {
        "/oomkit.oci": (0o644, image_archive.read_bytes()),
        **({"/usr/bin/kubelet": (0o755, Path(kubelet).read_bytes())} if kubelet else {}),
        **pods(),
        **{f"/modules/{i:02}-{n}.ko": (0o644, data) for i, (n, data) in enumerate(modules)},
    }))  # fmt: skip
    output = boot(kernel, made, mib=2200)
    os.unlink(made)
    found = debian_guest.facts(output)
    assert "error" not in found, found["error"]
    assert "over" in found, output[-2000:]
    return found


def of_kubelet(facts: dict[str, Any], name: str) -> Any:
    """What is known only of a kubelet's pod; skips where there was none to run it."""
    if built("kubelet") is None:
        pytest.skip("needs a kubelet (make kubernetes builds it from Debian's packages)")
    return facts[name]


def test_the_image_needs_no_privileges_for_what_only_reads(facts: dict[str, Any]) -> None:
    assert facts["version"] == f"oomkit, version {oomkit.__version__}\n"
    assert facts["user"] == "65532 65532\n"
    assert "killed" in facts["run"]
    assert [one["pid"] for one in facts["rank"]["decision"]["victims"]] == [facts["rank"]["hog"]]


@BOTH
def test_the_guard_runs_as_the_pod_says(facts: dict[str, Any], name: str) -> None:
    seen = facts[name]
    assert seen["status"]["dry_run"] == (name == DRY)
    assert min(map(int, seen["limits"])) == LIMIT  # kubepods has one, too
    assert int(seen["capabilities"], 16) == CAPABILITIES
    assert (seen["new privileges"], seen["seccomp"], seen["adj"]) == ("1", "2", -1000)
    options = {place: words.split(",") for place, words in seen["mounts"]}
    for place in ("/", "/sys/fs/cgroup", "/var/log/pods", "/var/log/containers"):
        assert "ro" in options[place], place
    assert "rw" in options["/var/lib/oomkit"]


@BOTH
def test_it_chooses_the_process_of_the_node_that_fills_memory(
    facts: dict[str, Any], name: str
) -> None:
    """An armed one ends it."""
    seen = facts[f"{name} acts"]
    act = seen["acts"][0]
    assert act["victim"]["pid"] == seen["victim"]
    assert act["outcome"] == ("dry_run" if name == DRY else "died")
    log = facts[f"{name} log"]
    assert "started with policy default" in log
    assert ("would send SIGTERM" in log) == (name == DRY)


@BOTH
def test_the_kubelet_says_that_it_runs(facts: dict[str, Any], name: str) -> None:
    pod = of_kubelet(facts, f"{name} pod")
    assert (pod["phase"], pod["qosClass"]) == ("Running", "Burstable")
    assert [one["restartCount"] for one in pod["containerStatuses"]] == [0]


def test_metrics_are_served_where_the_chart_says(facts: dict[str, Any]) -> None:
    lines = of_kubelet(facts, "metrics").splitlines()
    assert "oomkit_guard_up 1.0" in lines
    assert 'oomkit_guard_info{dry_run="false",policy="default"} 1.0' in lines
