"""Following a log that is rotated."""

from oomkit.explain import follow
from oomkit.klog.records import Report
from tests.klog.logs import bytes_of

LEAKER = bytes_of("m-5.2-rc7-leaker.log")
JAVA = bytes_of("g-2.6.32-431-el6-java.log")


def test_lines_count_from_the_start_of_the_new_file() -> None:
    chunks = iter([b"an ordinary line\n", LEAKER, None, JAVA[:4000], b"", JAVA[4000:]])
    first, second = (r for r in follow.follow_chunks(chunks, "x.log") if isinstance(r, Report))
    assert (first.killed[0].pid, first.source.line) == (23793, 2)
    assert (second.killed[0].pid, second.source.line) == (18938, 1)
    assert len(second.tasks) == 78
