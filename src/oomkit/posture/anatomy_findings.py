"""What a memory cgroup's anatomy means, in sentences."""

from collections.abc import Iterator

from oomkit.kernel.cgroup_name import label
from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Memcg, Snapshot
from oomkit.posture.anatomy import Anatomy
from oomkit.posture.attention import Severity
from oomkit.records import Record
from oomkit.render.quantities import count_of, human_bytes, seconds, time_share

_NEAR = 0.9
_MOSTLY = 0.5
_MUCH = 0.25
_MANY_HITS_PER_MIN = 60
_PER_MIN = 60
_THROTTLED = 0.98
_SOON_S = 3600
_WAITS = 10.0
_ORDER = ("critical", "warning", "info")


class Finding(Record, frozen=True, kw_only=True):
    """Something about a cgroup that deserves attention.

    Attributes:
        kind: a word that stays the same, for programs.
        severity: how serious it is.
        text: the finding in a sentence.
    """

    kind: str
    severity: Severity
    text: str


class Rates(Record, frozen=True, kw_only=True):
    """How fast a cgroup changed between two readings.

    Attributes:
        over_s: time between them.
        growth_bytes_s: change of its usage.
        events: increase of each counter of ``memory.events``.
        refaults: pages that were reclaimed and had to be read again.
    """

    over_s: float
    growth_bytes_s: float
    events: dict[str, int] = {}
    refaults: int = 0

    def per_min(self, event: str) -> float:
        """How many of an event there are in a minute at this rate."""
        return self.events.get(event, 0) * _PER_MIN / self.over_s


def rates(before: MemcgStat, after: MemcgStat) -> Rates | None:
    """Compare two readings of a group; None where they allow no comparison."""
    over_s = after.at_s - before.at_s
    if over_s <= 0 or before.current_bytes is None or after.current_bytes is None:
        return None
    refault = ("workingset_refault_anon", "workingset_refault_file")
    return Rates(
        over_s=over_s,
        growth_bytes_s=(after.current_bytes - before.current_bytes) / over_s,
        events={
            name: max(0, count - before.events.get(name, 0)) for name, count in after.events.items()
        },
        refaults=sum(max(0, after.stat.get(n, 0) - before.stat.get(n, 0)) for n in refault),
    )


def time_to_limit_s(found: Anatomy, rate: Rates | None) -> float | None:
    """When usage meets the limit at the present rate; None: never, or not known."""
    if rate is None or found.limit_bytes is None or rate.growth_bytes_s <= 0:
        return None
    return max(0.0, (found.limit_bytes - found.usage_bytes) / rate.growth_bytes_s)


def findings(
    snapshot: Snapshot, stat: MemcgStat, found: Anatomy, rate: Rates | None = None
) -> tuple[Finding, ...]:
    """Say what stands out, the most serious first.

    Args:
        snapshot: the machine.
        stat: what the kernel counts of the group.
        found: the anatomy made of it.
        rate: how it changes; None: it was read once.
    """
    memcg = next((m for m in snapshot.memcgs if m.path == stat.path), Memcg(path=stat.path))
    made = [
        *_about_limit(found, rate),
        *_about_cache(found),
        *_about_shmem(snapshot, stat, found),
        *_about_hits(memcg, stat, rate),
        *_about_high(found, rate),
        *_about_kills(memcg, stat),
        *_about_kernel(found),
        *_about_writing(found),
        *_about_swap(snapshot, memcg, found),
        *_about_waiting(stat),
    ]
    return tuple(sorted(made, key=lambda finding: _ORDER.index(finding.severity)))


def _about_limit(found: Anatomy, rate: Rates | None) -> Iterator[Finding]:
    limit, usage = found.limit_bytes, found.usage_bytes
    if limit is None:
        yield Finding(
            kind="no_limit",
            severity="info",
            text="no limit on it or above it: it runs out only with the machine",
        )
        return
    if limit and found.unreclaimable_bytes >= _NEAR * limit:
        left = max(0, limit - found.unreclaimable_bytes)
        yield Finding(
            kind="near_limit",
            severity="critical",
            text=f"{human_bytes(found.unreclaimable_bytes)} of {human_bytes(limit)} cannot be "
            f"reclaimed: with {human_bytes(left)} more the kernel kills here",
        )
    if found.limit_of is not None and found.limit_of != found.path:
        yield Finding(
            kind="limit_above",
            severity="info",
            text=f"the limit it meets first is that of {label(found.limit_of)}, "
            f"{human_bytes(limit)} for all below it",
        )
    soon = time_to_limit_s(found, rate)
    if soon is not None and soon < _SOON_S and usage < limit:
        kept = found.unreclaimable_bytes < _MOSTLY * usage
        yield Finding(
            kind="soon_full",
            severity="info" if kept else "warning",
            text=f"at the present rate it meets its limit in {seconds(soon)}"
            + ("; most of what grows can be reclaimed" if kept else ""),
        )


def _about_cache(found: Anatomy) -> Iterator[Finding]:
    cache = found.row("file cache, inactive") + found.row("file cache, active")
    limit = found.limit_bytes
    if limit and found.usage_bytes >= _NEAR * limit and cache >= _MOSTLY * found.usage_bytes:
        yield Finding(
            kind="cache",
            severity="info",
            text=f"{human_bytes(cache)} of {human_bytes(limit)} is page cache: not the danger "
            "that it looks, the kernel takes it back before it kills",
        )


def _about_shmem(snapshot: Snapshot, stat: MemcgStat, found: Anatomy) -> Iterator[Finding]:
    shmem = found.row("shared memory and tmpfs")
    if not shmem or shmem < _MUCH * (found.limit_bytes or found.usage_bytes):
        return
    severity: Severity = "warning" if found.limit_bytes else "info"
    own = [t for t in stat.tmpfs or () if not t.shared]
    if own and own[0].used_bytes >= _MOSTLY * shmem:
        yield Finding(
            kind="tmpfs",
            severity=severity,
            text=f"{human_bytes(min(own[0].used_bytes, shmem))} are files in {own[0].mount}, which "
            "no restart of a process frees; delete the files",
        )
        return
    mapped = sum(
        task.shmem_rss_pages or 0 for task in snapshot.tasks if in_memcg(task.cgroup, stat.path)
    )
    unmapped = max(0, shmem - mapped * snapshot.page_size)
    where = "; ".join(f"{t.mount} holds {human_bytes(t.used_bytes)} of all groups' files"
                      for t in (stat.tmpfs or ())[:2])  # fmt: skip
    yield Finding(
        kind="shmem",
        severity=severity,
        text=f"{human_bytes(shmem)} are shared memory or files in memory, at least "
        f"{human_bytes(unmapped)} of them mapped by no process, which no kill frees"
        + (f" ({where})" if where else ""),
    )


def _about_hits(memcg: Memcg, stat: MemcgStat, rate: Rates | None) -> Iterator[Finding]:
    if rate is not None and rate.per_min("max") >= _MANY_HITS_PER_MIN:
        again = ""
        if rate.refaults:
            again = f", and {count_of(rate.refaults, 'page')} it had reclaimed were needed again"
        yield Finding(
            kind="thrashes",
            severity="critical" if rate.refaults else "warning",
            text=f"the limit is hit {rate.per_min('max'):,.0f} times a minute{again}: it thrashes "
            "inside, though the machine may be fine",
        )
    elif stat.events.get("max") and memcg.limit_pages is not None:
        yield Finding(
            kind="hit",
            severity="info",
            text=f"its limit was hit {count_of(stat.events['max'], 'time')} since it was made; "
            "each time the kernel had to reclaim first",
        )


def _about_high(found: Anatomy, rate: Rates | None) -> Iterator[Finding]:
    high = found.high_bytes
    if high is None or found.usage_bytes < _THROTTLED * high:
        return
    now = "" if rate is None else f", {rate.per_min('high'):,.0f} times a minute now"
    yield Finding(
        kind="throttled",
        severity="warning",
        text=f"memory.high throttles: usage is at {human_bytes(high)}, and tasks that allocate "
        f"have to wait{now}; it is slow, not killed",
    )


def _about_kills(memcg: Memcg, stat: MemcgStat) -> Iterator[Finding]:
    kills = stat.events.get("oom_kill", 0)
    if not kills:
        return
    text = f"{count_of(kills, 'process', 'processes')} of it killed for memory since it was made"
    if stat.version == 2 and not stat.events.get("oom"):
        text += ", none because of a limit here or below: the machine or a group above ran out"
    if groups := stat.events.get("oom_group_kill", 0):
        text += f"; {count_of(groups, 'time')} the whole group (memory.oom.group)"
    yield Finding(kind="kills", severity="warning", text=text)
    if memcg.oom_kill_disable:
        yield Finding(
            kind="hangs",
            severity="warning",
            text="memory.oom_control: the OOM killer is off here, so at the limit tasks wait",
        )


def _about_kernel(found: Anatomy) -> Iterator[Finding]:
    whole = found.limit_bytes or found.usage_bytes
    for name, of in (
        ("page tables", "many large mappings, often of shared memory, by many processes"),
        ("slab, unreclaimable", "kernel objects that stay while files, sockets or pipes are open"),
        ("socket buffers", "data that no process reads or that the network does not take"),
        ("kernel memory", "stacks, page tables and kernel objects"),
        ("percpu", "often BPF maps or statistics of many cgroups"),
    ):
        size = found.row(name)
        if size >= _MUCH * whole and size:
            yield Finding(
                kind="kernel_memory",
                severity="warning",
                text=f"{human_bytes(size)} are {name}: {of}",
            )


def _about_writing(found: Anatomy) -> Iterator[Finding]:
    waiting = found.row("dirty") + found.row("under writeback")
    if found.limit_bytes and waiting >= _MUCH * found.limit_bytes:
        yield Finding(
            kind="dirty",
            severity="warning",
            text=f"{human_bytes(waiting)} are dirty or being written: reclaim has to wait for the "
            "disk",
        )


def _about_swap(snapshot: Snapshot, memcg: Memcg, found: Anatomy) -> Iterator[Finding]:
    if found.limit_bytes is None or not snapshot.memory.total_swap_pages:
        return
    if memcg.swap_max_pages == 0:
        yield Finding(
            kind="no_swap",
            severity="info",
            text="memory.swap.max is 0: the machine has swap, this group may not use it",
        )
    elif not found.swap_left_bytes and found.swap_bytes:
        yield Finding(
            kind="swap_full",
            severity="warning",
            text=f"its {human_bytes(found.swap_bytes)} of swap are all it gets; what it has in "
            "memory stays there",
        )


def _about_waiting(stat: MemcgStat) -> Iterator[Finding]:
    if stat.pressure is not None and stat.pressure.full_avg10 >= _WAITS:
        yield Finding(
            kind="stalled",
            severity="warning",
            text="all of its tasks waited for memory "
            f"{time_share(stat.pressure.full_avg10 / 100)} of the last 10 s",
        )
