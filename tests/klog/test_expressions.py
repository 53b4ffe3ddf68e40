"""Expressions that are compiled with their first use."""

import contextlib
import gc
import importlib
import pkgutil
import re

import pytest

import oomkit.klog
from oomkit.klog.lines import expressions


def test_every_expression_of_the_reader_compiles() -> None:
    for module in pkgutil.walk_packages(oomkit.klog.__path__, "oomkit.klog."):
        with contextlib.suppress(ModuleNotFoundError):  # what makes the core faster may be missing
            importlib.import_module(module.name)
    kind = type(expressions.compile(""))
    gc.unfreeze()  # what tests/conftest.py froze is not looked at
    found = [one for one in gc.get_objects() if isinstance(one, kind)]
    gc.freeze()
    assert len(found) > 100
    for one in found:
        compiled = re.compile(one.pattern, one.flags)
        assert one.groupindex == compiled.groupindex, one.pattern


def test_it_does_what_the_expression_does() -> None:
    late = expressions.compile(r"(?P<name>[a-z]+)=(\d+)", expressions.IGNORECASE)
    assert [match["name"] for match in late.finditer("x: RSS=12, swap=3")] == ["RSS", "swap"]
    assert late.findall("a=1 b=2") == [("a", "1"), ("b", "2")]
    assert late.sub("-", "a=1 b=2") == "- -"
    assert late.match("1=a") is None


def test_a_mistake_in_it_shows_with_its_first_use() -> None:
    late = expressions.compile("(")
    with pytest.raises(re.error):
        late.match("(")
    with pytest.raises(AttributeError):
        late.nothing  # type: ignore[attr-defined]  # noqa: B018 - the look-up is what is tested


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    late = expressions.compile("a+")
    compiled: list[str] = []
    compile_ = re.compile

    def noted(pattern: str, flags: int) -> re.Pattern[str]:
        compiled.append(pattern)
        return compile_(pattern, flags)

    monkeypatch.setattr(re, "compile", noted)
    assert compiled == []
    for use in (late.match, late.search, late.fullmatch):
        assert use("aa") is not None
    assert (late.findall("a ba"), late.sub("", "ab"), late.split("bac")) == (["a", "a"], "b",
                                                                           ["b", "c"])  # fmt: skip
    assert compiled == ["a+"]
