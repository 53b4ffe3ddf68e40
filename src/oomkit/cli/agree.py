"""``oomkit agree``: the model beside real kernels, scenario by scenario."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

import click

from oomkit.cli import complete
from oomkit.cli.common import Integer, fail
from oomkit.cli.progress import progress
from oomkit.cli.streams import say
from oomkit.cli.worlds import read

if TYPE_CHECKING:
    from oomkit.agree import Agreement, Job
    from oomkit.real import Place

_EXAMPLE = """\b
Examples:
  oomkit agree scenarios/battery
  oomkit agree scenarios/battery --on qemu --kernel 6.1 --kernel 6.12
  oomkit agree scenarios/battery/ties.toml --on qemu --json
  oomkit agree --measure --on qemu --kernel 6.12
"""

_BATTERY = "scenarios/battery"


@click.command(epilog=_EXAMPLE)
@click.argument("paths", type=complete.FILE, metavar="[DIR|SCENARIO]...", nargs=-1)
@click.option(
    "--on",
    "worlds",
    type=click.Choice(["cgroup", "qemu"]),
    multiple=True,
    help="Where the real runs are played. Can be repeated.  [default: cgroup]",
)
@click.option(
    "--kernel",
    "kernels",
    type=complete.KERNEL,
    metavar="VERSION",
    multiple=True,
    help="The kernel to boot in QEMU, such as 6.12. Can be repeated.",
)
@click.option(
    "--skip-missing",
    is_flag=True,
    help="Skip a kernel, or the cgroup, that is not available here, and report it.",
)
@click.option(
    "--guests",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    show_default=True,
    help="Number of guests that run at a time.",
)
@click.option(
    "--seed",
    type=Integer(),
    default=0,
    metavar="N",
    show_default=True,
    help="Random seed: moves what a scenario declares as random.",
)
@click.option(
    "--measure",
    "measures",
    is_flag=True,
    help="Measure what page faults, reads and swapping cost on the kernels, and play nothing.",
)
@click.option(
    "--costs",
    "costs_file",
    type=complete.FILE,
    metavar="FILE",
    help="Output of --measure --json, from which the model takes what pages cost on each kernel.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: agreements and summaries."
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print tables in Markdown.")
def command(
    paths: tuple[str, ...],
    worlds: tuple[str, ...],
    kernels: tuple[str, ...],
    guests: int,
    seed: int,
    *,
    skip_missing: bool,
    measures: bool,
    costs_file: str | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Play scenarios on real kernels and on the model, and report where they differ.

    Without a path, it plays those in scenarios/battery. The exit status is 1 if a target is missed:
    the same outcome in all, the first victim in 95 %, all victims in order in 85 %, the time of
    the first kill within a factor of 1.3. The order among equal tasks does not count.
    """
    if as_json and as_markdown:
        fail("--json and --markdown don't go together")
    if guests > 1 and "qemu" not in worlds:
        fail("--guests needs --on qemu")
    if kernels and "qemu" not in worlds:
        fail("--kernel needs --on qemu: a cgroup's kernel is this host's")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    if measures:
        if worlds != ("qemu",) or paths or as_markdown or costs_file:
            fail("--measure goes with --on qemu alone: without a scenario, and as text or JSON")
        _measure(kernels, as_json=as_json, skip_missing=skip_missing)
        return
    if costs_file is not None and "qemu" not in worlds:
        fail("--costs needs --on qemu: they are measured in guests")
    costs = _costs(costs_file) if costs_file is not None else {}
    files = list(_files(paths or (battery(),)))
    places = list(_places(worlds or ("cgroup",), kernels))
    if skip_missing:
        places = [place for place in places if _is_here(place, files[0])]
        if not places:
            return
    jobs = [_jobs(files, place, seed, costs) for place in places]
    found = [one for there in jobs for one in _play(there, guests)]
    _show(found, as_json=as_json, as_markdown=as_markdown)


def _measure(kernels: tuple[str, ...], *, as_json: bool, skip_missing: bool) -> None:
    from oomkit.real import RealError, measure
    from oomkit.real.kernels import NoKernelError
    from oomkit.render.terminal import show
    from oomkit.views import agree_text

    runs = []
    for kernel in kernels or (None,):
        try:
            with progress(f"measuring on qemu, kernel {kernel or '6.12'}".__str__):
                runs.append(measure(kernel))
        except NoKernelError as error:
            if not skip_missing:
                fail(str(error))
            say(f"oomkit: skipped qemu, kernel {kernel}: {error}")
        except RealError as error:
            fail(str(error))
    if not as_json:
        show(agree_text.measured_report(runs))
        return
    import msgspec

    from oomkit.agree import Measured, MeasuredKernel

    rows = [
        MeasuredKernel(on=run.on, kernel=run.kernel, found=run.found, instrument=run.instrument)
        for run in runs
        if run.found is not None
    ]
    data = msgspec.json.encode(Measured(measured=rows))
    sys.stdout.buffer.write(msgspec.json.format(data, indent=1) + b"\n")


def battery() -> str:
    """The battery of the source, where this is it, or the one that was installed."""
    installed = f"{sys.prefix}/share/oomkit/{_BATTERY}"
    found = [path for path in (_BATTERY, installed) if os.path.isdir(path)]
    if not found:
        fail(
            f"{_BATTERY}: no such directory here, and none at {installed}: expected a directory or "
            "scenarios to play"
        )
    return found[0]


def _files(paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        inside = sorted(name for name in os.listdir(path) if name.endswith(".toml"))
        if not inside:
            fail(f"{path}: expected scenarios (*.toml) in it")
        yield from (os.path.join(path, name) for name in inside)


def _places(worlds: tuple[str, ...], kernels: tuple[str, ...]) -> "Iterator[Place]":
    from oomkit.real import Place

    for world in dict.fromkeys(worlds):
        on = cast("Literal['cgroup', 'qemu']", world)
        for kernel in kernels if on == "qemu" and kernels else (None,):
            yield Place(world=on, kernel=kernel)


def _is_here(place: "Place", file: str) -> bool:
    """Whether scenarios can be played there at all; says why not."""
    from oomkit.real import why_not

    if reason := why_not(read(file, ()), place):
        named = f"{place.world}, kernel {place.kernel}" if place.kernel else place.world
        say(f"oomkit: skipped {named}: {reason}")
    return not reason


def _costs(path: str) -> dict[str, dict[str, float]]:
    """What was measured on each kernel, by its release."""
    import msgspec

    from oomkit.agree import Measured

    try:
        with open(path, "rb") as file:
            measured = msgspec.json.decode(file.read(), type=Measured).measured
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except msgspec.MsgspecError as error:
        fail(f"{path}: expected what oomkit agree --measure --json prints: {error}")
    costs = {one.kernel: one.found.costs for one in measured if one.found.costs}
    if not costs:
        fail(f"{path}: expected costs of a kernel, there are none in it")
    return costs


def _jobs(
    files: list[str], place: "Place", seed: int, costs: dict[str, dict[str, float]]
) -> "list[Job]":
    """What to play there; the scenarios follow the rules of the kernel that plays them."""
    from oomkit.agree import Job
    from oomkit.real import RealError, kernel_for

    jobs = []
    for file in files:
        try:
            release = kernel_for(read(file, ()), place)
        except RealError as error:
            fail(f"{file}: {error}")
        if costs and place.world == "qemu" and release not in costs:
            fail(f"--costs: nothing was measured on {release}, only on {', '.join(costs)}")
        scenario = read(file, (f"machine.kernel={release}",))
        there = costs.get(release) if place.world == "qemu" else None
        jobs.append(Job(file=file, scenario=scenario, place=place, seed=seed, costs=there))
    return jobs


def _play(jobs: "list[Job]", workers: int) -> "list[Agreement]":
    from oomkit.agree import JobError, agree_on_all

    found: list[Agreement] = []
    place = jobs[0].place

    def line() -> str:
        file = jobs[min(len(found), len(jobs) - 1)].file
        kernel = jobs[0].scenario.machine.kernel
        return f"{len(found)} of {len(jobs)} on {place.world}, kernel {kernel}: {file}"

    try:
        with progress(line):
            for one in agree_on_all(jobs, workers if place.world == "qemu" else 1):
                found.append(one)  # noqa: PERF402 - the line counts them as they come
    except JobError as error:
        fail(str(error))
    return found


def _show(found: "list[Agreement]", *, as_json: bool, as_markdown: bool) -> None:
    from oomkit.agree import summarise
    from oomkit.render.terminal import show
    from oomkit.views import agree_text

    summaries = summarise(found)
    if as_json:
        import msgspec

        data = msgspec.json.encode({"agreements": found, "summaries": summaries})
        sys.stdout.buffer.write(msgspec.json.format(data, indent=1) + b"\n")
    elif as_markdown:
        click.echo(agree_text.markdown(found, summaries), nl=False)
    else:
        show(agree_text.report(found, summaries))
    if not all(one.meets for one in summaries):
        sys.exit(1)
