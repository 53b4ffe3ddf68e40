"""Where memory was: from a report's counters to shares that add up."""

from oomkit.explain.records import Breakdown, Share
from oomkit.klog.memory_records import Memcg, Memory
from oomkit.klog.records import Report, TaskRow

_LABELS = {
    "processes": "processes (sum of rss)",
    "anon": "anonymous",
    "anon_file": "anonymous + file",
    "file": "file cache",
    "shmem": "shmem, tmpfs",
    "unevictable": "unevictable",
    "slab_unreclaimable": "slab, unreclaimable",
    "slab_reclaimable": "slab, reclaimable",
    "slab": "slab",
    "pagetables": "page tables",
    "kernel_stack": "kernel stacks",
    "kernel_other": "other kernel memory",
    "kernel": "kernel memory",
    "sock": "socket buffers",
    "hugetlb": "huge pages (hugetlb)",
    "gpu": "GPU memory",
    "unaccounted": "unaccounted",
    "free": "free",
}


def breakdown(report: Report) -> Breakdown | None:
    """Where memory was: the cgroup's for a memory cgroup's report, else the machine's."""
    if report.scope == "memcg":
        return _memcg(report)
    return _machine(report)


def _shares(found: dict[str, int]) -> tuple[Share, ...]:
    return tuple(
        Share(key=key, label=label, kb=found[key])
        for key, label in _LABELS.items()
        if found.get(key, 0) > 0
    )


def machine_kb(report: Report) -> int | None:
    """RAM that the allocator manages, in kB; None: unknown."""
    memory = report.memory
    if memory is None:
        return None
    if memory.ram_pages is not None:
        return (memory.ram_pages - (memory.reserved_pages or 0)) * report.page_kb
    sizes = [zone.managed_kb or zone.present_kb for zone in memory.zones]
    if not memory.zones or None in sizes or _is_subset(memory):
        return None
    return sum(size or 0 for size in sizes)


def _is_subset(memory: Memory) -> bool:
    """The zones shown can't be all: less is in them than the machine's counters hold."""
    counters = memory.counters_pages
    used_kb = sum(v for k, v in counters.items() if k.startswith(("active", "inactive", "free")))
    shown_kb = sum(zone.managed_kb or zone.present_kb or 0 for zone in memory.zones)
    return used_kb * (memory.page_kb or 4) > shown_kb


def _machine(report: Report) -> Breakdown | None:
    memory = report.memory
    if memory is None or not memory.counters_pages:
        return _swap_alone(report)
    size_kb = report.page_kb
    counters = memory.counters_pages
    found = {key: pages * size_kb for key, pages in _uses(counters).items()}
    found["kernel_stack"] = _sum_kb(memory, "kernel_stack")
    found["hugetlb"] = sum(h.total * h.size_kb for h in memory.hugepages)
    found["gpu"] = _sum_kb(memory, "gpu_active") + _sum_kb(memory, "gpu_reclaim")
    total = machine_kb(report)
    known = sum(found.values())
    if total is not None:
        found["unaccounted"] = max(total - known, 0)
    return Breakdown(
        of="machine",
        total_kb=max(total or 0, known),
        shares=_shares(found),
        complete=total is not None,
        swap_total_kb=memory.total_swap_kb,
        swap_used_kb=_swap_used(memory),
    )


def _uses(counters: dict[str, int]) -> dict[str, int]:
    """Uses by the machine's counters, in pages; shmem is taken out of what includes it."""
    shmem = counters.get("shmem", 0)
    found = {
        "shmem": shmem,
        "free": counters.get("free", 0) + counters.get("free_pcp", 0),
        "pagetables": counters.get("pagetables", 0) + counters.get("sec_pagetables", 0),
        "kernel_other": counters.get("kernel_misc_reclaimable", 0),
        "slab": counters.get("slab", 0),
        "slab_reclaimable": counters.get("slab_reclaimable", 0),
        "slab_unreclaimable": counters.get("slab_unreclaimable", 0),
    }
    if "active" in counters or "inactive" in counters:
        # Until 2.6.27 one pair of lists held anonymous memory and the page cache.
        found["anon_file"] = counters.get("active", 0) + counters.get("inactive", 0)
        return found
    lru = sum(counters.get(f"{kind}_anon", 0) for kind in ("active", "inactive", "isolated"))
    locked = counters.get("unevictable", 0)
    found["anon"] = max(lru - shmem, 0)
    found["unevictable"] = max(locked - max(shmem - lru, 0), 0)
    found["file"] = sum(
        counters.get(f"{kind}_file", 0) for kind in ("active", "inactive", "isolated")
    )
    return found


def _sum_kb(memory: Memory, name: str) -> int:
    by_node = sum(node.counters_kb.get(name, 0) for node in memory.nodes)
    return by_node or sum(zone.counters_kb.get(name, 0) for zone in memory.zones)


def _swap_used(memory: Memory) -> int | None:
    if memory.total_swap_kb is None or memory.free_swap_kb is None:
        return None
    return memory.total_swap_kb - memory.free_swap_kb


def _swap_alone(report: Report) -> Breakdown | None:
    """Only the end of Mem-Info is left: total and swap."""
    total, memory = machine_kb(report), report.memory
    if memory is None or total is None or memory.ram_pages is None:
        return None
    return Breakdown(
        of="machine",
        total_kb=total,
        shares=(),
        swap_total_kb=memory.total_swap_kb,
        swap_used_kb=_swap_used(memory),
    )


def _memcg(report: Report) -> Breakdown | None:
    part = report.memcg
    if part is None or part.memory is None:
        return None
    usage = part.memory.usage_kb
    stats = memcg_stats(report)
    found = {key: size // 1024 for key, size in _memcg_uses(stats).items()}
    if "kernel" not in stats and part.kmem is not None:
        detail = ("slab_unreclaimable", "slab_reclaimable", "pagetables", "kernel_stack")
        rest = part.kmem.usage_kb - sum(found.get(key, 0) for key in detail)
        found["kernel_other"] = max(rest, found.get("kernel_other", 0))
    if stats and not _lacks_descendants(report):
        # The counters are flushed at other times than the total: a small rest means nothing.
        rest = usage - sum(found.values())
        found["unaccounted"] = rest if rest > usage // 50 else 0
    elif not stats:
        rss = sum(row.rss_pages for row in report.tasks) * report.page_kb
        found["processes"] = max(min(rss, usage - sum(found.values())), 0)
    swap_total, swap_used = _memcg_swap(part, stats)
    return Breakdown(
        of="memcg",
        total_kb=max(usage, sum(found.values())),
        shares=_shares(found),
        limit_kb=part.memory.limit_kb,
        complete=bool(stats) and not _lacks_descendants(report),
        swap_total_kb=swap_total,
        swap_used_kb=swap_used,
    )


def memcg_stats(report: Report) -> dict[str, int]:
    """The cgroup's counters with its descendants' in them."""
    part = report.memcg
    if part is None or not part.stats:
        return {}
    own = part.stats.get(part.path or "") or next(iter(part.stats.values()))
    if "total_rss" in own:
        return {k.removeprefix("total_"): v for k, v in own.items() if k.startswith("total_")}
    if "rss" not in own:
        return own
    # v1 until 5.1 prints each cgroup below the limit by itself.
    summed: dict[str, int] = {}
    for counters in part.stats.values():
        for key, value in counters.items():
            summed[key] = summed.get(key, 0) + value
    return summed


def _lacks_descendants(report: Report) -> bool:
    """Counters without a descendant's, in which the asker was: v1 prints each by itself."""
    part = report.memcg
    own = next(iter(part.stats.values()), {}) if part is not None else {}
    if part is None or "rss" not in own or "total_rss" in own:
        return False
    inside = part.task_path
    return inside not in (None, part.path) and inside not in part.stats


def _memcg_uses(stats: dict[str, int]) -> dict[str, int]:
    shmem = stats.get("shmem", 0)
    if "rss" in stats:
        return {
            "anon": stats["rss"],
            "file": max(stats.get("cache", 0) - shmem, 0),
            "shmem": shmem,
        }
    if "anon" not in stats:
        return {}
    found = {
        "anon": stats["anon"],
        "file": max(stats.get("file", 0) - shmem, 0),
        "shmem": shmem,
        "slab_reclaimable": stats.get("slab_reclaimable", 0),
        "slab_unreclaimable": stats.get("slab_unreclaimable", 0),
        "pagetables": stats.get("pagetables", 0) + stats.get("sec_pagetables", 0),
        "kernel_stack": stats.get("kernel_stack", 0),
        "kernel_other": stats.get("percpu", 0) + stats.get("vmalloc", 0),
        "sock": stats.get("sock", 0),
    }
    if "kernel" in stats:
        known = ("slab_reclaimable", "slab_unreclaimable", "pagetables", "kernel_stack")
        rest = stats["kernel"] - sum(found[key] for key in known)
        found["kernel_other"] = max(rest, 0)
    return found


def _memcg_swap(part: Memcg, stats: dict[str, int]) -> tuple[int | None, int | None]:
    """Swap the cgroup may use and uses, in kB; None where the report does not say."""
    if part.swap is not None:
        return part.swap.limit_kb, part.swap.usage_kb
    used = stats["swap"] // 1024 if "swap" in stats else None
    total = None
    if part.memsw is not None and part.memory is not None:
        if used is None and part.memsw.usage_kb:
            used = max(part.memsw.usage_kb - part.memory.usage_kb, 0)
        if part.memsw.limit_kb is not None and part.memory.limit_kb is not None:
            total = max(part.memsw.limit_kb - part.memory.limit_kb, 0)
    return total, used


def swapped_kb(report: Report, where: Breakdown) -> int:
    """Swap that the tasks hold: as charged to the cgroup, else by the table."""
    if where.swap_used_kb is not None:
        return where.swap_used_kb
    return sum(row.swapents or 0 for row in report.tasks) * report.page_kb


def held_pages(row: TaskRow) -> int:
    """What a task holds in RAM and swap, by the table."""
    return row.rss_pages + (row.swapents or 0)
