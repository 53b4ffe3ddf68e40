"""Check and pack the Helm chart, and check the manifest without one.

Helm's own library lints and renders, and the schemas of a released Kubernetes judge what comes out.
No schema of the Prometheus operator's PodMonitor is there: of that only the shape is looked at.
"""

import re
import sys
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "contrib/helm/oomkit"
ALL_ON: dict[str, Any] = {
    "guard": {
        "act": True,
        "policyText": "[how]\ninterval = '1s'\n",
        "extraArgs": ["--no-self-test"],
    },
    "metrics": {"enabled": True, "podMonitor": {"enabled": True, "labels": {"release": "main"}}},
    "rbac": {"create": True},
    "names": {"runtimeDirectories": ["/run/containerd/io.containerd.runtime.v2.task"]},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "podAnnotations": {"note": "a text"},
    "imagePullSecrets": [{"name": "pull"}],
}
WRONG: tuple[dict[str, Any], ...] = (
    {"guard": {"act": "yes"}},
    {"guard": {"acts": True}},
    {"metrics": {"port": 0}},
    {"metrics": {"podMonitor": {"enabled": True}}},
    {"names": {"runtimeDirectories": ["/etc/kubernetes"]}},
)
NAMES = {"/var/log/pods", "/var/log/containers"}
"""Folders of the kubelet by which the names of pods and containers are found."""
_SCHEMALESS = ("PodMonitor",)


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The chart's manifests with these values.

    Raises:
        helm.HelmError: the values are refused.
    """
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="release", namespace="space")
    return [made for text in texts.values() for made in yaml.safe_load_all(text) if made]


def check(manifest: dict[str, Any]) -> None:
    """Hold a manifest to Kubernetes' schemas, unknown fields included.

    Raises:
        SystemExit: it does not fit.
    """
    if manifest["kind"] in _SCHEMALESS:
        wanted = {"apiVersion", "kind", "metadata", "spec"}
        if set(manifest) != wanted or not manifest["spec"]["podMetricsEndpoints"]:
            sys.exit(f"{manifest['kind']}: expected {', '.join(sorted(wanted))}")
        return
    version = kubernetes_validate.latest_version()
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        sys.exit(f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}")


def arguments(manifests: list[dict[str, Any]]) -> list[str]:
    """What the guard of a DaemonSet is started with."""
    (found,) = (m for m in manifests if m["kind"] == "DaemonSet")
    given: list[str] = found["spec"]["template"]["spec"]["containers"][0]["args"]
    return given


def read_only(manifests: list[dict[str, Any]]) -> set[str]:
    """The folders of the node that the guard of a DaemonSet may read, at their own places.

    Raises:
        SystemExit: one has another place, or may be written.
    """
    (found,) = (m for m in manifests if m["kind"] == "DaemonSet")
    pod = found["spec"]["template"]["spec"]
    paths = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    seen = set()
    for mount in pod["containers"][0]["volumeMounts"]:
        path = paths.get(mount["name"])
        if path is None or path == "/var/lib/oomkit":
            continue
        if mount["mountPath"] != path or not mount.get("readOnly"):
            sys.exit(f"{path}: expected to be mounted there, read-only")
        seen.add(path)
    return seen


def main() -> None:
    """Check everything; with a directory pack the chart into it."""
    init = (ROOT / "src/oomkit/__init__.py").read_text()
    version = re.findall(r'^__version__ = "(.*)"$', init, re.MULTILINE)
    named = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if [named["version"]] != version or [named["appVersion"]] != version:
        sys.exit(f"Chart.yaml: expected version and appVersion {version[0]}")
    if faults := helm.lint(str(CHART))["errors"]:
        sys.exit(f"helm lint: {faults}")
    plain = list(yaml.safe_load_all((ROOT / "contrib/kubernetes/daemonset.yaml").read_text()))
    usual, full = rendered({}), rendered(ALL_ON)
    for manifest in (*plain, *usual, *full):
        check(manifest)
    for manifests in (plain, usual):
        if "--dry-run" not in arguments(manifests) or "--act" in arguments(manifests):
            sys.exit("expected a dry run unless asked for more")
    extra = set(ALL_ON["names"]["runtimeDirectories"])
    off = rendered({"names": {"enabled": False}})
    for manifests, names in ((plain, NAMES), (usual, NAMES), (full, NAMES | extra), (off, set())):
        if read_only(manifests) != {"/sys/fs/cgroup", *names}:
            sys.exit(f"expected the folders {sorted(names)}, not {sorted(read_only(manifests))}")
    kinds = sorted(m["kind"] for m in full)
    if kinds != ["ConfigMap", "DaemonSet", "PodMonitor", "ServiceAccount"] or len(usual) != 1:
        sys.exit(f"expected each part only where it is asked for, not {kinds}")
    for values in WRONG:
        try:
            rendered(values)
        except helm.HelmError:
            continue
        sys.exit(f"expected these values to be refused: {values}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        print(helm.package(str(CHART), destination=sys.argv[1]))


if __name__ == "__main__":
    main()
