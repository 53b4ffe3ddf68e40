"""The search of a large log that begins while ``oomkit explain`` is loaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.cli import explain_begin
from oomkit.klog.lines.ahead import Ahead
from oomkit.klog.reader import read_records
from tests.klog.logs import LOGS

LOG = LOGS / "g-3.10.0-514-el7-sed-mysqld.log"


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(explain_begin, "MUCH_BYTES", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    yield
    assert explain_begin.begun(["other"], 1) is None, "nothing is left to search"


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "messages"
    path.write_bytes(b"Jan  1 00:00:00 host cron[1]: nothing\n" * 200_000 + LOG.read_bytes())
    return str(path)


def test_a_search_that_has_begun_is_that_of_the_log_and_finds_the_same(log: str) -> None:
    explain_begin.begin(["--summary", log])
    begun = explain_begin.begun([log], 2)
    assert begun is not None
    found = list(read_records(log, searchers=2, begun=begun))
    assert found
    assert found == list(read_records(log))


@pytest.mark.parametrize(
    ("names", "searchers"), [(["other"], 2), ([None], 2), (["{log}", "{log}"], 2), (["{log}"], 1)]
)
def test_a_search_that_is_of_no_use_is_ended(
    log: str, names: list[str | None], searchers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[Ahead] = []

    def close(search: Ahead) -> None:
        ended.append(search)

    monkeypatch.setattr(Ahead, "close", close)
    explain_begin.begin([log])
    asked = [name and name.replace("{log}", log) for name in names]
    assert explain_begin.begun(asked, searchers) is None
    monkeypatch.undo()
    assert len(ended) == 1
    ended[0].close()


@pytest.mark.parametrize(
    "argv",
    [
        [], ["{log}", "--workers", "1"], ["--workers=1", "{log}"], ["--follow", "{log}"],
        ["--cluster", "x:1", "{log}"], ["-h", "{log}"], ["{log}/no"], ["\0"], ["-"],
    ],
)  # fmt: skip
def test_no_search_begins(argv: list[str], log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[object] = []
    monkeypatch.setattr("oomkit.klog.searched.begin_search", lambda *given: searched.append(given))
    explain_begin.begin([word.replace("{log}", log) for word in argv])
    assert not searched
