"""``oomkit guard --install``, ``--uninstall`` and ``--undo``: the service, and what one left."""

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from oomkit.cli.common import fail, snapshot_from
from oomkit.cli.streams import say
from oomkit.guard import config
from oomkit.printable import printable
from oomkit.render.layout import wrapped

if TYPE_CHECKING:
    from oomkit.service.install import Plan


def install(*, act: bool) -> None:
    """Set the service up, see that it runs, and say how to see, arm and remove it."""
    from oomkit.host.configuration import read_configuration
    from oomkit.host.pidfd import kill_fault
    from oomkit.render.terminal import console
    from oomkit.service import install as service
    from oomkit.service.machine_kind import machine_kind

    _alone("--install", {"install", "act"})
    _expect_root("--install")
    width = console(sys.stdout).width
    daemons = read_configuration(snapshot_from(None)).daemons
    others = [one for one in daemons if not one.name.startswith("oomkit")]
    try:
        plan = service.plan_install(machine_kind(), service.own_command(), act=act, daemons=others)
        fault = kill_fault()
        if fault:
            fail(f"self-test: {fault}")
        service.install(plan, run=service.run_command)
    except service.ServiceError as error:
        fail(str(error))
    machine = plan.machine
    sentence = f"This machine is a {machine.kind}: {machine.evidence}."
    for line in (*wrapped(printable(sentence), width), *_installed(plan, act=act)):
        click.echo(printable(line))
    for one in others:
        say(
            f"oomkit: {one.name} (pid {one.pid}) guards memory too: before you arm this one, "
            f"{service.stop_words(one)}"
        )


def _installed(plan: "Plan", *, act: bool) -> list[str]:
    systemd = plan.init == "systemd"
    lines = [
        *(f"made     {path}" for path in plan.files),
        *(f"kept     {path}, as it was there" for path in plan.kept),
        *(f"ran      {shlex.join(argv)}" for argv in plan.commands),
        "tested   a process can be killed from here",
        "",
        "see      " + ("journalctl -u oomkit-guard" if systemd else "/var/log/oomkit-guard.log"),
        "         oomkit history",
        "         oomkit guard --check --policy /etc/oomkit/policy.toml",
    ]
    restart = " ".join(plan.commands[-1])
    if not act:
        lines.append(f"arm      sed -i s/--dry-run/--act/ {plan.settings} && {restart}")
    else:
        lines.append(f"disarm   sed -i s/--act/--dry-run/ {plan.settings} && {restart}")
    return [*lines, "remove   oomkit guard --uninstall"]


def uninstall() -> None:
    """Remove the service and all that it made."""
    from oomkit.service import install as service

    _alone("--uninstall", {"uninstall"})
    _expect_root("--uninstall")
    try:
        removed = service.remove(run=service.run_command)
    except service.ServiceError as error:
        fail(str(error))
    for path in removed:
        click.echo(f"removed  {path}")
    if not removed:
        click.echo("Nothing of the service is here.")


def undo(state: str | None) -> None:
    """Take back what a guard left that was killed, and say so; exit status 1 if some can't be."""
    from oomkit.guard import launch
    from oomkit.guard.pending_kills import PendingKills
    from oomkit.guard.undo import OUTCOMES, left_behind

    _alone("--undo", {"undo", "state"})
    path = config.STATE if state is None and os.geteuid() == 0 else state
    if path is None:
        fail("--undo: expected --state FILE: only root's guard has a usual one")
    if not os.path.lexists(path):
        click.echo("nothing to take back")
        return
    try:
        pending = PendingKills(os.path.abspath(path))
    except BlockingIOError:
        fail(f"{path}: a guard is at work with this file, and takes back what it does itself")
    if pending.fault:
        fail(f"{path}: {printable(pending.fault)}")
    try:
        places = launch.places_here()
    except launch.LaunchError as error:
        fail(str(error))
    kept, failed, found = [], False, False
    for values in pending.read():
        outcome, why, said = left_behind(values, places) if "undo" in values else ("", "", "")
        if outcome:
            click.echo(f"{said}: {OUTCOMES[outcome]}")
        elif why:
            say(f"oomkit: can't take back {said}: {printable(why)}")
        found = found or bool(outcome or why)
        failed = failed or bool(why)
        if not outcome:
            kept.append(values)
    pending.write(kept)
    pending.close()
    if not found:
        click.echo("nothing to take back")
    sys.exit(int(failed))


def _alone(option: str, allowed: set[str]) -> None:
    """Refuse what is given beside an option that stands alone: a service's options are settings."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in allowed:
            fail(f"{option} and {parameter.opts[0]} don't go together")


def _expect_root(option: str) -> None:
    if os.geteuid() != 0:
        fail(f"{option}: expected to be run by root, such as by sudo oomkit guard {option}")
