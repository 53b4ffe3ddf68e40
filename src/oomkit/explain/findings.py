"""What looks wrong in a report, by its numbers."""

from collections.abc import Iterable, Iterator

from oomkit.explain.memory_breakdown import held_pages, memcg_stats, swapped_kb
from oomkit.explain.records import Breakdown, Finding, Level, Shortage
from oomkit.explain.zones import zone_findings
from oomkit.klog.records import Report
from oomkit.render.quantities import kb, label, share

_ORDER: tuple[Level, ...] = ("cause", "odd", "note")
_MUCH = 0.25
"""A use that holds such a share of memory explains a shortage by itself."""


_KERNEL_USES = (
    ("page_tables", "pagetables", 0.1, "page tables: many large mappings of shared memory"),
    ("kernel_stacks", "kernel_stack", 0.1, "kernel stacks: a great many threads"),
    ("unevictable", "unevictable", _MUCH, "memory that can't be evicted: mlock, or ramfs"),
    ("kernel_memory", "kernel_other", _MUCH, "kernel memory: per-CPU data, vmalloc, drivers"),
    ("gpu", "gpu", 0.1, "memory of GPUs: buffers of graphics or compute programs"),
    ("sockets", "sock", 0.1, "socket buffers: peers that do not read, or too many connections"),
)
"""Kind, use, the share of memory from which on it is worth a word, and the word."""


def findings(report: Report, where: Breakdown | None, short: Shortage) -> tuple[Finding, ...]:
    """What looks wrong, the most important first."""
    found = [*_kernel_side(report, where), *_swap(report, where, short)]
    found.extend(_cache(report, where, short))
    found.extend(_tasks(report, where, short))
    found.extend(zone_findings(report, short))
    if not any(finding.kind in ("low_memory", "cma", "reserve") for finding in found):
        found.extend(_free_left(where, short))
    found.extend(_protected(report, where))
    found.extend(_stalls(report))
    found.extend(_aftermath(report))
    return ranked(found)


def ranked(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, the most important first."""
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.level)))


def _found(kind: str, level: Level, text: str) -> Finding:
    return Finding(kind=kind, level=level, text=text)


def _kernel_side(report: Report, where: Breakdown | None) -> Iterator[Finding]:
    """Memory that killing processes does not free at once, or at all."""
    if where is None or report.scope == "sysrq":
        return
    total = where.total_kb
    slab = where.kb("slab_unreclaimable") + where.kb("slab")
    if slab > total * _MUCH / 2:
        yield _found("slab_leak", _level(slab, total), _slab_text(report, slab, total))
    shmem = where.kb("shmem")
    if shmem > total * _MUCH / 2:
        yield _found(
            "shmem",
            _level(shmem, total),
            f"shared memory and tmpfs hold {kb(shmem)} ({share(shmem, total)}): a kill does not "
            "free them; look at tmpfs mounts (df -t tmpfs), SysV segments (ipcs -m) and memfds",
        )
    yield from _hugepages(report, total)
    for kind, key, much, text in _KERNEL_USES:
        size = where.kb(key)
        if size > total * much:
            yield _found(kind, _level(size, total), f"{text} ({kb(size)}, {share(size, total)})")
    gap = where.kb("unaccounted")
    if gap > total * 0.2:
        yield _found(
            "unaccounted",
            _level(gap, total),
            f"{kb(gap)} ({share(gap, total)}) are in none of the kernel's counters: drivers and "
            "GPUs (dma-buf), a VM's balloon, vmalloc, pages that a module took",
        )


def _level(part: int, total: int) -> Level:
    return "cause" if part > total * _MUCH else "odd"


def _slab_text(report: Report, slab: int, total: int) -> str:
    text = f"slab that can't be reclaimed holds {kb(slab)} ({share(slab, total)})"
    caches = report.memory.unreclaimable_slab if report.memory and report.scope != "memcg" else ()
    largest = sorted(caches, key=lambda c: -c.total_kb)[:3]
    if not largest:
        return text + ": a leak in the kernel or a driver, if it grows; see slabtop"
    return text + ", most in " + ", ".join(f"{c.name} {kb(c.total_kb)}" for c in largest)


def _hugepages(report: Report, total: int) -> Iterator[Finding]:
    if report.memory is None or report.scope == "memcg":
        return
    held = sum(h.total * h.size_kb for h in report.memory.hugepages)
    free = sum(h.free * h.size_kb for h in report.memory.hugepages)
    if held > total * 0.05 and free * 2 > held:
        yield _found(
            "hugepages_unused",
            "cause" if free > total * _MUCH / 2 else "odd",
            f"{kb(held)} are set aside as huge pages and {kb(free)} of them unused "
            f"({share(free, total)} of RAM): lower vm.nr_hugepages",
        )
    elif held > total * _MUCH:
        yield _found(
            "hugepages",
            "odd",
            f"{kb(held)} ({share(held, total)}) are set aside as huge pages, {kb(free)} unused",
        )


def _swap(report: Report, where: Breakdown | None, short: Shortage) -> Iterator[Finding]:
    if where is None or report.scope == "sysrq":
        return
    total, used = where.swap_total_kb, where.swap_used_kb
    anon = where.kb("anon")
    if total == 0:
        if anon > where.total_kb * _MUCH:
            what = "the cgroup may not swap" if where.of == "memcg" else "there is no swap"
            yield _found("no_swap", "odd", f"{what}: {kb(anon)} of anonymous memory had to stay")
    elif total and used is not None:
        free = total - used
        if free <= total // 50 and short.kind in ("machine", "memcg", "cpuset", "mempolicy"):
            yield _found("swap_full", "cause", f"swap is full: {kb(used)} of {kb(total)} in use")
        elif free > total // 2 and short.kind == "machine":
            yield _found(
                "swap_unused",
                "odd",
                f"swap was still {share(free, total)} free ({kb(free)}): what filled memory could "
                "not be swapped (mlock, kernel memory) or not fast enough, or the request was of "
                "a kind that swap can't help",
            )


def _cache(report: Report, where: Breakdown | None, short: Shortage) -> Iterator[Finding]:
    if where is None:
        return
    file = where.kb("file")
    if where.of == "memcg":
        dirty = memcg_stats(report)
        pages = dirty.get("dirty", dirty.get("file_dirty", 0)) // 1024
        pages += dirty.get("writeback", dirty.get("file_writeback", 0)) // 1024
    else:
        counters = report.memory.counters_pages if report.memory else {}
        pages = (counters.get("dirty", 0) + counters.get("writeback", 0)) * report.page_kb
    if pages > where.total_kb // 4:
        yield _found(
            "dirty",
            "cause",
            f"{kb(pages)} ({share(pages, where.total_kb)}) were written files waiting for their "
            "disk: reclaim can't free them before they are written back",
        )
    elif file > where.total_kb // 3 and short.kind in ("machine", "memcg"):
        yield _found(
            "cache_left",
            "odd",
            f"{kb(file)} ({share(file, where.total_kb)}) of file cache were left: reclaim did not "
            "get at them",
        )


def _tasks(report: Report, where: Breakdown | None, short: Shortage) -> Iterator[Finding]:
    if not report.tasks:
        return
    size_kb = report.page_kb
    if where is not None and where.limit_kb:
        wanted = where.total_kb + swapped_kb(report, where)
        if wanted > where.limit_kb * 3 // 2:
            yield _found(
                "limit_low",
                "cause",
                f"it holds {kb(wanted)} in RAM and swap under a limit of {kb(where.limit_kb)}: "
                "the limit is far below what its tasks use",
            )
    yield from _many_of_a_name(report, where, size_kb)
    adjs = [row.oom_score_adj for row in report.tasks if row.oom_score_adj is not None]
    if adjs and all(adj == -1000 for adj in adjs):
        yield _found("all_protected", "cause", "every task listed has oom_score_adj -1000")
    yield from _flattened(report)
    if report.scope in ("global", "memcg") and report.table_complete and where is not None:
        yield from _victim_small(report, where, short, size_kb)


def _flattened(report: Report) -> Iterator[Finding]:
    """An adjustment so low that badness is the same for large and small."""
    values = [item.badness for item in report.predicted]
    if len(values) < 2 or len(set(values)) > 1:
        return
    listed = {item.pid for item in report.predicted}
    rows = [row for row in report.tasks if row.tgid in listed]
    adjs = sorted({row.oom_score_adj for row in rows if row.oom_score_adj is not None})
    if adjs and adjs[-1] < -500:
        shown = ", ".join(map(str, adjs))
        yield _found(
            "adj_flattens",
            "odd",
            f"oom_score_adj {shown} brings all {len(values)} candidates to badness {values[0]}: "
            "this kernel does not distinguish sizes among them (from 5.9 on it does)",
        )


def _many_of_a_name(report: Report, where: Breakdown | None, size_kb: int) -> Iterator[Finding]:
    """Processes of one name that together hold what none of them holds alone."""
    if report.scope not in ("global", "memcg"):
        return
    groups: dict[str, list[int]] = {}
    for row in report.tasks:
        held = row.rss_pages if row.rss_anon_pages is None else row.rss_anon_pages
        groups.setdefault(row.comm, []).append((held + (row.swapents or 0)) * size_kb)
    if not groups:
        return
    comm, sizes = max(groups.items(), key=lambda pair: sum(pair[1]))
    together = sum(sizes)
    total = where.total_kb + (where.swap_used_kb or 0) if where else sum(map(sum, groups.values()))
    if len(sizes) < 3 or together < total * _MUCH or max(sizes) * 2 > together:
        return
    what = "rss" if report.tasks[0].rss_anon_pages is None else "anonymous memory"
    yield _found(
        "many_of_a_name",
        "cause" if together * 2 > total else "odd",
        f"{len(sizes)} processes named {comm} hold {kb(together)} of {what} and swap together "
        f"(pages they share counted in each), the largest {kb(max(sizes))}",
    )


def _victim_small(
    report: Report, where: Breakdown, short: Shortage, size_kb: int
) -> Iterator[Finding]:
    """The largest process is tiny: memory is not in processes, and kills can't help."""
    largest = max(report.tasks, key=held_pages)
    size = held_pages(largest) * size_kb
    held = sum(row.rss_pages for row in report.tasks) * size_kb
    used = where.total_kb - where.kb("free")
    if used * 2 > where.total_kb and size * 20 < used and held * 3 < used:
        yield _found(
            "not_in_processes",
            "cause" if short.kind in ("machine", "memcg") else "note",
            f"the memory is not in processes: the largest, {label(largest.comm, largest.tgid)}, "
            f"holds {kb(size)} ({share(size, used)} of what is in use); killing can free little",
        )


def _free_left(where: Breakdown | None, short: Shortage) -> Iterator[Finding]:
    if where is None or short.kind != "machine" or not where.complete:
        return
    free = where.kb("free")
    if free > where.total_kb * 0.15:
        yield _found(
            "free_left",
            "odd",
            f"{kb(free)} ({share(free, where.total_kb)}) of RAM was free when this was printed: "
            "it came free in between, or the request could not use it",
        )


def _protected(report: Report, where: Breakdown | None) -> Iterator[Finding]:
    """Memory that reclaim had to leave alone."""
    kept = report.protection
    if kept is None or where is None or where.total_kb == 0:
        return
    size = max(kept.min_kb, kept.low_kb)
    if size > where.total_kb // 10:
        name = "memory.min" if kept.min_kb >= kept.low_kb else "memory.low"
        yield _found(
            "protected",
            _level(size, where.total_kb) if name == "memory.min" else "odd",
            f"{kb(size)} ({share(size, where.total_kb)}) were protected from reclaim by {name} of "
            "cgroups below",
        )


def _stalls(report: Report) -> Iterator[Finding]:
    """Allocations that waited: since when nothing went on."""
    if not report.stalls:
        return
    worst = max(report.stalls, key=lambda stall: stall.waited_s)
    text = f"an allocation of {worst.comm} had waited {worst.waited_s:.0f} s for memory"
    if worst.uptime_s is not None and report.uptime_s is not None:
        text += f", {report.uptime_s - worst.uptime_s:.0f} s before the kill"
    began = [s.uptime_s - s.waited_s for s in report.stalls if s.uptime_s is not None]
    if began and report.uptime_s is not None:
        text += f": memory was short for {report.uptime_s - min(began):.0f} s at least"
    yield _found("stalled", "odd", text)


def _aftermath(report: Report) -> Iterator[Finding]:
    failed = [reaped for reaped in report.reaped if not reaped.reaped]
    for reaped in failed[:1]:
        yield _found(
            "not_reaped",
            "odd",
            f"oom_reaper could not free the memory of {label(reaped.comm, reaped.pid)}",
        )
    if report.would_have:
        yield _found(
            "would_have", "note", "vm.would_have_oomkilled is set: the victim was named and spared"
        )
