"""What ``oomkit sweep`` does: reading, playing, writing; trouble ends the command."""

import os
import signal
import sys
import time
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from oomkit.cli.common import fail
from oomkit.cli.progress import progress
from oomkit.cli.streams import say
from oomkit.render.bars import bar
from oomkit.render.extras import MissingExtraError, need_polars
from oomkit.render.quantities import seconds

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from oomkit.batch import Pool
    from oomkit.sweep.answer import Answer
    from oomkit.sweep.fleet import Table
    from oomkit.sweep.plan import Plan
    from oomkit.sweep.runner import Conduct, Spool
    from oomkit.sweep.spec import Fleet, Sweep

_BAR_CELLS = 24


def read(
    path: str | None, overrides: tuple[str, ...], fleet_files: tuple[str, ...]
) -> "tuple[Sweep, Table | None]":
    """Read a sweep, and the table of its fleet, or end with a line for each fault."""
    from oomkit.sweep.read import fleet_sweep, read_sweep
    from oomkit.toml.table import TomlError

    if path is None and not fleet_files:
        raise click.UsageError("expected a SWEEP file, or --fleet FILE")
    try:
        if path is None:
            sweep = fleet_sweep(fleet_files, overrides=overrides)
        else:
            sweep = read_sweep(path, overrides=overrides, fleet_files=fleet_files)
    except TomlError as error:
        for line in error.lines():
            say(f"oomkit: {line}")
        sys.exit(2)
    return sweep, None if sweep.fleet is None else _table(sweep.fleet)


def _table(fleet: "Fleet") -> "Table":
    _need_polars()
    from oomkit.sweep.traces import TraceError, read_table

    try:
        return read_table(fleet)
    except TraceError as error:
        fail(str(error))


def _need_polars() -> None:
    """End the command where tables can't be read."""
    try:
        need_polars()
    except MissingExtraError as error:
        fail(str(error))


def size(sweep: "Sweep", table: "Table | None") -> str:
    """How much there is to play."""
    from oomkit.sweep.plan import Plan

    plan = Plan(sweep, table)
    return f"{plan.total:,} runs, {plan.points:,} loads with {plan.per_point:,} each"


def need_report() -> None:
    """End the command where the page's libraries are not installed."""
    from oomkit.render.extras import need

    try:
        for module in ("altair", "jinja2", "vl_convert"):
            need(module)
    except MissingExtraError as error:
        fail(str(error))


def show_run(sweep: "Sweep", table: "Table | None", number: int) -> None:
    """Play one run and print its story."""
    from oomkit.cli import run_views
    from oomkit.model import ModelError
    from oomkit.scenario import ScenarioError
    from oomkit.sweep.plan import Plan
    from oomkit.sweep.run import Player, described

    plan = Plan(sweep, table)
    if number >= plan.total:
        fail(f"--run: expected a number below {plan.total}, not {number}")
    player, job = Player(sweep), plan.job(number)
    try:
        scenario = player.scenario(job)
        run = player.run(job, scenario)
    except (ScenarioError, ModelError, ValueError) as error:
        fail(f"run {number}: {error}")
    click.echo(f"run {number}: {described(player.identity(job), sweep.axes)}")
    run_views.show_story(run, scenario, every_one=False)


def play(
    sweep: "Sweep",
    table: "Table | None",
    *,
    out: str | None,
    html: str | None,
    command: str,
    workers: int | None,
    cluster: str | None,
    resume: bool,
    restart: bool,
) -> "Answer":
    """Play a sweep and answer its question; ``command`` is what plays it again."""
    _need_polars()
    from oomkit.sweep.plan import Plan
    from oomkit.sweep.runner import Conduct, Spool

    plan = Plan(sweep, table)
    spool = Spool(_spool_path(sweep, out), sweep, plan.total)
    with ExitStack() as stack:
        elsewhere = stack if out is None and not resume else None
        _open(spool, elsewhere, resume=resume, restart=restart)
        _play(Conduct(sweep, plan, spool), spool, workers, cluster)
        return _answered(sweep, plan, spool, out=out, html=html, command=command)


def _answered(
    sweep: "Sweep", plan: "Plan", spool: "Spool", *, out: str | None, html: str | None, command: str
) -> "Answer":
    """Answer from the rows, write what is asked for, and delete them."""
    from oomkit.sweep import analysis, runner

    try:
        found = analysis.answer(sweep, runner.scan(sweep, spool.path))
        if html is not None:
            from oomkit.views.sweep_page import page_text

            _write_page(html, page_text(sweep, found, plan, command))
        if out is not None:
            runner.write(sweep, spool.path, out)
        spool.remove()
    except BrokenPipeError:
        spool.remove()
        raise
    except OSError as error:
        saved = f"; the rows are in {spool.path}" if spool.stays else ""
        fail(f"{error.filename or out or html}: {error.strerror or error}{saved}")
    return found


def _write_page(path: str, page: str) -> None:
    from oomkit.files.safely import open_output

    text = page.encode()
    if path == "-":
        sys.stdout.buffer.write(text)
        return
    with open_output(path) as file:
        file.write(text)


def _spool_path(sweep: "Sweep", out: str | None) -> str:
    if out is not None:
        return f"{out}.part"
    return f"{os.path.basename(sweep.source).removesuffix('.toml')}.rows.part"


def _open(spool: "Spool", elsewhere: "ExitStack | None", *, resume: bool, restart: bool) -> None:
    """Open the spool; where it can't be written and only the answer counts, for this once."""
    from oomkit.sweep.runner import SpoolError

    exists = os.path.exists(spool.path)
    try:
        if resume and not exists:
            fail(f"--resume: {spool.path}: expected the rows of a sweep that was stopped")
        if resume:
            spool.resume()
        elif exists and not restart:
            fail(f"{spool.path}: left by a sweep that was stopped; --resume continues it, "
                 "--restart begins again")  # fmt: skip
        else:
            spool.begin()
    except SpoolError as error:
        fail(str(error))
    except OSError as error:
        if elsewhere is None:
            fail(f"{spool.path}: {error.strerror}")
        folder = elsewhere.enter_context(TemporaryDirectory(prefix="oomkit-sweep-"))
        spool.path, spool.stays = os.path.join(folder, "rows"), False
        spool.begin()


def _play(conduct: "Conduct", spool: "Spool", workers: int | None, cluster: str | None) -> None:
    """Play what is to be played; stopped on the way, report what is saved and how to continue."""
    from oomkit.batch import PoolError

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    try:
        with progress(lambda: progress_line(conduct, began)), _pool(workers, cluster) as pool:
            conduct.run(pool)
    except KeyboardInterrupt:
        if conduct.done:
            say(f"oomkit: stopped; {_saved(conduct, spool)}")
        else:
            spool.close()
            spool.remove()
            say("oomkit: stopped before the first run was finished; nothing is saved")
        sys.exit(130)
    except PoolError as error:
        saved = f"; {_saved(conduct, spool)}" if conduct.done else ""
        spool.close()
        if not conduct.done:
            spool.remove()
        fail(f"{error}{saved}")
    except OSError as error:
        fail(f"{spool.path}: {error.strerror or error}")


def _saved(conduct: "Conduct", spool: "Spool") -> str:
    done = f"{conduct.done:,} of {conduct.total:,} runs"
    if not spool.stays:
        return f"{done} were done and are lost: nothing can be written here, -o FILE saves them"
    return f"{done} are saved in {spool.path}, --resume continues"


def _pool(workers: int | None, cluster: str | None) -> "AbstractContextManager[Pool]":
    from oomkit.batch import cluster_pool, local_pool
    from oomkit.sweep.run import PRELOAD

    return local_pool(workers, preload=PRELOAD) if cluster is None else cluster_pool(cluster)


def progress_line(conduct: "Conduct", began: float) -> str:
    """A bar, the rate, and the time left."""
    passed_s = time.monotonic() - began
    rate = (conduct.done - conduct.before) / passed_s if passed_s > 0 else 0.0
    left = f", {seconds((conduct.total - conduct.done) / rate)} left" if rate > 0 else ""
    drawn = bar(conduct.done / conduct.total, _BAR_CELLS, unicode=False)
    return f"[{drawn}] {conduct.done:,} of {conduct.total:,} runs, {rate:.3g} a second{left}"
