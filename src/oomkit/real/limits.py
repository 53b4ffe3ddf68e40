"""What a memory cgroup or a booted kernel can't show of a scenario, and why."""

from collections.abc import Iterable

from oomkit.real.errors import RealError
from oomkit.real.plan import effective_adj
from oomkit.scenario.format import Scenario
from oomkit.scenario.read import walk_tasks


class NotHereError(RealError):
    """The scenario can't be played in this world; ``reasons`` say why."""

    def __init__(self, world: str, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"can't be played {world}: {'; '.join(self.reasons)}")


_HOST_WIDE = {
    "panic_on_oom": "a panic would take this host down",
    "overcommit_memory": "overcommit is decided for the whole host",
    "overcommit_ratio": "overcommit is decided for the whole host",
    "overcommit_kbytes": "overcommit is decided for the whole host",
    "admin_reserve_kbytes": "overcommit is decided for the whole host",
    "user_reserve_kbytes": "overcommit is decided for the whole host",
    "oom_kill_allocating_task": "a cgroup's OOM killer does not look at it",
    "min_free_kbytes": "a cgroup has no watermarks",
    "watermark_scale_factor": "a cgroup has no watermarks",
    "oom_dump_tasks": "it is set for the whole host",
    "dirty_ratio": "it is set for the whole host",
    "dirty_background_ratio": "it is set for the whole host",
    "page_cluster": "it is set for the whole host",
    "oom_killer_disabled": "mainline has no such file",
    "would_have_oomkilled": "mainline has no such file",
}


def common(scenario: Scenario) -> list[str]:
    """What no real kernel can show."""
    reasons = []
    for _, task in walk_tasks(scenario.tasks):
        if task.on_sigterm != "exit" or task.sigterm_exit_s:
            reasons.append(f"task {task.name}: on_sigterm and sigterm_exit: the workload agent "
                           "ends at once")  # fmt: skip
        if task.shares_mm_with is not None:
            reasons.append(f"task {task.name}: shares_mm_with needs one address space for two "
                           "programs, which the workload agent can't run")  # fmt: skip
    if any(event.swap_bytes is not None for event in scenario.at):
        reasons.append("the size of the swap can't change in the middle of a run")
    return reasons


def knobs(scenario: Scenario) -> Iterable[str]:
    """Names of the vm knobs a scenario sets to something else than 0, then or later."""
    for values in (scenario.vm, *(event.vm for event in scenario.at)):
        yield from (name for name, value in values.items() if value)


def for_guest(scenario: Scenario) -> list[str]:
    """What a booted kernel can't show."""
    reasons = common(scenario)
    reasons += [
        f"vm.{name}: mainline has no such file"
        for name in dict.fromkeys(knobs(scenario))
        if name in ("oom_killer_disabled", "would_have_oomkilled")
    ]
    return reasons


def for_cgroup(
    scenario: Scenario,
    *,
    lowest_adj: int,
    host_swap_bytes: int,
    lockable_bytes: float = float("inf"),
) -> list[str]:
    """What a memory cgroup of this host can't show.

    Args:
        scenario: what is to be played.
        lowest_adj: lowest ``oom_score_adj`` this process may give.
        host_swap_bytes: free swap of this host.
        lockable_bytes: what an ordinary user's task may lock here.
    """
    reasons = common(scenario)
    reasons += [
        f"vm.{name}: {_HOST_WIDE[name]}"
        for name in dict.fromkeys(knobs(scenario))
        if name in _HOST_WIDE
    ]
    if scenario.machine.swap_bytes > host_swap_bytes:
        reasons.append(f"it has {scenario.machine.swap_bytes >> 20} MB of swap, this host "
                       f"{host_swap_bytes >> 20} MB free")  # fmt: skip
    for _, task in walk_tasks(scenario.tasks):
        locked = sum(step.size_bytes or 0 for step in task.steps if step.verb == "lock")
        if task.uid and locked > lockable_bytes:
            reasons.append(f"task {task.name}: locking {locked >> 20} MB as uid {task.uid} needs "
                           "CAP_SYS_RESOURCE here, to raise RLIMIT_MEMLOCK")  # fmt: skip
        lowest = min([effective_adj(task), *_later(scenario, task.name)])
        if lowest < lowest_adj:
            reasons.append(f"task {task.name}: oom_score_adj {lowest} needs CAP_SYS_RESOURCE; "
                           f"{lowest_adj} is the lowest allowed here")  # fmt: skip
    return reasons


def _later(scenario: Scenario, name: str) -> Iterable[int]:
    for event in scenario.at:
        if "oom_score_adj" in (fields := event.tasks.get(name, {})):
            yield int(fields["oom_score_adj"])
