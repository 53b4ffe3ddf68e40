"""The core needs nothing but Python, and says the same without what makes it faster."""

import ast
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/oomkit"
CORE = (
    "kernel",
    "klog",
    "explain",
    "model",
    "scenario",
    "policy",
    "toml",
    "records",
    "batch",
    "files",
)
BELOW = ("api", "errors", "printable", "render/__init__", "render/quantities")
MAY_IMPORT = {
    "batch/pools.py": "distributed",
    "records/accelerated.py": "msgspec",
    "klog/lines/aho.py": "ahocorasick_rs",
    "klog/lines/newlines.py": "stringzilla",
    "klog/lines/sources.py": "zstandard",
}

WORK = """
import json, os, sys
import oomkit
from oomkit.kernel.snapshot_json import decode_snapshot, encode_snapshot
from oomkit.records import to_json

root = sys.argv[1]
logs = f"{root}/tests/data/oom-logs"
for name in sorted(os.listdir(logs)):
    if name.endswith(".log"):
        for told in oomkit.explain_log(f"{logs}/{name}"):
            print(name, to_json(told).decode())
for name in ("shop", "redis", "node"):
    snapshot = oomkit.read_snapshot(f"{root}/docs/examples/{name}.json")
    rules = oomkit.rules_for(snapshot.kernel)
    request = oomkit.Allocation()
    print(oomkit.rank(snapshot, request, rules))
    print(to_json(oomkit.decide(snapshot, request, rules)).decode())
    text = encode_snapshot(snapshot)
    assert decode_snapshot(text) == snapshot
    print(text.decode())
with open(f"{root}/docs/examples/shop.json") as file:
    shop = json.load(file)
for change in ({"kernel": 6}, {"tasks": [{"pid": 1}]}, {"memory": {}}, {"memcgs": 1, "zoo": 2}):
    try:
        decode_snapshot(json.dumps(shop | change), "shop.json")
    except oomkit.OomkitError as error:
        print(error)
for name in ("database-and-leak", "container-at-limit"):
    for policy in (None, "default"):
        run = oomkit.play(f"{root}/scenarios/{name}.toml", policy=policy)
        print(to_json(run).decode())
"""

IMPORTS = """
import importlib, pkgutil, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    found = importlib.import_module(f"oomkit.{name}")
    for module in pkgutil.walk_packages(found.__path__, f"{found.__name__}."):
        if not module.name.endswith((".accelerated", ".aho", ".compiled")):
            importlib.import_module(module.name)
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*added - sys.stdlib_module_names - {"__mp_main__"})
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment with oomkit and nothing else."""
    made = tmp_path_factory.mktemp("alone")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    builder = venv.EnvBuilder(symlinks=True)
    builder.create(made / "venv")
    python = str(builder.ensure_directories(made / "venv").env_exe)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
        wheel.extractall(site.strip())
    return python


def run(python: str, code: str, *args: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code, *args], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_of_the_core_is_imported_without_other_packages(alone: str) -> None:
    assert run(alone, IMPORTS, *CORE).split() == ["oomkit"]


def test_it_says_the_same_alone(alone: str) -> None:
    """Logs explained, snapshots ranked, decided, written, read and refused, scenarios played."""
    said = run(alone, WORK, str(ROOT))
    assert said == run(sys.executable, WORK, str(ROOT))
    assert said.count("\n") > 100
    assert "shop.json: at $.kernel: Expected `str`, got `int`\n" in said


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "oomkit").partition(".")[0])
    return found - sys.stdlib_module_names - {"annotationlib", "oomkit"}  # the former since 3.14


def test_only_one_module_imports_each_other_package() -> None:
    """Also where an import stands inside a function."""
    paths = [path for name in CORE for path in (SOURCE / name).rglob("*.py")]
    paths += [SOURCE / f"{name}.py" for name in BELOW]
    found = {str(path.relative_to(SOURCE)): _imported(path) for path in paths}
    assert {name: imported for name, imported in found.items() if imported} == {
        name: {package} for name, package in MAY_IMPORT.items()
    }


def test_the_contract_names_all_that_is_installed() -> None:
    """A package that the project comes to need is forbidden to the core as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        needed = [*needed, *extra]
    names = {name.split(">")[0].split("[")[0].replace("-", "_") for name in needed} - {"oomkit"}
    (contract,) = (
        c for c in project["tool"]["importlinter"]["contracts"] if "standard library" in c["name"]
    )
    modules = {n.removesuffix("_python").removeprefix("py") for n in names}
    assert modules <= set(contract["forbidden_modules"])
