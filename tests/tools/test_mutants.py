"""The changes that mutation testing makes, and what comes of them."""

import subprocess
import sys
from pathlib import Path

import pytest

import mutants

ROOT = Path(__file__).parents[2]


def changes(source: str) -> set[str]:
    """Every text that one change makes of a line."""
    return {
        mutant.apply(source).strip()
        for site in mutants.sites("x.py", source)
        for mutant in site.mutants
    }


@pytest.mark.parametrize(("source", "expected"), [
    ("a < b", {"a <= b", "a >= b"}),
    ("a >= b", {"a > b", "a < b"}),
    ("a == b", {"a != b"}),
    ("a is not b", {"a is b"}),
    ("a not in b", {"a in b"}),
    ("a < b == c", {"a <= b == c", "a >= b == c", "a < b != c"}),
    ("(a) > (  # a > b\n b)", {"(a) >= (  # a > b\n b)", "(a) <= (  # a > b\n b)"}),
    ("a and b", {"a or b", "True and b", "a and True"}),
    ("a or b", {"a and b", "False or b", "a or False"}),
    ("not a", {"a"}),
    ("a + b", {"a - b"}),
    ("a // b", {"a * b"}),
    ("a << b", {"a >> b"}),
    ("a += b", {"a -= b"}),
    ("x = 1", {"x = (2)", "x = (0)"}),
    ("x = True", {"x = False"}),
    ("f(a)", {"pass"}),
    ("f(a)[0]", {"f(a)[(1)]", "f(a)[(-1)]"}),
    ("ü = 'ü' if a else c", {"ü = 'ü' if (not (a)) else c"}),
    ("[a for a in b if c]", {"[a for a in b if (not (c))]"}),
    ("while a:\n  break", {"while a:\n  continue"}),
])  # fmt: skip
def test_each_kind_of_change(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize("source", [
    '"""Text, not 1 + 1."""',
    "x = 'a' + b",
    "def f(x: Literal[1]) -> Literal[2]: ...",
    "x: Literal[1]",
    "TYPE_CHECKING = False",
    "if TYPE_CHECKING:\n    f(1)",
    "class A(B, frozen=True): ...",
    "@f(1)\ndef g(): ...",
    "f'{1 + 1}'",
])  # fmt: skip
def test_what_has_no_meaning_at_run_time_is_left_alone(source: str) -> None:
    assert changes(source) == set()


def test_a_seed_draws_the_same_and_another_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("\n".join(f"x{n} = a + {n}" for n in range(50)))
    (tmp_path / "b.py").write_text("y = a < b")
    drawn = mutants.draw(tmp_path, ["b.py", "a.py"], 20, 7)
    assert drawn == mutants.draw(tmp_path, ["a.py", "b.py"], 20, 7)
    assert len(drawn) == len(set(drawn)) == 20
    assert drawn != mutants.draw(tmp_path, ["a.py", "b.py"], 20, 8)
    everything = mutants.draw(tmp_path, ["a.py", "b.py"], 1000, 7)
    assert len(everything) == 101  # a plus and a number a line, and the comparison


def test_every_change_of_this_project_is_python_of_another_meaning() -> None:
    names = [str(path.relative_to(ROOT)) for path in (ROOT / "src/oomkit/kernel").glob("*.py")]
    for mutant in mutants.draw(ROOT, names, 40, 3):
        source = (ROOT / mutant.path).read_text()
        changed = mutant.apply(source)
        compile(changed, mutant.path, "exec")
        assert changed.count("\n") == source.count("\n")
        assert source.splitlines()[mutant.line - 1] != changed.splitlines()[mutant.line - 1]


def test_only_lines_that_changed_are_drawn_from(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\nb = 2\nc = 3\n")
    lines = dict(mutants.changed_lines(
        "--- a/a.py\n+++ b/a.py\n@@ -2 +2 @@\n-b = 1\n+b = 2\n"
        "--- a/gone.py\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-x\n-y\n"
        "--- a/c.py\n+++ b/c.py\n@@ -7,0 +8,3 @@\n+1\n+2\n+3\n"
    ))  # fmt: skip
    assert lines == {"a.py": {2}, "c.py": {8, 9, 10}}
    assert [mutant.line for mutant in mutants.draw(tmp_path, ["a.py"], 9, 1, lines)] == [2]


def test_a_change_as_a_diff() -> None:
    source = "a = 1\nb = c < d\n"
    site = next(site for site in mutants.sites("x.py", source) if site.mutants[0].line == 2)
    assert site.mutants[0].diff(source) == (
        "--- x.py\n+++ x.py\n@@ -2 +2 @@\n-b = c < d\n+b = c <= d"
    )


def test_an_unknown_part_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "tools/mutate.py", "nonsense"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nonsense: no folder of src/oomkit with tests" in done.stderr.splitlines()[-1]


def project(root: Path, test: str) -> Path:
    """A project of one part with one rule, and the tool."""
    for name in ("mutants.py", "mutate.py", "mutate_contexts.py"):
        (root / "tools").mkdir(exist_ok=True)
        (root / "tools" / name).write_text((ROOT / "tools" / name).read_text())
    package, tests = root / "src/oomkit/rules", root / "tests/rules"
    package.mkdir(parents=True)
    tests.mkdir(parents=True)
    for folder in (package.parent, package, tests.parent, tests):
        (folder / "__init__.py").write_text("")
    (package / "limit.py").write_text("def over(used, limit):\n    return used > limit\n")
    (tests / "test_limit.py").write_text(f"from oomkit.rules.limit import over\n\n{test}")
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["alone"]\n')
    (root / ".gitignore").write_text("build\n__pycache__\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=root, check=True)
    subprocess.run([*git, "add", "-A"], cwd=root, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], cwd=root, check=True)
    return root


def mutate(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "tools/mutate.py", *arguments, "--workers", "1"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_test_of_both_sides_lets_nothing_pass(tmp_path: Path) -> None:
    test = "def test_over():\n    assert over(2, 1)\n    assert not over(1, 1)\n"
    told = mutate(project(tmp_path, test), "rules")
    assert told.startswith("rules: 1 changes, seed 1: 1 noticed, 0 timed out, 0 survived (0 %)")


def test_a_test_of_one_side_lets_the_edge_pass(tmp_path: Path) -> None:
    root = project(tmp_path, "def test_over():\n    assert over(2, 1)\n")
    path = "src/oomkit/rules/limit.py"
    seed = next(n for n in range(99) if mutants.draw(root, [path], 1, n)[0].text == ">=")
    told = mutate(root, "rules", "--seed", str(seed))
    assert "1 survived (100 %)\n  src/oomkit/rules/limit.py:2: > becomes >=\n" in told
    assert "    -    return used > limit\n    +    return used >= limit\n" in told


def test_what_a_change_touched(tmp_path: Path) -> None:
    root = project(tmp_path, "def test_over():\n    assert over(2, 1)\n")
    assert mutate(root, "--changed", "HEAD").startswith("changed since HEAD: 0 changes")
    limit = root / "src/oomkit/rules/limit.py"
    limit.write_text(limit.read_text() + "\n\ndef under(used, limit):\n    return used < limit\n")
    told = mutate(root, "--changed", "HEAD")
    assert "changed since HEAD: 1 changes, seed 1: 0 noticed, 0 timed out, 1 survived" in told
    assert "src/oomkit/rules/limit.py:6: < becomes" in told
