"""A plugin of pytest for ``mutate.py``: which test runs which line, and how long each takes.

``OOMKIT_CONTEXTS=FILE`` writes that as JSON. ``OOMKIT_ORDER=FILE`` runs the tests named there, in
that order, and no others; ``OOMKIT_WITHOUT=FILE`` runs the others.
"""

import json
import os
import sys
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
_STARTS = frozenset(("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"))


class _Recorder:
    def __init__(self, path: str) -> None:
        self._path = path
        self._coverage = coverage.Coverage(
            data_file=None, include=[f"{ROOT}/src/oomkit/*"], messages=False
        )
        self._now = ""
        self._durations: dict[str, float] = {}
        self._starting: set[str] = set()
        sys.addaudithook(self._audit)
        self._coverage.start()

    def _audit(self, event: str, _arguments: object) -> None:
        if self._now and event in _STARTS:
            self._starting.add(self._now)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        self._now = item.nodeid
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")
            self._now = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        took = self._durations.get(report.nodeid, 0.0)
        self._durations[report.nodeid] = took + report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        numbers = {test: number for number, test in enumerate(self._durations)}
        lines: dict[str, dict[int, list[int]]] = {}
        for path in data.measured_files():
            lines[str(Path(path).relative_to(ROOT))] = {
                line: sorted(-1 if not name else numbers[name] for name in names)
                for line, names in data.contexts_by_lineno(path).items()
            }
        Path(self._path).write_text(json.dumps({
            "tests": list(self._durations),
            "durations": list(self._durations.values()),
            "starting": sorted(numbers[test] for test in self._starting),
            "lines": lines,
            "exitstatus": int(exitstatus),
        }))  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Record if that is asked for."""
    path = os.environ.get("OOMKIT_CONTEXTS")
    if path:
        config.pluginmanager.register(_Recorder(path))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose and order what is run."""
    if path := os.environ.get("OOMKIT_ORDER"):
        order = {test: n for n, test in enumerate(json.loads(Path(path).read_text()))}
        items[:] = sorted(
            (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
        )
    elif path := os.environ.get("OOMKIT_WITHOUT"):
        without = set(json.loads(Path(path).read_text()))
        items[:] = [item for item in items if item.nodeid not in without]
