"""Needles are found alike by C of our own, by ahocorasick-rs and by the standard library."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oomkit.klog.lines import search
from oomkit.klog.lines.scan import KERNEL_NEEDLES
from oomkit.klog.userspace.needles import NEEDLES

ROOT = Path(__file__).parents[2]
SEARCH = "oomkit.klog.lines._needles"
ALL = tuple(dict.fromkeys((*KERNEL_NEEDLES, *NEEDLES)))
FEW = st.lists(st.binary(min_size=1, max_size=4).map(lambda b: bytes(c % 3 + 97 for c in b)))
TEXT_OF_NEEDLES = st.lists(
    st.sampled_from(ALL)
    | st.sampled_from(ALL).map(lambda n: n[:-1])
    | st.sampled_from(ALL).map(lambda n: n[1:])
    | st.binary(max_size=40)
).map(b"".join)
Find = Callable[[bytearray, int, int], list[tuple[int, int]]]
Search = Callable[[Sequence[bytes]], Find]
HOW = ("aho", "plain", "16 bytes", "32 bytes")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module in C: that of a compiled wheel, or one that is built for these tests."""
    found = importlib.util.find_spec(SEARCH)
    if found is None:
        pytest.importorskip("setuptools")
        if shutil.which("cc") is None:
            pytest.skip("needs a C compiler")
        made = tmp_path_factory.mktemp("made")
        code = (
            "import sys, hatch_build; from pathlib import Path; "
            "hatch_build.compile_search(*map(Path, sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, str(ROOT), str(made)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=env, check=True, capture_output=True)
        built = next((made / "lib").rglob("_needles*.so"))
        found = importlib.util.spec_from_file_location(SEARCH, built)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=HOW)
def searching(request: pytest.FixtureRequest) -> Search:
    """Looks for needles in one of the ways."""
    how = HOW.index(request.param) - 1
    if how < 0:
        aho = pytest.importorskip("oomkit.klog.lines.aho", reason="needs ahocorasick-rs")
        return lambda needles: _listed(aho.Needles(needles).find)
    module: ModuleType = request.getfixturevalue("compiled")
    if how > module.WIDTH:
        pytest.skip("the processor has no instructions for that")
    return lambda needles: _with_width(module.Searcher(needles).find, how)


def _listed(find: Callable[[bytearray, int, int], Iterable[tuple[int, int]]]) -> Find:
    return lambda buffer, start, end: list(find(buffer, start, end))


def _with_width(find: Callable[..., list[tuple[int, int]]], width: int) -> Find:
    return lambda buffer, start, end: find(buffer, start, end, width)


def plainly(needles: Sequence[bytes], text: bytearray, start: int, end: int) -> list[object]:
    return list(search.Needles(needles).find(text, start, end))


@settings(max_examples=200)
@given(
    needles=FEW.filter(bool),
    text=st.lists(st.sampled_from(b"abcx"), max_size=120).map(bytes),
    start=st.integers(0, 9),
)
@example(needles=[b"ab", b"abc", b"bc"], text=b"xabcbcab", start=0)
@example(needles=[b"abc", b"ab", b"b"], text=b"ababcb", start=1)
@example(needles=[b"c", b"ab"], text=b"x" * 63 + b"abcab", start=0)
def test_needles_of_few_letters(
    searching: Search, needles: list[bytes], text: bytes, start: int
) -> None:
    """They begin alike, hold and overlap each other: the first of the list counts."""
    needles = list(dict.fromkeys(needles))
    buffer = bytearray(text)
    end = max(len(buffer) - 2, start)
    assert searching(needles)(buffer, start, end) == plainly(needles, buffer, start, end)
    buffer += b"\n"  # nothing holds on to the buffer


@settings(max_examples=200)
@given(text=TEXT_OF_NEEDLES, cut=st.integers(0, 40))
def test_needles_of_reports(searching: Search, text: bytes, cut: int) -> None:
    buffer = bytearray(text)
    where = min(cut, len(buffer)), max(len(buffer) - cut, 0)
    assert searching(ALL)(buffer, *where) == plainly(ALL, buffer, *where)


def test_every_needle_at_every_place(searching: Search) -> None:
    """Before, in and behind what is looked at at once."""
    find = searching(ALL)
    for number, needle in enumerate(ALL):
        for at in range(0, 70, 3):
            text = bytearray(b"\xff" * at + needle)
            for more in (0, 1, 40):
                text += b"\n" * more
                assert (at, number) in find(text, 0, len(text))
                assert (at, number) not in find(text, 0, at + len(needle) - 1)
                assert (at, number) not in find(text, at + 1, len(text))


def test_many_needles_at_one_place(searching: Search) -> None:
    needles = [b"a" * size for size in range(20, 0, -1)]
    text = bytearray(b"a" * 1000 + b"b")
    assert searching(needles)(text, 0, len(text)) == [(at, 0) for at in range(0, 1000, 20)]


def test_offsets_beyond_the_buffer(compiled: ModuleType) -> None:
    searcher = compiled.Searcher([b"ab"])
    for start, end in ((-5, 99), (0, 2**62), (-(2**62), 4)):
        assert searcher.find(b"abab", start, end) == [(0, 0), (2, 0)]
    assert searcher.find(b"abab", 3, 1) == searcher.find(b"abab", 9, 99) == []
    assert searcher.find(b"", 0, 0) == []
    assert compiled.count_newlines(b"\n\n", -1, 99) == 2
    assert compiled.Searcher([]).find(b"abab", 0, 4) == []


def test_needles_that_are_none(compiled: ModuleType) -> None:
    for needles in ([b""], [b"a"] * 1025):
        with pytest.raises(ValueError, match=r"empty|at most 1024"):
            compiled.Searcher(needles)
    for others in (["a"], 5, [None]):
        with pytest.raises(TypeError, match="expected a sequence of bytes"):
            compiled.Searcher(others)


@settings(max_examples=100)
@given(data=st.lists(st.sampled_from([b"\n", b"\x8a", b"line" * 9, b"\n" * 700])).map(b"".join))
def test_newlines_are_counted(compiled: ModuleType, data: bytes) -> None:
    for start, end in ((0, len(data)), (3, len(data)), (1, len(data) - 1)):
        buffer = bytearray(data)
        counted = compiled.count_newlines(buffer, start, end)
        assert counted == buffer[: max(end, 0)].count(b"\n", start)
        buffer += b"\n"


RECORDS = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
name, built, *logs = sys.argv[1:]
sys.modules[name] = None
if built:
    found = spec_from_file_location(name, built)
    sys.modules[name] = module_from_spec(found)
    found.loader.exec_module(sys.modules[name])
from oomkit.klog import read_records
from oomkit.klog.lines.needles import Needles
print(Needles.__module__, file=sys.stderr)
for log in logs:
    print(list(read_records(log)))
"""


def test_records_of_logs(compiled: ModuleType) -> None:
    """A log is read alike with C of our own and without."""
    folder = ROOT / "tests/data/oom-logs"
    logs = sorted(path for path in folder.iterdir() if path.suffix in (".log", ".gz", ".xz"))[::15]
    (told, by), (plainly_told, plainly_by) = (
        _told(built, logs) for built in (compiled.__file__ or "", "")
    )
    assert told == plainly_told
    assert told.count("Report(") > len(logs)
    assert plainly_by != "oomkit.klog.lines.compiled"
    if compiled.WIDTH:
        assert by == "oomkit.klog.lines.compiled"


def _told(built: str, logs: Sequence[Path]) -> tuple[str, str]:
    """What is read, and by which module needles were looked for."""
    command = [sys.executable, "-c", RECORDS, SEARCH, built, *map(str, logs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.strip()
