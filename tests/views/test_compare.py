import re

import pytest
from hypothesis import given, settings

from oomkit.render.layout import Terminal
from oomkit.render.terminal import to_text
from oomkit.scenario import Objectives, Run, Scenario
from oomkit.views import run_compare
from oomkit.views.run_compare import rows
from tests.views.runs import kill, run, runs, scenario

_NAMES = ("as it is", "vm.panic_on_oom=1")


def side_by_side(
    left: Run,
    right: Run,
    names: tuple[str, str],
    *,
    scenarios: tuple[Scenario | None, Scenario | None] = (None, None),
    terminal: Terminal | None = None,
) -> str:
    terminal = terminal or Terminal()
    return to_text(
        run_compare.side_by_side(left, right, names, scenarios=scenarios, terminal=terminal),
        terminal,
    )


def _row(text: str, field: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(field + " "))


def test_each_field_says_which_run_did_better() -> None:
    """R5."""
    worse = run(outcome="panicked", ended_s=60.0, kills=(), objectives=Objectives(frozen_s=15.0))
    verdicts = {row.field: row.verdict for row in rows(run(), worse, (None, None))}
    assert verdicts["outcome"] == "worse"
    assert verdicts["kills"] == "better"
    assert verdicts["frozen"] == "better"
    assert verdicts["innocents killed"] == "same"
    assert verdicts["ended after"] == "other"
    turned = {row.field: row.verdict for row in rows(worse, run(), (None, None))}
    assert (turned["outcome"], turned["kills"]) == ("better", "worse")


def test_differences_are_named_not_only_coloured() -> None:
    other = run(objectives=Objectives(kills=2, frozen_s=17.0))
    text = side_by_side(run(), other, _NAMES, scenarios=(scenario(), scenario()))
    assert "\x1b" not in text
    assert re.match(r"kills +1 +2 +worse$", _row(text, "kills"))
    assert re.match(r"outcome +completed +completed$", _row(text, "outcome"))


def test_kills_stand_beside_each_other() -> None:
    other = run(kills=(kill(), kill(70.0, 2)))
    text = side_by_side(run(), other, _NAMES)
    assert re.search(r"1 +60.0 s +hog/0 +348 MiB +60.0 s +hog/0 +348 MiB\n", text)
    assert re.search(r"2 +- +70.0 s +hog/2 +348 MiB +second only", text)
    swapped = side_by_side(run(kills=(kill(60.0, 1),)), run(), _NAMES)
    assert "other victim" in swapped
    assert "highest badness" in swapped
    assert "highest badness" not in text


def test_equal_runs_have_no_difference() -> None:
    text = side_by_side(run(), run(), _NAMES)
    for word in ("better", "worse", "differs", "other victim", "only"):
        assert word not in text


@given(runs, runs)
@settings(deadline=None, max_examples=30)
def test_any_two_records_can_be_compared(a: Run, b: Run) -> None:
    text = side_by_side(a, b, ("a\x1b[31m", ""), terminal=Terminal(width=60, unicode=False))
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_in_a_narrow_window_numbers_keep_their_units(width: int) -> None:
    left, right = run(kills=(kill(), kill(70.0, 2))), run(kills=(kill(60.0, 1),))
    names = ("a policy of a long name", "another policy, whose name is as long")
    text = side_by_side(left, right, names, terminal=Terminal(width=width))
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line.strip() in {"|", "MiB", "GiB", "s"} for line in lines)
    assert not any(re.search(r"(?:^| {2})(?:[KMG]iB|s)(?: {2}|$)", line) for line in lines)
    assert "348 MiB" in text
