"""``oomkit run``: play a scenario and show what would happen."""

import sys
from typing import TYPE_CHECKING

import click

from oomkit.cli.common import fail

if TYPE_CHECKING:
    from oomkit.scenario import Run, Scenario

_EXAMPLE = """\b
Examples:
  oomkit run scenarios/test1.toml
  oomkit run scenarios/test1.toml --kernel 6.12 --set machine.swap=2G
  oomkit run scenarios/test1.toml --free 1s
  oomkit run mine.toml --check
"""


@click.command(epilog=_EXAMPLE)
@click.argument("scenario_file", metavar="SCENARIO")
@click.option("--check", is_flag=True, help="Only tell what is wrong with the file.")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a value for this run: vm.NAME, machine.NAME, task.NAME.KEY, cgroup.NAME.KEY.",
)
@click.option("--kernel", metavar="VERSION", help="Another kernel's rules.")
@click.option("--seed", type=int, default=0, help="Moves what the scenario declares as random.")
@click.option("--json", "as_json", is_flag=True, help="The whole record as one object.")
@click.option("--log", "as_log", is_flag=True, help="The kernel's log.")
@click.option("--free", "interval", metavar="TIME", help="A table like free's, a line each TIME.")
def command(
    scenario_file: str,
    overrides: tuple[str, ...],
    kernel: str | None,
    seed: int,
    interval: str | None,
    *,
    check: bool,
    as_json: bool,
    as_log: bool,
) -> None:
    """Play a scenario on a modelled machine.

    SCENARIO is a TOML file; oomkit new writes one to start from. The exit status is 1 when
    somebody was killed, the machine was frozen at the end, or the kernel panicked.
    """
    if kernel is not None:
        overrides = (*overrides, f"machine.kernel={kernel}")
    scenario = _read(scenario_file, overrides)
    if check:
        click.echo(f"{scenario_file}: fine")
        return
    run = _play(scenario_file, scenario, seed, _seconds(interval))
    if as_json:
        from oomkit.scenario.record import to_json

        click.echo(to_json(run))
    elif as_log:
        for line in run.log:
            click.echo(line)
    elif interval is not None:
        _free(scenario, run)
    else:
        _story(run)
    if run.objectives.kills or run.outcome in ("panicked", "frozen"):
        sys.exit(1)


def _read(path: str, overrides: tuple[str, ...]) -> "Scenario":
    from oomkit.scenario import ScenarioError, read_scenario

    try:
        return read_scenario(path, overrides=overrides)
    except ScenarioError as error:
        for line in error.lines():
            click.echo(f"oomkit: {line}", err=True)
        sys.exit(2)


def _seconds(interval: str | None) -> float:
    if interval is None:
        return 1.0
    from oomkit.scenario import units

    try:
        seconds = units.duration(interval)
    except ValueError as error:
        fail(f"--free: expected {error}, not {interval!r}")
    if seconds < 0.01:
        fail(f'--free: expected a duration from "10ms" on, not {interval!r}')
    return seconds


def _play(path: str, scenario: "Scenario", seed: int, sample_s: float) -> "Run":
    from oomkit.model import ModelError, play

    try:
        return play(scenario, seed=seed, sample_s=sample_s)
    except ModelError as error:
        fail(f"{path}: {error}")


def _free(scenario: "Scenario", run: "Run") -> None:
    from oomkit.model.machine import Machine
    from oomkit.report.free import free_table

    pages_mb = 2**20 / 4096
    machine = Machine(scenario)
    swap_mb = machine.swap_total / pages_mb
    for line in free_table(run, total_mb=machine.total / pages_mb, swap_mb=swap_mb):
        click.echo(line)


def _story(run: "Run") -> None:
    """What happened, a line each."""
    for kill in run.kills:
        verb = "would have killed" if kill.would_have else "killed"
        click.echo(
            f"{kill.t_s:9.3f} s  {kill.by} {verb} {kill.task}/{kill.instance} "
            f"(badness {kill.badness}, {kill.freed_mb:.0f} MB)"
        )
    for denied in run.denied:
        click.echo(
            f"{denied.t_s:9.3f} s  {denied.task}/{denied.instance}: {denied.call} of "
            f"{denied.mb:.0f} MB refused ({denied.limit})"
        )
    for freeze in run.frozen:
        click.echo(f"{freeze.from_s:9.3f} s  frozen until {freeze.to_s:.3f} s")
    click.echo(f"{run.ended_s:9.3f} s  {run.outcome}")
