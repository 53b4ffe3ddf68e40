"""Where memory was: from a report's counters to shares that add up."""

from collections import Counter

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
        if found.get(key)
    )


def _rest(whole: int, *parts: int) -> int:
    """What parts leave of a whole: nothing where they, counted at another moment, are more."""
    return max(whole - sum(parts), 0)


def machine_kb(report: Report) -> int | None:
    """RAM that the allocator manages, in kB; None: unknown."""
    memory = report.memory
    if memory is None:
        return None
    if memory.ram_pages is not None:
        return (memory.ram_pages - (memory.reserved_pages or 0)) * report.page_kb
    sizes = [zone.managed_kb or zone.present_kb for zone in memory.zones]
    shown_kb = sum(filter(None, sizes))
    # Zones that hold less than the machine's counters can't be all.
    if not sizes or None in sizes or shown_kb < _counted_pages(memory) * report.page_kb:
        return None
    return shown_kb


def _counted_pages(memory: Memory) -> int:
    counters = memory.counters_pages
    return sum(v for k, v in counters.items() if k.startswith(("active", "inactive", "free")))


def _machine(report: Report) -> Breakdown | None:
    memory = report.memory
    if memory is None:
        return None
    if not memory.counters_pages:
        return _swap_alone(report, memory)
    size_kb = report.page_kb
    found = {key: pages * size_kb for key, pages in _uses(memory.counters_pages).items()}
    found["kernel_stack"] = _sum_kb(memory, "kernel_stack")
    found["hugetlb"] = sum(h.total * h.size_kb for h in memory.hugepages)
    found["gpu"] = _sum_kb(memory, "gpu_active") + _sum_kb(memory, "gpu_reclaim")
    total = machine_kb(report)
    if total is not None:
        found["unaccounted"] = _rest(total, *found.values())
    return Breakdown(
        of="machine",
        total_kb=sum(found.values()),
        shares=_shares(found),
        complete=total is not None,
        swap_total_kb=memory.total_swap_kb,
        swap_used_kb=_swap_used(memory),
    )


_LISTS = ("active", "inactive", "isolated")


def _uses(counters: dict[str, int]) -> dict[str, int]:
    """Uses by the machine's counters, in pages; shmem is taken out of what includes it."""
    of = Counter(counters)
    shmem = of["shmem"]
    found = {
        "shmem": shmem,
        "free": of["free"] + of["free_pcp"],
        "pagetables": of["pagetables"] + of["sec_pagetables"],
        "kernel_other": of["kernel_misc_reclaimable"],
        "slab": of["slab"],
        "slab_reclaimable": of["slab_reclaimable"],
        "slab_unreclaimable": of["slab_unreclaimable"],
        # Until 2.6.27 one pair of lists held anonymous memory and the page cache.
        "anon_file": of["active"] + of["inactive"],
    }
    if found["anon_file"]:
        return found
    lru = sum(of[f"{kind}_anon"] for kind in _LISTS)
    found["anon"] = _rest(lru, shmem)
    found["unevictable"] = _rest(of["unevictable"], _rest(shmem, lru))
    found["file"] = sum(of[f"{kind}_file"] for kind in _LISTS)
    return found


def _sum_kb(memory: Memory, name: str) -> int:
    by_node = sum(node.counters_kb.get(name, 0) for node in memory.nodes)
    return by_node or sum(zone.counters_kb.get(name, 0) for zone in memory.zones)


def _swap_used(memory: Memory) -> int | None:
    if memory.total_swap_kb is None or memory.free_swap_kb is None:
        return None
    return memory.total_swap_kb - memory.free_swap_kb


def _swap_alone(report: Report, memory: Memory) -> Breakdown | None:
    """Only the end of Mem-Info is left: total and swap."""
    total = machine_kb(report)
    if total is None or memory.ram_pages is None:
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
    found = Counter({key: size // 1024 for key, size in _memcg_uses(stats).items()})
    if part.kmem is not None:
        rest = part.kmem.usage_kb - sum(found[key] for key in _KERNEL_DETAIL)
        found["kernel_other"] = max(rest, found["kernel_other"])
    if stats and not _lacks_descendants(report):
        # The counters are flushed at other times than the total: a small rest means nothing.
        rest = usage - sum(found.values())
        found["unaccounted"] = rest if rest > usage // 50 else 0
    elif not stats:
        rss = sum(row.rss_pages for row in report.tasks) * report.page_kb
        found["processes"] = min(rss, _rest(usage, *found.values()))
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
    summed = Counter[str]()
    for counters in part.stats.values():
        summed.update(counters)
    return dict(summed)


def _lacks_descendants(report: Report) -> bool:
    """Counters without a descendant's, in which the asker was: v1 prints each by itself."""
    part = report.memcg
    own = next(iter(part.stats.values()), {}) if part is not None else {}
    if part is None or "rss" not in own or "total_rss" in own:
        return False
    inside = part.task_path
    return inside not in (None, part.path) and inside not in part.stats


_KERNEL_DETAIL = ("slab_reclaimable", "slab_unreclaimable", "pagetables", "kernel_stack")


def _memcg_uses(stats: dict[str, int]) -> dict[str, int]:
    of = Counter(stats)
    shmem = of["shmem"]
    if "rss" in stats:
        return {"anon": of["rss"], "file": _rest(of["cache"], shmem), "shmem": shmem}
    if "anon" not in stats:
        return {}
    found = {
        "anon": of["anon"],
        "file": _rest(of["file"], shmem),
        "shmem": shmem,
        "slab_reclaimable": of["slab_reclaimable"],
        "slab_unreclaimable": of["slab_unreclaimable"],
        "pagetables": of["pagetables"] + of["sec_pagetables"],
        "kernel_stack": of["kernel_stack"],
        "kernel_other": of["percpu"] + of["vmalloc"],
        "sock": of["sock"],
    }
    if "kernel" in stats:
        found["kernel_other"] = _rest(of["kernel"], *(found[key] for key in _KERNEL_DETAIL))
    return found


def _memcg_swap(part: Memcg, stats: dict[str, int]) -> tuple[int | None, int | None]:
    """Swap the cgroup may use and uses, in kB; None where the report does not say."""
    if part.swap is not None:
        return part.swap.limit_kb, part.swap.usage_kb
    used = stats["swap"] // 1024 if "swap" in stats else None
    memory, memsw = part.memory, part.memsw
    if memory is None or memsw is None:
        return None, used
    if used is None and memsw.usage_kb:
        used = _rest(memsw.usage_kb, memory.usage_kb)
    if memsw.limit_kb is None or memory.limit_kb is None:
        return None, used
    return _rest(memsw.limit_kb, memory.limit_kb), used


def swapped_kb(report: Report, where: Breakdown) -> int:
    """Swap that the tasks hold: as charged to the cgroup, else by the table."""
    if where.swap_used_kb is not None:
        return where.swap_used_kb
    return sum(row.swapents or 0 for row in report.tasks) * report.page_kb


def held_pages(row: TaskRow) -> int:
    """What a task holds in RAM and swap, by the table."""
    return row.rss_pages + (row.swapents or 0)
