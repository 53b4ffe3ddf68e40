"""How far the page counts that badness reads can be from what processes really hold.

Kernels from 2.6.34 to 6.19 count resident pages and swap entries where they are cheap to count and
read them without adding up what is not added yet (include/linux/mm.h ``get_mm_counter()``).
"""

from oomkit.kernel.constraint import control_for
from oomkit.kernel.rank import eligible_by_badness
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.render.quantities import human_pages

COUNTERS = 4
"""``MM_FILEPAGES``, ``MM_ANONPAGES``, ``MM_SHMEMPAGES``, ``MM_SWAPENTS``: all go into badness."""

_MIN_BATCH = 32
_THREAD_FAULTS = 65
"""Page faults of a thread between two syncs (``check_sync_rss_stat()``, mm/memory.c up to 6.1)."""

_FAULT_AROUND_PAGES = 16
"""A fault on a file maps up to 64 KiB around it (``fault_around_bytes``)."""


def percpu_batch(cpus: int) -> int:
    """``percpu_counter_batch`` (lib/percpu_counter.c): where a CPU passes its count on."""
    return max(_MIN_BATCH, cpus * 2)


def counting_error(task: Task, rules: RuleSet, cpus: int | None) -> int | None:
    """The most pages by which badness can miscount a process.

    Args:
        task: the process; its number of threads counts up to 6.1.
        rules: the kernel's rules.
        cpus: CPUs that are online.

    Returns:
        Pages; 0 where counts are exact; None where it depends on CPUs that are not known.
    """
    match rules.rss_counters:
        case "per_thread":
            return task.threads * _THREAD_FAULTS * _FAULT_AROUND_PAGES
        case "per_cpu":
            return None if cpus is None else COUNTERS * (percpu_batch(cpus) - 1) * cpus
        case _:
            return 0


def uncounted_pages(rules: RuleSet, cpus: int, pages: int, threads: int) -> int:
    """Pages that badness misses after threads, each on a CPU of its own, touched some and stay.

    Args:
        rules: the kernel's rules.
        cpus: CPUs that are online.
        pages: what all of them touched, evenly.
        threads: how many they are.
    """
    each = pages // threads
    match rules.rss_counters:
        case "per_thread":
            return threads * (each % (_THREAD_FAULTS + 1))
        case "per_cpu":
            return min(threads, cpus) * (each % percpu_batch(cpus))
        case _:
            return 0


def counting_note(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, task: Task
) -> tuple[str, ...]:
    """What the kernel's way of counting means for a process, a sentence each; empty if nothing.

    Args:
        snapshot: the machine.
        allocation: the request that fails.
        rules: the kernel's rules.
        task: the process asked about.
    """
    if rules.badness == "classic":
        return ()
    most = counting_error(task, rules, snapshot.cpus)
    if not most:
        return ()
    lines = [_size(task, rules, snapshot, most)]
    missed = _missed_now(task)
    if missed:
        more = "fewer" if missed > 0 else "more"
        lines.append(f"its resident pages are now counted {abs(missed)} {more} than they are")
    close = _close_call(snapshot, allocation, rules)
    return (*lines, close) if close else tuple(lines)


def _size(task: Task, rules: RuleSet, snapshot: Snapshot, most: int) -> str:
    if rules.rss_counters == "per_thread":
        threads = "thread" if task.threads == 1 else "threads"
        how = f"{task.threads} {threads}, {_THREAD_FAULTS} page faults each"
    else:
        assert snapshot.cpus is not None
        batch = percpu_batch(snapshot.cpus)
        how = f"{COUNTERS} counters on {snapshot.cpus} CPUs, batches of {batch}"
    size = human_pages(most, snapshot.page_size)
    return f"the kernel may miscount it by up to {most} pages ({size}): {how}"


def _missed_now(task: Task) -> int:
    """Pages that status (an exact sum since 6.12) shows and the approximate count lacks."""
    parts = (task.anon_rss_pages, task.file_rss_pages, task.shmem_rss_pages)
    return 0 if None in parts else sum(part or 0 for part in parts) - task.rss_pages


def _close_call(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> str | None:
    """Whether miscounting alone can make first and second change places."""
    oc = control_for(snapshot, allocation, rules)
    ranked = eligible_by_badness(oc)[:2]
    if len(ranked) < 2:
        return None
    (first_points, first), (second_points, second) = ranked
    error = sum(counting_error(task, rules, snapshot.cpus) or 0 for task in (first, second))
    apart = first_points - second_points
    if rules.badness == "permille":
        apart = apart * (oc.total_pages or 1) // 1000
    if apart > error:
        return None
    return (
        f"too close to call: {first.comm}[{first.pid}] and {second.comm}[{second.pid}] are {apart} "
        f"pages apart, and counting may err by {error} on the two"
    )
