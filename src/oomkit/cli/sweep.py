"""``oomkit sweep``: many runs at once, and what they say."""

import sys
from typing import TYPE_CHECKING

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, repeating

if TYPE_CHECKING:
    from oomkit.sweep.answer import Answer

_EXAMPLE = """\b
Examples:
  oomkit sweep sweeps/policies.toml
  oomkit sweep sweeps/least-swap.toml -o rows.parquet --html report.html
  oomkit sweep sweeps/policies.toml --cluster tcp://10.0.0.5:8786
  oomkit sweep sweeps/policies.toml --resume
  oomkit sweep sweeps/policies.toml --run 17
  oomkit sweep --fleet sweeps/fleet.csv --set runs=100
"""

_SHOWS = frozenset(
    {"check", "out", "html", "as_json", "workers", "cluster", "resume", "restart", "one"}
)
"""Parameters that don't change what is played."""


@click.command(epilog=_EXAMPLE)
@click.argument("sweep_file", type=complete.FILE, metavar="[SWEEP]", required=False)
@click.option(
    "--check", is_flag=True, help="Validate the file, print the number of runs, and exit."
)
@click.option(
    "--fleet",
    "fleet_files",
    type=complete.FILE,
    metavar="FILE",
    multiple=True,
    help="Draw machines and loads from a table (CSV, Parquet, JSON Lines). Can be repeated, for "
    "the files of a trace.",
)
@click.option(
    "--set",
    "overrides",
    type=complete.SWEEP_KEY,
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a value of the sweep file: runs, seed, want.KEY, weights.KEY, fleet.KEY, such as "
    "runs=100. Can be repeated.",
)
@click.option(
    "-o",
    "--output",
    "--out",
    "out",
    type=complete.FILE,
    metavar="FILE",
    help="Write a row for each run; the name ends in .parquet, .csv or .jsonl.",
)
@click.option(
    "--html",
    type=complete.FILE,
    metavar="FILE",
    help="Write the comparison as an HTML page; - for standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Number of worker processes.  [default: as many as CPUs]",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="Play on a Dask cluster, such as tcp://10.0.0.5:8786."
)
@click.option("--resume", is_flag=True, help="Continue a sweep that was stopped.")
@click.option(
    "--restart", is_flag=True, help="Discard the runs of a stopped sweep and begin again."
)
@click.option(
    "--run",
    "one",
    type=click.IntRange(min=0),
    metavar="N",
    help="Play run N again and show its details.",
)
@click.pass_context
def command(
    ctx: click.Context,
    sweep_file: str | None,
    fleet_files: tuple[str, ...],
    overrides: tuple[str, ...],
    out: str | None,
    html: str | None,
    workers: int | None,
    cluster: str | None,
    one: int | None,
    *,
    check: bool,
    as_json: bool,
    resume: bool,
    restart: bool,
) -> None:
    """Play many runs with varying machines, loads, settings and policies, and find the best.

    SWEEP is a TOML file that names scenarios, what varies, and the question. The same sweep with
    the same seed yields the same rows on any machine. The exit status is 1 if runs failed.
    """
    from oomkit.cli import sweep_work

    _together(
        check=check, one=one is not None, resume=resume, restart=restart,
        out=out, html=html, workers=workers, cluster=cluster, as_json=as_json,
    )  # fmt: skip
    sweep, table = sweep_work.read(sweep_file, overrides, fleet_files)
    source = sweep_file or " ".join(f"--fleet {path}" for path in fleet_files)
    if check:
        click.echo(f"{source}: fine, {sweep_work.size(sweep, table)}")
        return
    if one is not None:
        sweep_work.show_run(sweep, table, one)
        return
    if html is not None:
        sweep_work.need_report()
    again = repeating(ctx, _SHOWS)
    found = sweep_work.play(
        sweep, table, out=out, html=html, command=again, workers=workers, cluster=cluster,
        resume=resume, restart=restart,
    )  # fmt: skip
    _show(found, again, as_json=as_json)
    if found.failed:
        sys.exit(1)


def _together(
    *,
    check: bool,
    one: bool,
    resume: bool,
    restart: bool,
    out: str | None,
    html: str | None,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Refuse options that would have to be ignored beside others."""
    given = {
        "--check": check, "--run": one, "--resume": resume, "--restart": restart,
        "--output": out is not None, "--html": html is not None, "--workers": workers is not None,
        "--cluster": cluster is not None, "--json": as_json,
    }  # fmt: skip
    asked = [name for name, wanted in given.items() if wanted]
    if (check or one) and len(asked) > 1:
        fail(f"{asked[0]} and {asked[1]} don't go together")
    if resume and restart:
        fail("--resume and --restart don't go together")
    if workers is not None and cluster is not None:
        fail("--workers and --cluster don't go together")
    if out is not None and not out.endswith((".parquet", ".csv", ".jsonl")):
        fail(f"--output: {out}: expected a name that ends in .parquet, .csv or .jsonl")


def _show(found: "Answer", again: str, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        return
    from oomkit.render.terminal import show
    from oomkit.views.sweep_text import answer_report

    show(answer_report(found, command=again))
