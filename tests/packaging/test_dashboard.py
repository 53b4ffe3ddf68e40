"""The Grafana dashboard, held to the types that Grafana publishes."""

import re
import shutil
from pathlib import Path

import pytest

import dashboard
import npm

_NO_INDEX = re.compile("ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|E40[34]|network")
_FETCHES_S = 900


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    into = tmp_path_factory.mktemp("grafana")
    try:
        npm.fetched(dashboard.HERE, into)
    except SystemExit as end:
        if _NO_INDEX.search(str(end)):
            pytest.skip("needs the registry of npm")
        raise
    return into


@pytest.mark.timeout(_FETCHES_S)
def test_grafanas_types_accept_the_dashboard(types: Path) -> None:
    assert dashboard.faults(dashboard.DASHBOARD.read_text(), types) == []


@pytest.mark.timeout(_FETCHES_S)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"graphTooltip": 1', '"graphTooltip": "1"'),
        ('"colorMode": "background"', '"colorMode": "backdrop"'),
        ('"showHeader": true,', ""),
        ('"schemaVersion": 39', '"schemaversion": 39'),
        ('"type": "bargauge"', '"type": "bargraph"'),
        ('"mode": "absolute"', '"mode": "relative"'),
        ('"placement": "bottom"', '"placement": 1'),
    ],
    ids=["type", "value", "missing", "unknown", "kind", "threshold", "legend"],
)
def test_a_fault_is_found_in_its_line(types: Path, old: str, new: str) -> None:
    """Or, of what is missing, in the line of what it is missing from."""
    text = dashboard.DASHBOARD.read_text()
    assert old in text
    found = dashboard.faults(text.replace(old, new, 1), types)
    assert found
    wrong = text.index(old)
    lines = {int(fault.partition(":")[0]) for fault in found}
    here = text[:wrong].count("\n") + 1
    assert any(line <= here for line in lines)
