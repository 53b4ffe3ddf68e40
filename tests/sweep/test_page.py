"""The comparison as a page: complete in itself, and true to the answer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from oomkit.sweep import analysis, runner
from oomkit.sweep.answer import Answer
from oomkit.sweep.plan import Plan
from oomkit.sweep.runner import Spool
from oomkit.sweep.spec import Sweep
from oomkit.views.sweep_page import page_text
from tests.sweep.sweeps import sweep
from tests.sweep.test_runner import here, rows
from tests.views.schema import hold_page


def played(one: Sweep, tmp_path: Path) -> tuple[Answer, str]:
    path = tmp_path / "rows"
    rows(one, path, here())
    found = analysis.answer(one, runner.scan(one, str(path)))
    return found, page_text(one, found, Plan(one))


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, str]:
    one = sweep(
        name="<b>bold</b>",
        runs=8,
        policies=["kernel", "default"],
        vary={"machine.swap": {"uniform": ["0", "256M"]}},
    )
    return played(one, tmp_path_factory.mktemp("page"))


def test_the_page_says_what_the_answer_says(best: tuple[Answer, str]) -> None:
    found, page = best
    assert found.sentence[1:] in page
    for group in found.groups:
        for number in (group.best_run, group.worst_run):
            assert f'<details id="run-{number}">' in page
            assert f'href="#run-{number}"' in page


def test_foreign_text_is_escaped(best: tuple[Answer, str]) -> None:
    assert "<b>bold" not in best[1]
    assert "&lt;b&gt;bold" in best[1]


def test_the_charts_are_as_their_schema_says(best: tuple[Answer, str]) -> None:
    hold_page(best[1])


def test_the_page_loads_nothing(best: tuple[Answer, str]) -> None:
    before_library = best[1].partition("<footer>")[0]
    assert not re.search(r'(?:src|href)="(?!#)', before_library)
    assert "default-src 'none'" in before_library


def test_the_charts_are_drawn_by_vega(best: tuple[Answer, str]) -> None:
    import vl_convert

    specs = re.findall(r'class="spec"[^>]*>(.*?)</script>', best[1])
    assert len(specs) >= 3
    for spec in specs:
        parsed = json.loads(spec)
        # A picture has no container to take its width from.
        parsed["width"] = 400
        assert "<svg" in vl_convert.vegalite_to_svg(parsed)


def test_values_of_two_keys_have_a_row_each(tmp_path: Path) -> None:
    one = sweep(
        runs=4,
        vary={"machine.ram": ["512M", "1G"], "machine.swap": ["512M", "1G"]},
        want={"least": ["machine.ram", "machine.swap"], "without": ["freeze"]},
    )
    found, page = played(one, tmp_path)
    expected = [
        f"machine.{key} {size}" for key in ("ram", "swap") for size in ("512 MiB", "1.00 GiB")
    ]
    assert [group.label for group in found.groups] == expected
    for spec in _specs(page):
        rows = [row for values in spec["datasets"].values() for row in values]
        assert [row["group"] for row in rows] == expected
    assert "<caption>machine.ram</caption>" in page
    assert "_bytes" not in page.partition("<footer>")[0]


def test_values_that_look_alike_are_distinguished(tmp_path: Path) -> None:
    one = sweep(
        runs=4,
        vary={"machine.swap": ["1000000K", "1000001K"]},
        want={"least": ["machine.swap"], "without": ["freeze"]},
    )
    found, _ = played(one, tmp_path)
    assert [group.short for group in found.groups] == ["1024000000 B", "1024001024 B"]


def test_no_run_is_reported_twice_and_prices_are_words(best: tuple[Answer, str]) -> None:
    page = best[1]
    for part in page.split("<details id=")[1:]:
        assert part.partition("</details>")[0].count('class="outcome"') <= 1
    assert "1 for each second unusable" in page
    assert "unusable_s" not in page.partition("<h2>Figures")[2].partition("<footer>")[0]


def _specs(page: str) -> list[Any]:
    return [json.loads(text) for text in re.findall(r'class="spec"[^>]*>(.*?)</script>', page)]


def test_sensitivity_has_a_page_too(tmp_path: Path) -> None:
    one = sweep(
        runs=20, vary={"machine.ram": {"uniform": ["300M", "1G"]}, "vm.swappiness": [0, 60]}
    )
    found, page = played(one, tmp_path)
    assert found.kind == "sensitivity"
    assert "What cost depends on" in page
    hold_page(page)


def test_tables_hold_every_row_in_order(tmp_path: Path) -> None:
    import polars as pl

    one = sweep(runs=6, vary={"vm.swappiness": [0, 60]}, policies=["kernel"])
    spool = tmp_path / "rows"
    rows(one, spool, here())
    for name in ("t.parquet", "t.csv", "t.jsonl"):
        runner.write(one, str(spool), str(tmp_path / name))
    frame = pl.read_parquet(tmp_path / "t.parquet")
    assert frame["run"].to_list() == list(range(6))
    assert frame.equals(runner.scan(one, str(spool)).collect())
    csv = pl.read_csv(tmp_path / "t.csv")
    assert csv["cost"].to_list() == frame["cost"].to_list()
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows", "t.csv", "t.jsonl", "t.parquet"]
    assert Spool(str(spool), one, 6).count == 0
