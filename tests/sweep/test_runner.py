"""A sweep at work: same rows whoever plays, whatever stops it."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oomkit.batch import Pool, local_pool, work
from oomkit.sweep import run
from oomkit.sweep.plan import Plan
from oomkit.sweep.runner import Conduct, Spool, SpoolError
from oomkit.sweep.spec import Sweep
from tests.sweep.sweeps import sweep


class Here(Executor):
    """Plays in this process; is interrupted after so many batches."""

    def __init__(self, batches: int = 10**9) -> None:
        self.left = batches

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def here(batches: int = 10**9) -> Pool:
    return Pool(Here(batches), slots=lambda: 1, deaths=(), tries=1)


def made(**keys: Any) -> Sweep:
    vary = {"machine.swap": {"uniform": ["0", "256M"]}, "task.*.spread": [0.3]}
    return sweep(**{"runs": 30, "vary": vary, "policies": ["kernel", "earlyoom"], **keys})


def rows(one: Sweep, path: Path, pool: Pool) -> bytes:
    plan = Plan(one)
    spool = Spool(str(path), one, plan.total)
    spool.begin()
    Conduct(one, plan, spool).run(pool)
    return path.read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return rows(made(), tmp_path_factory.mktemp("rows") / "here", here())


def test_rows_are_whole_and_in_order(expected: bytes) -> None:
    found = [msgspec.json.decode(line) for line in expected.splitlines()[1:]]
    assert [row["run"] for row in found] == list(range(60))
    assert {row["policy"] for row in found} == {"kernel", "earlyoom"}
    assert all(row["error"] is None for row in found)
    assert any(row["kills"] for row in found)
    assert found[0]["machine.swap_bytes"] == found[1]["machine.swap_bytes"]


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_do_not_depend_on_the_workers(workers: int, tmp_path: Path, expected: bytes) -> None:
    with local_pool(workers, preload=run.PRELOAD) as pool:
        assert rows(made(), tmp_path / "rows", pool) == expected


def test_a_killed_worker_costs_nothing(tmp_path: Path, expected: bytes) -> None:
    with local_pool(2, preload=run.PRELOAD) as pool:
        executor = pool.executor
        submit = executor.submit
        killed: list[int] = []

        def kill_one(fn: Any, *args: Any) -> Future[Any]:
            if len(killed) < 2:
                killed.append(submit(os.getpid).result())
                future = submit(fn, *args)
                os.kill(killed[-1], signal.SIGKILL)
                return future
            return submit(fn, *args)

        executor.submit = kill_one  # type: ignore[method-assign, assignment]  # one fails
        assert rows(made(), tmp_path / "rows", pool) == expected
        assert len(killed) == 2


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_stopped_and_resumed_is_as_if_never_stopped(
    batches: int, tmp_path: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many batches, however fast the machine is.
    monkeypatch.setattr(work, "MIN_S", 0.0)
    one, path = made(), tmp_path / "rows"
    plan = Plan(one)
    spool = Spool(str(path), one, plan.total)
    spool.begin()
    conduct = Conduct(one, plan, spool)
    with pytest.raises(KeyboardInterrupt):
        conduct.run(here(batches))
    kept = len(path.read_bytes().splitlines()) - 1
    assert kept == conduct.done
    assert kept >= batches
    again = Spool(str(path), one, plan.total)
    again.resume()
    second = Conduct(one, plan, again)
    assert second.before == kept
    second.run(here())
    assert path.read_bytes() == expected


def stopped(path: Path, expected: bytes, keep: Iterator[int], tail: bytes = b"") -> Spool:
    """A spool with some of the rows, as a stopped sweep leaves it."""
    lines = expected.splitlines(keepends=True)
    path.write_bytes(lines[0] + b"".join(lines[1 + i] for i in keep) + tail)
    return Spool(str(path), made(), 60)


def test_rows_ahead_of_their_turn_stay(tmp_path: Path, expected: bytes) -> None:
    path = tmp_path / "rows"
    spool = stopped(path, expected, iter([0, 1, 2, 7, 8, 40]), tail=b'{"run":50,"poi')
    spool.resume()
    assert spool.count == 3
    assert sorted(spool.ahead) == [7, 8, 40]
    executor = Here()
    Conduct(made(), Plan(made()), spool).run(Pool(executor, slots=lambda: 1, deaths=(), tries=1))
    assert path.read_bytes() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "expected the rows of a sweep"),
        (b"run,point\n1,2\n", "expected the rows of a sweep"),
        (b'{"oomkit_sweep":1,"version":"0.0"}\n', "made by oomkit 0.0"),
    ],
)
def test_what_is_no_spool_of_this_sweep_is_refused(
    text: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(text)
    with pytest.raises(SpoolError, match=reason):
        Spool(str(path), made(), 60).resume()


def test_another_sweeps_rows_are_refused(tmp_path: Path, expected: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(expected)
    with pytest.raises(SpoolError, match="another sweep"):
        Spool(str(path), made(seed=2), 60).resume()
    path.write_bytes(expected.splitlines(keepends=True)[0] + b"nonsense\n")
    with pytest.raises(SpoolError, match="line 2: expected a row"):
        Spool(str(path), made(), 60).resume()


def test_a_run_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    # With so little memory and so much of it reserved, the model can't start the machine.
    one = made(policies=["kernel"], vary={"machine.reserved": ["0", "600M"]})
    found = [
        msgspec.json.decode(line) for line in rows(one, tmp_path / "rows", here()).splitlines()[1:]
    ]
    failed = [row for row in found if row["machine.reserved_bytes"]]
    assert failed
    assert len(failed) < len(found)
    assert all(row["error"] and row["cost"] is None for row in failed)
    assert all(row["error"] is None for row in found if row not in failed)


def test_a_run_that_kills_its_workers_is_a_row() -> None:
    one = made()
    job = next(Plan(one).jobs())
    row = msgspec.json.decode(run.lost_row(one, run.encode(job), 3))
    assert row["run"] == 0
    assert "its worker died, 3 times" in row["error"]


def test_a_policys_keys_can_vary_too() -> None:
    one = made(
        policies=["kernel", "earlyoom"],
        vary={"policy.when.*.over": ["3s", "9s"], "policy.how.term": [True, False]},
        want={"best": ["policy.how.term", "policy"]},
    )
    player = run.Player(one)
    found = set()
    for job in Plan(one).jobs():
        policy = player.policy(job)
        assert policy is not None
        assert policy.how.term == job.values[1]
        assert all(rule.over_s == job.values[0] for rule in policy.when)
        assert player.row(job)["error"] is None
        found.add((policy.name, policy.how.term, bool(policy.when)))
    assert found == {(n, t, n == "earlyoom") for n in ("kernel", "earlyoom") for t in (True, False)}
