"""The line that shows how far a sweep is."""

import time

import pytest

from oomkit.cli.sweep_work import progress_line


class Half:
    total, before, done = 1200, 100, 600


def test_the_bar_has_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 110.0)
    line = progress_line(Half(), began=100.0)  # type: ignore[arg-type]  # a stand-in
    assert line == "[############............] 600 of 1,200 runs, 50 a second, 12.0 s left"


def test_before_the_first_run_nothing_is_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    fresh = Half()
    fresh.done = fresh.before
    assert progress_line(fresh, began=100.0).endswith("100 of 1,200 runs, 0 a second")  # type: ignore[arg-type]  # a stand-in
