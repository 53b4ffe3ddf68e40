"""Why a task of a run was killed: two lines out of its kill's record."""

from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.printable import printable
from oomkit.render.quantities import human_pages, mb, seconds
from oomkit.scenario import Kill

_SIGNALS = ("oom_kill_task:", "__oom_kill_process:")
"""Steps that carry a decision out."""

_AT_LIMIT = " is at its limit and reclaim found nothing"

_TIE = "tie:"
"""Names those that were as bad."""


_PAGE_SIZE = 4096


def badness_text(badness: int | None, kernel: str) -> str:
    """Badness in the unit of the kernel's rules: pages, thousandths, or classic points."""
    if badness is None:
        return "badness not computed"
    try:
        unit = rules_for(kernel).badness
    except UnknownKernelError:
        return f"badness {badness}"
    if unit == "pages":
        return f"badness {badness} pages ({human_pages(badness, _PAGE_SIZE)})"
    if unit == "permille":
        return f"badness {badness} of 1000"
    return f"badness {badness} points"


def victim_of(kill: Kill) -> str:
    """The victim as it is printed: ``depmod/3 (pid 1043)``."""
    return f"{printable(kill.task)}/{kill.instance} (pid {kill.pid})"


_CHOSEN = "chosen: "
"""Beginning of the part of a policy's trace that gives the reason for the choice."""


def reason_lines(kill: Kill, kernel: str) -> tuple[str, ...]:
    """Why it was this task, in the kernel's or the policy's terms, and what it cost in numbers.

    Args:
        kill: the kill.
        kernel: the run's kernel, which gives badness its unit.
    """
    numbers = [f"oom_score_adj {kill.oom_score_adj}"]
    if kill.by == "kernel":
        numbers.insert(0, badness_text(kill.badness, kernel))
    if kill.would_have:
        numbers.append(f"would have freed {mb(kill.freed_mb)}" if kill.freed_mb else "lives")
    else:
        numbers.append(f"frees {mb(kill.freed_mb)}")
        numbers.append(f"loses {seconds(kill.work_lost_s)} of CPU work")
    return *(printable(step) for step in _steps(kill)), "; ".join(numbers)


def _steps(kill: Kill) -> tuple[str, ...]:
    """The deciding steps: one of the kernel's; of a policy's why now, why this one, and how."""
    if kill.by == "kernel" or len(kill.trace) < 2:
        return (deciding_step(kill),)
    return (kill.trace[0], deciding_step(kill), *(s for s in kill.trace if s.startswith("SIG")))


def deciding_step(kill: Kill) -> str:
    """The step of the trace that made it this task; the signal itself only follows from it."""
    chosen = next((step for step in kill.trace if step.startswith(_CHOSEN)), None)
    if chosen is not None:
        return chosen
    steps = [step for step in kill.trace if not step.startswith((*_SIGNALS, _TIE))]
    if steps:
        tied = any(step.startswith(_TIE) for step in kill.trace)
        return f"{steps[-1]} (a tie; the order of the list decides)" if tied else steps[-1]
    return kill.trace[-1] if kill.trace else f"chosen by {kill.by}; no trace was recorded"


def full_cgroup(kill: Kill) -> str | None:
    """The memory cgroup whose limit was hit; None when the machine ran out."""
    for step in kill.trace:
        if step.endswith(_AT_LIMIT):
            return step.removesuffix(_AT_LIMIT).partition(": ")[2] or None
    return None
