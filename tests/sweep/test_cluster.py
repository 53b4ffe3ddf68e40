"""A real Dask scheduler with two workers, started by the documented commands."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from oomkit.batch import PoolError, cluster_pool, pools
from oomkit.explain.files import read_files
from oomkit.sweep.plan import Plan
from oomkit.sweep.runner import Conduct, Spool
from tests.klog.logs import path_of
from tests.sweep.sweeps import sweep
from tests.sweep.test_runner import here, made, rows

DASK = str(Path(sys.executable).with_name("dask"))


class Cluster:
    """A scheduler and the program that keeps its two workers."""

    def __init__(self, folder: Path) -> None:
        where = folder / "scheduler.json"
        self.log = log = (folder / "dask.log").open("w")
        self.scheduler = subprocess.Popen(
            [DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
             "--scheduler-file", str(where)], cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
        self.workers = subprocess.Popen(
            [DASK, "worker", "--scheduler-file", str(where), "--nworkers", "2", "--nthreads", "1",
             "--no-dashboard"], cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
        until = time.monotonic() + 60
        while not where.exists() and time.monotonic() < until:
            time.sleep(0.1)
        self.address = str(json.loads(where.read_text())["address"])
        while time.monotonic() < until:
            try:
                with cluster_pool(self.address) as pool:
                    if pool.slots() == 2:
                        return
            except PoolError:
                pass
            time.sleep(0.2)
        self.stop()
        raise AssertionError(f"no two workers: {(folder / 'dask.log').read_text()[-2000:]}")

    def worker_pids(self) -> list[int]:
        children = psutil.Process(self.workers.pid).children(recursive=True)
        return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]

    def stop(self) -> None:
        for process in (self.workers, self.scheduler):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield started
    finally:
        started.stop()


def test_rows_are_the_same_as_here(cluster: Cluster, tmp_path: Path) -> None:
    expected = rows(made(), tmp_path / "here", here())
    with cluster_pool(cluster.address) as pool:
        assert pool.slots() == 2
        assert rows(made(), tmp_path / "there", pool) == expected


def test_rows_are_the_same_when_a_worker_is_killed_on_the_way(
    cluster: Cluster, tmp_path: Path
) -> None:
    one = made(runs=600)
    expected = rows(one, tmp_path / "here", here())
    there = tmp_path / "there"
    left = []

    def kill_one() -> None:
        victim = cluster.worker_pids()[0]
        until = time.monotonic() + 60
        while time.monotonic() < until:
            done = there.read_bytes().count(b"\n") if there.exists() else 0
            if done > 1:
                os.kill(victim, signal.SIGKILL)
                left.append(expected.count(b"\n") - done)
                return
            time.sleep(0.001)

    assassin = threading.Thread(target=kill_one, daemon=True)
    with cluster_pool(cluster.address) as pool:
        assassin.start()
        found = rows(one, there, pool)
    assassin.join()
    assert left, "no worker was killed"
    assert left[0] > 0, "the sweep was over before the worker was killed"
    assert found == expected


def test_the_command_gives_the_same_table(cluster: Cluster, tmp_path: Path) -> None:
    oomkit = str(Path(sys.executable).with_name("oomkit"))
    path = tmp_path / "s.toml"
    source = Path(sweep().bases[0].path)
    path.write_text(
        f'name = "s"\nscenarios = ["{source}"]\nruns = 10\n[vary]\n"vm.swappiness" = [0, 60]\n'
    )
    for name, *where in (
        ("here.parquet", "--workers", "1"), ("there.parquet", "--cluster", cluster.address)
    ):  # fmt: skip
        done = subprocess.run(
            [oomkit, "sweep", str(path), "-o", name, *where], capture_output=True, text=True,
            check=False, timeout=120, cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()


def test_logs_are_read_on_the_cluster(cluster: Cluster) -> None:
    names = [str(path_of("m-5.2-rc7-leaker.log")), "/no/such/file.log"]
    with cluster_pool(cluster.address) as pool:
        assert list(read_files(names, pool)) == list(read_files(names))


def test_a_scheduler_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CONNECT_S", 1)
    with (
        pytest.raises(PoolError, match="no Dask scheduler answers") as caught,
        cluster_pool("tcp://127.0.0.1:9"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_scheduler_that_goes_away_leaves_what_is_done(tmp_path: Path) -> None:
    one, path = made(runs=2000), tmp_path / "there"
    plan = Plan(one)
    spool = Spool(str(path), one, plan.total)
    spool.begin()
    conduct = Conduct(one, plan, spool)
    own = Cluster(tmp_path)

    def stop_it() -> None:
        while conduct.done < 100:
            time.sleep(0.05)
        own.scheduler.kill()

    try:
        with cluster_pool(own.address) as pool:
            threading.Thread(target=stop_it, daemon=True).start()
            with pytest.raises(PoolError, match="connection to the scheduler was lost"):
                conduct.run(pool)
    finally:
        own.stop()
    again = Spool(str(path), one, plan.total)
    again.resume()
    again.close()
    assert 100 <= again.count + len(again.ahead) < plan.total
