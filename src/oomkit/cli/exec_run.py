"""What ``oomkit exec`` does, without click: that would take longer to load than all of this."""

import os
import sys
import time

from oomkit.cli.streams import repair, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from oomkit.command.evidence import Reading
    from oomkit.command.group import Group
    from oomkit.command.launch import Ended
    from oomkit.command.verdict import Verdict

_IN_SCOPE = "OOMKIT_EXEC_IN_SCOPE"
_VALUES = {"--limit": "limit", "--swap": "swap", "--adj": "adj", "--json": "json_file"}
_FLAGS = {"-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}
ADJ = (-1000, 1000)


class Given:
    """What is asked for.

    Attributes:
        argv: the command.
        limit: of its memory, in bytes; None: none.
        swap: of its swap, in bytes; None: none.
        adj: its ``oom_score_adj``; None: ours.
        json_file: where a record of the run goes; None: nowhere.
        quiet: print nothing unless a process was killed.
        verbose: print the evidence.
    """

    def __init__(self, argv: "Sequence[str]") -> None:
        self.argv = tuple(argv)
        self.limit: int | None = None
        self.swap: int | None = None
        self.adj: int | None = None
        self.json_file: str | None = None
        self.quiet = False
        self.verbose = False


def plainly(words: "Sequence[str]") -> Given | None:
    """Read a command line that needs no help; None for click to read it, and to say what is wrong.

    Args:
        words: what follows ``exec``.
    """
    texts: dict[str, str] = {}
    flags: set[str] = set()
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            flags.add(_FLAGS[word])
        elif name in _VALUES and (equals or rest):
            texts[_VALUES[name]] = value if equals else rest.pop(0)
        else:
            return None
    if not rest or "" in texts.values():
        return None
    given = Given(rest)
    given.quiet, given.verbose = "quiet" in flags, "verbose" in flags
    given.json_file = texts.get("json_file")
    try:
        given.limit, given.swap = size(texts.get("limit")), size(texts.get("swap"))
        given.adj = int(texts["adj"]) if "adj" in texts else None
    except ValueError:
        return None
    return given if given.adj is None or ADJ[0] <= given.adj <= ADJ[1] else None


def size(text: str | None) -> int | None:
    """The bytes of an option; None where it is not given.

    Raises:
        ValueError: it is no size; the text says what was expected.
    """
    if text is None:
        return None
    from oomkit.toml.units import size

    return size(int(text) if text.isascii() and text.isdigit() else text)


def start(words: "Sequence[str]") -> None:
    """Run the command, and end as it did; return where click has to look at the command line.

    Args:
        words: what follows ``exec``.
    """
    if "_OOMKIT_COMPLETE" in os.environ:
        return
    repair()
    given = plainly(words)
    if given is not None:
        try:
            carry_out(given)
        except Exception as error:
            from oomkit.cli.group import report

            sys.exit(report(error))


def carry_out(given: Given) -> "NoReturn":
    """Run the command, report on it, and end as it did."""
    from oomkit.command.group import LimitError, current, own_group
    from oomkit.command.launch import StartError, end_as

    now = current()
    try:
        group = own_group(now, given.limit, given.swap)
    except LimitError as error:
        _by_systemd(str(error))
        group = None
    try:
        ended, made, verdict = _run(given.argv, group, given.adj)
    except StartError as error:
        if group is not None:
            group.remove()
        say(f"oomkit: {_printable(_about_start(str(error), given.adj))}")
        sys.exit(error.status)
    if group is not None and not group.remove():
        made["left_running"] = _left(group)
    if given.json_file is not None:
        _write(given.json_file, made)
    if not given.quiet or verdict.killer != "none":
        from oomkit.views.exec_text import safe, summary_lines

        for line in summary_lines(made, verdict, verbose=given.verbose):
            say(f"oomkit: {safe(line)}")
    end_as(ended)


def _printable(text: str) -> str:
    from oomkit.printable import printable

    return printable(text)


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
    words = ["--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]
    # As it was started itself: a package or a single file is no module of that Python.
    words += [sys.executable, *sys.orig_argv[1:]]
    os.environ[_IN_SCOPE] = "1"
    sys.stdout.flush()
    try:
        os.execv(run, [run, *scope, *words])
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
