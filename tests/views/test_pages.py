"""What all pages share, whatever they show."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.explain.recurring import Tables
from oomkit.views.explain_page import page_text
from oomkit.views.run_compare_page import compare_page
from oomkit.views.run_page import html_page
from tests.views.browser import CHROMIUM, Browser
from tests.views.runs import run, scenario

_ASSETS = Path(html_page.__code__.co_filename).parents[1] / "render" / "assets"
_PAGES: dict[str, Callable[[], str]] = {
    "explain": lambda: page_text([], [], [], [], Tables()),
    "run": lambda: html_page(run(), scenario()),
    "compare": lambda: compare_page([run(), run()], [scenario(), scenario()], ["one", "other"]),
}


@functools.cache
def _page(name: str) -> str:
    return _PAGES[name]()


@pytest.mark.parametrize("name", _PAGES)
def test_one_style_sheet_begins_every_page(name: str) -> None:
    page = _page(name)
    assert page.startswith("<!doctype html>\n")
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert style.strip().startswith((_ASSETS / "page.css").read_text().strip())


@pytest.mark.parametrize("name", _PAGES)
def test_only_charts_may_run_scripts(name: str) -> None:
    page = _page(name)
    policy = page.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert ("script-src" in policy) == ("<script" in page) == (name != "explain")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to lay pages out")
@pytest.mark.parametrize("dark", [False, True])
def test_no_page_is_wider_than_a_telephone(dark: bool, tmp_path: Path) -> None:
    with Browser(400, 800, dark=dark) as browser:
        for name, page in ((name, _page(name)) for name in _PAGES):
            path = tmp_path / f"{name}.html"
            path.write_text(page)
            browser.open(path)
            assert browser.value("document.documentElement.scrollWidth") <= 400, name
            ground = browser.value("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(20, 24, 30)" if dark else "rgb(255, 255, 255)")
