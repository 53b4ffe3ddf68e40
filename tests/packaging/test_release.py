"""The release checklist: what it passes, and each thing that it refuses."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import oomkit
import release

ROOT = Path(__file__).parents[2]
URLS = ("Source", "Documentation", "Issues")


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A repository that is ready for the release of its version."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in ("CHANGELOG.md", "pyproject.toml", "src/oomkit/__init__.py",
                 "contrib/helm/oomkit/Chart.yaml"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changes = tmp_path / "CHANGELOG.md"
    dated = f"## [Unreleased]\n\n## [{oomkit.__version__}] - 2026-11-29\n"
    changes.write_text(changes.read_text().replace("## [Unreleased]\n", dated))
    project = tmp_path / "pyproject.toml"
    urls = "".join(f'{name} = "https://oomkit.example/{name}"\n' for name in URLS)
    project.write_text(f"{project.read_text()}\n[project.urls]\n{urls}")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *words: str) -> None:
    names = ("-c", "user.name=n", "-c", "user.email=e@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *names, *words], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "a change", "--allow-empty")


def missing(root: Path) -> list[str]:
    return [fault for _, fault in release.looked_at(root, release.QUICK) if fault]


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))
        commit(root)

    return change


def tagged_before(root: Path) -> None:
    git(root, "tag", f"v{oomkit.__version__}")
    commit(root)


def test_what_is_ready_passes(ready: Path) -> None:
    assert missing(ready) == []


VERSION = f'__version__ = "{oomkit.__version__}"'


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (replaced("src/oomkit/__init__.py", VERSION, '__version__ = "1.0rc1"'), "no X.Y.Z"),
        (replaced("CHANGELOG.md", "] - 2026", "] of 2026"), "no section ["),
        (replaced("CHANGELOG.md", "## [Unreleased]", "## Soon"), "no section [Unreleased]"),
        (replaced("CHANGELOG.md", "### Fixed", "### Mended"), "sections Mended"),
        (replaced("contrib/helm/oomkit/Chart.yaml", "appVersion", "theirVersion"), "Chart.yaml"),
        (
            replaced("pyproject.toml", "[project.urls]", "[tool.none]"),
            "lacks Source, Documentation, Issues",
        ),
        (replaced("pyproject.toml", 'Issues = "https:', 'Issues = "'), "lacks Issues"),
        (lambda root: (root / "new").write_text(""), "1 files are not committed"),
        (tagged_before, "stands at another commit"),
        (lambda root: git(root, "tag", "v9.8.7"), "tag v9.8.7 stands here"),
    ],
)
def test_what_is_missing_is_named(change: Callable[[Path], None], fault: str, ready: Path) -> None:
    change(ready)
    assert any(fault in one for one in missing(ready))


def test_a_tag_of_this_version_may_stand_here(ready: Path) -> None:
    git(ready, "tag", f"v{oomkit.__version__}")
    git(ready, "tag", "voted")
    assert missing(ready) == []


def test_the_script_says_it_in_lines_and_in_its_status(ready: Path) -> None:
    def run() -> "subprocess.CompletedProcess[str]":
        command = ["python3", f"{ROOT}/tools/release.py", "--quick", "--root", str(ready)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0, f"ready: git tag -s v{oomkit.__version__}",
    )  # fmt: skip
    (ready / "new").write_text("")
    done = run()
    assert done.returncode == 1
    assert "[ ] Nothing is uncommitted: 1 files are not committed\n" in done.stdout
