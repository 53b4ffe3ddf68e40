"""What rules are made of: kinds of conditions, what each measures, and when it holds.

A new kind is a row of :data:`KINDS`. Reading it in a policy file, holding it against a threshold,
how soon it could hold, what the machine does not show of it, and its words all follow from the row.
"""

from oomkit.policy.engine.reading import available_kb, left_kb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.policy.engine.reading import CgroupReading, Pace, Reading

MACHINE = "machine"
"""Scope of what only the machine has."""
EITHER = "either"
"""Scope of what is a cgroup's own where a rule names cgroups, else the machine's."""
CGROUP = "cgroup"
"""Scope of what only a cgroup has."""


class Whole:
    """What a share of memory is a share of.

    Attributes:
        text: in words.
        kb: its size.
    """

    __slots__ = ("kb", "text")

    def __init__(self, text: str, kb: "Callable[[Reading, CgroupReading | None], float]") -> None:
        self.text = text
        self.kb = kb


class Kind:
    """One kind of condition.

    Attributes:
        name: as in policies and records.
        text: what is measured, in words.
        unit: says how it is measured and how its threshold is written. ``kb``: an amount of memory
            that is read off; ``share``: of time, and ``kb/s``: what a counter gained over a window
            of time; ``s``: how long an amount lasts at the rate at which it fell over a window.
        lower_is_worse: it holds at or below its threshold; else at or above.
        reads: what is read: kB; of a counter kB or seconds since boot; None where this machine or
            cgroup has no such thing. The cgroup is None for what is the machine's.
        scope: :data:`MACHINE`, :data:`EITHER` or :data:`CGROUP`.
        whole: what a share of an amount is of; None: it is no amount.
        counts_freeing: memory that killed processes have not given back yet is added to it.
        nears: of an amount: how fast it nears its threshold, kB a second.
        in_turn: while memory fills at the fastest pace, this changes before or after the others
            that are marked so, not at the same time.
        is_pressure: a share of time in which tasks wait.
        is_counted: a counter is read, whose increase over a window is measured.
        over_a_window: it takes a window of time to measure it.
    """

    __slots__ = (
        "counts_freeing", "in_turn", "is_counted", "is_pressure", "lower_is_worse", "name", "nears",
        "over_a_window", "reads", "scope", "text", "unit", "whole",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        text: str,
        unit: str,
        reads: "Callable[[Reading, CgroupReading | None], float | None]",
        *,
        lower_is_worse: bool = False,
        scope: str = MACHINE,
        whole: Whole | None = None,
        counts_freeing: bool = False,
        nears: "Callable[[Pace], float] | None" = None,
        in_turn: bool = False,
    ) -> None:
        self.name = name
        self.text = text
        self.unit = unit
        self.reads = reads
        self.lower_is_worse = lower_is_worse
        self.scope = scope
        self.whole = whole
        self.counts_freeing = counts_freeing
        self.nears = nears
        self.in_turn = in_turn
        self.is_pressure = unit == "share"
        self.is_counted = unit in ("share", "kb/s")
        self.over_a_window = unit != "kb"

    def holds(self, value: float, threshold: float) -> bool:
        """Whether a measured value is as bad as the threshold, or worse."""
        return value <= threshold if self.lower_is_worse else value >= threshold

    def about(self, group: "CgroupReading | None") -> "CgroupReading | None":
        """The cgroup that is measured where a rule is about this one; None: the machine."""
        return None if self.scope == MACHINE else group

    def threshold(
        self,
        value: float,
        share: bool,
        reading: "Reading",
        group: "CgroupReading | None",
    ) -> float:
        """A condition's threshold in the unit of what is measured."""
        if not share or self.whole is None:
            return value
        return value * self.whole.kb(reading, group)


RAM = Whole("of RAM", lambda reading, _: reading.mem_total_kb)
USERS = Whole(
    "of available and anonymous memory",
    lambda reading, _: available_kb(reading) + reading.anon_kb,
)
SWAP = Whole("of swap", lambda reading, _: reading.swap_total_kb)
LIMIT = Whole("of the limit", lambda _, group: (group.limit_kb or 0.0) if group else 0.0)
EITHERS = Whole(
    "of RAM, or of the cgroup's limit",
    lambda reading, group: reading.mem_total_kb if group is None else group.limit_kb or 0.0,
)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _swap_used_kb(reading: "Reading") -> float | None:
    """Without swap there is nothing to use up."""
    if reading.swap_total_kb <= 0.0:
        return None
    return reading.swap_total_kb - reading.swap_free_kb


def _limit_left_kb(group: "CgroupReading | None") -> float | None:
    """What a cgroup may still take; None without a limit."""
    if group is None or group.limit_kb is None:
        return None
    return group.limit_kb - group.usage_kb


def _working_set_left_kb(reading: "Reading", group: "CgroupReading | None") -> float | None:
    """What the working set leaves of RAM, or of a cgroup's limit; None without one."""
    used_kb = (group or reading).working_set_kb
    whole_kb = reading.mem_total_kb if group is None else group.limit_kb
    return None if used_kb is None or whole_kb is None else whole_kb - used_kb


_US = 1e-6
_PAGE_KB = 4.0

_ALL = (
    Kind(
        "available", "memory available", "kb", lambda reading, _: available_kb(reading),
        lower_is_worse=True, whole=RAM, counts_freeing=True,
        nears=lambda pace: pace.available_kb_s, in_turn=True,
    ),
    Kind(
        "swap_free", "free swap", "kb", lambda reading, _: reading.swap_free_kb,
        lower_is_worse=True, whole=SWAP, nears=lambda pace: pace.swap_kb_s, in_turn=True,
    ),
    Kind(
        "swap_used", "swap in use", "kb", lambda reading, _: _swap_used_kb(reading),
        whole=SWAP, nears=lambda pace: pace.swap_kb_s, in_turn=True,
    ),
    Kind(
        "available_user", "memory available", "kb", lambda reading, _: available_kb(reading),
        lower_is_worse=True, whole=USERS, counts_freeing=True,
        nears=lambda pace: pace.available_kb_s, in_turn=True,
    ),
    Kind(
        "zram", "RAM that zram occupies", "kb", lambda reading, _: reading.zram_kb,
        whole=RAM, nears=lambda pace: pace.zram_kb_s,
    ),
    Kind(
        "limit_left", "what is left below the cgroup's limit", "kb",
        lambda _, group: _limit_left_kb(group),
        lower_is_worse=True, scope=CGROUP, whole=LIMIT, counts_freeing=True,
        nears=lambda pace: pace.limit_kb_s,
    ),
    Kind(
        "working_set_left", "what the working set leaves of memory", "kb", _working_set_left_kb,
        lower_is_worse=True, scope=EITHER, whole=EITHERS, counts_freeing=True,
        nears=lambda pace: pace.working_set_kb_s,
    ),
    Kind(
        "psi_some", "time in which some task waits for memory", "share",
        lambda reading, group: _scaled((group or reading).psi_some_us, _US), scope=EITHER,
    ),
    Kind(
        "psi_full", "time in which all tasks wait for memory", "share",
        lambda reading, group: _scaled((group or reading).psi_full_us, _US), scope=EITHER,
    ),
    Kind(
        "refault", "what is read back of evicted pages", "kb/s",
        lambda reading, _: _scaled(reading.refault_pages, _PAGE_KB),
    ),
    Kind(
        "swap_in", "what is read back from swap", "kb/s",
        lambda reading, _: _scaled(reading.swap_in_pages, _PAGE_KB),
    ),
    Kind(
        "reclaim", "what reclaim scans", "kb/s",
        lambda reading, group: _scaled((group or reading).pgscan_pages, _PAGE_KB), scope=EITHER,
    ),
    Kind(
        "empty_within", "memory and swap last, at the present rate,", "s",
        lambda reading, _: left_kb(reading), lower_is_worse=True, counts_freeing=True,
    ),
)  # fmt: skip

KINDS = {kind.name: kind for kind in _ALL}
"""Every kind of condition by its name."""


class Evidence:
    """One condition at one moment.

    Attributes:
        kind: the kind of condition.
        measured: its value; None where it can't be measured.
        threshold: what it is compared with, in the same unit.
        holds: whether it held.
        held_s: for how long it has.
        over_s: the time it is measured over; 0 for what is read off.
        cgroup: of which cgroup; None: of the machine.
    """

    __slots__ = ("cgroup", "held_s", "holds", "kind", "measured", "over_s", "threshold")

    def __init__(
        self,
        kind: Kind,
        measured: float | None,
        threshold: float,
        *,
        holds: bool,
        over_s: float = 0.0,
        cgroup: str | None = None,
    ) -> None:
        self.kind = kind
        self.measured = measured
        self.threshold = threshold
        self.holds = holds
        self.held_s = 0.0
        self.over_s = over_s
        self.cgroup = cgroup


CALM = 0
"""No rule holds."""
WARN = 1
"""Worth a log line; no process is touched."""
SOFT = 2
"""A victim is asked to exit: SIGTERM."""
HARD = 3
"""A victim is killed: SIGKILL."""

NAMES = ("calm", "warn", "soft", "hard")
