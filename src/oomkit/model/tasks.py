"""A task in a run: what it is, what it holds, and where in its steps it is."""

from typing import Final, Literal

from oomkit.model.cpu import nice_weight
from oomkit.model.pools import Mm, Pool
from oomkit.scenario.draws import Drawn
from oomkit.scenario.format import Step, Task

State = Literal["new", "run", "hold", "exiting", "dead"]

PAGE: Final = 4096

HUGE_PAGE: Final = 512
"""Pages of a huge one, on x86-64."""

TABLE_SPAN: Final = 512
"""Pages that one page table maps."""

PROCESS_PAGES: Final = 6
"""Kernel stack, task structure and other kernel memory of a process."""

GROWING_VERBS: Final = ("touch", "peek", "share", "tmpfs", "lock")
"""Steps that take new memory, mapped piece by piece as it is touched."""

PEEK_COST: Final = 0.21
"""CPU time of a fault that maps the zero page (``do_anonymous_page()``), in faults with a page."""

_NOTHING: Final = Step(verb="exit")


class Proc:
    """One process of a run.

    Attributes:
        spec: the scenario's entry it comes from.
        instance: which of the entry's processes.
        key: ``name/instance``.
        comm, uid, threads, cgroup: of its entry, as the kernel has them.
        pid: process id.
        ppid: parent's process id, 1 when it died.
        drawn: what was drawn for it.
        nominal: seconds that each step takes on an idle machine.
        state: ``run`` includes waiting for CPU, disk or memory.
        step: index of the step it is at.
        current: that step.
        verb: of that step.
        grows: that step takes new memory.
        pace, cpus, tables: what that step does at full speed, where :attr:`is_paced`: pages, CPUs
            and page tables a second. Nothing of it changes before the next step.
        is_paced: these three are known.
        loop: how often it has been through its steps.
        step_left: what is left of the step: pages, CPU seconds.
        step_total: what the step was at its start.
        step_mapped: address space that the step has mapped, pages.
        granted: of address space charged for the step, what it has not touched yet, pages.
        worked_s: CPU seconds of the present ``work`` step so far.
        spinning: it retries an allocation in a loop, using CPU.
        asleep: it waits at its cgroup's limit without using CPU.
        frozen: a policy has it stand still.
        cpu_s: CPU seconds used.
        done_s: nominal seconds of the steps that are over, for ``progress``.
        start_s: when it started, seconds since the start.
        end_s: when it will be gone; None: it is not exiting.
        killed: it is exiting by a fatal signal.
        last_growth_s: when a step that takes memory last ended; None: never.
        tmpfs_written: pages it has written to tmpfs.
    """

    __slots__ = (
        "asleep", "cgroup", "comm", "cpu_s", "cpus", "current", "done_s", "drawn", "end_s",
        "frozen", "granted", "grows", "instance", "is_paced", "key", "killed", "last_growth_s",
        "loop", "mm", "nice", "nominal", "oom_adj", "oom_score_adj", "pace", "pid", "ppid",
        "program", "spec", "spinning", "start_s", "state", "step", "step_left",
        "step_mapped", "step_total", "tables", "threads", "tmpfs_written", "uid", "verb", "weight",
        "worked_s",
    )  # fmt: skip

    def __init__(
        self, spec: Task, instance: int, pid: int, ppid: int, mm: Mm, drawn: Drawn
    ) -> None:
        self.spec = spec
        self.instance = instance
        self.key = f"{spec.name}/{instance}"
        self.comm = spec.name[:15]
        self.uid = spec.uid
        self.threads = spec.threads
        self.cgroup = f"/{spec.cgroup or ''}"
        self.pid = pid
        self.ppid = ppid
        self.mm = mm
        self.drawn = drawn
        self.program: Pool | None = None
        self.nominal: tuple[float, ...] = ()
        self.state: State = "new"
        self.step = 0
        self.current: Step = _NOTHING
        self.verb: str = _NOTHING.verb
        self.grows = False
        self.is_paced = False
        self.pace = self.cpus = self.tables = 0.0
        self.loop = 0
        self.step_left = 0.0
        self.step_total = 0.0
        self.step_mapped = self.granted = 0.0
        self.worked_s = 0.0
        self.spinning = False
        self.asleep = False
        self.frozen = False
        self.cpu_s = 0.0
        self.done_s = 0.0
        self.start_s = 0.0
        self.end_s: float | None = None
        self.killed = False
        self.last_growth_s: float | None = None
        self.tmpfs_written = 0.0
        self.oom_score_adj = spec.oom_score_adj
        self.oom_adj = spec.oom_adj
        self.nice = spec.nice
        self.weight = nice_weight(spec.nice)

    def enter(self, step: Step) -> None:
        """Make a step the current one."""
        self.current = step
        self.verb = step.verb
        self.grows = step.verb in GROWING_VERBS and not step.hugetlb
        self.is_paced = False
        self.step_mapped = self.granted = 0.0

    @property
    def needs_address_space(self) -> bool:
        """Whether the next page it touches is in no mapping yet."""
        if self.granted > 0.01:
            return False
        mm, verb = self.mm, self.verb
        if verb == "touch":
            return mm.reserved < 1.0 and (mm.lazy_space < 1.0 or not self.touches_again)
        if verb == "peek":
            return mm.reserved - mm.zeroed < 1.0
        return verb != "share" or mm.untouched_shared() is None

    @property
    def touches_again(self) -> bool:
        """Whether its step writes to what was freed lazily, as an allocator does that has it."""
        return self.verb == "touch" and not self.current.stride_bytes

    def step_unmapped(self) -> float:
        """Address space that its step has yet to map, pages."""
        spread = (self.current.stride_bytes or PAGE) / PAGE
        return self.step_left * spread

    @property
    def alive(self) -> bool:
        """Whether it exists for the kernel."""
        return self.state in ("run", "hold", "exiting")

    @property
    def is_growing(self) -> bool:
        """Whether its current step takes new memory."""
        return self.grows and self.state == "run"

    @property
    def holds_forever(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state == "hold" and self.current.seconds is None

    def scale(self) -> float:
        """Its current step's size, as a factor of what the scenario says."""
        return self.drawn.scales[self.step]

    def rss(self) -> float:
        """Resident pages, its program's text included."""
        text = self.program.resident if self.program is not None else 0.0
        return self.mm.rss() + text


def nominal_s(step: Step, scale: float, fault_pages_s: float, disk_pages_s: float) -> float:
    """Seconds a step takes on an idle machine; 0 where it has no end or takes no time."""
    if step.verb in ("work", "hold"):
        return (step.seconds or 0.0) * scale
    if step.verb in ("reserve", "free", "fork", "exit"):
        return 0.0
    pages = (step.size_bytes or 0) / PAGE * scale
    if step.stride_bytes:
        pages = pages * PAGE / step.stride_bytes
    if pages <= 0.0:
        return 0.0
    return pages / step_pace(step, scale, fault_pages_s, disk_pages_s)


def step_pace(step: Step, scale: float, fault_pages_s: float, disk_pages_s: float) -> float:
    """Pages a second of a paced step, unhindered."""
    fastest = disk_pages_s if step.verb == "read" else fault_pages_s
    if step.verb == "peek":
        fastest /= PEEK_COST
    wanted = float("inf")
    if step.rate_bytes_s is not None:
        wanted = step.rate_bytes_s / PAGE
    elif step.over_s is not None:
        wanted = (step.size_bytes or 0) / PAGE * scale / step.over_s
    if step.stride_bytes:
        wanted = wanted * PAGE / step.stride_bytes
    return min(wanted, fastest)
