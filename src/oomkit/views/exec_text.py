"""What became of a command, in lines for stderr; loads nothing that takes long."""

import os
import signal

from oomkit.command import verdict as is_
from oomkit.printable import printable
from oomkit.render.quantities import human_bytes, percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from oomkit.command.verdict import Verdict


def summary_lines(made: "dict[str, Any]", verdict: "Verdict", *, verbose: bool) -> "Iterator[str]":
    """Say what a command used, and what killed of it, in one line or a few.

    Args:
        made: the record of the run, as ``oomkit exec --json`` writes it.
        verdict: what became of it.
        verbose: print the evidence, and the processes that were seen.
    """
    yield "; ".join(_parts(made))
    yield from kill_lines(verdict, itself=made["command"][0])
    if made["left_running"]:
        yield (
            f"{made['left_running']} of its processes still run in {made['cgroup']['path']}, under "
            "the same limit"
        )
    if not verbose:
        return
    if made["cgroup"]["why_not_own"]:
        yield f"no cgroup of its own: {made['cgroup']['why_not_own']}"
    for seen in verdict.seen[:5]:
        yield f"there at the fullest moment seen: {seen.comm}[{seen.pid}] {human_bytes(seen.rss)}"
    yield "evidence: " + "; ".join(verdict.evidence)


def _parts(made: "dict[str, Any]") -> "Iterator[str]":
    peak, limit = made["peak_bytes"], made["limit_bytes"]
    if peak is not None:
        text = f"peak {human_bytes(peak)}"
        if limit:
            text += f", {percent(peak / limit)} of the limit {human_bytes(limit)}"
            if made["limit_of"] != made["cgroup"]["path"]:
                text += f" of {made['limit_of']}"
        yield text
    elif limit:
        yield f"limit {human_bytes(limit)} of {made['limit_of']}"
    largest = made["largest_process"]
    name = f" ({largest['comm']}[{largest['pid']}])" if largest["pid"] else ""
    at_most = "at most " if largest["at_most"] else ""
    yield f"largest process {at_most}{human_bytes(largest['rss_bytes'])}{name}"
    stalled = made["stalled_s"]
    if stalled is not None and stalled >= 0.0005:
        of = "" if made["stalled_of"] == "cgroup" else " (the machine)"
        yield f"waited for memory {stalled:.3g} s of {made['elapsed_s']:.3g} s{of}"
    else:
        yield f"{made['elapsed_s']:.3g} s"
    status = made["status"]
    if status["signal"]:
        yield f"killed by {signal.Signals(status['signal']).name}"
    elif status["exit"]:
        yield f"exit status {status['exit']}"


def kill_lines(verdict: "Verdict", *, itself: str = "") -> "Iterator[str]":
    """Which processes were killed, by what, for which limit, and what would have sufficed."""
    if verdict.killer == is_.NONE:
        return
    what = _what(verdict, itself)
    if verdict.killer == is_.SIGKILL:
        yield (
            f"{what} by a SIGKILL of unknown origin: no counter here shows a kill for memory"
            f"{'' if verdict.kills is not None else ', and kills are not counted here'}"
        )
        return
    by = {
        is_.KERNEL_HERE: "by the kernel for the limit of this cgroup",
        is_.KERNEL_ABOVE: "by the kernel for the limit of a cgroup above",
        is_.KERNEL_MACHINE: "by the kernel: the machine ran out, or a cgroup that is not seen here",
        is_.OOMD: "by systemd-oomd",
    }[verdict.killer]
    limit = "" if verdict.limit is None else f", {human_bytes(verdict.limit)}"
    of = f" ({verdict.limit_of}{limit})" if verdict.limit_of is not None else ""
    yield f"{what} {by}{of}"
    between = verdict.sufficed()
    if between is not None and verdict.killer in (is_.KERNEL_HERE, is_.KERNEL_ABOVE):
        yield _sufficed(between)


def _what(verdict: "Verdict", itself: str) -> str:
    named = ", ".join(f"{kill.comm}[{kill.pid}]" for kill in verdict.victims)
    if verdict.whole:
        named = f"the whole group ({named})" if named else "the whole group"
        return f"killed: {named}"
    if named:
        return f"killed: {named}"
    command = os.path.basename(itself) or "the command"
    if verdict.itself:
        more = (verdict.kills or 1) - 1
        return f"killed: {command}" + (f" and {more} more of its processes" if more > 0 else "")
    kills = verdict.kills or 1
    many = "a process" if kills == 1 else f"{kills} processes"
    here = "of this cgroup, perhaps of others in it," if verdict.shared else "that it started"
    likely = (
        f" (largest there: {verdict.seen[0].comm}[{verdict.seen[0].pid}])" if verdict.seen else ""
    )
    return f"killed: {many} {here}{likely}"


def _sufficed(between: tuple[int, int | None]) -> str:
    above, most = between
    needed = f"more than {human_bytes(above)} is needed"
    if most is not None and most > above:
        return f"{needed}, and {human_bytes(most)} would hold all that was mapped"
    return f"{needed}; it was still asking, so how much is not known"


def safe(line: str) -> str:
    """A line of foreign names, safe to be shown."""
    return printable(line)
