"""``oomkit rank``: the kill order, live, from a file, or under another kernel."""

import math
import sys
import time

import click

from oomkit.cli import complete
from oomkit.cli.common import fail, rules_or_fail, snapshot_from, without_self
from oomkit.cli.streams import STDOUT, say
from oomkit.kernel.alloc import decide
from oomkit.kernel.rank import rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot

_EXAMPLE = """\b
Examples:
  oomkit rank
  oomkit rank --cgroup /kubepods/pod1234
  oomkit rank --kernel 2.6.32-754.el6.x86_64 --adjust 812=-300
  oomkit rank --why 812
  ssh db1 oomkit snapshot | oomkit rank --from -
"""
_DEFAULT_TOP = 20


def _parse_adjustments(values: tuple[str, ...]) -> dict[int, int]:
    adjustments: dict[int, int] = {}
    for value in values:
        pid, _, adj = value.partition("=")
        try:
            adjustments[int(pid)] = int(adj)
        except ValueError:
            fail(f"--adjust: {value!r}: expected PID=ADJ, such as 812=-300")
    return adjustments


@click.command(epilog=_EXAMPLE)
@click.option(
    "--cgroup",
    type=complete.CGROUP,
    metavar="PATH",
    help="Who dies when this memory cgroup runs out.",
)
@click.option(
    "--kernel",
    "release",
    type=complete.RELEASE,
    metavar="VERSION",
    help="What if this kernel decided.",
)
@click.option(
    "--adjust",
    "adjustments",
    metavar="PID=ADJ",
    multiple=True,
    help="What if this process had this oom_score_adj; may be repeated.",
)
@click.option("--asker", type=int, metavar="PID", help="The process whose request fails.")
@click.option("--top", type=click.IntRange(min=0), help="Show so many; 0 for all.  [default: 20]")
@click.option("--why", "why_pid", type=int, metavar="PID", help="Explain this process's fate.")
@click.option("--watch", is_flag=True, help="Look again and again until interrupted.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between looks with --watch.",
)
@click.option(
    "--from",
    "source",
    type=complete.FILE,
    metavar="FILE",
    help="A snapshot's JSON; - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="One object; with --watch one a line.")
def command(
    cgroup: str | None,
    release: str | None,
    adjustments: tuple[str, ...],
    asker: int | None,
    top: int | None,
    why_pid: int | None,
    *,
    watch: bool,
    interval: float,
    source: str | None,
    as_json: bool,
) -> None:
    """Show in which order processes would be killed, and why.

    Badness and scores are computed by the rules of the running kernel, or of another with
    --kernel; the column "kernel" is what /proc/PID/oom_score said. The exit status is 1 when
    the decision is a kernel panic.
    """
    question = _Question(
        cgroup,
        release,
        _parse_adjustments(adjustments),
        asker,
        top,
        why_pid,
        live=source is None,
        as_json=as_json,
    )
    if math.isnan(interval):  # which is outside of no range
        fail("--interval: expected seconds from 0.1 to 3600, not nan")
    if not watch:
        sys.exit(question.answer(snapshot_from(source)))
    if source is not None:
        fail("--watch looks at this machine; it can't be used with --from")
    from oomkit.host.scan import Scanner

    try:
        with Scanner() as scanner:
            while True:
                snapshot = without_self(scanner.snapshot())
                if sys.stdout.isatty() and not as_json:
                    click.clear()
                question.answer(snapshot, compact=True)
                if sys.stdout.isatty() and not as_json:
                    click.echo(f"(every {interval:g} s; Ctrl-C ends)")
                sys.stdout.flush()
                time.sleep(interval)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename == STDOUT:
            raise
        fail(f"/proc: {error.strerror}; expected a readable proc file system")
    except KeyboardInterrupt:
        sys.exit(0)


class _Question:
    """What the options ask, to be answered from any snapshot."""

    def __init__(
        self,
        cgroup: str | None,
        release: str | None,
        adjustments: dict[int, int],
        asker: int | None,
        top: int | None,
        why_pid: int | None,
        *,
        live: bool,
        as_json: bool,
    ) -> None:
        self.live = live
        self.cgroup = cgroup
        self.release = release
        self.adjustments = adjustments
        self.asker = asker
        self.top = top
        self.why_pid = why_pid
        self.as_json = as_json

    def answer(self, snapshot: Snapshot, *, compact: bool = False) -> int:
        """Print the answer; return the exit status."""
        from oomkit.kernel.whatif import WhatIfError, adjusted

        rules = rules_or_fail(self.release or snapshot.kernel)
        try:
            snapshot = adjusted(snapshot, self.adjustments)
        except WhatIfError as error:
            fail(f"--adjust: {error}")
        allocation = Allocation(pid=self.asker, memcg=self._memcg(snapshot))
        for option, pid in (("--asker", self.asker), ("--why", self.why_pid)):
            if pid is not None and all(task.pid != pid for task in snapshot.tasks):
                fail(f"{option}: no process {pid} in this snapshot")
        if self.as_json:
            return self._json(snapshot, allocation, rules, compact=compact)
        return self._text(snapshot, allocation, rules)

    def _memcg(self, snapshot: Snapshot) -> str | None:
        if self.cgroup is None:
            return None
        from oomkit.kernel.memcg_path import MemcgPathError, find_memcg_path

        try:
            path = find_memcg_path(snapshot, self.cgroup)
        except MemcgPathError as error:
            fail(f"--cgroup: {error}")
        # The root cgroup has no limit; when it is out of memory, so is the machine.
        return None if path == "/" else path

    def _json(
        self, snapshot: Snapshot, allocation: Allocation, rules: RuleSet, *, compact: bool
    ) -> int:
        import msgspec

        from oomkit.report.rank_json import rank_object

        decision = decide(snapshot, allocation, rules)
        answer = rank_object(snapshot, allocation, rules, decision, self.top, self.why_pid)
        text = msgspec.json.encode(answer)
        if not compact:
            text = msgspec.json.format(text, indent=1)
        sys.stdout.buffer.write(text + b"\n")
        return 1 if decision.action == "panic" else 0

    def _text(self, snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> int:
        from oomkit.kernel.versions import doubt
        from oomkit.kernel.why import why
        from oomkit.report.rank_text import rank_lines, rank_table, shown_rows, why_lines
        from oomkit.report.terminal import console

        out = console(sys.stdout)
        decision = decide(snapshot, allocation, rules)
        ranked = rank(snapshot, rules, allocation)
        for line in rank_lines(snapshot, allocation, rules, decision, ranked):
            out.print(line)
        if self.why_pid is not None:
            reasons = why(snapshot, allocation, rules, decision, self.why_pid)
            for line in why_lines(reasons):
                out.print(line)
        else:
            top = _DEFAULT_TOP if self.top is None else self.top
            rows, left_out = shown_rows(ranked, top)
            out.print(rank_table(snapshot, rules, rows, local_users=self.live))
            if left_out:
                out.print(f"({left_out} more; --top 0 shows all)")
        unsure = doubt(self.release or snapshot.kernel)
        for note in (*snapshot.missing, *([unsure] if unsure else [])):
            say(f"oomkit: {note}")
        return 1 if decision.action == "panic" else 0
