"""The daemon's modules without what only people read."""

import json
import os
import py_compile
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import oomkit
from oomkit.guard.bootstrap import drop_annotations, stripped

SOURCE = '''
"""Of a module."""
class Outer:
    """Of a class."""
    name = "kept"
    class Inner:
        word = "no docstring"
    def told(self, count: int) -> str:
        "Of a method."
        return "kept as well"
    def silent(self) -> str:
        return "no docstring either"
class Bare:
    first = "kept"
def first_constant():
    return "not a docstring"
async def later():
    "Of a coroutine."
def several():
    "Of a generator."
    yield "each"
anonymous = lambda: "of a lambda"
listed = ["of a comprehension" for _ in range(2)]
made = list("of an expression" for _ in range(1))
'''

LOADED = """
import sys
sys.path.insert(0, {path!r})
from oomkit.guard import bootstrap
bootstrap.strip_imports()
import oomkit.guard.config, oomkit.guard.daemon, oomkit.host.pidfd, oomkit.policy.engine.decider
import gc, json
bootstrap.drop_annotations(gc.get_objects())
function = type(lambda: None)
mine = []
for one in gc.get_objects():
    if isinstance(one, (function, type(sys), type)):
        home = one.__name__ if isinstance(one, type(sys)) else str(one.__module__)
        if home.startswith("oomkit.") and home not in ("oomkit.guard", bootstrap.__name__):
            mine.append(one)
told = sorted({{one.__name__ for one in mine if one.__doc__}})
typed = [one for one in mine if isinstance(one, function)]
typed = sorted({{one.__name__ for one in typed if one.__annotations__}})
print(json.dumps([len(mine), told, typed]))
"""


def test_docstrings_go_and_every_other_constant_stays() -> None:
    names: dict[str, Any] = {"__name__": "made"}
    exec(stripped(compile(SOURCE, "made", "exec")), names)
    outer = names["Outer"]
    for one in (outer, outer.told, names["later"], names["several"], outer.Inner, names["Bare"]):
        assert one.__doc__ is None
    assert names.get("__doc__") is None
    assert outer.__qualname__ == "Outer"
    assert outer.__module__ == "made"
    assert (outer.name, outer.Inner.word) == ("kept", "no docstring")
    assert (outer().told(1), outer().silent()) == ("kept as well", "no docstring either")
    assert names["Bare"].first == "kept"
    assert names["first_constant"]() == "not a docstring"
    assert list(names["several"]()) == ["each"]
    assert names["anonymous"]() == "of a lambda"
    assert names["listed"] == ["of a comprehension"] * 2
    assert names["made"] == ["of an expression"]


def test_annotations_of_functions_go() -> None:
    def one(count: int) -> str:
        return str(count)

    drop_annotations([one, 1, "text", int])
    assert one.__annotations__ == {}
    assert one(1) == "1"


def test_the_daemons_modules_are_stripped_as_they_are_imported() -> None:
    path = str(Path(oomkit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED.format(path=path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, told, typed = json.loads(done.stdout)
    assert count > 300
    assert told == []
    assert typed == []


def test_who_looks_for_a_defect_sees_lines(tmp_path: Path) -> None:
    """With OOMKIT_DEBUG a traceback names the line of each call."""
    code = (
        "import sys; sys.argv = ['bootstrap', '99']; "
        "from oomkit.guard import bootstrap; bootstrap.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "OOMKIT_DEBUG": "1"},
    )  # fmt: skip
    assert "Bad file descriptor" in done.stderr
    assert "in _guard\n    os.lseek(" in done.stderr


CHOSEN = """
import sys
sys.path[:0] = [{path!r}, {folder!r}]
from oomkit.guard.bootstrap import only_python
only_python({folder!r} + "/tiny")
import array, tiny.sums, tiny.deep.rest
print(tiny.sums.MADE_OF, tiny.deep.rest.MADE_OF, array.__name__)
"""


def test_what_was_compiled_is_passed_over_in_one_package_alone(tmp_path: Path) -> None:
    for folder, name in (("tiny", "sums"), ("tiny/deep", "rest")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / f"{name}.py").write_text("MADE_OF = 'source'\n")
        # No shared object: to load it would fail.
        (tmp_path / folder / f"{name}{EXTENSION_SUFFIXES[0]}").write_text("compiled\n")
    program = CHOSEN.format(path=str(Path(oomkit.__file__).parents[1]), folder=str(tmp_path))
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert told == "source source array\n"


def test_byte_code_without_a_source_is_imported(tmp_path: Path) -> None:
    """So a guest of ``oomkit run --on qemu`` has it."""
    for folder, name in (("tiny", "sums"), ("tiny/deep", "rest")):
        (tmp_path / folder).mkdir()
        for stem, text in (("__init__", ""), (name, "MADE_OF = 'byte code'\n")):
            source = tmp_path / folder / f"{stem}.py"
            source.write_text(text)
            py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
            source.unlink()
    program = CHOSEN.format(path=str(Path(oomkit.__file__).parents[1]), folder=str(tmp_path))
    printed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed == "byte code byte code array\n"
