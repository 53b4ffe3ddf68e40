"""What an index would get: wheel and sdist, whole, the same bytes each time, and installable."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import oomkit
from oomkit.cli.group import COMMANDS
from tests.packaging.artefacts import ROOT, make


def metadata(dist: Path) -> tuple[dict[str, list[str]], str]:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        message = message_from_bytes(wheel.read(name))
    body = message.get_payload()
    assert isinstance(body, str)
    return {key: message.get_all(key, []) for key in message}, body


def test_the_version_has_one_place(dist: Path) -> None:
    assert metadata(dist)[0]["Version"] == [oomkit.__version__]
    assert "version =" not in (ROOT / "pyproject.toml").read_text().partition("[project.opt")[0]


def test_the_wheel_is_pure_and_brings_pages_scenarios_and_completions(dist: Path) -> None:
    (path,) = dist.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    held = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(path).namelist()}
    assert {f"share/man/man1/oomkit-{n}.1" for n in COMMANDS if n != "guard"} <= held
    assert {
        "share/man/man1/oomkit.1", "share/man/man8/oomkit-guard.8",
        "share/oomkit/scenarios/guard/fast-hog.toml", "share/oomkit/sweeps/least-swap.toml",
        "share/oomkit/docs/examples/shop.json", "share/bash-completion/completions/oomkit",
    } <= held  # fmt: skip


def test_the_sdist_holds_what_is_needed_to_build_test_and_read(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as tar:
        held = {member.name.partition("/")[2] for member in tar}
    for name in ("Makefile", "hatch_build.py", "CHANGELOG.md", "LICENSE", "tools/bundle.py",
                 "contrib/debian/control", "docs/guard.md", "tests/conftest.py",
                 "requirements/run.txt", "src/oomkit/py.typed"):  # fmt: skip
        assert name in held
    assert not [name for name in held if "__pycache__" in name or name.startswith(".venv")]


def test_all_is_every_extra(dist: Path) -> None:
    told, _ = metadata(dist)
    needs: dict[str, set[str]] = {}
    for line in told["Requires-Dist"]:
        need, _, extra = line.partition("; extra == ")
        needs.setdefault(extra.strip("'"), set()).add(need)
    assert set(told["Provides-Extra"]) == set(needs) - {""}
    assert needs.pop("all") == set().union(*(n for extra, n in needs.items() if extra))


def test_the_long_description_leads_nowhere_that_an_index_has_not(dist: Path) -> None:
    _, body = metadata(dist)
    outside = re.sub(r"^```.*?^```$", "", body, flags=re.MULTILINE | re.DOTALL)
    assert [link for link in re.findall(r"\]\(([^)]*)\)", outside) if "://" not in link] == []
    assert "oomkit rank" in body


def test_built_twice_it_has_the_same_bytes(
    dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = tmp_path_factory.mktemp("again")
    before = os.umask(0o077)
    try:
        made = make("dist", again)
    finally:
        os.umask(before)
    for path in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        # Where they differ, pytest would compare megabytes line by line.
        same = path.read_bytes() == (made / path.name).read_bytes()
        assert same, path.name


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_is_installed_into_an_empty_environment(kind: str, dist: Path, tmp_path: Path) -> None:
    """By pip, with what it needs from the package index that pip knows here."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    bin_ = tmp_path / "venv/bin"
    (path,) = dist.glob(kind)
    done = subprocess.run(
        [bin_ / "python", "-m", "pip", "install", "-q", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and re.search("No matching distribution|Connection", done.stderr):
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr

    def run(*words: str | Path) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "100"}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    share = tmp_path / "venv/share/oomkit"
    assert run(bin_ / "python", "-m", "oomkit", "--version") == run(bin_ / "oomkit", "--version")
    shop = share / "docs/examples/shop.json"
    assert "backup[4711] dies" in run(bin_ / "oomkit", "rank", "--from", shop)
    assert "killed" in run(bin_ / "oomkit", "run", share / "scenarios/leak-among-innocents.toml")
    assert "earlyoom" in run(bin_ / "oomkit", "guard", "--check", "--policy", "earlyoom")


@pytest.mark.parametrize(
    "words", [("pipx", "install"), ("uv", "tool", "install", "--python", sys.executable)],
    ids=["pipx", "uv"],
)  # fmt: skip
def test_it_is_installed_as_a_command_of_its_own(
    words: tuple[str, ...], dist: Path, tmp_path: Path
) -> None:
    """By pipx and uv, as README.md says, for a user who has neither used before."""
    (wheel,) = dist.glob("*.whl")
    own = {name: os.environ[name] for name in os.environ if not name.startswith(("XDG_", "PIPX_"))}
    environment = {**own, "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [ROOT / ".venv/release/bin" / words[0], *words[1:], wheel],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and re.search(
        "No matching distribution|Connection|Failed to fetch|No solution found", done.stderr
    ):
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr
    command = tmp_path / ".local/bin/oomkit"
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"oomkit, version {oomkit.__version__}\n"
    share = command.resolve().parents[1] / "share"
    shop = share / "oomkit/docs/examples/shop.json"
    ranked = subprocess.run(
        [command, "rank", "--from", shop], capture_output=True, text=True, check=False
    )
    assert "backup[4711] dies" in ranked.stdout, ranked.stderr
    pages = tmp_path / ".local/share/man" if words[0] == "pipx" else share / "man"
    assert (pages / "man1/oomkit-rank.1").exists()


def test_the_single_file_needs_python_alone(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An interpreter that can't have our virtual environment's modules runs it, as any user."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""
    wanted = [python, "-c", "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))"]
    if not python or subprocess.run(wanted, check=False).returncode:
        pytest.skip("needs a Python from 3.11 to 3.14 outside of a virtual environment")
    file: Path = request.getfixturevalue("single_file")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "100"}

    def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-I", file, *words], cwd=tmp_path, env=environment | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("--version").stdout == f"oomkit, version {oomkit.__version__}\n"
    shop = str(ROOT / "docs/examples/shop.json")
    assert "backup[4711] dies" in run("rank", "--from", shop).stdout
    log = str(ROOT / "tests/data/oom-logs/g-2.6.32-431-el6-java.log")
    assert "java[18938] was killed" in run("explain", "--workers", "2", log, log).stdout
    assert run("guard", "--check").stdout.startswith("default: ")
    refused = run("--version", SHIV_ROOT="/proc/none")
    assert refused.returncode == 2
    assert re.fullmatch(r"oomkit: .*expected to unpack this file there.*\n", refused.stderr)
