"""Mutation testing: small changes of meaning, one at a time, and whether a test notices.

Usage: python tools/mutate.py PART ... [--number 60] [--seed 1] [--workers 2]
       python tools/mutate.py --changed COMMIT [--number 12] [--seconds 120]

PART is a folder of src/oomkit with tests in the folder of tests of the same name. Each change is
made in a copy of the tree and that folder's tests are run: first those that run the changed line,
the quickest first, then, if none of them fails, all others. A change that makes them take far
longer than without counts as noticed. What no test noticed is printed with its place.

With ``--changed`` the changes are drawn from lines that differ from COMMIT, and a test folder is
asked only as long as the time lasts. Exit status 0 whatever survives; 1 if a part's tests fail
without a change.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mutants import Mutant, changed_lines, draw

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "build" / "mutate"
PARTS = ("kernel", "policy", "guard", "model", "klog", "explain")
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "mutate_contexts", "--no-header", "--tb=no")
_LONGEST_S = 1800.0
"""All tests of a part take no longer."""
_START_S = 30.0
"""How long pytest may take to start on a busy machine."""

NOTICED, TIMED_OUT, SURVIVED, UNDECIDED = "noticed", "timed out", "survived", "undecided"


@dataclass
class Contexts:
    """Which test of a part runs which line."""

    tests: list[str]
    durations: list[float]
    starting: list[int]
    """Tests that start processes, where lines can't be seen."""
    lines: dict[str, dict[str, list[int]]]

    def first(self, mutant: Mutant) -> list[str]:
        """Returns the tests that run the changed line, the quickest first."""
        found = self.lines.get(mutant.path, {}).get(str(mutant.line), [])
        chosen = {number for number in found if number >= 0}
        return [self.tests[n] for n in sorted(chosen, key=lambda n: self.durations[n])]

    def whole_s(self) -> float:
        return sum(self.durations)


@dataclass
class Outcome:
    """What became of one change."""

    mutant: Mutant
    result: str
    took_s: float
    source: str
    """The file's text that the change was made in."""


class Tree:
    """A copy of the working tree with an interpreter of its own, where changes can be made."""

    def __init__(self, root: Path, number: int) -> None:
        self.root = root / f"tree-{number}"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                target = self.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.root / ".venv"], check=True
        )
        major, minor = sys.version_info[:2]
        packages = f"lib/python{major}.{minor}/site-packages"
        # Other people's packages from where they are, oomkit from the copy: .pth files there are
        # not followed, so that the installed tree is not found.
        (self.root / ".venv" / packages / "tree.pth").write_text(
            f"{self.root}/src\n{Path(sys.prefix) / packages}\n"
        )
        command = self.root / ".venv/bin/oomkit"
        command.write_text(
            f"#!{self.root}/.venv/bin/python\nimport sys\nfrom oomkit.__main__ import main\n"
            "sys.exit(main())\n"
        )
        command.chmod(0o755)
        self._stamp = int(time.time()) - 1_000_000

    def write(self, path: str, text: str) -> None:
        """Write a file so that no bytecode of another version of it is taken."""
        self._stamp += 10
        (self.root / path).write_text(text)
        os.utime(self.root / path, (self._stamp, self._stamp))

    def pytest(self, *arguments: str, timeout_s: float, **environment: str) -> int | None:
        """Returns pytest's exit status; None if it took longer than that."""
        environ = {
            **os.environ, "CI": "1", "PYTHONPATH": str(self.root / "tools"), "PYTHONHASHSEED": "0",
            # A change within a second that leaves the size alone would go unnoticed by bytecode.
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }  # fmt: skip
        process = subprocess.Popen(
            [self.root / ".venv/bin/python", "-m", "pytest", *_PYTEST, *arguments],
            cwd=self.root, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _files(part: str, root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in (root / "src/oomkit" / part).rglob("*.py")
    )


def _chosen(part: str) -> tuple[str, ...]:
    """What pytest is asked for: all of a part's tests that can run beside others."""
    return (f"tests/{part}",) if part == "guard" else (f"tests/{part}", "-m", "not alone")


def _require_success(part: str, status: int | None) -> None:
    if status != 0:
        sys.exit(f"mutate: tests/{part} fail without a change (exit status {status})")


def contexts(part: str, tree: Tree) -> Contexts:
    """Run a part's tests unchanged and note what each runs; kept until a file changes."""
    digest = hashlib.sha256()
    for folder in ("src/oomkit", f"tests/{part}", "tests/data", "scenarios"):
        for path in sorted((tree.root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(tree.root)
                digest.update(f"{name}\0".encode() + path.read_bytes())
    kept = CACHE / f"{part}.json"
    key = digest.hexdigest()
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if found.get("key") != key:
        kept.parent.mkdir(parents=True, exist_ok=True)
        status = tree.pytest(*_chosen(part), timeout_s=_LONGEST_S, OOMKIT_CONTEXTS=str(kept))
        _require_success(part, status)
        found = {"key": key, **json.loads(kept.read_text())}
        kept.write_text(json.dumps(found))
    return Contexts(found["tests"], found["durations"], found["starting"], found["lines"])


def try_one(
    mutant: Mutant, part: str, known: Contexts, tree: Tree, *, quick: bool = False
) -> Outcome:
    """Make the change, run the tests, take it back.

    With ``quick``, tests that don't run the line are left out where others do: what survives then
    may be too much, never too little.
    """
    began = time.monotonic()
    source = (tree.root / mutant.path).read_text()
    tree.write(mutant.path, mutant.apply(source))
    first = known.first(mutant)
    result = SURVIVED
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as order:
            json.dump(first, order)
            order.flush()
            took = sum(known.durations[known.tests.index(test)] for test in first)
            if first:
                files = sorted({test.split("::")[0] for test in first})
                status = tree.pytest(*files, timeout_s=_START_S + 4 * took, OOMKIT_ORDER=order.name)
                result = _result(status)
            if result == SURVIVED and not (quick and first and part != "guard"):
                left = _START_S + 4 * (known.whole_s() - took)
                side_by_side = ("-n", "4") if part == "guard" else ()
                status = tree.pytest(
                    *_chosen(part), *side_by_side, timeout_s=left, OOMKIT_WITHOUT=order.name
                )
                result = _result(status)
    finally:
        tree.write(mutant.path, source)
    return Outcome(mutant, result, time.monotonic() - began, source)


def _result(status: int | None) -> str:
    if status is None:
        return TIMED_OUT
    return SURVIVED if status in (0, 5) else NOTICED  # 5: no test was chosen


def report(part: str, outcomes: Iterable[Outcome], seed: int) -> str:
    """Returns a table of what no test noticed, and how many did what."""
    found = list(outcomes)
    count = {name: sum(one.result == name for one in found) for name in
             (NOTICED, TIMED_OUT, SURVIVED, UNDECIDED)}  # fmt: skip
    lines = [
        f"{part}: {len(found)} changes, seed {seed}: {count[NOTICED]} noticed, "
        f"{count[TIMED_OUT]} timed out, {count[SURVIVED]} survived"
        + (f" ({100 * count[SURVIVED] / len(found):.0f} %)" if found else "")
        + (f", {count[UNDECIDED]} not decided in the time there was" if count[UNDECIDED] else "")
    ]
    for one in found:
        if one.result == SURVIVED:
            diff = one.mutant.diff(one.source).splitlines()
            lines.append(f"  {one.mutant.path}:{one.mutant.line}: {one.mutant.change}")
            lines += [f"    {line}" for line in diff[3:]]
    return "\n".join(lines)


def _side_by_side(
    mutants: list[Mutant], trees: list[Tree], attempt: Callable[[Mutant, Tree], Outcome]
) -> list[Outcome]:
    """Try each change on whichever tree is free; results in the order of the changes."""
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            outcome = attempt(mutant, tree)
        finally:
            free.put(tree)
        place = f"{mutant.path}:{mutant.line}: {mutant.change}"
        print(f"{outcome.result:>9} {outcome.took_s:6.1f} s  {place}", file=sys.stderr, flush=True)
        return outcome

    with concurrent.futures.ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(one, mutants))


def _part(path: str) -> str:
    return path.split("/")[2]


def try_files(mutant: Mutant, part: str, files: list[str], tree: Tree, longest_s: float) -> Outcome:
    """Make the change, run the tests of some files, then the others, take it back."""
    began = time.monotonic()
    source = (tree.root / mutant.path).read_text()
    tree.write(mutant.path, mutant.apply(source))
    try:
        marks = _chosen(part)[1:]
        result = _result(tree.pytest(*files, *marks, timeout_s=longest_s))
        if result == SURVIVED:
            others = (f"--deselect={file}" for file in files)
            result = _result(tree.pytest(*_chosen(part), *others, timeout_s=longest_s))
    finally:
        tree.write(mutant.path, source)
    return Outcome(mutant, result, time.monotonic() - began, source)


def mutate_part(
    part: str,
    number: int,
    seed: int,
    trees: list[Tree],
    *,
    quick: bool = False,
    first: list[str] | None = None,
) -> list[Outcome]:
    """Draw changes of one part and try each."""
    if first:
        mutants = draw(trees[0].root, _files(part, trees[0].root), number, seed)
        began = time.monotonic()
        _require_success(part, trees[0].pytest(*_chosen(part), timeout_s=_LONGEST_S))
        longest_s = _START_S + 4 * (time.monotonic() - began)
        return _side_by_side(
            mutants, trees, lambda mutant, tree: try_files(mutant, part, first, tree, longest_s)
        )
    known = contexts(part, trees[0])
    mutants = draw(trees[0].root, _files(part, trees[0].root), number, seed)
    return _side_by_side(
        mutants, trees, lambda mutant, tree: try_one(mutant, part, known, tree, quick=quick)
    )


def changed_since(commit: str) -> dict[str, set[int]]:
    """Returns the lines that differ from a commit, in files whose folder has tests."""
    done = subprocess.run(
        ["git", "diff", "-U0", "--no-color", "--no-ext-diff", commit, "--", "src/oomkit"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"mutate: {done.stderr.strip()}")
    return {
        path: lines
        for path, lines in changed_lines(done.stdout)
        if path.count("/") > 2 and (ROOT / "tests" / _part(path)).is_dir()
    }


def _nearest(path: str) -> list[str]:
    """Returns a part's files of tests, those that name the changed file's module first."""
    module = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
    parent, _, name = module.rpartition(".")
    tests = sorted((ROOT / "tests" / _part(path)).glob("test_*.py"))

    def far(test: Path) -> int:
        text = test.read_text()
        return 0 if module in text else 1 if f"{parent} import" in text and name in text else 2

    return [str(test.relative_to(ROOT)) for test in sorted(tests, key=far)]


def mutate_changed(
    commit: str, number: int, seed: int, seconds: float, trees: list[Tree]
) -> list[Outcome]:
    """Draw from what changed and try as much as the time allows."""
    until = time.monotonic() + seconds
    lines = changed_since(commit)

    def attempt(mutant: Mutant, tree: Tree) -> Outcome:
        began = time.monotonic()
        if until - began < 5:
            return Outcome(mutant, UNDECIDED, 0.0, "")
        source = (tree.root / mutant.path).read_text()
        tree.write(mutant.path, mutant.apply(source))
        try:
            marks = () if _part(mutant.path) == "guard" else ("-m", "not alone")
            status = tree.pytest(*_nearest(mutant.path), *marks, timeout_s=until - began)
        finally:
            tree.write(mutant.path, source)
        result = UNDECIDED if status is None else _result(status)
        return Outcome(mutant, result, time.monotonic() - began, source)

    return _side_by_side(draw(ROOT, list(lines), number, seed, lines), trees, attempt)


def main() -> None:
    """Draw, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--number", type=int, default=60, help="how many changes of each part")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--changed", metavar="COMMIT", help="draw from lines that differ from it")
    parser.add_argument("--seconds", type=float, default=120, help="with --changed: time to take")
    parser.add_argument(
        "--quick", action="store_true", help="only tests that run the changed line, if any does"
    )
    parser.add_argument(
        "--first", metavar="FILE", nargs="+",
        help="tests to begin with, instead of those that run the changed line, which takes a round "
        "of all tests to find",
    )  # fmt: skip
    given = parser.parse_args()
    for part in given.parts:
        if not (ROOT / "src/oomkit" / part).is_dir() or not (ROOT / "tests" / part).is_dir():
            parser.error(f"{part}: no folder of src/oomkit with tests; one of {', '.join(PARTS)}")
    if given.number < 1 or given.workers < 1:
        parser.error("--number and --workers: at least 1")
    os.nice(10)
    with tempfile.TemporaryDirectory(prefix="oomkit-mutate-") as directory:
        trees = [Tree(Path(directory), number) for number in range(given.workers)]
        if given.changed:
            found = mutate_changed(given.changed, given.number, given.seed, given.seconds, trees)
            print(report(f"changed since {given.changed}", found, given.seed))
        for part in given.parts:
            began = time.monotonic()
            found = mutate_part(
                part, given.number, given.seed, trees, quick=given.quick, first=given.first
            )
            print(report(part, found, given.seed))
            print(f"  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
