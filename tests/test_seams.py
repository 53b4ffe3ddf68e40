"""Tests use what modules offer, never a ``_name`` of another's."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
_PRIVATE = re.compile(r"_[A-Za-z]\w*\Z|oomkit(\.\w+)*\._[A-Za-z]\w*\Z")
_NAMED = ("setattr", "getattr", "delattr", "hasattr", "patch", "object")
_OF_PYTHON = frozenset(("_exit", "_getframe", "_replace", "_fields", "_asdict"))


def _is_private(name: object) -> bool:
    return isinstance(name, str) and bool(_PRIVATE.match(name)) and name not in _OF_PYTHON


def _of_others(node: ast.AST) -> Iterator[str]:
    """Names of others that a piece of a test touches: read, imported, or replaced by name."""
    if isinstance(node, ast.Attribute) and _is_private(node.attr):
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield node.attr
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oomkit"):
        yield from (name.name for name in node.names if _is_private(name.name))
    elif isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in _NAMED:
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and _is_private(argument.value):
                    yield str(argument.value)


def private_names(folder: Path) -> list[str]:
    """Every place of tests that touches a private name: file, line, name."""
    return [
        f"{path.relative_to(folder)}:{node.lineno}: {name}"
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _of_others(node)
        if isinstance(node, ast.expr | ast.stmt)
    ]


def test_no_test_touches_a_private_name_of_another_module() -> None:
    assert private_names(TESTS) == []


def test_each_way_of_touching_one_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "from oomkit.guard import _a\n"
        "thing._b = 1\n"
        "monkeypatch.setattr(thing, '_c', 1)\n"
        "monkeypatch.setattr('oomkit.guard._d', 1)\n"
        "os._exit(0)\n"
        "self._own = 1\n"
    )
    assert private_names(tmp_path) == [
        "test_x.py:1: _a", "test_x.py:2: _b", "test_x.py:3: _c", "test_x.py:4: oomkit.guard._d",
    ]  # fmt: skip
