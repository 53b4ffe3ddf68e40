"""``oomkit run``: play a scenario and show what would happen."""

import sys
from typing import TYPE_CHECKING

import click

from oomkit.cli import complete, run_views, worlds
from oomkit.cli import policies as policy_names
from oomkit.cli.common import Integer, fail, repeating

if TYPE_CHECKING:
    from oomkit.scenario import Run, Scenario

_EXAMPLE = """\b
Examples:
  oomkit run scenarios/test1.toml
  oomkit run scenarios/test1.toml --kernel 6.12 --set machine.swap=2G
  oomkit run scenarios/test1.toml --free 1s
  oomkit run scenarios/test1.toml --vs vm.panic_on_oom=1
  oomkit run scenarios/database-and-leak.toml --policy default --policy earlyoom
  oomkit run scenarios/database-and-leak.toml --policy earlyoom: --vs default
  oomkit run scenarios/test1.toml --html run.html --png run.png
  oomkit run scenarios/test1.toml --on qemu --kernel 6.1
  oomkit run scenarios/battery/ties.toml --on cgroup --compare
  oomkit run scenarios/guard/fast-hog.toml --on qemu --guard oomkit
  oomkit run mine.toml --check
  oomkit run /var/lib/oomkit/recording --policy default --policy mine.toml
"""

_AS_IT_IS = "as it is"
"""Heading of what is not changed, or not guarded."""
_SHOWS = frozenset({"as_json", "as_log", "interval", "html", "png", "svg", "every_one", "check"})
"""Parameters that don't change what is played."""


@click.command(epilog=_EXAMPLE)
@click.argument("scenario_file", type=complete.FILE, metavar="SCENARIO|RECORDING")
@click.option("--check", is_flag=True, help="Validate the file and exit.")
@click.option(
    "--set",
    "overrides",
    type=complete.SCENARIO_KEY,
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a value for this run: vm.NAME, machine.NAME, task.NAME.KEY, cgroup.NAME.KEY, such "
    "as machine.swap=2G. Can be repeated.",
)
@click.option(
    "--on",
    type=click.Choice(["model", "cgroup", "qemu"]),
    default="model",
    show_default=True,
    help="Where to play: the model, real processes in a memory cgroup of this host (needs root), "
    "or real processes on a kernel booted in QEMU.",
)
@click.option(
    "--kernel",
    type=complete.KERNEL,
    metavar="VERSION",
    help="Apply the rules of this kernel, such as 2.6.32; with --on qemu, boot it: a version, or "
    "the path of an image or package.  [default: the scenario's]",
)
@click.option(
    "--guard",
    type=complete.GUARD,
    metavar="DAEMON",
    help="With --on qemu: run this OOM daemon in the guest, and measure how fast processes are "
    "killed: oomkit, oomkit:POLICY, earlyoom, earlyoom:OPTIONS, nohang, nohang:FILE, systemd-oomd, "
    "systemd-oomd:FOLDER (see oomkit daemons), or none.",
)
@click.option(
    "--policy",
    "policies",
    type=complete.POLICY,
    metavar="NAME|FILE",
    multiple=True,
    help="Guard the modelled machine, or replay a RECORDING, under this policy: a built-in one "
    "(default, kernel, earlyoom, nohang, systemd-oomd, oomd-like, kubelet), a TOML file, or the "
    "configuration of another daemon (earlyoom:, nohang:, systemd-oomd: or kubelet: reads this "
    "machine's, earlyoom:PATH a file or folder). Two policies are shown side by side, more as a "
    "table.",
)
@click.option(
    "--seed",
    type=Integer(),
    default=0,
    metavar="N",
    show_default=True,
    help="Random seed: moves what the scenario declares as random.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as one JSON object.")
@click.option(
    "--log",
    "as_log",
    is_flag=True,
    help="Print the kernel's log, stamped with the machine's uptime in seconds; on the model, the "
    "run starts at 60 s.",
)
@click.option(
    "--free",
    "interval",
    metavar="TIME",
    help="Print a table like that of free(1), with a line for every TIME of the run, such as 1s.",
)
@click.option(
    "--vs",
    "others",
    type=complete.OTHER_SCENARIO,
    metavar="KEY=VALUE|POLICY",
    multiple=True,
    help="Play a second run and compare: with KEY=VALUE changed, under another POLICY such as "
    "default, or of another SCENARIO file.",
)
@click.option(
    "--compare",
    "compared",
    is_flag=True,
    help="Play it on a real kernel and on the model, and compare. The real run is in a cgroup "
    "unless --on says qemu.",
)
@click.option(
    "--all", "every_one", is_flag=True, help="List every kill, refused allocation and freeze."
)
@click.option(
    "--html",
    type=complete.FILE,
    metavar="FILE",
    help="Write an HTML page that needs no network, with all runs; - for standard output.",
)
@click.option(
    "--png", type=complete.FILE, metavar="FILE", help="Write a PNG picture; - for standard output."
)
@click.option(
    "--svg", type=complete.FILE, metavar="FILE", help="Write an SVG picture; - for standard output."
)
@click.pass_context
def command(
    ctx: click.Context,
    scenario_file: str,
    overrides: tuple[str, ...],
    on: str,
    kernel: str | None,
    guard: str | None,
    seed: int,
    interval: str | None,
    others: tuple[str, ...],
    policies: tuple[str, ...],
    html: str | None,
    png: str | None,
    svg: str | None,
    *,
    check: bool,
    as_json: bool,
    as_log: bool,
    compared: bool,
    every_one: bool,
) -> None:
    """Play a scenario on a modelled machine or on a real kernel.

    SCENARIO is a TOML file; oomkit new writes one to start from. RECORDING is a file that
    oomkit guard --record wrote; it is replayed under a policy, and takes only --policy, --json and
    --html. The exit status is 1 if a task was (or would have been) killed, the machine was frozen
    at the end, or the kernel panicked.
    """
    named, others = _with_versus(policies, others)
    # What was recorded is as it was: policies alone are played.
    replayed = tuple(name for name in named if name != _AS_IT_IS)
    run_views.play_if_one(ctx, scenario_file, replayed, others, html, as_json=as_json)
    views = {"--json": as_json, "--log": as_log, "--free": interval is not None}
    files = {"html": html, "png": png, "svg": svg}
    _check_together(
        views, files, others, named, check=check, compared=compared, every_one=every_one
    )
    again = repeating(ctx, _SHOWS)
    if named and on != "model":
        fail(
            f"--policy and --on {on} don't go together: a policy guards the model; "
            "on a booted kernel say --guard oomkit:POLICY"
        )
    every_s = None if interval is None else _seconds(interval)
    if compared:
        _compare(scenario_file, overrides, on, kernel, seed, guard, html, again, as_json=as_json)
        return
    world = worlds.world(on, kernel, seed=seed, guard=guard)
    scenario = world.read(scenario_file, overrides)
    guards = [None if name == _AS_IT_IS else policy_names.found(name) for name in named] or [None]
    if check:
        world.check(scenario_file, scenario)
        click.echo(f"{scenario_file}: fine")
        return
    only_free = every_s if not any(files.values()) else None
    shown = world.play(scenario_file, scenario, guards[0], every_s=only_free)
    run = shown.run
    runs: tuple[Run, ...] = (run,)
    if others:
        path, changed = _other(scenario_file, overrides, others)
        second = world.read(path, changed)
        runs = (run, world.play(path, second, guards[0]).run)
        headings = (_AS_IT_IS, " ".join(others))
        _show_several(runs, (scenario, second), headings, html, again, as_json=as_json)
    elif len(guards) > 1:
        runs = (run, *(world.play(scenario_file, scenario, guard).run for guard in guards[1:]))
        played = (scenario,) * len(runs)
        _show_several(runs, played, named, html, again, as_json=as_json)
    else:
        _write(run, scenario, files, again)
        if every_s is not None:
            if any(files.values()):
                # Files show the run at the default sampling.
                shown = world.play(scenario_file, scenario, guards[0], every_s=every_s)
            run_views.show_free(shown.run, scenario, every_s, shown.total_mb)
        elif "-" not in files.values() or as_json or as_log:
            _print(run, scenario, as_json=as_json, as_log=as_log, every_one=every_one)
    if any(map(_bad_news, runs)):
        sys.exit(1)


def _print(
    run: "Run", scenario: "Scenario", *, as_json: bool, as_log: bool, every_one: bool
) -> None:
    if as_json:
        run_views.show_json(run)
    elif as_log:
        run_views.show_log(run)
    else:
        run_views.show_story(run, scenario, every_one=every_one)


def _with_versus(
    policies: tuple[str, ...], others: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The policies to play under, those of ``--vs`` too, and what else ``--vs`` changes."""
    versus = tuple(one for one in others if policy_names.is_named(one))
    changes = tuple(one for one in others if one not in versus)
    if versus and changes:
        fail(f"--vs {versus[0]} and --vs {changes[0]} don't go together: one thing is compared")
    if versus and not policies:
        policies = (_AS_IT_IS,)
    return (*policies, *versus), changes


def _write(run: "Run", scenario: "Scenario", files: dict[str, str | None], again: str) -> None:
    for kind, file in files.items():
        if file is not None:
            run_views.write_file(run, scenario, kind, file, again)


def _compare(
    path: str,
    overrides: tuple[str, ...],
    on: str,
    kernel: str | None,
    seed: int,
    guard: str | None,
    html: str | None,
    again: str,
    *,
    as_json: bool,
) -> None:
    """Play it on a real kernel and on the model, and show both; ends the command."""
    if guard is not None:
        fail("--compare and --guard don't go together: the model has no daemons")
    real = worlds.real_world("cgroup" if on == "model" else on, kernel, seed=seed)
    scenario = real.read(path, overrides)
    pair = real.pair(path, scenario)
    if html is not None:
        run = pair.played.run
        pages = ((run, pair.model), (scenario, scenario), (f"real ({run.on})", "model"))
        run_views.write_comparison(*pages, html, again, judged=False)
    if as_json:
        run_views.show_compared_json(pair)
    elif html != "-":
        run_views.show_compared(pair, scenario)
    if _bad_news(pair.played.run):
        sys.exit(1)


def _show_several(
    runs: tuple["Run", ...],
    scenarios: tuple["Scenario", ...],
    headings: tuple[str, ...],
    html: str | None,
    again: str,
    *,
    as_json: bool,
) -> None:
    """Two runs side by side, more of them in a table, or all as JSON; and all as a page."""
    if html is not None:
        run_views.write_comparison(runs, scenarios, headings, html, again)
    if as_json:
        run_views.show_json(*runs)
    elif html == "-":
        return
    elif len(runs) == 2:
        both = (scenarios[0], scenarios[1])
        run_views.show_two((runs[0], runs[1]), both, (headings[0], headings[1]))
    else:
        run_views.show_policies(runs)


def _bad_news(run: "Run") -> bool:
    return bool(run.objectives.kills) or run.outcome in ("panicked", "frozen")


def _other(
    path: str, overrides: tuple[str, ...], others: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """The second run of ``--vs``: its file, and what is changed in it."""
    files = [one for one in others if "=" not in one]
    if len(files) > 1:
        fail(f"--vs: expected one other scenario, not {' and '.join(files)}")
    changes = (one for one in others if "=" in one)
    return (files[0] if files else path), (*overrides, *changes)


def _seconds(interval: str) -> float:
    from oomkit.toml import units

    try:
        seconds = units.duration(interval)
    except ValueError as error:
        fail(f"--free: expected {error}, not {interval!r}")
    if seconds < 0.01:
        fail(f'--free: expected a duration from "10ms" on, not {interval!r}')
    return seconds


def _check_together(
    views: dict[str, bool],
    files: dict[str, str | None],
    others: tuple[str, ...],
    policies: tuple[str, ...],
    *,
    check: bool,
    compared: bool,
    every_one: bool,
) -> None:
    """Refuse options that would have to be ignored beside others."""
    asked = [name for name, wanted in views.items() if wanted]
    written = [f"--{kind}" for kind, path in files.items() if path is not None]
    to_stdout = [f"--{kind} -" for kind, path in files.items() if path == "-"]
    pictures = [name for name in written if name != "--html"]
    several = "--vs" if others else "several --policy"
    if compared:
        clash = ["--compare", *(["--check"] if check else []), *(["--vs"] if others else []),
                 *(["--policy"] if policies else []),
                 *(name for name in asked if name != "--json"), *pictures]  # fmt: skip
    elif others or len(policies) > 1:
        clash = [several, *(name for name in asked if name != "--json"), *pictures]
        clash += ["--policy twice"] if others and len(policies) > 1 else []
        clash += ["--check"] if check else []
    elif check:
        clash = ["--check", *asked, *written]
    else:
        clash = [*asked, *to_stdout]
    if len(clash) < 2 and asked and to_stdout:
        clash = [asked[0], to_stdout[0]]
    if every_one:
        others_of_all = [*asked, *to_stdout, *([several] if others or len(policies) > 1 else []),
                         *(["--compare"] if compared else [])]  # fmt: skip
        clash = ["--all", *others_of_all] if others_of_all else clash
    if len(clash) > 1:
        fail(f"{clash[0]} and {clash[1]} don't go together")
