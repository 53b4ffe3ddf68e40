"""``oomkit rank``: the kill order, live, from a file, or under another kernel."""

import re
import sys
import time
from typing import TYPE_CHECKING

import click
import msgspec

from oomkit.cli import complete
from oomkit.cli.common import fail, rules_or_fail, snapshot_from, with_names, without_self
from oomkit.cli.streams import say
from oomkit.cli.watch import looking, refuse_file, watch_options
from oomkit.kernel.alloc import decide
from oomkit.kernel.rank import others_are_hidden
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.posture.asked import KINDS, Asked, By, whatif_of
from oomkit.printable import printable

if TYPE_CHECKING:
    from oomkit.posture.whatif import Change

_EXAMPLE = """\b
Examples:
  oomkit rank
  oomkit rank --cgroup /kubepods/pod1234
  oomkit rank --kernel 2.6.32-754.el6.x86_64 --adjust 812=-300
  oomkit rank --why mysqld
  oomkit rank --set machine.ram=+4G --set cgroup.web.max=2G
  oomkit rank --by unit
  ssh db1 oomkit snapshot | oomkit rank --from -
"""
_DEFAULT_TOP = 20
_NUMBER = re.compile(r"[+-]?\d{1,6}", re.ASCII)


@click.command(epilog=_EXAMPLE)
@click.option(
    "--cgroup",
    type=complete.CGROUP,
    metavar="PATH",
    help="Rank for an OOM in this memory cgroup: its path, or a part that names only one.  "
    "[default: an OOM of the whole machine]",
)
@click.option(
    "--kernel",
    "release",
    type=complete.RELEASE,
    metavar="VERSION",
    help="Apply the rules of this kernel, such as 2.6.32 or 5.14.0-503.el9.  "
    "[default: the running one's]",
)
@click.option(
    "--adjust",
    "adjustments",
    metavar="PROCESS=ADJ",
    multiple=True,
    help="Rank with this oom_score_adj, -1000 to 1000, for a pid or for all processes of a name, "
    "such as mysqld=-300. Can be repeated.",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Rank with a value changed: machine.ram, machine.swap, vm.NAME, cgroup.NAME.KEY, "
    "task.NAME.oom_score_adj. A size is in bytes or has a unit (2G); +2G and -2G are added to "
    "the present value. Can be repeated.",
)
@click.option(
    "--asker", metavar="PROCESS", help="The process whose allocation fails, as a pid or name."
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of processes to show; 0 for all.  [default: 20]",
)
@click.option(
    "--why",
    metavar="PROCESS",
    help="Show why this process, given as a pid or name, would or would not be killed, and the "
    "smallest changes that would alter that.",
)
@click.option(
    "--by",
    type=click.Choice(KINDS),
    help="Group the processes: a row for each unit, cgroup, pod, user or name.",
)
@watch_options
def command(
    cgroup: str | None,
    release: str | None,
    adjustments: tuple[str, ...],
    settings: tuple[str, ...],
    asker: str | None,
    top: int | None,
    why: str | None,
    by: By | None,
    *,
    watch: bool,
    interval: float,
    source: str | None,
    as_json: bool,
) -> None:
    """Show in which order the kernel would kill processes, and why.

    Badness and scores are computed by the rules of the running kernel, or of the one that --kernel
    names; the column "kernel" shows /proc/PID/oom_score as it was read. The exit status is 1 if
    the decision is a kernel panic.
    """
    release, settings = _kernel_of(release, settings)
    if why is not None and by is not None:
        fail("--why and --by don't go together")
    question = _Question(
        cgroup=cgroup,
        release=release,
        adjustments=adjustments,
        settings=settings,
        by=by,
        asker=asker,
        top=top,
        why=why,
        live=source is None,
        as_json=as_json,
    )
    refuse_file(source, watch=watch)
    if not watch:
        sys.exit(question.answer(snapshot_from(source)))
    from oomkit.host.names import NameBook
    from oomkit.host.scan import Scanner

    with looking(watch=True), Scanner() as scanner:
        book = NameBook()
        while True:
            snapshot = with_names(without_self(scanner.snapshot()), book)
            if sys.stdout.isatty() and not as_json:
                click.clear()
            question.answer(snapshot, compact=True)
            if sys.stdout.isatty() and not as_json:
                click.echo(f"(every {interval:g} s; Ctrl-C ends)")
            sys.stdout.flush()
            time.sleep(interval)


def _kernel_of(
    release: str | None, settings: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """``--set machine.kernel=V`` is ``--kernel V``; the last one counts."""
    others = []
    for setting in settings:
        key, _, value = setting.partition("=")
        if key.strip() == "machine.kernel":
            release = value.strip().strip("\"'")
        else:
            others.append(setting)
    return release, tuple(others)


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the options ask, to be answered from any snapshot."""

    cgroup: str | None
    release: str | None
    adjustments: tuple[str, ...]
    settings: tuple[str, ...]
    asker: str | None
    top: int | None
    why: str | None
    by: By | None
    live: bool
    as_json: bool

    def answer(self, snapshot: Snapshot, *, compact: bool = False) -> int:
        """Print the answer; return the exit status."""
        rules = rules_or_fail(self.release or snapshot.kernel)
        if self.live and (self.as_json or self.by is None):
            from oomkit.host.process import with_command_lines

            snapshot = with_command_lines(snapshot)
        as_it_is = snapshot
        snapshot, changes = self._changed(snapshot, rules)
        allocation = Allocation(
            pid=self._pid("--asker", self.asker, snapshot), memcg=self._memcg(snapshot)
        )
        asked = Asked(
            snapshot=snapshot,
            allocation=allocation,
            rules=rules,
            decision=decide(snapshot, allocation, rules),
            why_pid=self._pid("--why", self.why, snapshot),
            by=self.by,
            whatif=whatif_of(as_it_is, snapshot, allocation, rules, changes),
        )
        if self.as_json:
            self._json(asked, compact=compact)
        else:
            self._text(asked)
        panics = asked.decision.action == "panic"
        return 1 if panics and not others_are_hidden(snapshot, asked.decision) else 0

    def _changed(self, snapshot: Snapshot, rules: RuleSet) -> "tuple[Snapshot, tuple[Change, ...]]":
        if not self.settings and not self.adjustments:
            return snapshot, ()
        from oomkit.posture.whatif import SetError, adjusted, changed

        try:
            snapshot, changes = changed(snapshot, self.settings, rules)
        except SetError as error:
            fail(printable(str(error)))
        for given in self.adjustments:
            name, equals, adj = given.rpartition("=")
            if not equals or not _NUMBER.fullmatch(adj.strip()):
                fail(f"--adjust: {given!r}: expected PROCESS=ADJ, such as 812=-300 or mysqld=-300")
            try:
                snapshot, change = adjusted(
                    snapshot, name.strip(), int(adj), rules, "oom_score_adj"
                )
            except SetError as error:
                fail(printable(f"--adjust: {error}"))
            changes += (change,)
        return snapshot, changes

    def _pid(self, option: str, given: str | None, snapshot: Snapshot) -> int | None:
        if given is None:
            return None
        from oomkit.kernel.cgroup_name import TaskNameError, find_task

        try:
            return find_task(snapshot, given).pid
        except TaskNameError as error:
            fail(printable(f"{option}: {error}"))

    def _memcg(self, snapshot: Snapshot) -> str | None:
        if self.cgroup is None:
            return None
        from oomkit.kernel.cgroup_name import MemcgPathError, find_memcg_path

        try:
            path = find_memcg_path(snapshot, self.cgroup)
        except MemcgPathError as error:
            fail(printable(f"--cgroup: {error}"))
        # The root cgroup has no limit; when it is out of memory, so is the machine.
        return None if path == "/" else path

    def _json(self, asked: Asked, *, compact: bool) -> None:
        from oomkit.views.rank_json import rank_object

        text = msgspec.json.encode(rank_object(asked, self.top))
        if not compact:
            text = msgspec.json.format(text, indent=1)
        sys.stdout.buffer.write(text + b"\n")

    def _text(self, asked: Asked) -> None:
        from oomkit.kernel.versions import doubt
        from oomkit.render.terminal import show
        from oomkit.views.rank import rank_report

        top = _DEFAULT_TOP if self.top is None else self.top
        show(rank_report(asked, top, local_users=self.live))
        snapshot = asked.snapshot
        unsure = doubt(self.release or snapshot.kernel)
        for note in (*snapshot.missing, *([unsure] if unsure else [])):
            say(printable(f"oomkit: {note}"))
