"""The machine's memory, swap or ``vm`` knobs changed, with what follows from them."""

from oomkit.kernel.overcommit import commit_limit_pages
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Node, Snapshot, Sysctl
from oomkit.kernel.watermarks import Watermarks, default_min_free_kbytes, watermarks_for
from oomkit.records import replace
from oomkit.render.quantities import human_pages

_NEAR = 0.05
"""``min_free_kbytes`` this near to the kernel's default is taken for it."""


def with_ram(snapshot: Snapshot, pages: int, rules: RuleSet) -> tuple[Snapshot, str]:
    """Change MemTotal; returns the machine and what was assumed.

    What is added is free. What is taken is taken from free memory down to the high watermark,
    then from the page cache; tasks keep what they hold.
    """
    memory, sysctl = snapshot.memory, snapshot.sysctl
    more = pages - memory.total_ram_pages
    knobs = _following(memory, sysctl, pages, rules)
    changed = replace(memory, total_ram_pages=pages, nodes=_nodes(memory, pages))
    changed = _marked(changed, memory, sysctl, knobs, rules)
    free, file = memory.free_pages + more, memory.file_pages
    missing = 0
    if more < 0:
        floor = min(changed.high_wmark_pages, memory.free_pages)
        droppable = max(file - memory.shmem_pages, 0)
        dropped = min(max(floor - free, 0), droppable)
        file -= dropped
        missing = max(floor - free - dropped, 0)
        free = max(free + dropped, 0)
    changed = replace(changed, free_pages=free, file_pages=file)
    if memory.available_pages is not None:
        available = memory.available_pages + more - _held_back(changed, rules)
        available += _held_back(memory, rules)
        changed = replace(changed, available_pages=max(available, 0))
    snapshot = replace(snapshot, memory=changed, sysctl=knobs)
    remark = "what is added is free, watermarks and reserves follow"
    if missing:
        size = human_pages(missing, snapshot.page_size)
        remark = f"{size} in use would not fit and have to go to swap or end in an OOM"
    elif more < 0:
        remark = "taken from free memory, then from page cache; watermarks and reserves follow"
    if memory.available_pages is not None:
        remark += _from_to(
            "MemAvailable", memory.available_pages, changed.available_pages, snapshot
        )
    return _with_commit_limit(snapshot, rules), remark


def _from_to(name: str, was: int, now: int | None, snapshot: Snapshot) -> str:
    before, after = (human_pages(pages, snapshot.page_size) for pages in (was, now or 0))
    return f"; {name} {before} -> {after}"


def with_swap(snapshot: Snapshot, pages: int, rules: RuleSet) -> tuple[Snapshot, str]:
    """Change SwapTotal; returns the machine and what was assumed."""
    memory = snapshot.memory
    used = memory.total_swap_pages - memory.free_swap_pages
    back = max(used - pages, 0)
    available = memory.available_pages
    changed = replace(
        memory,
        total_swap_pages=pages,
        free_swap_pages=max(pages - used, 0),
        free_pages=max(memory.free_pages - back, 0),
        available_pages=None if available is None else max(available - back, 0),
    )
    snapshot = replace(snapshot, memory=changed)
    remark = "what is in swap stays there"
    if back:
        size = human_pages(back, snapshot.page_size)
        remark = f"{size} that are in swap now would have to come back to memory"
    remark += _from_to("SwapFree", memory.free_swap_pages, changed.free_swap_pages, snapshot)
    return _with_commit_limit(snapshot, rules), remark


def with_sysctl(snapshot: Snapshot, knob: str, value: int, rules: RuleSet) -> tuple[Snapshot, str]:
    """Change a knob of ``/proc/sys/vm``; returns the machine and what was assumed."""
    memory, sysctl = snapshot.memory, snapshot.sysctl
    changes = {knob: value}
    # Writing one of the two knobs of the commit limit switches the other off.
    if knob == "overcommit_kbytes" and value:
        changes["overcommit_ratio"] = 0
    elif knob == "overcommit_ratio":
        changes["overcommit_kbytes"] = 0
    after = replace(sysctl, **changes)
    remark = ""
    if knob in ("min_free_kbytes", "watermark_scale_factor"):
        changed = _marked(memory, memory, sysctl, after, rules)
        if memory.available_pages is not None:
            available = memory.available_pages + _held_back(memory, rules)
            available -= _held_back(changed, rules)
            changed = replace(changed, available_pages=max(available, 0))
        memory, remark = changed, "watermarks and MemAvailable follow"
    elif knob == "overcommit_memory":
        remark = "it decides what is promised from now on, not what was"
    snapshot = replace(snapshot, memory=memory, sysctl=after)
    if knob in ("overcommit_ratio", "overcommit_kbytes"):
        snapshot = _with_commit_limit(snapshot, rules)
    return snapshot, remark


def _following(memory: Memory, sysctl: Sysctl, pages: int, rules: RuleSet) -> Sysctl:
    """``min_free_kbytes`` as it would be with this much RAM, unless it was set."""
    now = sysctl.min_free_kbytes
    for thp in (False, True):
        default = default_min_free_kbytes(memory.total_ram_pages, rules, thp=thp)
        if abs(now - default) <= default * _NEAR:
            value = default_min_free_kbytes(pages, rules, thp=thp)
            return replace(sysctl, min_free_kbytes=value)
    return sysctl


def _watermarks(total: int, sysctl: Sysctl, rules: RuleSet) -> Watermarks:
    return watermarks_for(
        max(total, 1),
        rules,
        min_free_kbytes=sysctl.min_free_kbytes,
        scale_factor=sysctl.watermark_scale_factor,
        thp=False,
    )


def _marked(
    memory: Memory, before: Memory, sysctl: Sysctl, after: Sysctl, rules: RuleSet
) -> Memory:
    """The watermarks moved by what the kernel's formula says; a machine's own zones stay."""
    if not before.high_wmark_pages:
        return memory
    old, new = (
        _watermarks(before.total_ram_pages, sysctl, rules),
        _watermarks(memory.total_ram_pages, after, rules),
    )
    return replace(
        memory,
        totalreserve_pages=max(
            before.totalreserve_pages + new.totalreserve_pages - old.totalreserve_pages, 0
        ),
        min_wmark_pages=max(before.min_wmark_pages + new.min_pages - old.min_pages, 0),
        low_wmark_pages=max(before.low_wmark_pages + new.low_pages - old.low_pages, 0),
        high_wmark_pages=max(before.high_wmark_pages + new.high_pages - old.high_pages, 0),
    )


def _held_back(memory: Memory, rules: RuleSet) -> int:
    """What MemAvailable does not count of free memory and page cache (``si_mem_available()``)."""
    cache = max(memory.file_pages - memory.shmem_pages, 0)
    reserve = memory.totalreserve_pages
    if rules.mem_available == "low_watermarks":
        reserve = memory.low_wmark_pages
    return reserve + min(cache // 2, memory.low_wmark_pages)


def _nodes(memory: Memory, pages: int) -> tuple[Node, ...]:
    """The NUMA nodes, each larger or smaller in the same measure."""
    total = memory.total_ram_pages or 1
    return tuple(
        replace(
            node,
            present_pages=node.present_pages * pages // total,
            spanned_pages=node.spanned_pages * pages // total,
        )
        for node in memory.nodes
    )


def _with_commit_limit(snapshot: Snapshot, rules: RuleSet) -> Snapshot:
    if snapshot.memory.commit_limit_pages is None:
        return snapshot
    limit = commit_limit_pages(
        snapshot.memory, snapshot.sysctl, rules, page_size=snapshot.page_size
    )
    memory = replace(snapshot.memory, commit_limit_pages=limit)
    return replace(snapshot, memory=memory)
