import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from oomkit.render.html import json_for_script
from oomkit.scenario import Objectives, Run, Task
from oomkit.views.run_page import html_page
from tests.views.runs import TRACE, kill, no_samples, run, runs, scenario
from tests.views.schema import hold_page

_LOADING = {"src", "href", "srcset", "data", "action", "formaction", "poster", "background"}
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class _Page(HTMLParser):
    """The page's elements, and the text of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.unbalanced: list[str] = []
        self.specs: list[dict[str, object]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))
        if self.open[-1:] == ["script"] and self.elements[-1][1].get("class") == "spec":
            self.specs.append(json.loads(data))

    def words(self) -> str:
        inner = (data for tag, data in self.text if tag not in ("script", "style"))
        return " ".join(" ".join(inner).split())


@pytest.fixture(scope="module")
def page() -> str:
    return html_page(run(), scenario())


def test_the_charts_are_as_their_schema_says(page: str) -> None:
    hold_page(page)


def test_the_page_loads_nothing(page: str) -> None:
    for tag, attrs in _Page(page).elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form")
        for name in _LOADING & attrs.keys():
            assert (attrs[name] or "").startswith("#"), (tag, attrs)


def test_the_page_forbids_every_connection(page: str) -> None:
    policy = next(
        attrs["content"] or ""
        for tag, attrs in _Page(page).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert "http" not in policy
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?https?:", page)


def test_no_chart_names_data_elsewhere(page: str) -> None:
    specs = _Page(page).specs
    assert len(specs) == 4
    for spec in specs:
        assert '"url"' not in json.dumps(spec)


def test_each_kill_can_be_reached_and_shows_its_trace() -> None:
    made = run(kills=tuple(kill(60.0 + i, i % 3) for i in range(30)))
    parsed = _Page(html_page(made, scenario()))
    ids = [attrs["id"] for tag, attrs in parsed.elements if tag == "details" and "id" in attrs]
    assert ids == [f"kill-{i}" for i in range(30)]
    steps = [data for tag, data in parsed.text if tag == "code"]
    assert steps.count(TRACE[0]) == 30
    marks = [
        row["kill"]
        for values in parsed.specs[0]["datasets"].values()  # type: ignore[attr-defined]  # parsed JSON
        for row in values
        if "kill" in row
    ]
    assert sorted(marks) == list(range(30))


def test_objectives_knobs_and_log_are_there(page: str) -> None:
    words = _Page(page).words()
    for field in ("kills", "memory freed", "work lost", "innocents killed", "frozen"):
        assert field in words
    for identifier in ("freed_mb", "work_lost_s", "innocents_killed", "frozen_s", "timed_out"):
        assert identifier not in words
    assert "swappiness 60 set" in words
    assert "panic_on_oom 0 default" in words
    assert "touch 512 MiB over 100 s" in words
    assert "box max 512 MiB" in words
    assert "Out of memory: Killed process 103 (hog)" in words


def test_a_run_that_killed_what_was_protected_is_no_good_one() -> None:
    good, bad = (
        html_page(run(objectives=Objectives(kills=1, protected_killed=n)), scenario())
        for n in (0, 1)
    )
    assert '<span class="badge completed">completed</span>' in good
    assert '<span class="badge bad">completed</span>' in bad


def test_many_kills_are_folded_below_a_line_that_sums_them_up() -> None:
    kills = tuple(kill(50.0 + i / 10, i) for i in range(62))
    page = html_page(run(kills=kills), scenario())
    assert sorted(re.findall(r'id="kill-(\d+)"', page), key=int) == [str(i) for i in range(62)]
    top, _, folded = page.partition('<details class="many">')
    assert len(re.findall(r'id="kill-\d+"', top)) == 3
    assert folded.startswith("\n<summary>and 59 more hog until")


def test_the_page_says_which_clock_the_log_has(page: str) -> None:
    assert "the log's clock began 60.0 s before the run" in unescape(page)


def test_table_and_story_say_the_same_of_a_task() -> None:
    words = _Page(html_page(run(), scenario())).words()
    assert "0.0 s 3 hog start" in words
    assert "hog/0 0.00 s killed at 60.0 s" in words


def test_the_page_does_without_a_scenario_and_without_samples() -> None:
    bare = html_page(run(samples=no_samples()))
    assert "no samples to draw" in bare
    assert "vegaEmbed" not in bare


_NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\x1b[31m\u202e"


def test_foreign_text_never_becomes_markup() -> None:
    nasty = kill(task=_NASTY, by=_NASTY, trace=(_NASTY,))
    made = run(scenario=_NASTY, on=_NASTY, kernel=_NASTY, kills=(nasty,), log=(_NASTY,))
    made.samples.tasks[f"{_NASTY}/0"] = made.samples.tasks["hog/0"]
    load = scenario(name=_NASTY, about=_NASTY, tasks=(Task(name=_NASTY, cgroup=_NASTY),))
    page = html_page(made, load)
    clean = html_page(run(), scenario())
    parsed = _Page(page)
    assert not parsed.unbalanced
    assert sum(tag == "script" for tag, _ in parsed.elements) == sum(
        tag == "script" for tag, _ in _Page(clean).elements
    )
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert not any(name.startswith("on") for _, attrs in parsed.elements for name in attrs)
    own = page[: page.index("University of Washington")]
    assert "\x1b" not in own
    assert "\u202e" not in own


def test_json_for_a_script_cannot_end_it() -> None:
    text = json_for_script({"a": "</script><!--&\u2028"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


def test_the_page_is_accessible(page: str) -> None:
    parsed = _Page(page)
    assert ("html", {"lang": "en"}) in parsed.elements
    assert not parsed.unbalanced
    ids = [attrs["id"] for _, attrs in parsed.elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    charts = [attrs for _, attrs in parsed.elements if attrs.get("class") == "chart"]
    assert charts
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    links = [a["href"] for tag, a in parsed.elements if tag == "a"]
    assert links == ["#kill-0"]


@given(runs)
@settings(deadline=None, max_examples=8)
def test_any_record_has_its_page(made: Run) -> None:
    parsed = _Page(html_page(made))
    assert not parsed.unbalanced
    assert not parsed.open
