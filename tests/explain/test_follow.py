"""Following a log that is rotated."""

from collections.abc import Iterator

import pytest

from oomkit.explain import follow
from oomkit.klog.records import Report
from tests.klog.logs import bytes_of

LEAKER = bytes_of("m-5.2-rc7-leaker.log")
JAVA = bytes_of("g-2.6.32-431-el6-java.log")


def test_lines_count_from_the_start_of_the_new_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunks(_name: str | None) -> tuple[Iterator[bytes | None], str]:
        return iter([b"an ordinary line\n", LEAKER, None, JAVA[:4000], b"", JAVA[4000:]]), "x.log"

    monkeypatch.setattr(follow, "_opened", chunks)
    first, second = (r for r in follow.follow("x.log", None) if isinstance(r, Report))
    assert (first.killed[0].pid, first.source.line) == (23793, 2)
    assert (second.killed[0].pid, second.source.line) == (18938, 1)
    assert len(second.tasks) == 78
