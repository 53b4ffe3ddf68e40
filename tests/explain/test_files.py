"""Logs read one after the other, or by workers, tell the same."""

from oomkit.batch import local_pool
from oomkit.explain.files import PRELOAD, Counter, read_files
from tests.klog.logs import path_of

NAMES = [
    str(path_of("g-3.10.0-514-el7-sed-mysqld.log")),
    "/no/such/file.log",
    str(path_of("m-5.2-rc7-leaker.log")),
]


def test_workers_give_the_same_in_the_same_order() -> None:
    here = list(read_files(NAMES))
    assert [len(told.reports) for told in here] == [1, 0, 1]
    assert here[1].error == "/no/such/file.log: No such file or directory"
    counter = Counter()
    with local_pool(2, preload=PRELOAD) as pool:
        assert list(read_files(NAMES, pool, counter=counter)) == here
    assert counter.reports == 2
