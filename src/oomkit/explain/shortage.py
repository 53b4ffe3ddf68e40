"""What ran out: the machine, a cgroup, nodes, one zone, or blocks of a size."""

from oomkit.explain.cgroup_names import place_text
from oomkit.explain.memory_breakdown import machine_kb
from oomkit.explain.records import Shortage
from oomkit.explain.zones import (
    Request,
    free_for,
    has_block,
    hides_usable,
    request_of,
    reserve_kb,
    usable,
)
from oomkit.klog.memory_records import Counter, Zone
from oomkit.klog.records import Report
from oomkit.klog.report.header import nodes_in
from oomkit.render.quantities import kb


def shortage(report: Report) -> Shortage:
    """Say what ran out, with the numbers that show it."""
    match report.scope:
        case "memcg":
            return _memcg(report)
        case "cpuset":
            return _nodes(report, "cpuset", f"the memory nodes of cpuset {report.cpuset or '/'}")
        case "mempolicy":
            return _nodes(report, "mempolicy", "the nodes of the task's memory policy")
        case "sysrq":
            return _sysrq(report)
        case "global":
            return (
                _zones_hidden(report)
                or _fragmentation(report)
                or _zone(report)
                or _page_fault(report)
                or _machine(report)
            )
        case _:
            text = "the log does not show whether the machine or a cgroup ran out"
            return Shortage(kind="unknown", what="memory", details=(text,))


def cause_text(short: Shortage) -> str:
    """What ran out, as a clause."""
    match short.kind:
        case "zone" | "cpuset" | "mempolicy":
            return f"{short.what} ran out"
        case "fragmentation" | "page_fault":
            return short.what
        case "unknown":
            return "memory ran out"
        case "memcg" if short.owner:
            return f"the memory cgroup of {short.owner} ran out of memory"
        case _:
            return f"{short.what} ran out of memory"


def _memcg(report: Report) -> Shortage:
    part = report.memcg
    details = []
    if part is not None and part.memory is not None:
        details.append(_counter("memory", part.memory))
        if part.swap is not None:
            details.append(_counter("swap", part.swap))
        elif part.memsw is not None and (part.memsw.usage_kb or part.memsw.limit_kb):
            details.append(_counter("memory and swap together", part.memsw))
        if part.kmem is not None and part.kmem.limit_kb is not None:
            details.append(_counter("kernel memory", part.kmem))
        details.extend(_which_limit(report))
    task_path = (part.task_path if part else None) or (
        report.summary.task_memcg if report.summary else None
    )
    if task_path and report.cgroup and task_path != report.cgroup:
        details.append(f"the task was in {task_path}, below the cgroup whose limit was hit")
    what = f"memory cgroup {report.cgroup}" if report.cgroup else "a memory cgroup"
    owner = report.owner or place_text(report.cgroup)
    return Shortage(kind="memcg", what=what, owner=owner, details=tuple(details))


def _counter(name: str, counter: Counter) -> str:
    limit = "no limit" if counter.limit_kb is None else f"limit {kb(counter.limit_kb)}"
    text = f"{name} {kb(counter.usage_kb)}, {limit}"
    if not counter.failcnt:
        return text
    # Where the line was cut in the number, what is left of it is less than the count.
    return f"{text}, hit {'at least ' if counter.failcnt_cut else ''}{counter.failcnt} times"


def _which_limit(report: Report) -> list[str]:
    """v1 has three limits; say which one it was where it is not the first."""
    part = report.memcg
    if part is None or part.memory is None:
        return []
    if _at_limit(part.memory):
        return []
    if part.memsw is not None and _at_limit(part.memsw):
        return ["it is the limit of memory and swap together that was hit"]
    if part.kmem is not None and _at_limit(part.kmem):
        return ["it is the limit of kernel memory that was hit"]
    if part.memory.limit_kb:
        return ["usage is below the limit by now: memory came free before the report was printed"]
    return []


def _at_limit(counter: Counter) -> bool:
    """Full, or so near that a batch of charges (256 kB and a huge page) no longer fits."""
    if counter.limit_kb is None:
        return False
    return counter.usage_kb >= counter.limit_kb - max(counter.limit_kb // 50, 2304)


def _nodes(report: Report, kind: str, what: str) -> Shortage:
    nodes = report.nodemask if kind == "mempolicy" else report.mems_allowed
    details = [f"node {nodes}" if nodes else "the log does not show which nodes"]
    details.extend(_zones_of(report, nodes))
    memory = report.memory
    if memory is not None and memory.counters_pages.get("free"):
        free = kb(memory.counters_pages["free"] * report.page_kb)
        details.append(f"the machine as a whole had {free} free")
    return Shortage(
        kind="mempolicy" if kind == "mempolicy" else "cpuset", what=what, details=tuple(details)
    )


def _zones_of(report: Report, nodes: str | None) -> list[str]:
    """The zones of the nodes that were allowed."""
    allowed = nodes_in(nodes)
    request = request_of(report)
    texts = []
    for zone in report.memory.zones if report.memory else ():
        if zone.node not in allowed or zone.free_kb is None:
            continue
        text = f"zone {zone.name} of node {zone.node}: {kb(zone.free_kb)} free"
        if request is not None and zone not in usable((zone,), request):
            text += ", which this request can't use"
        elif zone.min_kb is not None:
            text += f", min watermark {kb(zone.min_kb)}"
        texts.append(text)
    return texts


def _sysrq(report: Report) -> Shortage:
    details = []
    memory = report.memory
    if memory is not None and "free" in memory.counters_pages:
        free = kb(memory.counters_pages["free"] * report.page_kb)
        total = machine_kb(report)
        details.append(f"{free}{f' of {kb(total)}' if total else ''} was free")
    what = "nothing: a kill was requested by hand (SysRq-f, or f to /proc/sysrq-trigger)"
    return Shortage(kind="sysrq", what=what, details=tuple(details))


def _machine(report: Report) -> Shortage:
    details = []
    memory, total = report.memory, machine_kb(report)
    free = memory.counters_pages.get("free") if memory is not None else None
    if total is not None:
        text = f"RAM {kb(total)}"
        details.append(text + (f", {kb(free * report.page_kb)} free" if free is not None else ""))
    elif free is not None:
        details.append(f"{kb(free * report.page_kb)} free")
    if memory is not None and memory.total_swap_kb is not None:
        if memory.total_swap_kb == 0:
            details.append("no swap")
        elif memory.free_swap_kb is not None:
            free_swap = kb(memory.free_swap_kb)
            details.append(f"swap {kb(memory.total_swap_kb)}, {free_swap} free")
    return Shortage(kind="machine", what="the machine", details=tuple(details))


def _page_fault(report: Report) -> Shortage | None:
    """A page fault reported VM_FAULT_OOM while the machine was not short at all."""
    if not (report.gfp_mask or "").startswith("0x0"):
        return None
    counters = report.memory.counters_pages if report.memory else {}
    total, free = machine_kb(report), counters.get("free")
    cache = (counters.get("active_file", 0) + counters.get("inactive_file", 0)) * report.page_kb
    if total is not None and free is not None and free * report.page_kb * 10 >= total:
        left = f"RAM {kb(total)}, {kb(free * report.page_kb)} free"
    elif cache * 2 > (total or sum(counters.values()) * report.page_kb) > 0:
        left = f"{kb(cache)} of file cache were left"
    else:
        return None
    details = (
        f"{left}: the machine itself was not low on memory",
        "pagefault_out_of_memory names no request; as a rule a memory cgroup's limit is behind it",
    )
    return Shortage(kind="page_fault", what="a page fault gave up", details=details)


def _fragmentation(report: Report) -> Shortage | None:
    """An order above 0 fails while pages are free: blocks of the size are what lacks."""
    order, request, memory = report.order or 0, request_of(report), report.memory
    if order <= 0 or memory is None:
        return None
    size = kb(report.page_kb << order)
    zones = usable(memory.zones, request) if request else list(memory.zones)
    enough = [z for z in zones if _left_kb(z, report, request) > 0]
    if not enough:
        return None
    details = [f"order {order}: {1 << order} contiguous pages ({size}) in one piece"]
    for zone in enough:
        blocks = sum(zone.free_blocks[order:])
        text = f"zone {zone.name} of node {zone.node}: {kb(zone.free_kb or 0)} free"
        if has_block(zone, order) is not None:
            text += (
                f", {blocks} free blocks of that size or larger"
                if blocks
                else (", no free block of that size")
            )
        cma = zone.counters_kb.get("free_cma", 0)
        if cma and request and not request.movable:
            text += f"; {kb(cma)} of it is CMA, which this request can't use"
        details.append(text)
    if any(has_block(zone, order) for zone in enough):
        details.append("blocks were there when this was printed; none that the request could take")
    else:
        details.append("so memory was there, but not in pieces large enough for this request")
    return Shortage(
        kind="fragmentation",
        what=f"no free block of {size} (order {order}) could be had",
        details=tuple(details),
        order=order,
    )


def _left_kb(zone: Zone, report: Report, request: Request | None) -> int:
    """Free memory above what the zone keeps back from the request."""
    if request is None:
        return (zone.free_kb or 0) - (zone.min_kb or 0)
    kept = (zone.min_kb or 0) + reserve_kb(zone, report, request)
    return (zone.free_kb or 0) - kept


def _zones_hidden(report: Report) -> Shortage | None:
    """Zones that the request could use are not in the log: what lacked is unknown."""
    request, memory = request_of(report), report.memory
    if memory is None or not hides_usable(report, request):
        return None
    free = memory.counters_pages.get("free", 0) * report.page_kb
    shown = sum(zone.free_kb or 0 for zone in memory.zones)
    if free <= 2 * shown + 4096:
        return None
    names = ", ".join(dict.fromkeys(zone.name for zone in memory.zones))
    details = [
        (
            f"the machine had {kb(free)} free; which zone failed is unknown: of those that the "
            f"request could use the log shows {names} only"
        )
    ]
    if (report.order or 0) > 0:
        size = kb(report.page_kb << (report.order or 0))
        details.append(f"order {report.order}: the request was for {size} in one piece")
    if request is not None and not request.high:
        details.append("the request could not use high memory (no __GFP_HIGHMEM)")
    return Shortage(kind="unknown", what="memory", details=tuple(details))


def _zone(report: Report) -> Shortage | None:
    """The zones the request can use are short while others have plenty."""
    request, memory = request_of(report), report.memory
    if request is None or memory is None or not memory.zones:
        return None
    mine = usable(memory.zones, request)
    others = [z for z in memory.zones if z not in mine]
    spare = sum(max((z.free_kb or 0) - (z.high_kb or 0), 0) for z in others)
    if not mine:
        return None
    free = sum(z.free_kb or 0 for z in mine)
    taken = sum(free_for(z, request) for z in mine)
    cma = free - taken
    if spare <= max(free, 4096) and cma <= max(taken, 4096):
        return None
    details = [_zone_text(zone, report, request) for zone in mine if _matters(zone, mine)]
    if spare > max(free, 4096):
        names = ", ".join(dict.fromkeys(z.name for z in others))
        details.append(f"{kb(spare)} was to spare in {names}, which this request can't use")
    biggest = max(mine, key=lambda z: z.managed_kb or z.present_kb or z.free_kb or 0)
    what = f"zone {biggest.name}" if spare > max(free, 4096) else "memory outside CMA"
    return Shortage(kind="zone", what=what, details=tuple(details), zone=biggest.name)


def _matters(zone: Zone, mine: list[Zone]) -> bool:
    largest = max(z.managed_kb or z.present_kb or 0 for z in mine)
    return (zone.managed_kb or zone.present_kb or 0) * 20 >= largest


def _zone_text(zone: Zone, report: Report, request: Request) -> str:
    text = f"zone {zone.name}: {kb(zone.free_kb or 0)} free"
    size = zone.managed_kb or zone.present_kb
    if size:
        text += f" of {kb(size)}"
    cma = (zone.free_kb or 0) - free_for(zone, request)
    if cma:
        text += f", {kb(cma)} of that CMA, for movable pages only"
    if zone.min_kb is not None:
        reserve = reserve_kb(zone, report, request)
        text += f"; min watermark {kb(zone.min_kb)}"
        text += f" + {kb(reserve)} kept back" if reserve else ""
    return text
