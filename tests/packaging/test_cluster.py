"""The chart and the manifest, held to Helm's library and schemas; the image, built and run."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from oomkit.cli.guard import command as guard
from tests.packaging.artefacts import make

ROOT = Path(__file__).parents[2]
_IMAGES_S = 1800


def test_the_chart_is_linted_rendered_held_to_schemas_and_packed(tmp_path: Path) -> None:
    (packed,) = make("chart", tmp_path).glob("oomkit-*.tgz")
    with tarfile.open(packed) as tar:
        names = {member.name for member in tar}
    assert {"oomkit/Chart.yaml", "oomkit/values.schema.json"} <= names


@pytest.mark.parametrize(
    "path", ["contrib/kubernetes/daemonset.yaml", "contrib/helm/oomkit/templates/daemonset.yaml"]
)
def test_the_guards_options_exist(path: str) -> None:
    known = {name for p in guard.params for name in (*p.opts, *p.secondary_opts)}
    given = {
        word.partition("=")[0].strip('"')
        for line in (ROOT / path).read_text().splitlines()
        for word in line.replace("{{", " ").split()
        if word.strip('"').startswith("--") and len(word) > 4
    }
    assert given
    assert given <= known


@pytest.mark.timeout(_IMAGES_S)
def test_the_image_is_built_and_run(image_archive: Path) -> None:
    """By buildah, without daemon or registry; the base is made of Debian's packages."""
    with tarfile.open(image_archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        assert json.load(index)["manifests"]
    name = subprocess.check_output(
        ["buildah", "from", "localhost/oomkit:latest"], text=True
    ).strip()

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["buildah", "run", "--isolation", "chroot", name, "--", "/usr/bin/oomkit", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    try:
        config = json.loads(subprocess.check_output(["buildah", "inspect", name]))
        assert config["OCIv1"]["config"]["User"] == "65532:65532"
        assert config["OCIv1"]["config"]["Entrypoint"] == ["/usr/bin/oomkit"]
        assert run("--version").stdout.startswith("oomkit, version")
        played = run("run", "/usr/share/oomkit/scenarios/leak-among-innocents.toml")
        assert "killed" in played.stdout, played.stderr
        assert "when it acts" in run("guard", "--check").stdout
    finally:
        subprocess.run(["buildah", "rm", name], check=False, capture_output=True)
