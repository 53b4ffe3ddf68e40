"""The manifest and the chart, loaded by a real API server; its controllers make pods of them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.artefacts import make
from tests.packaging.control_plane import ControlPlane, control_plane

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "contrib/kubernetes/daemonset.yaml"
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1", "labels": {
    "kubernetes.io/os": "linux",
}}}  # fmt: skip
_RENDER = "import chart, json; print(json.dumps(chart.rendered(getattr(chart, '{}', {{}}))))"
_STARTS_S = 900
pytestmark = pytest.mark.timeout(_STARTS_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as made:
        assert made.kubectl("create", "-f", "-", stdin=json.dumps(NODE)).returncode == 0
        yield made


def rendered(values: str) -> list[dict[str, Any]]:
    """The chart's manifests but for that of the Prometheus operator, which is not here."""
    python = ROOT / ".venv/release/bin/python"
    text = subprocess.check_output(
        [python, "-c", _RENDER.format(values)], cwd=ROOT / "tools", text=True
    )
    return [made for made in json.loads(text) if made["kind"] != "PodMonitor"]


def pod_in(cluster: ControlPlane, namespace: str) -> dict[str, Any]:
    (pod,) = cluster.get("pods", "-n", namespace)["items"]
    spec: dict[str, Any] = pod["spec"]
    return spec


def test_the_manifest_is_loaded_and_makes_a_pod(cluster: ControlPlane) -> None:
    done = cluster.kubectl("apply", "-f", str(MANIFEST))
    assert done.returncode == 0, done.stderr
    assert "daemonset.apps/oomkit-guard created" in done.stdout
    pod = pod_in(cluster, "oomkit")
    assert pod["hostPID"]
    assert pod["priority"] == 2_000_001_000  # system-node-critical is there, and may be asked for
    assert "--dry-run" in pod["containers"][0]["args"]
    assert not [v for v in pod["volumes"] if "secret" in v or "projected" in v]  # no token
    again = cluster.kubectl("apply", "-f", str(MANIFEST))
    assert "daemonset.apps/oomkit-guard unchanged" in again.stdout


@pytest.mark.parametrize(("values", "kinds"), [("", 1), ("ALL_ON", 3)])
def test_the_chart_is_loaded_and_makes_a_pod(
    cluster: ControlPlane, tmp_path: Path, values: str, kinds: int
) -> None:
    make("chart", tmp_path)  # sees to the tools that render it
    space = f"space{kinds}"
    cluster.kubectl("create", "namespace", space)
    manifests = rendered(values)
    for manifest in manifests:
        manifest["metadata"]["namespace"] = space
    assert len(manifests) == kinds
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    done = cluster.kubectl("apply", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    pod = pod_in(cluster, space)
    assert ("--act" in pod["containers"][0]["args"]) == (values == "ALL_ON")
    seen = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert {"/var/log/pods", "/var/log/containers"} <= seen


def test_what_is_wrong_is_refused(cluster: ControlPlane) -> None:
    wrong = MANIFEST.read_text().replace("hostPID:", "hostPIDs:")
    done = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=wrong)
    assert done.returncode == 1
    assert 'unknown field "hostPIDs"' in done.stderr
