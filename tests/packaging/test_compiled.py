"""What the build compiles on request; ``make compiled`` does it with the model and tests that."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def build() -> ModuleType:
    """The file that hatchling runs."""
    pytest.importorskip("setuptools")
    pytest.importorskip("mypyc.build")
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    found = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def project(root: Path, code: str) -> list[Path]:
    """A package of two modules, one of which is to be compiled."""
    package = root / "src/tiny"
    package.mkdir(parents=True)
    config = '[tool.mypy]\nstrict = true\nmypy_path = ["src"]\nexplicit_package_bases = true\n'
    (root / "pyproject.toml").write_text(config)
    (package / "base.py").write_text("STEP: int = 2\n")
    (package / "sums.py").write_text(code)
    return [package / "sums.py"]


CODE = """from tiny.base import STEP


def total(last: int) -> int:
    return sum(range(0, last, STEP))
"""


def compile_in_a_process(root: Path, paths: list[Path]) -> subprocess.CompletedProcess[str]:
    """Mypyc leaves its mark on the process that it runs in."""
    code = (
        "import sys; from pathlib import Path; import hatch_build; "
        "root, *paths = map(Path, sys.argv[1:]); "
        "hatch_build.compile_modules(paths, root, root / 'made')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(root), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.usefixtures("build")
def test_a_module_is_compiled_beside_one_that_is_not(tmp_path: Path) -> None:
    done = compile_in_a_process(tmp_path, project(tmp_path, CODE))
    assert done.returncode == 0, done.stdout + done.stderr
    lib = tmp_path / "made/lib"
    shutil.copy(tmp_path / "src/tiny/base.py", lib / "tiny")
    told = subprocess.run(
        [sys.executable, "-c", "from tiny import sums; print(sums.total(11), sums.__file__)"],
        env=os.environ | {"PYTHONPATH": str(lib)}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert told[0] == "30"
    assert told[1].endswith(".so")
    assert told[1].startswith(str(lib))


@pytest.mark.usefixtures("build")
def test_what_has_faults_is_refused(tmp_path: Path) -> None:
    done = compile_in_a_process(tmp_path, project(tmp_path, CODE.replace("STEP))", '"x"))')))
    assert done.returncode != 0
    assert "sums.py:5" in done.stdout + done.stderr
    assert not list((tmp_path / "made").rglob("*.so"))


@pytest.mark.usefixtures("build")
def test_what_is_imported_only_where_it_can_be_had_may_be_missing(tmp_path: Path) -> None:
    """The build of a source distribution has what it asks for, and nothing else."""
    code = f"try:\n    import accelerator_nobody_has\nexcept ImportError:\n    pass\n{CODE}"
    done = compile_in_a_process(tmp_path, project(tmp_path, code))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "made").rglob("sums*.so"))


def test_all_that_is_compiled_is_there(build: ModuleType) -> None:
    """A module that is renamed is missed at build time only, where nobody looks."""
    source = ROOT / "src/oomkit"
    for folder, names in (*build.COMPILED.items(), *build.UNCOMPILED.items()):
        assert all((source / folder / f"{name}.py").is_file() for name in names or ())
    paths = build.compiled_paths(ROOT)
    folders = {"model", "kernel", "engine", "klog", "lines", "report", "userspace"}
    assert {path.parent.name for path in paths} == folders
    assert source / "model/solve.py" in paths
    # A record's class is foreign to mypyc.
    assert not [path.name for path in paths if "(Record" in path.read_text()]


def test_an_ordinary_wheel_is_of_any_platform(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OOMKIT_COMPILE"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
