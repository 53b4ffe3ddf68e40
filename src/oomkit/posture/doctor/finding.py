"""Findings, the files that would mend them, and the case that they are found in."""

import functools
import shlex
from collections.abc import Iterable
from typing import Literal

from oomkit.host.configuration import Configuration
from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import Ranked, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.posture.advice import Advice
from oomkit.posture.assess import memory_left_pages
from oomkit.posture.attention import Severity
from oomkit.posture.whatif import changed
from oomkit.records import Record
from oomkit.render.quantities import human_bytes, human_pages


class File(Record, frozen=True, kw_only=True):
    """A file that makes a change last.

    Attributes:
        path: where it belongs, absolute.
        text: what it holds.
    """

    path: str
    text: str


class Finding(Record, frozen=True, kw_only=True):
    """One thing that invites a bad OOM.

    Attributes:
        severity: ``critical`` where harm is near or great.
        code: a stable name for scripts.
        text: what is wrong, in one sentence.
        evidence: the values it was read from, each with its source.
        reason: what the kernel does with them.
        change: what to change, in one sentence.
        files: what makes the change last; none where no file can.
        commands: what makes it at once, or where no file can.
        alters: what is different afterwards.
        checked_by: ``rules`` where the kernel's rules decided before and after, ``figures``
            where sizes were compared, ``reason`` where neither decides and it follows from the
            reason alone.
    """

    severity: Severity
    code: str
    text: str
    evidence: tuple[str, ...]
    reason: str
    change: str
    files: tuple[File, ...] = ()
    commands: tuple[Advice, ...] = ()
    alters: str
    checked_by: Literal["rules", "figures", "reason"]


class Case:
    """A machine, its kernel's rules and its configuration, with what follows from them."""

    def __init__(
        self, snapshot: Snapshot, rules: RuleSet, configuration: Configuration | None
    ) -> None:
        """Args: as :func:`oomkit.posture.doctor.examine.examine`."""
        self.snapshot = snapshot
        self.rules = rules
        self.configuration = configuration

    @functools.cached_property
    def decision(self) -> Decision:
        """What a global OOM would do now."""
        return decide(self.snapshot, Allocation(), self.rules)

    @functools.cached_property
    def eligible(self) -> list[Ranked]:
        """The processes that can be killed, worst first."""
        ranked = rank(self.snapshot, Allocation(), self.rules)
        return [row for row in ranked if row.eligible]

    @property
    def groups(self) -> list[Memcg]:
        """The memory cgroups but the root, which has limits only as a container sees it, where
        they can't be changed.
        """
        return [memcg for memcg in self.snapshot.memcgs if memcg.path != "/"]

    @property
    def ram_bytes(self) -> int:
        """MemTotal."""
        return self.snapshot.memory.total_ram_pages * self.snapshot.page_size

    def size(self, pages: int) -> str:
        """A number of pages for a person."""
        return human_pages(pages, self.snapshot.page_size)

    def after(self, *settings: str) -> Snapshot:
        """The machine with settings of ``rank --set`` made."""
        return changed(self.snapshot, settings, self.rules)[0]

    def commands(self, *settings: str) -> tuple[Advice, ...]:
        """What to type for them."""
        _, changes = changed(self.snapshot, settings, self.rules)
        return tuple(advice for change in changes for advice in change.advice)

    def fate(self, snapshot: Snapshot | None = None, memcg: str | None = None) -> str:
        """What the next OOM does, in a few words."""
        snapshot = snapshot or self.snapshot
        decision = decide(snapshot, Allocation(memcg=memcg), self.rules)
        if decision.action == "panic":
            return "the machine panics"
        by_pid = {task.pid: task for task in snapshot.tasks}
        names = [name(by_pid[v.pid]) for v in decision.victims if v.pid in by_pid]
        if not names:
            return "nothing is killed"
        dies = "dies" if len(names) == 1 else "die"
        return f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''} {dies}"

    def next_oom(self, after: Snapshot, memcg: str | None = None) -> str:
        """What the next OOM does now, and what it does on a changed machine."""
        now, then = self.fate(memcg=memcg), self.fate(after, memcg)
        where = f"an OOM of {memcg}" if memcg else "the next OOM"
        return f"{where}: {now}, as before" if now == then else f"{where}: {then}; now {now}"

    def left(self, after: Snapshot) -> str:
        """What can be had before an OOM, now and on a changed machine."""
        now, then = memory_left_pages(self.snapshot), memory_left_pages(after)
        return (
            f"{self.size(then)} of memory and swap can be had before an OOM; now {self.size(now)}"
        )


def name(task: Task) -> str:
    """``comm[pid]``."""
    return f"{task.comm}[{task.pid}]"


def sysctl_file(knob: str, value: int) -> tuple[File, ...]:
    """A file that sets a knob at each boot."""
    short = knob.removeprefix("vm.").replace(".", "-")
    return (File(path=f"/etc/sysctl.d/90-oomkit-{short}.conf", text=f"{knob} = {value}\n"),)


def drop_in(unit: str, section: str, settings: Iterable[str], code: str) -> tuple[File, ...]:
    """A drop-in for a unit; none where its name can't be a file's."""
    if not unit.isprintable() or "/" in unit or unit.startswith("."):
        return ()
    text = f"[{section}]\n" + "".join(f"{setting}\n" for setting in settings)
    return (File(path=f"/etc/systemd/system/{unit}.d/50-oomkit-{code}.conf", text=text),)


def kernel_parameter(word: str) -> tuple[File, ...]:
    """A file for GRUB that adds a word to the kernel's command line."""
    text = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {word}"\n'
    short = word.replace("=", "-").replace(".", "-").replace("_", "-")
    return (File(path=f"/etc/default/grub.d/90-oomkit-{short}.cfg", text=text),)


def command(lasts: str, *words: str) -> tuple[Advice, ...]:
    """A line to type, each word quoted where a shell needs it."""
    made = Advice(words=tuple(shlex.quote(word) for word in words), lasts=lasts)
    return (made,) if made.command.isprintable() else ()


def service_of(path: str) -> str | None:
    """The service of the system manager that a cgroup is, or is in."""
    found = place(path)
    if found.pod or found.container or found.unit is None or "/user@" in path:
        return None
    return found.unit if found.unit.endswith(".service") else None


def ancestors(path: str) -> list[str]:
    """The cgroups above one, outermost first, without itself and the root."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: i + 1]) for i in range(len(parts))]


def human(size: float) -> str:
    """Bytes for a person."""
    return human_bytes(size)
