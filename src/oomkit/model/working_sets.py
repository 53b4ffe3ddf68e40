"""Which pages running tasks use again and again: the counterpart of the kernel's active lists."""

from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.tasks import PAGE, Proc

WorkingSets = dict[Proc, list[tuple[Pool, float]]]
"""The pools that each working task goes over, with the pages of each."""


def mark_working_sets(machine: Machine) -> WorkingSets:
    """Set each pool's ``hot`` pages: those that running tasks use again and again.

    Returns:
        the pools that each working task goes over, with the pages of each.
    """
    machine.spares = None
    for pool in machine.pools():
        pool.hot = 0.0
    if machine.programs is not None:
        machine.programs.hot = machine.probe.text_bytes / PAGE
    found: WorkingSets = {}
    used: set[Pool | None] = {None}
    for proc in machine.procs:
        if proc.state != "run" or proc.frozen:
            continue
        program = proc.program
        if program not in used:
            used.add(program)
            if program is not None:
                _use(program, program.size, machine.now)
        if proc.verb == "work":
            found[proc] = _mark_working_set(machine, proc)
    return found


def _mark_working_set(machine: Machine, proc: Proc) -> list[tuple[Pool, float]]:
    parts = _working_set(proc)
    for pool, pages in parts:
        if pages > pool.hot:
            _use(pool, pages, machine.now)
    if proc.current.file is not None:
        pool = machine.file(proc.current.file, proc.mm.group)
        _use(pool, pool.size, machine.now)
    return parts


def _use(pool: Pool, pages: float, now: float) -> None:
    """Note that so many pages of a pool are in use."""
    pool.hot = pages
    if pages >= pool.resident:
        pool.oldest_s = pool.newest_s = now


def _working_set(proc: Proc) -> list[tuple[Pool, float]]:
    """The pools a working task goes over, with the pages of each."""
    mm = proc.mm
    parts = [(mm.anon, mm.anon.resident + mm.anon.swapped)]
    if mm.shmem.resident or mm.shmem.swapped:
        parts.append((mm.shmem, mm.shmem.resident + mm.shmem.swapped))
    for pool, _ in mm.shared:
        pages = pool.resident + pool.swapped
        parts.append((pool, min(mm.gone_over[pool], pages) if pool in mm.gone_over else pages))
    parts.extend(mm.cow_views)
    wanted = proc.current.set_bytes
    if wanted is None:
        return parts
    left, chosen = wanted / PAGE, []
    for pool, pages in parts:
        chosen.append((pool, min(pages, left)))
        left = max(left - pages, 0.0)
    return chosen
