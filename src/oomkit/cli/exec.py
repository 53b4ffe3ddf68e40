"""``oomkit exec``: run a command, and say what memory it took and whether that killed it."""

import os
import sys
import time

import click

from oomkit.cli import complete
from oomkit.cli.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oomkit.command.evidence import Reading
    from oomkit.command.group import Group
    from oomkit.command.launch import Ended
    from oomkit.command.verdict import Verdict

_EXAMPLE = """\b
Examples:
  oomkit exec -- make -j8
  oomkit exec --limit 2G --swap 0 -- pytest
  oomkit exec --adj 500 --json run.json -- ./train.py
"""
_IN_SCOPE = "OOMKIT_EXEC_IN_SCOPE"


@click.command(
    epilog=_EXAMPLE,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("--limit", metavar="SIZE", help="Limit its memory, such as 2G.")
@click.option("--swap", metavar="SIZE", help="Limit its swap; 0 for none.")
@click.option(
    "--adj",
    type=click.IntRange(-1000, 1000),
    metavar="N",
    help="Run it with this oom_score_adj; above 0 it is killed before its supervisor.",
)
@click.option(
    "--json",
    "json_file",
    type=complete.FILE,
    metavar="FILE",
    help="Write a record of the run to this file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless a process was killed.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print the evidence, and the processes seen when memory was fullest.",
)
@click.argument("argv", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def command(
    argv: tuple[str, ...],
    limit: str | None,
    swap: str | None,
    adj: int | None,
    json_file: str | None,
    *,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a command as "time" does, and report its memory and what killed it.

    It runs in a memory cgroup of its own where one can be made, else in the present one; signals,
    terminal and exit status are as without oomkit. One line on stderr reports its peak, the time it
    waited for memory and the limit; if a process of it was killed for memory, more lines report
    which, by what, for which limit, and what would have sufficed.
    """
    from oomkit.command.group import LimitError, current, own_group
    from oomkit.command.launch import StartError, end_as

    sizes = _size("--limit", limit), _size("--swap", swap)
    now = current()
    try:
        group = own_group(now, *sizes)
    except LimitError as error:
        _by_systemd(str(error))
        group = None
    try:
        ended, made, verdict = _run(argv, group, adj)
    except StartError as error:
        if group is not None:
            group.remove()
        say(f"oomkit: {_printable(_about_start(str(error), adj))}")
        sys.exit(error.status)
    if group is not None and not group.remove():
        made["left_running"] = _left(group)
    if json_file is not None:
        _write(json_file, made)
    if not quiet or verdict.killer != "none":
        from oomkit.views.exec_text import safe, summary_lines

        for line in summary_lines(made, verdict, verbose=verbose):
            say(f"oomkit: {safe(line)}")
    end_as(ended)


def _printable(text: str) -> str:
    from oomkit.printable import printable

    return printable(text)


def _size(option: str, given: str | None) -> int | None:
    if given is None:
        return None
    from oomkit.toml.units import size

    try:
        return size(int(given) if given.isascii() and given.isdigit() else given)
    except ValueError as error:
        raise click.UsageError(f"{option}: {given!r}: expected {error}") from None


def _about_start(text: str, adj: int | None) -> str:
    if text.startswith("oom_score_adj:"):
        return f"--adj {adj}: {text.partition(': ')[2]}; to lower it takes CAP_SYS_RESOURCE"
    return text


def _by_systemd(why: str) -> None:
    """Come back inside of a scope that systemd delegates, where it can make one; else end."""
    import shutil

    from oomkit.cli.common import fail

    user = os.geteuid() != 0
    manager = (
        f"{os.environ.get('XDG_RUNTIME_DIR', '')}/systemd/private"
        if user
        else ("/run/systemd/private")
    )
    run = shutil.which("systemd-run")
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    if run is None or os.environ.get(_IN_SCOPE) or not os.path.exists(manager) or not unified:
        fail(why)
    scope = ["--user"] if user else []
    words = ["--scope", "--quiet", "--collect", "--property=Delegate=yes", "--", sys.executable]
    os.environ[_IN_SCOPE] = "1"
    sys.stdout.flush()
    try:
        os.execv(run, [run, *scope, *words, "-m", "oomkit", *sys.argv[1:]])
    except OSError as error:
        fail(f"{why}; {run}: {error.strerror}")


def _run(
    argv: tuple[str, ...], group: "Group | None", adj: int | None
) -> "tuple[Ended, dict[str, Any], Verdict]":
    from oomkit.command.evidence import Alarm, Reading
    from oomkit.command.kernel_log import KernelLog
    from oomkit.command.launch import run
    from oomkit.command.verdict import judge

    os.environ.pop(_IN_SCOPE, None)
    log = KernelLog()
    alarm = None if group is None else Alarm(group)
    before = Reading(group)
    begin = time.monotonic()

    def started(_: int) -> None:
        if alarm is not None:
            alarm.start(time.sleep)

    directories = [group.directory] if group is not None and group.made else []
    ended = run(argv, directories, adj, started)
    elapsed = time.monotonic() - begin
    after = Reading(group)
    killed = log.kills() if ended.signal == 9 or _kills(before, after) else []
    seen = () if alarm is None else alarm.largest
    verdict = judge(before, after, ended.signal, ended.pid, killed, seen)
    return ended, _record(argv, group, ended, elapsed, before, after, verdict), verdict


def _kills(before: "Reading", after: "Reading") -> bool:
    pairs = zip(before.levels, after.levels, strict=False)
    return any((last.kills or 0) > (first.kills or 0) for first, last in pairs)


def _record(
    argv: tuple[str, ...],
    group: "Group | None",
    ended: "Ended",
    elapsed: float,
    before: "Reading",
    after: "Reading",
    verdict: "Verdict",
) -> "dict[str, Any]":
    own = after.levels[0] if after.levels else None
    lowest = min(
        (level for level in after.levels if level.limit is not None),
        key=lambda level: level.limit or 0,
        default=None,
    )
    stalled = None
    if before.stalled_us is not None and after.stalled_us is not None:
        stalled = (after.stalled_us - before.stalled_us) / 1e6
    peak = None if own is None or not own.made else own.peak
    return {
        "command": list(argv),
        "pid": ended.pid,
        "status": {
            "exit": None if ended.signal else os.WEXITSTATUS(ended.status),
            "signal": ended.signal or None,
        },
        "elapsed_s": round(elapsed, 3),
        "cgroup": {
            "path": None if own is None else own.path,
            "own": own is not None and own.made,
            "why_not_own": "" if group is None else group.why_not,
        },
        "limit_bytes": None if lowest is None else lowest.limit,
        "limit_of": None if lowest is None else lowest.path,
        "peak_bytes": peak,
        "largest_process": _largest(ended, verdict),
        "stalled_s": stalled,
        "stalled_of": after.stalled_of,
        "left_running": 0,
        "verdict": verdict.values(),
    }


def _largest(ended: "Ended", verdict: "Verdict") -> "dict[str, Any]":
    """The largest process: by wait4(), which names none, and by the processes seen at the limit."""
    rss = ended.largest_bytes
    seen = verdict.seen[0] if verdict.seen else None
    if seen is not None and seen.rss >= rss // 2:
        rss = max(rss, seen.rss)
        return {"pid": seen.pid, "comm": seen.comm, "rss_bytes": rss, "at_most": False}
    return {"pid": None, "comm": None, "rss_bytes": rss, "at_most": rss <= ended.floor_bytes}


def _left(group: "Group") -> int:
    from oomkit.command.evidence import processes

    return len(processes(group))


def _write(path: str, made: "dict[str, Any]") -> None:
    import json

    from oomkit.files.safely import open_output

    try:
        with open_output(path) as file:
            file.write(json.dumps(made, indent=1).encode() + b"\n")
    except OSError as error:
        say(f"oomkit: --json: {_printable(path)}: {error.strerror}")
