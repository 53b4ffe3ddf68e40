"""Logs read one after the other, or by any Executor, tell the same."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from oomkit.explain.files import read_files
from tests.klog.logs import path_of

NAMES = [
    str(path_of("g-3.10.0-514-el7-sed-mysqld.log")),
    "/no/such/file.log",
    str(path_of("m-5.2-rc7-leaker.log")),
]


def test_any_executor_gives_the_same_in_the_same_order() -> None:
    here = list(read_files(NAMES))
    assert [len(told.reports) for told in here] == [1, 0, 1]
    assert here[1].error == "/no/such/file.log: No such file or directory"
    with ThreadPoolExecutor(2) as threads:
        assert list(read_files(NAMES, threads)) == here
    with ProcessPoolExecutor(2) as processes:
        assert list(read_files(NAMES, processes)) == here
