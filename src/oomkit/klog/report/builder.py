"""One report while its lines come in."""

import re
from collections.abc import Callable

from oomkit.klog import version_texts
from oomkit.klog.lines.line import Line
from oomkit.klog.records import (
    MAX_PROBLEMS,
    Damage,
    Killed,
    Problem,
    Reaped,
    Report,
    Selected,
    Source,
    Summary,
    TaskRow,
)
from oomkit.klog.report.line_records import Caller, Header
from oomkit.klog.report.memcg import MemcgPart
from oomkit.klog.report.meminfo import MemoryPart, page_kb
from oomkit.klog.report.scope import beancounter, has_stack, what_ran_out
from oomkit.klog.report.tasks import guess_columns, is_whole_row, parse_row, rows_of
from oomkit.records import replace

_MIN_ROWS = 2
"""Minimum number of rows of a table; a single line may only look like a row."""

MAX_TASKS = 1 << 16
MAX_FRAMES = 100
"""Bounds for what no kernel prints and a hostile log may hold."""


class Builder:
    """Collects the parts of one report; :meth:`build` makes the record."""

    def __init__(self, line: Line) -> None:
        self.first = self.last = line
        self.header: Header | None = None
        self.caller: Caller | None = None
        self.kernel: str | None = None
        self.cpuset: str | None = None
        self.mems_allowed: str | None = None
        self.trace: list[str] = []
        self.guesses: set[str] = set()
        self.memory = MemoryPart()
        self.memcg = MemcgPart()
        self.columns: tuple[str, ...] | None = None
        self.wide_pid = False
        self.rows: list[tuple[str, int]] = []
        self._whole_rows = 0
        self.tasks: list[TaskRow] = []
        self.table_at: int | None = None
        self.table_due = False
        self.table_done = False
        self.selected: Selected | None = None
        self.summary: Summary | None = None
        self.killed: list[Killed] = []
        self._killed: set[tuple[int, str]] = set()
        self._victims: set[int] = set()
        self._again = False
        self._stamps: dict[int, float | None] = {}
        self.kill_text: str | None = None
        self.kill_form: str | None = None
        self.oom_group: str | None = None
        self.grouped = False
        self.reaped: list[Reaped] = []
        self.panic: str | None = None
        self.no_killable = False
        self.would_have = False
        self.exiting = False
        self.problems: list[Problem] = []
        self.foreign = False
        self.asked = False

    # -- what is there ---------------------------------------------------------------------

    @property
    def strong(self) -> bool:
        """Something in it can only come from the OOM killer."""
        return self.stronger or bool(self.memcg.counted_paths)

    @property
    def stronger(self) -> bool:
        """It has more of the OOM killer than the statistics of a cgroup."""
        return bool(
            self.header
            or self.columns
            or self.selected
            or self.summary
            or self.killed
            or self.panic
            or self.no_killable
            or self.memcg.path
            or self.memcg.counted
            or self.table_due
            or self.reaped
            or self._whole_rows >= _MIN_ROWS
            or has_stack(self)
        )

    @property
    def only_kills(self) -> bool:
        """It has kill lines and nothing of what the kernel prints before them."""
        return bool(self.killed) and not (
            self.header or self.caller or self.selected or self.summary or self.has_table
            or self.panic or self.oom_group or not (self.memory.empty and self.memcg.empty)
        )  # fmt: skip

    def holds(self, uptime_s: float) -> bool:
        """A stamp of the kernel's clock lies within it."""
        first, last = self.first.uptime_s, self.last.uptime_s
        return first is not None and last is not None and first <= uptime_s <= last

    @property
    def ended(self) -> bool:
        """Its last line was seen; what follows can only be about its victims."""
        return bool(self.killed or self.panic or self.no_killable or self.exiting)

    @property
    def has_table(self) -> bool:
        """It has a table or rows of one."""
        return self.columns is not None or bool(self.rows or self.tasks)

    def problem(self, kind: Damage, text: str, line: int | None = None) -> None:
        """Note damage once."""
        if sum(known.kind == kind for known in self.problems) >= MAX_PROBLEMS:
            return
        found = Problem(kind=kind, text=text, line=line)
        if found not in self.problems:
            self.problems.append(found)

    def touch(self, line: Line) -> None:
        """Note that a line belongs to it."""
        self.last = line

    # -- parts -----------------------------------------------------------------------------

    def add_frames(self, names: list[str]) -> None:
        """Take functions of the call trace, which stands before the memory part."""
        if not self.has_table and self.memory.empty:
            self.trace.extend(names[: MAX_FRAMES - len(self.trace)])

    def add_guesses(self, names: list[str]) -> None:
        """Take functions that the kernel found on the stack, and may be of earlier calls."""
        if not self.has_table and self.memory.empty and len(self.guesses) < MAX_FRAMES:
            self.guesses.update(names)

    def add_row(self, line: Line) -> None:
        """Take a row of the task table."""
        if len(self.rows) + len(self.tasks) >= MAX_TASKS:
            self.problem("table_truncated", "the task table has more rows than can be", None)
        elif self.columns is None:
            self.rows.append((line.text, line.number))
            self._whole_rows += is_whole_row(line.text)
        else:
            self._parse_row(line.text, line.number, self.columns)

    def take_whole_rows(self, rows: list[re.Match[str]], number: int) -> int:
        """Take rows, as many as there may be; returns how many."""
        columns = self.columns
        if columns is None:
            return 0
        fields = len(columns) + 2
        found = [match.groups()[-fields:] for match in rows[: MAX_TASKS - len(self.tasks)]]
        self.tasks.extend(rows_of(found, columns, number))
        return len(found)

    def _parse_row(self, text: str, number: int, columns: tuple[str, ...] | None) -> None:
        row = parse_row(text, columns, number) if columns else None
        if row is None:
            self.problem("row_damaged", "a row of the task table is damaged", number)
            return
        pid, tgid = str(row.pid), str(row.tgid)
        if len(pid) > len(tgid) and pid.endswith(tgid):
            # Characters of another line stand before the pid: console output was lost between.
            self.problem("row_damaged", "a row of the task table is spliced", number)
            row = replace(row, pid=row.tgid)
        self.tasks.append(row)

    def end_table(self) -> None:
        """The table is over; rows without a header are read now."""
        self.table_done = True
        if self.rows and self.columns is None:
            self.columns_guessed = guess_columns([text for text, _ in self.rows])
            for text, number in self.rows:
                self._parse_row(text, number, self.columns_guessed)
            self.rows = []

    columns_guessed: tuple[str, ...] | None = None

    def add_killed(self, killed: Killed, uptime_s: float | None = None) -> None:
        """Take a victim; a line that stands in the log twice counts once.

        Of a group the chosen one is killed, and its line printed, twice: by itself and with it.
        """
        if (killed.pid, killed.comm) in self._killed:
            for i, known in enumerate(self.killed):
                if known.pid == killed.pid and known.told_by == "reaper":
                    self.killed[i] = killed
                    return
            is_first = killed.pid == self.killed[0].pid and not self._again
            if is_first and (self.grouped or self.oom_group is not None):
                self._again = True
                return
            self.problem("lines_repeated", "lines stand in the log twice", killed.line)
        elif len(self.killed) < MAX_TASKS:
            self._killed.add((killed.pid, killed.comm))
            self._victims.add(killed.pid)
            self._stamps[killed.pid] = uptime_s
            self.killed.append(killed)

    def stamp_of(self, pid: int) -> float | None:
        """The kernel's stamp of a victim's line."""
        return self._stamps.get(pid)

    def has_victim(self, pid: int) -> bool:
        """A process of that id was killed."""
        return pid in self._victims

    def add_reaped(self, reaped: Reaped) -> None:
        """Take a line of oom_reaper."""
        if len(self.reaped) < MAX_TASKS:
            self.reaped.append(reaped)

    # -- the record ------------------------------------------------------------------------

    def build(self, file: str, finish: Callable[["Builder"], None]) -> Report:
        """Return the record; ``finish`` notes what is missing before it is made."""
        self.end_table()
        self._drop_repeated_rows()
        self._separate_threads()
        finish(self)
        if not self.killed and self.selected is not None and not self.would_have:
            chosen = self.selected
            self.killed.append(
                Killed(
                    pid=chosen.pid,
                    comm=chosen.comm,
                    killed_as="selected",
                    told_by="choice",
                    line=chosen.line,
                )
            )
        summary, header, caller = self.summary, self.header, self.caller
        constraint, scope = what_ran_out(self)
        memcg = self.memcg.build(
            summary.oom_memcg if summary else None, summary.task_memcg if summary else None
        )
        cgroup = None
        if scope == "memcg":
            cgroup = (summary.oom_memcg if summary else None) or (memcg.path if memcg else None)
            cgroup = cgroup or self.oom_group or beancounter(self)
        memory = self.memory.build()
        return Report(
            source=self._source(file),
            time=self.first.time,
            uptime_s=self.first.uptime_s,
            host=self.first.host,
            kernel=self.kernel,
            kernel_range=version_texts.version_range(self),
            scope=scope,
            constraint=constraint,
            cgroup=cgroup,
            cpuset=self.cpuset or (summary.cpuset if summary else None),
            mems_allowed=self.mems_allowed or (summary.mems_allowed if summary else None),
            invoker=_invoker(header, caller),
            invoker_pid=(header.pid if header else None) or (caller.pid if caller else None),
            invoker_oom_score_adj=header.oom_score_adj if header else None,
            invoker_oom_adj=header.oom_adj if header else None,
            gfp_mask=header.gfp_mask if header else None,
            nodemask=_nodemask(header, summary),
            order=header.order if header else None,
            tainted=caller.tainted if caller else None,
            call_trace=tuple(self.trace),
            memory=memory,
            page_kb=page_kb(memory, self.killed, self.tasks),
            memcg=memcg,
            protection=self.memcg.protection,
            tasks=tuple(self.tasks),
            table_complete=self._complete(),
            selected=self.selected,
            summary=summary,
            killed=tuple(self.killed),
            kill_text=self.kill_text,
            oom_group=self.oom_group,
            reaped=tuple(self.reaped),
            panic=self.panic,
            no_killable=self.no_killable,
            would_have=self.would_have,
            already_exiting=self.exiting,
            problems=tuple(sorted(self.problems, key=lambda p: (p.line is None, p.line or 0))),
        )

    def _drop_repeated_rows(self) -> None:
        if len({row.pid for row in self.tasks}) == len(self.tasks):
            return
        rows: dict[TaskRow, TaskRow] = {}
        for row in self.tasks:
            if rows.setdefault(replace(row, line=0), row) is not row:
                self.problem("lines_repeated", "lines stand in the log twice", row.line)
        self.tasks = list(rows.values())

    def _separate_threads(self) -> None:
        """Whether the chosen one is a thread of the victim, or the victim a child of it.

        A memory cgroup's scan chose among threads until 5.2, while the kill line names the group's
        leader; the table lists leaders only, and all of them.
        """
        chosen, victim = self.selected, self.killed[0] if self.killed else None
        if chosen is None or victim is None or victim.killed_as != "child":
            return
        if what_ran_out(self)[1] != "memcg" or any(row.pid == chosen.pid for row in self.tasks):
            return
        if victim.pid > chosen.pid and not self.tasks:
            return  # a thread is younger than its leader, unless numbers began again
        younger = victim.pid > chosen.pid
        if not younger and self._complete() and any(row.tgid == victim.pid for row in self.tasks):
            self.selected = replace(chosen, tgid=victim.pid)
            self.killed[0] = replace(victim, killed_as="selected")
        else:
            self.killed[0] = replace(victim, killed_as=None)

    def _source(self, file: str) -> Source:
        first, last = sorted((self.first.number, self.last.number))
        return Source(file=file, line=first, end_line=last)

    def _complete(self) -> bool:
        harmful = {"row_damaged", "row_missing", "table_truncated", "table_excerpt", "mixed"}
        return (
            self.columns is not None
            and bool(self.tasks)
            and not any(problem.kind in harmful for problem in self.problems)
        )


def _invoker(header: Header | None, caller: Caller | None) -> str | None:
    """Name of the asker, without what an unknown prefix left before it."""
    comm = header.comm if header else None
    name = caller.comm if caller else None
    if comm is None or (name is not None and comm.endswith(name)):
        return name or comm
    if len(comm) > _MAX_COMM and " " in comm and name is None:
        return comm.rpartition(" ")[2]
    return comm


_MAX_COMM = 20
"""A name has at most 15 bytes; some kernels print a thread id with it."""


def _nodemask(header: Header | None, summary: Summary | None) -> str | None:
    if header is not None and header.nodemask not in {None, "(null)"}:
        return header.nodemask
    return summary.nodemask if summary is not None else None
