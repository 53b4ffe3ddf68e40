"""The pages under a real pointer: marks are reached and open what they stand for."""

from pathlib import Path

import pytest

from oomkit.model import play
from oomkit.scenario import read_scenario
from oomkit.views.run_compare_page import compare_page
from oomkit.views.run_page import html_page
from tests.views.browser import CHROMIUM, Browser

SCENARIOS = Path(__file__).parents[2] / "scenarios"
_MARKS = """[...document.querySelectorAll("#{chart} g.mark-symbol.role-mark path")].map((mark) => {{
  const box = mark.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}})"""
_TO = """document.getElementById("{chart}").scrollIntoView({{ block: "center" }})"""
_TIP = "(document.getElementById('vg-tooltip-element') || {}).innerText || ''"
_SHUT = """document.querySelectorAll("details").forEach((one) => {
  one.open = false;
  one.classList.remove("shown");
})"""
_SHOWN = "[...document.querySelectorAll('details.shown[open]')].map((one) => one.id)"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to click with")


@pytest.mark.parametrize("name", ["test1", "browser-tabs", "oom-group", "desktop-freeze"])
def test_every_kill_can_be_chosen_in_every_chart(name: str, tmp_path: Path) -> None:
    scenario = read_scenario(str(SCENARIOS / f"{name}.toml"))
    run = play(scenario, sample_s=None)
    page = tmp_path / "run.html"
    page.write_text(html_page(run, scenario))
    with Browser() as browser:
        browser.open(page)
        charts = browser.value("[...document.querySelectorAll('.chart')].map((one) => one.id)")
        assert {"chart-memory", "chart-tasks", "chart-pressure"} <= set(charts)
        for chart in charts:
            opened = set()
            browser.value(_TO.format(chart=chart))
            marks = browser.value(_MARKS.format(chart=chart))
            assert len(marks) == len(run.kills)
            for x, y in marks:
                browser.point(x, y)
                assert "victim" in browser.value(_TIP)
                browser.click(x, y)
                opened |= set(browser.value(_SHOWN))
                browser.value(_SHUT)
                browser.value(_TO.format(chart=chart))
            assert opened == {f"kill-{i}" for i in range(len(run.kills))}, chart


def test_what_follows_the_pointer_names_its_units(tmp_path: Path) -> None:
    scenario = read_scenario(str(SCENARIOS / "browser-tabs.toml"))
    page = tmp_path / "run.html"
    page.write_text(html_page(play(scenario, sample_s=None), scenario))
    with Browser() as browser:
        browser.open(page)
        for chart, expected in (
            ("chart-memory", ("time (s)", "free (MiB)")),
            ("chart-swap", ("time (s)", "swap used (MiB)")),
            ("chart-pressure", ("time (s)", "PSI some (%)", "CPU busy (%)")),
        ):
            browser.value(_TO.format(chart=chart))
            box = browser.value(
                f"""(() => {{
                  const plot = document.querySelector("#{chart} .background");
                  const box = plot.getBoundingClientRect();
                  return [box.x + box.width * 0.11, box.y + box.height / 2];
                }})()"""
            )
            browser.point(*box)
            browser.point(box[0] + 1, box[1])
            tip = browser.value(_TIP)
            for words in expected:
                assert words in tip, chart


def test_each_run_of_a_comparison_has_its_own_kills(tmp_path: Path) -> None:
    path = str(SCENARIOS / "database-and-leak.toml")
    loads = [read_scenario(path, overrides=(f"machine.swap={size}",)) for size in ("0", "512M")]
    runs = [play(load, sample_s=None) for load in loads]
    page = tmp_path / "runs.html"
    page.write_text(compare_page(runs, loads, ("no swap", "swap")))
    with Browser() as browser:
        browser.open(page)
        for number, run in enumerate(runs):
            for kind in ("memory", "tasks", "pressure"):
                chart = f"chart-{kind}-{number}"
                browser.value(_TO.format(chart=chart))
                x, y = browser.value(_MARKS.format(chart=chart))[0]
                browser.click(x, y)
                assert browser.value(_SHOWN) == [f"kill-{number}-0"]
                browser.value(_SHUT)
            assert run.kills


_BEYOND = """[...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest("svg defs") || !one.getClientRects().length) return false;
  const box = one.getBoundingClientRect();
  if (box.right <= innerWidth + 1) return false;
  for (let up = one.parentElement; up; up = up.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) return false;
  }
  return true;
}).map((one) => one.tagName + " " + one.textContent.slice(0, 60))"""


_CUT = """[...document.querySelectorAll("svg text")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && box.right > one.ownerSVGElement.getBoundingClientRect().right + 1;
}).map((one) => one.textContent)"""
"""Words in charts of which the chart's edge hides a part."""


@pytest.mark.parametrize("name", ["test1", "fork-bomb"])
def test_on_a_phone_nothing_is_cut_without_a_way_to_scroll(name: str, tmp_path: Path) -> None:
    scenario = read_scenario(str(SCENARIOS / f"{name}.toml"))
    page = tmp_path / "run.html"
    page.write_text(html_page(play(scenario, sample_s=None), scenario))
    with Browser(width=400) as browser:
        browser.open(page)
        assert browser.value(_BEYOND) == []
        assert browser.value("document.documentElement.scrollWidth") <= 400
        assert browser.value(_CUT) == []
