"""``--set``: a machine as it is, with some of its values changed."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from oomkit.errors import OomkitError
from oomkit.kernel.adj import oom_score_adj_of
from oomkit.kernel.cgroup_name import MemcgPathError, TaskNameError, find_memcg_path, find_tasks
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memcg, Snapshot, Task
from oomkit.posture.advice import Advice, adjustment, cgroup, more_swap, sysctl
from oomkit.posture.whatif_memory import with_ram, with_swap, with_sysctl
from oomkit.records import Record, replace
from oomkit.render.quantities import human_bytes, label, percent
from oomkit.scenario.knobs import RANGES
from oomkit.toml import units

EXPECTED = (
    "KEY=VALUE with a key such as machine.ram, machine.swap, vm.panic_on_oom, cgroup.NAME.max or "
    "task.NAME.oom_score_adj"
)
_ROOTS = ("machine", "vm", "cgroup", "task")
_MACHINE = ("ram", "swap", "kernel")
_LIMITS = {
    "max": "limit_pages", "high": "high_pages", "swap_max": "swap_max_pages",
    "memsw_max": "memsw_limit_pages",
}  # fmt: skip
_FIELDS = {
    1: ("max", "memsw_max", "swappiness", "oom_kill_disable"),
    2: ("max", "high", "swap_max", "oom_group"),
}
_UNLIMITED = ("max", "unlimited", "infinity")
_FLAGS = {"true": 1, "1": 1, "false": 0, "0": 0}
_ADJ = {"oom_score_adj": (-1000, 1000), "oom_adj": (-17, 15)}
_MAX_NAMED = 8


class SetError(OomkitError, ValueError):
    """A value that can't be changed as asked; the text names the place and what was expected."""


class Change(Record, frozen=True, kw_only=True):
    """One value that is not as the machine has it.

    Attributes:
        key: as it was given.
        what: whose value it is, for a person.
        was: before; None: unlimited, or not the same for all.
        now: after; None: unlimited.
        unit: ``bytes``, or empty for a plain number.
        remark: what follows from it, or does not; may be empty.
        cgroup: path of the memory cgroup it is about; None: none.
        advice: what to type to have it so.
    """

    key: str
    what: str
    was: int | None
    now: int | None
    unit: str = ""
    remark: str = ""
    cgroup: str | None = None
    advice: tuple[Advice, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether it is another value than the machine has; for values of several, true."""
        several = self.was is None and self.unit != "bytes"
        return several or self.was != self.now


def changed(
    snapshot: Snapshot, settings: Sequence[str], rules: RuleSet
) -> tuple[Snapshot, tuple[Change, ...]]:
    """Return the machine with each setting made, in their order, and what they changed.

    Keys, sizes and names are those of ``oomkit run --set``. A size or knob that begins with
    ``+`` or ``-`` is added to what is there. ``machine.ram`` is MemTotal.

    Args:
        snapshot: the machine as it is.
        settings: texts such as ``cgroup.web.max=+512M``.
        rules: the kernel that will decide.

    Raises:
        SetError: a setting can't be made.
    """
    changes = []
    for setting in _each(snapshot, settings):
        snapshot, change = _Setting(setting, snapshot, rules).made()
        changes.append(change)
    for change in changes:
        memcg = next((m for m in snapshot.memcgs if m.path == change.cgroup), None)
        if memcg is not None and _refused_by_v1(memcg):
            raise SetError(
                f"--set {change.key}: version 1 refuses a limit above the one of memory and swap "
                "together; expected cgroup.NAME.memsw_max to be at least as large"
            )
    return snapshot, tuple(changes)


def _each(snapshot: Snapshot, settings: Sequence[str]) -> Iterator[str]:
    """The settings, ``cgroup.*.KEY`` once for each cgroup."""
    paths = [memcg.path for memcg in snapshot.memcgs if memcg.path != "/"]
    for setting in settings:
        rest = setting.strip().removeprefix("cgroup.*.")
        if rest != setting.strip() and paths:
            yield from (f"cgroup.{path}.{rest}" for path in paths)
        else:
            yield setting


def adjusted(snapshot: Snapshot, given: str, value: int, rules: RuleSet, key: str) -> (
    tuple[Snapshot, Change]
):  # fmt: skip
    """Return the machine with ``oom_score_adj`` of one process, or all of a name, changed.

    Args:
        snapshot: the machine.
        given: pid or name; ``*`` for all.
        value: the adjustment.
        rules: the kernel that will decide.
        key: how it was asked for: ``oom_score_adj`` or ``oom_adj``, or a longer key that ends so.

    Raises:
        SetError: no such process, or an impossible value.
    """
    field = key.rpartition(".")[2]
    low, high = _ADJ[field]
    if not low <= value <= high:
        raise SetError(f"{field} {value} of process {given} is outside {low}..{high}")
    if given == "*":
        tasks = tuple(t for t in snapshot.tasks if t.has_mm and not t.global_init)
    else:
        try:
            tasks = find_tasks(snapshot, given)
        except TaskNameError as error:
            raise SetError(str(error)) from None
    before = {getattr(task, field) for task in tasks}
    changed_by_pid = {task.pid: _with_adj(task, field, value) for task in tasks}
    all_tasks = tuple(changed_by_pid.get(task.pid, task) for task in snapshot.tasks)
    one = tasks[0] if len(tasks) == 1 else None
    name = "all" if given == "*" else given
    processes = (
        label(one.comm, one.pid) if one else f"{name}, {len(tasks)} processes: {_pids(tasks)}"
    )
    change = Change(
        key=key,
        what=f"{field} of {processes}",
        was=before.pop() if len(before) == 1 else None,
        now=value,
        advice=adjustment(snapshot, tasks, value, rules),
    )
    return replace(snapshot, tasks=all_tasks), change


def _with_adj(task: Task, field: str, value: int) -> Task:
    if field == "oom_adj":
        return replace(task, oom_adj=value, oom_score_adj=oom_score_adj_of(value))
    return replace(task, oom_score_adj=value, oom_adj=None)


def _pids(tasks: Sequence[Task]) -> str:
    more = len(tasks) - _MAX_NAMED
    named = ", ".join(str(task.pid) for task in tasks[:_MAX_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def _refused_by_v1(memcg: Memcg) -> bool:
    limit, both = memcg.limit_pages, memcg.memsw_limit_pages
    return memcg.version == 1 and both is not None and (limit is None or limit > both)


class _Setting:
    """One ``KEY=VALUE``, to be made on a snapshot."""

    def __init__(self, text: str, snapshot: Snapshot, rules: RuleSet) -> None:
        self.text = text
        key, equals, value = text.rpartition("=")
        self.key, self.value = key.strip(), value.strip().strip("\"'").strip()
        self.snapshot = snapshot
        self.rules = rules
        if not equals or not self.value:
            self.refuse(f"expected {EXPECTED}")

    def refuse(self, why: str) -> NoReturn:
        raise SetError(f"--set {self.text}: {why}")

    def made(self) -> tuple[Snapshot, Change]:
        root, _, rest = self.key.partition(".")
        if root not in _ROOTS:
            self.unknown(root, _ROOTS, "expected " + EXPECTED)
        if not rest:
            self.refuse(f"expected {EXPECTED}")
        if root == "machine":
            return self.machine(rest)
        if root == "vm":
            return self.knob(rest)
        name, _, field = rest.rpartition(".")
        name = name.strip("\"'")
        if not name:
            self.refuse(f"expected {root}.NAME.KEY=VALUE")
        return self.memcg(name, field) if root == "cgroup" else self.task(name, field)

    def unknown(self, word: str, known: Sequence[str], otherwise: str = "") -> NoReturn:
        close = difflib.get_close_matches(word, known, n=2)
        hint = f"did you mean {' or '.join(close)}?" if close else ""
        hint = hint or otherwise or f"known: {', '.join(known)}"
        self.refuse(f"unknown key {word!r}; {hint}")

    def size(self, now: int | None, *, unlimited: bool = False) -> int | None:
        """A size in bytes, given or by how much it differs from ``now``."""
        if unlimited and self.value in _UNLIMITED:
            return None
        return self.relative(now, _size, unlimited=unlimited, show=human_bytes)

    def relative(
        self,
        now: int | None,
        parse: Callable[[str], int],
        *,
        unlimited: bool,
        show: Callable[[int], str] = str,
    ) -> int:
        sign = self.value[0] if self.value[0] in "+-" else ""
        try:
            amount = parse(self.value.removeprefix(sign).strip() if sign else self.value)
        except ValueError as error:
            or_more = ', "max" for none' if unlimited else ""
            self.refuse(f"expected {error}, or + or - before it{or_more}")
        if not sign:
            return amount
        if now is None:
            self.refuse("there is no limit now to add to or take from; expected a size")
        result = now + amount if sign == "+" else now - amount
        if result < 0:
            self.refuse(f"that is below 0; it is {show(now)} now")
        return result

    def machine(self, field: str) -> tuple[Snapshot, Change]:
        if field not in ("ram", "swap"):
            self.unknown(
                field, _MACHINE,
                f"of a machine only {', '.join(_MACHINE)} affect which process is killed",
            )  # fmt: skip
        snapshot, page = self.snapshot, self.snapshot.page_size
        memory = snapshot.memory
        was = (memory.total_ram_pages if field == "ram" else memory.total_swap_pages) * page
        now = self.size(was)
        assert now is not None
        if field == "ram" and now < units.size("16M"):
            self.refuse('expected a size from "16M" on')
        change = with_ram if field == "ram" else with_swap
        snapshot, remark = change(snapshot, now // page, self.rules)
        what = "machine.ram (MemTotal)" if field == "ram" else "machine.swap"
        grown = more_swap(now - was) if field == "swap" and now > was else ()
        return snapshot, Change(
            key=self.key, what=what, was=was, now=now, unit="bytes", remark=remark, advice=grown
        )

    def knob(self, knob: str) -> tuple[Snapshot, Change]:
        known = self.snapshot.sysctl.__struct_fields__
        if knob not in known:
            if knob in RANGES:
                self.refuse(
                    f"{knob} does not affect which process is killed; known: {', '.join(known)}"
                )
            self.unknown(knob, known)
        low, high = RANGES[knob]
        was = getattr(self.snapshot.sysctl, knob)
        now = self.relative(was, _whole, unlimited=False)
        if not low <= now <= high:
            self.refuse(f"expected a whole number from {low} to {high}, not {now}")
        snapshot, remark = with_sysctl(self.snapshot, knob, now, self.rules)
        advice = sysctl(knob, now)
        return snapshot, Change(
            key=self.key, what=self.key, was=was, now=now, remark=remark, advice=advice
        )

    def task(self, name: str, field: str) -> tuple[Snapshot, Change]:
        if field not in _ADJ:
            self.unknown(field, tuple(_ADJ))
        try:
            value = int(self.value)
        except ValueError:
            low, high = _ADJ[field]
            self.refuse(f"expected a whole number from {low} to {high}, not {self.value!r}")
        try:
            return adjusted(self.snapshot, name, value, self.rules, self.key)
        except SetError as error:
            self.refuse(str(error))

    def memcg(self, name: str, field: str) -> tuple[Snapshot, Change]:
        try:
            path = find_memcg_path(self.snapshot, name)
        except MemcgPathError as error:
            self.refuse(str(error))
        if path == "/":
            self.refuse("the root cgroup has no limits; expected the name of another")
        snapshot = _with_memcg(self.snapshot, path)
        memcg = next(m for m in snapshot.memcgs if m.path == path)
        fields = _FIELDS[memcg.version]
        if field not in fields:
            other = _FIELDS[3 - memcg.version]
            if field in other:
                self.refuse(
                    f"{field} is of version {3 - memcg.version} cgroups, and {path} is of version "
                    f"{memcg.version}; known: {', '.join(fields)}"
                )
            self.unknown(field, fields)
        page = snapshot.page_size
        was: int | None
        now: int | None
        if field in _LIMITS:
            pages = getattr(memcg, _LIMITS[field])
            was = None if pages is None else pages * page
            now = self.size(was, unlimited=True)
            changed = {_LIMITS[field]: None if now is None else now // page}
        elif field == "swappiness":
            was = memcg.swappiness
            now = self.relative(was, _whole, unlimited=False)
            if not 0 <= now <= 200:
                self.refuse(f"expected a whole number from 0 to 200, not {now}")
            changed = {field: now}
        else:
            if self.value not in _FLAGS:
                self.refuse(f"expected true or false, not {self.value!r}")
            was, now = int(getattr(memcg, field)), _FLAGS[self.value]
            changed = {field: bool(now)}
        after = replace(memcg, **changed)
        memcgs = tuple(after if m.path == path else m for m in snapshot.memcgs)
        unit = "bytes" if field in _LIMITS else ""
        return replace(snapshot, memcgs=memcgs), Change(
            key=self.key,
            what=f"{field} of cgroup {path}",
            was=was,
            now=now,
            unit=unit,
            remark=_remark(snapshot, after, field),
            cgroup=path,
            advice=cgroup(memcg, field, now, page),
        )


def _size(text: str) -> int:
    return units.size(int(text) if text.isascii() and text.isdigit() else text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError("a whole number")
    return int(text)


def _with_memcg(snapshot: Snapshot, path: str) -> Snapshot:
    """The snapshot with a record of the cgroup, where it has none because nothing limits it."""
    if any(memcg.path == path for memcg in snapshot.memcgs):
        return snapshot
    members = [task for task in snapshot.tasks if (task.cgroup + "/").startswith(path + "/")]
    version = snapshot.memcgs[0].version if snapshot.memcgs else 2
    memcg = Memcg(
        path=path,
        version=version,
        usage_pages=sum(task.rss_pages for task in members),
        swap_usage_pages=sum(task.swap_pages for task in members),
    )
    return replace(snapshot, memcgs=(*snapshot.memcgs, memcg))


def _remark(snapshot: Snapshot, memcg: Memcg, field: str) -> str:
    if field == "high":
        return "it slows its tasks down and kills none"
    if field != "max" or memcg.limit_pages is None:
        return ""
    limit = memcg.limit_pages
    if memcg.usage_pages <= limit:
        return f"{percent(memcg.usage_pages / max(limit, 1))} of it is in use"
    held = sum(
        held_pages(task)
        for task in snapshot.tasks
        if (task.cgroup + "/").startswith(memcg.path + "/")
    )
    over = "it uses more than that now"
    if held > limit:
        fits = f"its processes alone hold {percent(held / max(limit, 1))} of it"
        return f"{over}, and {fits}: what can't go to swap ends in an OOM of its own at once"
    return f"{over}: page cache has to go first"


def held_pages(task: Task) -> int:
    """Anonymous and shared memory, which no reclaim drops."""
    if task.anon_rss_pages is not None:
        return task.anon_rss_pages + (task.shmem_rss_pages or 0)
    return max(task.rss_pages - (task.file_rss_pages or 0), 0)
