"""``oomkit rank``: the kill order, live, from a file, or under another kernel."""

import math
import re
import sys
import time

import click
import msgspec

from oomkit.cli.common import fail, rules_or_fail, snapshot_from, without_self
from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import others_are_hidden, rank, within
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot

_EXAMPLE = """\b
Examples:
  oomkit rank
  oomkit rank --cgroup /kubepods/pod1234
  oomkit rank --kernel 2.6.32-754.el6.x86_64 --adjust 812=-300
  oomkit rank --why mysqld
  ssh db1 oomkit snapshot | oomkit rank --from -
"""
_DEFAULT_TOP = 20
_NUMBER = re.compile(r"[+-]?\d{1,6}", re.ASCII)


@click.command(epilog=_EXAMPLE)
@click.option("--cgroup", metavar="PATH", help="Who dies when this memory cgroup runs out.")
@click.option("--kernel", "release", metavar="VERSION", help="What if this kernel decided.")
@click.option(
    "--adjust",
    "adjustments",
    metavar="PROCESS=ADJ",
    multiple=True,
    help="What if this process, or all of this name, had this oom_score_adj; may be repeated.",
)
@click.option("--asker", metavar="PROCESS", help="The process whose request fails: pid or name.")
@click.option("--top", type=click.IntRange(min=0), help="Show so many; 0 for all.  [default: 20]")
@click.option("--why", metavar="PROCESS", help="Explain this process's fate: pid or name.")
@click.option("--watch", is_flag=True, help="Look again and again until interrupted.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between looks with --watch.",
)
@click.option("--from", "source", metavar="FILE", help="A snapshot's JSON; - for standard input.")
@click.option("--json", "as_json", is_flag=True, help="One object; with --watch one a line.")
def command(
    cgroup: str | None,
    release: str | None,
    adjustments: tuple[str, ...],
    asker: str | None,
    top: int | None,
    why: str | None,
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
        cgroup=cgroup,
        release=release,
        adjustments=adjustments,
        asker=asker,
        top=top,
        why=why,
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
                sys.stdout.flush()
                time.sleep(interval)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"/proc: {error.strerror}; expected a readable proc file system")
    except KeyboardInterrupt:
        sys.exit(0)


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the options ask, to be answered from any snapshot."""

    cgroup: str | None
    release: str | None
    adjustments: tuple[str, ...]
    asker: str | None
    top: int | None
    why: str | None
    live: bool
    as_json: bool

    def answer(self, snapshot: Snapshot, *, compact: bool = False) -> int:
        """Print the answer; return the exit status."""
        rules = rules_or_fail(self.release or snapshot.kernel)
        if self.live:
            from oomkit.host.cmdline import with_command_lines

            snapshot = with_command_lines(snapshot)
        snapshot = self._adjusted(snapshot)
        asker = self._pid("--asker", self.asker, snapshot)
        why_pid = self._pid("--why", self.why, snapshot)
        allocation = Allocation(pid=asker, memcg=self._memcg(snapshot))
        decision = decide(snapshot, allocation, rules)
        if self.as_json:
            self._json(snapshot, allocation, rules, decision, why_pid, compact=compact)
        else:
            self._text(snapshot, allocation, rules, decision, why_pid)
        panics = decision.action == "panic" and not others_are_hidden(snapshot, decision)
        return 1 if panics else 0

    def _adjusted(self, snapshot: Snapshot) -> Snapshot:
        from oomkit.kernel.task_name import TaskNameError, find_tasks
        from oomkit.kernel.whatif import WhatIfError, adjusted

        for given in self.adjustments:
            name, equals, adj = given.rpartition("=")
            if not equals or not _NUMBER.fullmatch(adj.strip()):
                fail(f"--adjust: {given!r}: expected PROCESS=ADJ, such as 812=-300 or mysqld=-300")
            try:
                found = find_tasks(snapshot, name.strip())
                snapshot = adjusted(snapshot, {task.pid: int(adj) for task in found})
            except (TaskNameError, WhatIfError) as error:
                fail(f"--adjust: {error}")
        return snapshot

    def _pid(self, option: str, given: str | None, snapshot: Snapshot) -> int | None:
        if given is None:
            return None
        from oomkit.kernel.task_name import TaskNameError, find_task

        try:
            return find_task(snapshot, given).pid
        except TaskNameError as error:
            fail(f"{option}: {error}")

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
        self,
        snapshot: Snapshot,
        allocation: Allocation,
        rules: RuleSet,
        decision: Decision,
        why_pid: int | None,
        *,
        compact: bool,
    ) -> None:
        from oomkit.report.rank_json import rank_object

        answer = rank_object(snapshot, allocation, rules, decision, self.top, why_pid)
        text = msgspec.json.encode(answer)
        if not compact:
            text = msgspec.json.format(text, indent=1)
        sys.stdout.buffer.write(text + b"\n")

    def _text(
        self,
        snapshot: Snapshot,
        allocation: Allocation,
        rules: RuleSet,
        decision: Decision,
        why_pid: int | None,
    ) -> None:
        from oomkit.kernel.versions import doubt
        from oomkit.kernel.why import why
        from oomkit.report.rank_text import rank_table, show_heading, show_why, shown_rows
        from oomkit.report.terminal import Page

        page = Page(sys.stdout)
        ranked = within(rank(snapshot, rules, allocation), allocation)
        show_heading(page, snapshot, allocation, rules, decision, ranked, advise=why_pid is None)
        page.line("")
        if why_pid is not None:
            show_why(page, snapshot, why(snapshot, allocation, rules, decision, why_pid), rules)
        else:
            top = _DEFAULT_TOP if self.top is None else self.top
            rows, left_out = shown_rows(ranked, top)
            table = rank_table(snapshot, rules, rows, page.width, local_users=self.live)
            for line, style in table:
                page.line(line, style)
            if left_out:
                page.line(f"({left_out} more; --top 0 shows all)")
        unsure = doubt(self.release or snapshot.kernel)
        for note in (*snapshot.missing, *([unsure] if unsure else [])):
            click.echo(f"oomkit: {note}", err=True)
